-- Every offset that ingestion passed is a row, a dead letter or recorded as having no message; recounted from the
-- tables. Batches join without holes, in the order of the fence, except where a gap is recorded.
WITH moved AS (
    SELECT
        b.BATCH_ID,
        b.EPOCH,
        b.CLUSTER_ID,
        b.TOPIC,
        b.TOPIC_ID,
        p.VALUE:partition::INTEGER AS PARTITION_ID,
        p.VALUE:from::INTEGER AS OFFSET_FROM,
        p.VALUE:to::INTEGER AS OFFSET_TO,
        p.VALUE:landed::INTEGER + p.VALUE:dead::INTEGER AS LOGGED
    FROM {{ raw.schema }}.INGEST_BATCHES AS b, LATERAL FLATTEN(INPUT => b.PARTITIONS) AS p
),

chained AS (
    SELECT
        *,
        LAG(OFFSET_TO) OVER (
            PARTITION BY CLUSTER_ID, TOPIC, TOPIC_ID, PARTITION_ID ORDER BY EPOCH
        ) AS PREVIOUS_TO,
        ROW_NUMBER() OVER (
            PARTITION BY CLUSTER_ID, TOPIC, TOPIC_ID, PARTITION_ID ORDER BY EPOCH DESC
        ) AS FROM_LAST
    FROM moved
),

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
        AND (c.PREVIOUS_TO = g.OFFSET_FROM OR c.PREVIOUS_TO = g.OFFSET_TO)
    WHERE c.OFFSET_FROM <> c.PREVIOUS_TO
        AND g.GAP_ID IS NULL
    UNION ALL
    SELECT
        c.TOPIC || ' ' || c.PARTITION_ID::VARCHAR || ': batches end at ' || c.OFFSET_TO::VARCHAR
        || ', the position is ' || COALESCE(o.NEXT_OFFSET::VARCHAR, 'missing') AS K
    FROM chained AS c
    LEFT JOIN {{ raw.schema }}.KAFKA_OFFSETS AS o
        ON c.CLUSTER_ID = o.CLUSTER_ID
        AND c.TOPIC = o.TOPIC
        AND c.TOPIC_ID = o.TOPIC_ID
        AND c.PARTITION_ID = o.PARTITION_ID
    WHERE c.FROM_LAST = 1
        AND NOT EQUAL_NULL(c.OFFSET_TO, o.NEXT_OFFSET)
),

landed AS (
    SELECT BATCH_ID, KAFKA_PARTITION AS PARTITION_ID, COUNT(*) AS N
    FROM {{ raw.full_name }}
    GROUP BY BATCH_ID, KAFKA_PARTITION
),

dead AS (
    SELECT BATCH_ID, KAFKA_PARTITION AS PARTITION_ID, COUNT(*) AS N
    FROM {{ raw.schema }}.DEAD_LETTER_EVENTS
    WHERE REPLAYED_AT IS NULL
    GROUP BY BATCH_ID, KAFKA_PARTITION
),

recounted AS (
    SELECT
        m.TOPIC || ' ' || m.PARTITION_ID::VARCHAR || ': ' || m.OFFSET_FROM::VARCHAR || ' to '
        || m.OFFSET_TO::VARCHAR AS K,
        m.OFFSET_TO - m.OFFSET_FROM AS OFFSETS,
        m.LOGGED,
        COALESCE(l.N, 0) AS LANDED,
        COALESCE(d.N, 0) AS DEAD
    FROM moved AS m
    LEFT JOIN landed AS l ON m.BATCH_ID = l.BATCH_ID AND m.PARTITION_ID = l.PARTITION_ID
    LEFT JOIN dead AS d ON m.BATCH_ID = d.BATCH_ID AND m.PARTITION_ID = d.PARTITION_ID
),

wrong AS (
    SELECT K FROM recounted WHERE LANDED + DEAD <> LOGGED OR LOGGED > OFFSETS
    UNION ALL
    SELECT 'batch ' || b.BATCH_ID AS K
    FROM {{ raw.schema }}.INGEST_BATCHES AS b
    LEFT JOIN (
        SELECT BATCH_ID, SUM(OFFSET_TO - OFFSET_FROM) AS OFFSETS
        FROM moved
        GROUP BY BATCH_ID
    ) AS m ON b.BATCH_ID = m.BATCH_ID
    WHERE COALESCE(m.OFFSETS, 0) <> b.LANDED + b.DEAD + b.SKIPPED
),

gaps AS (
    SELECT
        REASON,
        TOPIC || ' ' || PARTITION_ID::VARCHAR || ': ' || REASON || ' from ' || COALESCE(OFFSET_FROM::VARCHAR, '?')
        || ' to ' || COALESCE(OFFSET_TO::VARCHAR, '?') AS K
    FROM {{ raw.schema }}.INGEST_GAPS
    WHERE ACKNOWLEDGED_AT IS NULL
)

SELECT
    'ranges join' AS SUBJECT,
    (SELECT COUNT(*) FROM moved) AS CHECKED,
    'ERROR' AS SEVERITY,
    COUNT(*) AS OFFENDING,
    LISTAGG(CASE WHEN N <= 20 THEN K END, '; ') AS OFFENDING_KEYS
FROM (SELECT K, ROW_NUMBER() OVER (ORDER BY K) AS N FROM broken)
UNION ALL
SELECT
    'offsets add up' AS SUBJECT,
    (SELECT COUNT(*) FROM recounted) AS CHECKED,
    'ERROR' AS SEVERITY,
    COUNT(*) AS OFFENDING,
    LISTAGG(CASE WHEN N <= 20 THEN K END, '; ') AS OFFENDING_KEYS
FROM (SELECT K, ROW_NUMBER() OVER (ORDER BY K) AS N FROM wrong)
UNION ALL
SELECT
    'nothing lost' AS SUBJECT,
    (SELECT COUNT(*) FROM {{ raw.schema }}.INGEST_GAPS) AS CHECKED,
    'ERROR' AS SEVERITY,
    COUNT(*) AS OFFENDING,
    LISTAGG(CASE WHEN N <= 20 THEN K END, '; ') AS OFFENDING_KEYS
FROM (SELECT K, ROW_NUMBER() OVER (ORDER BY K) AS N FROM gaps WHERE REASON <> 'NEW_CLUSTER')
UNION ALL
SELECT
    'same cluster' AS SUBJECT,
    (SELECT COUNT(*) FROM {{ raw.schema }}.INGEST_GAPS) AS CHECKED,
    'WARN' AS SEVERITY,
    COUNT(*) AS OFFENDING,
    LISTAGG(CASE WHEN N <= 20 THEN K END, '; ') AS OFFENDING_KEYS
FROM (SELECT K, ROW_NUMBER() OVER (ORDER BY K) AS N FROM gaps WHERE REASON = 'NEW_CLUSTER');
