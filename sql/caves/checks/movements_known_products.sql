-- A movement names one of the products of the batch half, once that is loaded.
{% from 'references.sql' import unknown %}
{{ unknown('movements', 'PRODUCTION.INVENTORY_HISTORY', 'ADJUSTMENT_ID', 'PRODUCT_ID', 'BATCH_DATA.INVENTORY', 'PRODUCT_ID', windowed) }}
