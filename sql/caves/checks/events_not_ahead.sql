-- No order or movement is dated more than a day ahead of now: somebody's clock is wrong.
{% from 'checks.sql' import since, wrong_rows %}
{% call wrong_rows('orders and movements', 'WARN') %}
SELECT
    'order ' || ORDER_LINE_ID::VARCHAR AS K,
    COALESCE(EVENT_TIME > DATEADD('day', 1, SYSDATE()), FALSE) AS IS_WRONG
FROM PRODUCTION.ORDERS
{% if windowed %}
WHERE UPDATED_AT >= {{ since() }}
{% endif %}
UNION ALL
SELECT
    'movement ' || ADJUSTMENT_ID::VARCHAR AS K,
    COALESCE(EVENT_TIME > DATEADD('day', 1, SYSDATE()), FALSE) AS IS_WRONG
FROM PRODUCTION.INVENTORY_HISTORY
{% if windowed %}
WHERE UPDATED_AT >= {{ since() }}
{% endif %}
{% endcall %}
