{# The two checks that every shop has; its own files say of which tables. Windowed, they look at what came since a
   moment. #}
{% from 'checks.sql' import since %}
{% from 'versions.sql' import is_newer, version_order %}

{# No key stands twice; windowed, none that changed. Subjects: table, the key as text, its columns, and the column that
   says when a row changed. #}
{% macro duplicates(subjects, windowed) -%}
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
{%- endmacro %}

{% macro is_of(it) -%}
{{ "r.EVENT_TYPE = '" ~ it.event ~ "'" if it.event is defined else 'TRUE' }}
{%- endmacro %}

{# Every key of RAW stands in PRODUCTION with its newest version's figure, and no other key does. A key of which
   something still waits in a stream is counted as waiting; a record whose key cannot be read is wrong, since it
   will never come. Windowed, of the records read since a moment: each one's key stands in PRODUCTION with that version
   or a newer one. One statement, so one snapshot.

   `raw`, `raw_stream`: the raw table and the stream on it. Subjects: `name`; `event`, the type of event, where
   there are several; `key`, `amount` and `time`, read from a row `r` of RAW; `figure`, what the amount is; `table`,
   `table_key` and `table_amount` of PRODUCTION; `stream`, what the table is fed from, where that is not the stream on
   RAW. The table has EVENT_TIME and the record's KAFKA columns. #}
{% macro raw_vs_prod_counts(raw, raw_stream, subjects, windowed) -%}
WITH
{% for it in subjects %}
{{ it.name }}_read AS (
    SELECT
        {{ it.key }} AS K,
        {{ it.amount }} AS AMOUNT,
        {{ it.time }} AS EVENT_TIME,
        r.KAFKA_TIMESTAMP::TIMESTAMP_NTZ AS KAFKA_TIMESTAMP,
        r.KAFKA_TOPIC,
        r.KAFKA_PARTITION,
        r.KAFKA_OFFSET
    FROM {{ raw }} AS r
    WHERE {{ is_of(it) }}
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
        FROM {{ raw_stream }} AS r
        WHERE {{ is_of(it) }}
{% if it.stream is defined %}
        UNION ALL
        SELECT {{ it.table_key }} AS K FROM {{ it.stream }}
{% endif %}
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
            OR {{ is_newer('r', 'p') | indent(4) }}
{% if windowed %}
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
{%- endmacro %}
