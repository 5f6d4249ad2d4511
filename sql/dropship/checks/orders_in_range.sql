{% from 'checks.sql' import any_null, since, wrong_rows %}
{% call wrong_rows('orders') %}
SELECT
    ID AS K,
    {{ any_null(['PRODUCT_ID', 'CUSTOMER_ID', 'QUANTITY', 'UNIT_PRICE', 'SOLD_AT']) }}
    OR QUANTITY < 1
    OR UNIT_PRICE < 0 AS IS_WRONG
FROM DROPSHIP.ORDERS{{ '\nWHERE UPDATED_AT >= ' ~ since() if windowed }}
{% endcall %}
