-- An order is, column by column, what its winning record says.
{% from 'as_staged.sql' import not_as_staged %}
{{ not_as_staged('orders', 'PRODUCTION.ORDERS', 'STAGING.STG_ORDERS', 'ORDER_LINE_ID', [
    'CUSTOMER_ID', 'PRODUCT_ID', 'PRODUCT_NAME', 'PRODUCT_CATEGORY', 'QUANTITY', 'UNIT_PRICE', 'DISCOUNT',
    'TOTAL_AMOUNT', 'BOTTLE_SIZE_LITERS', 'SALES_CHANNEL', 'EVENT_TIME',
], windowed) }}
