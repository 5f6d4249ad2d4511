-- RAW to STAGING: adjustments, typed.
{% from 'raw_rows.sql' import first_copy, integer, is_not_in, moment, record, record_columns, text %}
INSERT INTO STAGING.STG_INVENTORY_ADJUSTMENTS (
    ADJUSTMENT_ID, PRODUCT_ID, PRODUCT_NAME, PRODUCT_CATEGORY, WAREHOUSE_LOCATION, ADJUSTMENT_TYPE,
    QUANTITY_CHANGE, STOCK_LEVEL, EVENT_TIME,
    {{ record_columns() }}
)
SELECT
    {{ integer('adjustment_id') }},
    r.PRODUCT_ID,
    {{ text('product_name', 200) }},
    {{ text('category', 50) }},
    {{ text('warehouse', 100) }},
    {{ text('adjustment_type', 50) }},
    {{ integer('quantity_change') }},
    {{ integer('stock_level') }},
    {{ moment('timestamp') }},
    {{ record() }}
FROM {{ source }} AS r
WHERE r.EVENT_TYPE = 'INVENTORY_ADJUSTED'
    AND {{ is_not_in('STAGING.STG_INVENTORY_ADJUSTMENTS') }}
{{ first_copy() }};
