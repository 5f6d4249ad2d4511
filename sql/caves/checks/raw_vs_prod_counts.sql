-- Orders and stock movements: every key of RAW, with its newest version's figure, and no other.
{% from 'raw_rows.sql' import decimal, integer, moment %}
{% from 'shop_checks.sql' import raw_vs_prod_counts %}
{% set subjects = [
    {
        'name': 'orders', 'event': 'ORDER_CREATED', 'figure': 'revenue',
        'time': moment('timestamp'),
        'key': integer('order_line_id'),
        'amount': decimal('total_price', 10, 2),
        'table': 'PRODUCTION.ORDERS', 'table_key': 'ORDER_LINE_ID', 'table_amount': 'TOTAL_AMOUNT',
        'stream': 'STAGING.STREAM_STG_ORDERS',
    },
    {
        'name': 'adjustments', 'event': 'INVENTORY_ADJUSTED', 'figure': 'bottles moved',
        'time': moment('timestamp'),
        'key': integer('adjustment_id'),
        'amount': integer('quantity_change'),
        'table': 'PRODUCTION.INVENTORY_HISTORY', 'table_key': 'ADJUSTMENT_ID', 'table_amount': 'QUANTITY_CHANGE',
        'stream': 'STAGING.STREAM_STG_INVENTORY_FOR_HISTORY',
    },
] %}
{{ raw_vs_prod_counts('RAW_DATA.RAW_EVENTS_STREAM', 'RAW_DATA.STREAM_RAW_EVENTS', subjects, windowed) }}
