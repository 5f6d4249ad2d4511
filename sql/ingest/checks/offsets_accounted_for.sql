-- Every offset that ingestion passed is a row, a dead letter or recorded as having no message; recounted from the
-- tables. Batches join without holes, in the order of the fence, except where a gap is recorded.
--
-- Windowed, it does so for the batches since a moment, so that its cost does not grow with the tables, and of the rest
-- it only adds up the totals: a row, a dead letter or a batch that is missing anywhere still fails it, but without
-- its offsets. What it does not see then is whether the first range of a partition in the window joins the last one
-- before it, which its landing transaction compared under the fence.
WITH batches AS (
    SELECT *
    FROM {{ raw.schema }}.INGEST_BATCHES
{% if windowed %}
    WHERE COMMITTED_AT >= %(since)s::TIMESTAMP_LTZ
{% endif %}
),

positions AS (
    SELECT *
    FROM {{ raw.schema }}.KAFKA_OFFSETS
{% if windowed %}
    WHERE UPDATED_AT >= %(since)s::TIMESTAMP_LTZ
{% endif %}
),

moved AS (
    SELECT
        b.BATCH_ID,
        b.EPOCH,
        b.CLUSTER_ID,
        b.TOPIC,
        b.TOPIC_ID,
        p.VALUE:"partition"::INTEGER AS PARTITION_ID,
        p.VALUE:"from"::INTEGER AS OFFSET_FROM,
        p.VALUE:"to"::INTEGER AS OFFSET_TO,
        p.VALUE:"landed"::INTEGER AS LANDED,
        p.VALUE:"dead"::INTEGER AS DEAD
    FROM batches AS b, LATERAL FLATTEN(INPUT => b.PARTITIONS) AS p
),

chained AS (
    SELECT
        *,
        LAG(OFFSET_TO) OVER (
            PARTITION BY CLUSTER_ID, TOPIC, TOPIC_ID, PARTITION_ID ORDER BY EPOCH ASC
        ) AS PREVIOUS_TO,
        LEAD(EPOCH) OVER (
            PARTITION BY CLUSTER_ID, TOPIC, TOPIC_ID, PARTITION_ID ORDER BY EPOCH ASC
        ) IS NULL AS IS_LAST
    FROM moved
),

last_moved AS (
    SELECT *
    FROM chained
    WHERE IS_LAST
),

-- A recorded gap excuses a batch that does not begin where the one before it ended, if it is that very gap.
broken AS (
    SELECT
        c.TOPIC || ' ' || c.PARTITION_ID::VARCHAR || ': ' || c.PREVIOUS_TO::VARCHAR || ' to '
        || c.OFFSET_FROM::VARCHAR AS K
    FROM chained AS c
    LEFT JOIN {{ raw.schema }}.INGEST_GAPS AS g
        ON c.CLUSTER_ID = g.CLUSTER_ID
        AND c.TOPIC = g.TOPIC
        AND c.TOPIC_ID = g.TOPIC_ID
        AND c.PARTITION_ID = g.PARTITION_ID
        AND CASE g.REASON
            WHEN 'RETENTION' THEN c.PREVIOUS_TO = g.OFFSET_FROM AND c.OFFSET_FROM = g.OFFSET_TO
            WHEN 'LOG_TRUNCATED' THEN c.PREVIOUS_TO = g.OFFSET_TO AND c.OFFSET_FROM <= g.OFFSET_FROM
            ELSE c.PREVIOUS_TO = g.OFFSET_FROM
        END
    WHERE c.OFFSET_FROM <> c.PREVIOUS_TO
        AND g.GAP_ID IS NULL
    UNION ALL
    SELECT
        COALESCE(c.TOPIC, o.TOPIC) || ' ' || COALESCE(c.PARTITION_ID, o.PARTITION_ID)::VARCHAR
        || ': batches end at ' || COALESCE(c.OFFSET_TO::VARCHAR, 'nothing')
        || ', the position is ' || COALESCE(o.NEXT_OFFSET::VARCHAR, 'missing') AS K
    FROM last_moved AS c
    FULL OUTER JOIN positions AS o
        ON c.CLUSTER_ID = o.CLUSTER_ID
        AND c.TOPIC = o.TOPIC
        AND c.TOPIC_ID = o.TOPIC_ID
        AND c.PARTITION_ID = o.PARTITION_ID
    WHERE NOT EQUAL_NULL(c.OFFSET_TO, o.NEXT_OFFSET)
),

-- A dead letter that was replayed stays, and is a row besides, of the batch that first read it.
counted AS (
    SELECT
        BATCH_ID,
        PARTITION_ID,
        SUM(LANDED) AS LANDED,
        SUM(DEAD) AS DEAD,
        SUM(REPLAYED) AS REPLAYED,
        MIN(FIRST_OFFSET) AS FIRST_OFFSET,
        MAX(LAST_OFFSET) AS LAST_OFFSET
    FROM (
        SELECT
            r.BATCH_ID,
            r.KAFKA_PARTITION AS PARTITION_ID,
            COUNT(*) AS LANDED,
            0 AS DEAD,
            0 AS REPLAYED,
            MIN(r.KAFKA_OFFSET) AS FIRST_OFFSET,
            MAX(r.KAFKA_OFFSET) AS LAST_OFFSET
        FROM {{ raw.full_name }} AS r
{% if windowed %}
        -- A batch is landed minutes after it was read; the day lets Snowflake leave out older micro-partitions.
        WHERE r.INGESTION_TIME >= DATEADD('day', -1, %(since)s::TIMESTAMP_LTZ)
            AND r.BATCH_ID IN (SELECT b.BATCH_ID FROM batches AS b)
{% endif %}
        GROUP BY r.BATCH_ID, r.KAFKA_PARTITION
        UNION ALL
        SELECT
            d.BATCH_ID,
            d.KAFKA_PARTITION AS PARTITION_ID,
            0 AS LANDED,
            COUNT(*) AS DEAD,
            COUNT(d.REPLAYED_AT) AS REPLAYED,
            MIN(d.KAFKA_OFFSET) AS FIRST_OFFSET,
            MAX(d.KAFKA_OFFSET) AS LAST_OFFSET
        FROM {{ raw.schema }}.DEAD_LETTER_EVENTS AS d
{% if windowed %}
        WHERE d.FIRST_SEEN >= DATEADD('day', -1, %(since)s::TIMESTAMP_LTZ)
            AND d.BATCH_ID IN (SELECT b.BATCH_ID FROM batches AS b)
{% endif %}
        GROUP BY d.BATCH_ID, d.KAFKA_PARTITION
    )
    GROUP BY BATCH_ID, PARTITION_ID
),

moved_by_batch AS (
    SELECT
        BATCH_ID,
        SUM(OFFSET_TO - OFFSET_FROM) AS OFFSETS,
        SUM(LANDED) AS LANDED,
        SUM(DEAD) AS DEAD
    FROM moved
    GROUP BY BATCH_ID
),

{% if windowed %}
logged_in_all AS (
    SELECT
        COALESCE(SUM(LANDED), 0) AS LANDED,
        COALESCE(SUM(DEAD), 0) AS DEAD
    FROM {{ raw.schema }}.INGEST_BATCHES
),

landed_in_all AS (
    SELECT COUNT(*) AS LANDED
    FROM {{ raw.full_name }}
),

dead_in_all AS (
    SELECT
        COUNT(*) AS DEAD,
        COUNT(REPLAYED_AT) AS REPLAYED
    FROM {{ raw.schema }}.DEAD_LETTER_EVENTS
),

{% endif %}
wrong AS (
    SELECT
        COALESCE(m.TOPIC, 'no such batch ' || c.BATCH_ID || ', partition') || ' '
        || COALESCE(m.PARTITION_ID, c.PARTITION_ID)::VARCHAR || ': '
        || COALESCE(m.OFFSET_FROM, c.FIRST_OFFSET)::VARCHAR || ' to '
        || COALESCE(m.OFFSET_TO, c.LAST_OFFSET + 1)::VARCHAR || ', landed ' || COALESCE(c.LANDED, 0)::VARCHAR
        || ' of ' || (COALESCE(m.LANDED, 0) + COALESCE(c.REPLAYED, 0))::VARCHAR || ', dead '
        || COALESCE(c.DEAD, 0)::VARCHAR || ' of ' || COALESCE(m.DEAD, 0)::VARCHAR AS K
    FROM moved AS m
    FULL OUTER JOIN counted AS c ON m.BATCH_ID = c.BATCH_ID AND m.PARTITION_ID = c.PARTITION_ID
    WHERE m.BATCH_ID IS NULL
        OR COALESCE(c.LANDED, 0) <> m.LANDED + COALESCE(c.REPLAYED, 0)
        OR COALESCE(c.DEAD, 0) <> m.DEAD
        OR c.FIRST_OFFSET < m.OFFSET_FROM
        OR c.LAST_OFFSET >= m.OFFSET_TO
        OR m.LANDED + m.DEAD > m.OFFSET_TO - m.OFFSET_FROM
    UNION ALL
    SELECT 'batch ' || b.BATCH_ID AS K
    FROM batches AS b
    LEFT JOIN moved_by_batch AS m ON b.BATCH_ID = m.BATCH_ID
    WHERE COALESCE(m.OFFSETS, 0) <> b.LANDED + b.DEAD + b.SKIPPED
        OR COALESCE(m.LANDED, 0) <> b.LANDED
        OR COALESCE(m.DEAD, 0) <> b.DEAD
        OR b.CONSUMED <> b.LANDED + b.DEAD
{% if windowed %}
    UNION ALL
    SELECT
        'all batches: landed ' || l.LANDED::VARCHAR || ' of ' || (a.LANDED + d.REPLAYED)::VARCHAR
        || ', dead ' || d.DEAD::VARCHAR || ' of ' || a.DEAD::VARCHAR AS K
    FROM logged_in_all AS a
    CROSS JOIN landed_in_all AS l
    CROSS JOIN dead_in_all AS d
    WHERE l.LANDED <> a.LANDED + d.REPLAYED
        OR d.DEAD <> a.DEAD
{% endif %}
),

gaps AS (
    SELECT
        REASON,
        TOPIC || ' ' || PARTITION_ID::VARCHAR || ': ' || REASON || ' from '
        || COALESCE(OFFSET_FROM::VARCHAR, '?') || ' to ' || COALESCE(OFFSET_TO::VARCHAR, '?') AS K
    FROM {{ raw.schema }}.INGEST_GAPS
    WHERE ACKNOWLEDGED_AT IS NULL
),

found AS (
    SELECT 'ranges join' AS SUBJECT, K FROM broken
    UNION ALL
    SELECT 'offsets add up' AS SUBJECT, K FROM wrong
    UNION ALL
    SELECT
        CASE WHEN REASON = 'NEW_CLUSTER' THEN 'same cluster' ELSE 'nothing lost' END AS SUBJECT,
        K
    FROM gaps
),

named AS (
    SELECT SUBJECT, K, ROW_NUMBER() OVER (PARTITION BY SUBJECT ORDER BY K ASC) AS N
    FROM found
),

checked AS (
    SELECT 'ranges join' AS SUBJECT, 'ERROR' AS SEVERITY, COUNT(*) AS CHECKED FROM moved
    UNION ALL
    SELECT 'offsets add up' AS SUBJECT, 'ERROR' AS SEVERITY, COALESCE(SUM(LANDED + DEAD), 0) AS CHECKED FROM counted
    UNION ALL
    SELECT 'nothing lost' AS SUBJECT, 'ERROR' AS SEVERITY, COUNT(*) AS CHECKED FROM {{ raw.schema }}.INGEST_GAPS
    UNION ALL
    SELECT 'same cluster' AS SUBJECT, 'WARN' AS SEVERITY, COUNT(*) AS CHECKED FROM {{ raw.schema }}.INGEST_GAPS
)

SELECT
    c.SUBJECT,
    MAX(c.CHECKED) AS CHECKED,
    {{ "'batches since ' || %(since)s" if windowed else "'all batches'" }} AS SCOPE,
    c.SEVERITY,
    COUNT(n.K) AS OFFENDING,
    LISTAGG(CASE WHEN n.N <= 20 THEN n.K END, '; ') WITHIN GROUP (ORDER BY n.N ASC) AS OFFENDING_KEYS
FROM checked AS c
LEFT JOIN named AS n ON c.SUBJECT = n.SUBJECT
GROUP BY c.SUBJECT, c.SEVERITY
ORDER BY c.SUBJECT ASC;
