-- No order or movement is dated more than a day ahead of now: somebody's clock is wrong.
{% from 'checks.sql' import since, wrong_rows %}
{% call wrong_rows('orders and movements', 'WARN') %}
{% for what, key, table in [
    ('order', 'ORDER_LINE_ID', 'PRODUCTION.ORDERS'),
    ('movement', 'ADJUSTMENT_ID', 'PRODUCTION.INVENTORY_HISTORY'),
] %}
SELECT
    '{{ what }} ' || {{ key }}::VARCHAR AS K,
    COALESCE(EVENT_TIME > DATEADD('day', 1, SYSDATE()), FALSE) AS IS_WRONG
FROM {{ table }}
{% if windowed %}
WHERE UPDATED_AT >= {{ since() }}
{% endif %}
{{ 'UNION ALL' if not loop.last }}
{% endfor %}
{% endcall %}
