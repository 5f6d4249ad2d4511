-- Every order of RAW, with its newest version's revenue, and no other.
{% from 'raw_rows.sql' import decimal, integer %}
{% from 'shop_checks.sql' import raw_vs_prod_counts %}
{% set subjects = [
    {
        'name': 'orders', 'event': 'order_created', 'figure': 'revenue',
        'time': 'r.CREATED_AT',
        'key': 'r.ORDER_ID',
        'amount': integer('"order".quantity', 'PAYLOAD') ~ ' * ' ~ decimal('"order".unit_price', 10, 2, 'PAYLOAD'),
        'table': 'DROPSHIP.ORDERS', 'table_key': 'ID', 'table_amount': 'QUANTITY * p.UNIT_PRICE',
    },
] %}
{{ raw_vs_prod_counts('DROPSHIP_RAW.ORDERS_EVENTS', 'DROPSHIP_RAW.ORDERS_STREAM', subjects, windowed) }}
