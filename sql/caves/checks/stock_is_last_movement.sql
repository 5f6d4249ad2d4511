-- The stock of a product and warehouse is the level after the newest of all its movements. Where a movement still waits
-- in the stream, nothing is said.
{% from 'checks.sql' import wrong_rows %}
{% from 'versions.sql' import version_order %}
{% set before %}
newest AS (
    SELECT PRODUCT_ID, WAREHOUSE_LOCATION, STOCK_LEVEL, ADJUSTMENT_ID, EVENT_TIME
    FROM STAGING.STG_INVENTORY_ADJUSTMENTS
    WHERE PRODUCT_ID IS NOT NULL
        AND WAREHOUSE_LOCATION IS NOT NULL
        AND STOCK_LEVEL IS NOT NULL
        AND EVENT_TIME <= DATEADD('day', 1, INGESTION_TIME)
    QUALIFY ROW_NUMBER() OVER (
        PARTITION BY PRODUCT_ID, WAREHOUSE_LOCATION
        ORDER BY
            {{ version_order() }}
    ) = 1
),

waiting AS (
    SELECT DISTINCT PRODUCT_ID, WAREHOUSE_LOCATION
    FROM STAGING.STREAM_STG_INVENTORY_FOR_CURRENT
),
{% endset %}
{% call wrong_rows('stock', before=before) %}
SELECT
    COALESCE(m.PRODUCT_ID, c.PRODUCT_ID)::VARCHAR || ' '
    || COALESCE(m.WAREHOUSE_LOCATION, c.WAREHOUSE_LOCATION) AS K,
    w.PRODUCT_ID IS NULL
    AND (
        m.PRODUCT_ID IS NULL
        OR c.PRODUCT_ID IS NULL
        OR NOT EQUAL_NULL(m.STOCK_LEVEL, c.CURRENT_STOCK_LEVEL)
        OR NOT EQUAL_NULL(m.ADJUSTMENT_ID, c.LAST_ADJUSTMENT_ID)
        OR NOT EQUAL_NULL(m.EVENT_TIME, c.LAST_MOVEMENT_AT)
    ) AS IS_WRONG
FROM newest AS m
FULL OUTER JOIN PRODUCTION.INVENTORY_CURRENT AS c
    ON m.PRODUCT_ID = c.PRODUCT_ID
    AND m.WAREHOUSE_LOCATION = c.WAREHOUSE_LOCATION
LEFT JOIN waiting AS w
    ON COALESCE(m.PRODUCT_ID, c.PRODUCT_ID) = w.PRODUCT_ID
    AND COALESCE(m.WAREHOUSE_LOCATION, c.WAREHOUSE_LOCATION) = w.WAREHOUSE_LOCATION
{% endcall %}
