-- No key stands twice, and no record was landed twice by one batch (`offsets_accounted_for` sees to it that no two
-- batches read the same offset). Windowed, of the keys that changed since a moment.
{% from 'checks.sql' import since %}
{% set subjects = [
    ('PRODUCTION.ORDERS', 'ORDER_LINE_ID::VARCHAR', ['ORDER_LINE_ID'], 'UPDATED_AT'),
    ('PRODUCTION.INVENTORY_HISTORY', 'ADJUSTMENT_ID::VARCHAR', ['ADJUSTMENT_ID'], 'UPDATED_AT'),
    (
        'PRODUCTION.INVENTORY_CURRENT',
        "PRODUCT_ID::VARCHAR || ' ' || WAREHOUSE_LOCATION",
        ['PRODUCT_ID', 'WAREHOUSE_LOCATION'],
        'UPDATED_AT',
    ),
    (
        'RAW_DATA.RAW_EVENTS_STREAM',
        "KAFKA_TOPIC || ' ' || KAFKA_PARTITION::VARCHAR || ':' || KAFKA_OFFSET::VARCHAR",
        ['BATCH_ID', 'KAFKA_TOPIC', 'KAFKA_PARTITION', 'KAFKA_OFFSET'],
        'INGESTION_TIME',
    ),
] %}
{% for table, key, columns, changed_at in subjects %}
SELECT
    '{{ table }}' AS SUBJECT,
    COALESCE(SUM(VERSIONS), 0) AS CHECKED,
    COUNT(*) AS DISTINCT_KEYS,
    'ERROR' AS SEVERITY,
    COALESCE(COUNT_IF(VERSIONS > 1), 0) AS OFFENDING,
    LISTAGG(CASE WHEN VERSIONS > 1 AND N <= 20 THEN K END, ', ') WITHIN GROUP (ORDER BY N ASC) AS OFFENDING_KEYS
FROM (
    SELECT
        {{ key }} AS K,
        COUNT(*) AS VERSIONS,
        ROW_NUMBER() OVER (
            ORDER BY COUNT(*) DESC, {{ columns | join(' ASC, ') }} ASC
        ) AS N
    FROM {{ table }}
    GROUP BY {{ columns | join(', ') }}
{% if windowed %}
    HAVING MAX({{ changed_at }}) >= {{ since() }}
{% endif %}
){{ '\nUNION ALL' if not loop.last else ';' }}

{% endfor %}
