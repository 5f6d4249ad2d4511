-- An order names one of the products of the batch half, once that is loaded.
{% from 'references.sql' import unknown %}
{{ unknown('orders', 'PRODUCTION.ORDERS', 'ORDER_LINE_ID', 'PRODUCT_ID', 'BATCH_DATA.INVENTORY', 'PRODUCT_ID', windowed) }}
