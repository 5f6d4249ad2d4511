-- What a stock movement holds is in the ranges of the contract. NULL is another rule's.
{% from 'checks.sql' import since, wrong_rows %}
{% call wrong_rows('movements') %}
SELECT
    ADJUSTMENT_ID AS K,
    COALESCE(ADJUSTMENT_ID < 1, FALSE)
    OR COALESCE(PRODUCT_ID < 1, FALSE)
    OR COALESCE(QUANTITY_CHANGE = 0, FALSE)
    OR COALESCE(STOCK_LEVEL < 0, FALSE)
    OR COALESCE(PRODUCT_CATEGORY NOT IN ('Rouge', 'Blanc', 'Rosé', 'Effervescent', 'Spiritueux'), FALSE)
    OR COALESCE(
        ADJUSTMENT_TYPE NOT IN ('RESTOCK', 'SALE_CORRECTION', 'RETURN', 'DAMAGE', 'COUNT'), FALSE
    ) AS IS_WRONG
FROM PRODUCTION.INVENTORY_HISTORY
{% if windowed %}
WHERE UPDATED_AT >= {{ since() }}
{% endif %}
{% endcall %}
