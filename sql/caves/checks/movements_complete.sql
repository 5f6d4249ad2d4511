-- A stock movement lacks nothing that the contract asks for.
{% from 'checks.sql' import any_null, since, wrong_rows %}
{% call wrong_rows('movements') %}
SELECT
    ADJUSTMENT_ID AS K,
    {{ any_null([
        'PRODUCT_ID', 'PRODUCT_NAME', 'PRODUCT_CATEGORY', 'WAREHOUSE_LOCATION', 'ADJUSTMENT_TYPE', 'QUANTITY_CHANGE',
        'STOCK_LEVEL', 'EVENT_TIME',
    ]) }} AS IS_WRONG
FROM PRODUCTION.INVENTORY_HISTORY
{% if windowed %}
WHERE UPDATED_AT >= {{ since() }}
{% endif %}
{% endcall %}
