-- A stock movement is, column by column, what its winning record says.
{% from 'as_staged.sql' import not_as_staged %}
{{ not_as_staged('movements', 'PRODUCTION.INVENTORY_HISTORY', 'STAGING.STG_INVENTORY_ADJUSTMENTS', 'ADJUSTMENT_ID', [
    'PRODUCT_ID', 'PRODUCT_NAME', 'PRODUCT_CATEGORY', 'WAREHOUSE_LOCATION', 'ADJUSTMENT_TYPE', 'QUANTITY_CHANGE',
    'STOCK_LEVEL', 'EVENT_TIME',
], windowed) }}
