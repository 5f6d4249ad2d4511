-- Every key of RAW stands in PRODUCTION with its newest version's figure, and no other key does. A key of which
-- something still waits in a stream is counted as waiting; a record whose key cannot be read is wrong, since it
-- will never come. One statement, so one snapshot.
--
-- Windowed, of the records read since a moment: each one's key stands in PRODUCTION with that version or a newer one.
{% from 'checks.sql' import since %}
{% from 'raw_rows.sql' import decimal, integer, moment %}
{% from 'versions.sql' import is_newer, version_order %}
{% set subjects = [
    {
        'name': 'orders', 'event': 'ORDER_CREATED', 'figure': 'revenue',
        'key': integer('order_line_id'),
        'amount': decimal('total_price', 10, 2),
        'table': 'PRODUCTION.ORDERS', 'table_key': 'ORDER_LINE_ID', 'table_amount': 'TOTAL_AMOUNT',
        'stream': 'STAGING.STREAM_STG_ORDERS',
    },
    {
        'name': 'adjustments', 'event': 'INVENTORY_ADJUSTED', 'figure': 'bottles moved',
        'key': integer('adjustment_id'),
        'amount': integer('quantity_change'),
        'table': 'PRODUCTION.INVENTORY_HISTORY', 'table_key': 'ADJUSTMENT_ID', 'table_amount': 'QUANTITY_CHANGE',
        'stream': 'STAGING.STREAM_STG_INVENTORY_FOR_HISTORY',
    },
] %}
WITH
{% for it in subjects %}
{{ it.name }}_read AS (
    SELECT
        {{ it.key }} AS K,
        {{ it.amount }} AS AMOUNT,
        {{ moment('timestamp') }} AS EVENT_TIME,
        r.KAFKA_TIMESTAMP::TIMESTAMP_NTZ AS KAFKA_TIMESTAMP,
        r.KAFKA_TOPIC,
        r.KAFKA_PARTITION,
        r.KAFKA_OFFSET
    FROM RAW_DATA.RAW_EVENTS_STREAM AS r
    WHERE r.EVENT_TYPE = '{{ it.event }}'
{% if windowed %}
        AND r.INGESTION_TIME >= {{ since() }}
{% endif %}
),

{{ it.name }}_newest AS (
    SELECT *
    FROM {{ it.name }}_read
    WHERE K IS NOT NULL
    QUALIFY ROW_NUMBER() OVER (
        PARTITION BY K
        ORDER BY
            {{ version_order() }}
    ) = 1
),

{{ it.name }}_waiting AS (
    SELECT K, COUNT(*) AS VERSIONS
    FROM (
        SELECT {{ it.key }} AS K
        FROM RAW_DATA.STREAM_RAW_EVENTS AS r
        WHERE r.EVENT_TYPE = '{{ it.event }}'
        UNION ALL
        SELECT {{ it.table_key }} AS K FROM {{ it.stream }}
    )
    GROUP BY K
),

{{ it.name }}_compared AS (
    SELECT
        r.K AS RAW_K,
        p.{{ it.table_key }} AS PRODUCTION_K,
        COALESCE(r.K, p.{{ it.table_key }})::VARCHAR AS K,
        r.AMOUNT AS RAW_AMOUNT,
        p.{{ it.table_amount }} AS PRODUCTION_AMOUNT,
        w.K IS NOT NULL AS IS_WAITING,
        w.K IS NULL
        AND (
            r.K IS NULL
            OR p.{{ it.table_key }} IS NULL
{% if windowed %}
            OR {{ is_newer('r', 'p') | indent(4) }}
            OR (
                EQUAL_NULL(r.EVENT_TIME, p.EVENT_TIME)
                AND r.KAFKA_TOPIC = p.KAFKA_TOPIC
                AND r.KAFKA_PARTITION = p.KAFKA_PARTITION
                AND r.KAFKA_OFFSET = p.KAFKA_OFFSET
                AND NOT EQUAL_NULL(r.AMOUNT, p.{{ it.table_amount }})
            )
{% else %}
            OR NOT EQUAL_NULL(r.AMOUNT, p.{{ it.table_amount }})
{% endif %}
        ) AS IS_WRONG
    FROM {{ it.name }}_newest AS r
    {{ 'LEFT' if windowed else 'FULL OUTER' }} JOIN {{ it.table }} AS p ON r.K = p.{{ it.table_key }}
    LEFT JOIN {{ it.name }}_waiting AS w ON COALESCE(r.K, p.{{ it.table_key }}) = w.K
    UNION ALL
    SELECT
        NULL AS RAW_K,
        NULL AS PRODUCTION_K,
        'no key at ' || KAFKA_TOPIC || ' ' || KAFKA_PARTITION::VARCHAR || ':' || KAFKA_OFFSET::VARCHAR AS K,
        NULL AS RAW_AMOUNT,
        NULL AS PRODUCTION_AMOUNT,
        FALSE AS IS_WAITING,
        TRUE AS IS_WRONG
    FROM {{ it.name }}_read
    WHERE K IS NULL
),

{{ it.name }}_wrong AS (
    SELECT K, ROW_NUMBER() OVER (ORDER BY K ASC) AS N
    FROM {{ it.name }}_compared
    WHERE IS_WRONG
),

{{ it.name }}_named AS (
    SELECT LISTAGG(K, ', ') WITHIN GROUP (ORDER BY N ASC) AS OFFENDING_KEYS
    FROM {{ it.name }}_wrong
    WHERE N <= 20
){{ ',' if not loop.last }}

{% endfor %}
{% for it in subjects %}
SELECT
    '{{ it.name }}' AS SUBJECT,
    COUNT(*) AS CHECKED,
    COUNT(c.RAW_K) AS IN_RAW,
    COUNT(c.PRODUCTION_K) AS IN_PRODUCTION,
    COALESCE(COUNT_IF(c.IS_WAITING), 0) AS WAITING,
    '{{ it.figure }}' AS FIGURE,
    COALESCE(SUM(c.RAW_AMOUNT), 0)::DECIMAL(38, 2) AS FIGURE_IN_RAW,
    COALESCE(SUM(c.PRODUCTION_AMOUNT), 0)::DECIMAL(38, 2) AS FIGURE_IN_PRODUCTION,
    'ERROR' AS SEVERITY,
    COALESCE(COUNT_IF(c.IS_WRONG), 0) AS OFFENDING,
    MAX(n.OFFENDING_KEYS) AS OFFENDING_KEYS
FROM {{ it.name }}_compared AS c
CROSS JOIN {{ it.name }}_named AS n{{ '\nUNION ALL' if not loop.last else ';' }}

{% endfor %}
