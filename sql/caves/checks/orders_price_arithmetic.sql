-- The total is quantity x unit price x (1 - discount), to the cent, however half a cent was rounded.
{% from 'checks.sql' import since, wrong_rows %}
{% call wrong_rows('orders') %}
SELECT
    ORDER_LINE_ID AS K,
    COALESCE(ABS(TOTAL_AMOUNT - QUANTITY * UNIT_PRICE * (1 - DISCOUNT)) > 0.005, FALSE) AS IS_WRONG
FROM PRODUCTION.ORDERS
{% if windowed %}
WHERE UPDATED_AT >= {{ since() }}
{% endif %}
{% endcall %}
