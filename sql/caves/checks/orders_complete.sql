-- An order lacks nothing that the contract asks for.
{% from 'checks.sql' import any_null, since, wrong_rows %}
{% call wrong_rows('orders') %}
SELECT
    ORDER_LINE_ID AS K,
    {{ any_null([
        'CUSTOMER_ID', 'PRODUCT_ID', 'PRODUCT_NAME', 'PRODUCT_CATEGORY', 'QUANTITY', 'UNIT_PRICE', 'DISCOUNT',
        'TOTAL_AMOUNT', 'BOTTLE_SIZE_LITERS', 'SALES_CHANNEL', 'EVENT_TIME', 'ORDER_DATE',
    ]) }} AS IS_WRONG
FROM PRODUCTION.ORDERS
{% if windowed %}
WHERE UPDATED_AT >= {{ since() }}
{% endif %}
{% endcall %}
