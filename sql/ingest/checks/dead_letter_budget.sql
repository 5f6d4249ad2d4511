-- The share of dead letters in the messages of the last hours: of batches committed since then, letters that a replay
-- has landed not counted. A row a failure class; they fail together, by the share of all.
WITH batches AS (
    SELECT
        BATCH_ID,
        CONSUMED
    FROM {{ raw.schema }}.INGEST_BATCHES
    WHERE COMMITTED_AT >= DATEADD('second', -%(window_seconds)s, CURRENT_TIMESTAMP())
),

traffic AS (
    SELECT COALESCE(SUM(CONSUMED), 0) AS MESSAGES
    FROM batches
),

letters AS (
    SELECT
        d.FAILURE_CLASS,
        'partition ' || d.KAFKA_PARTITION::VARCHAR || ' offset ' || d.KAFKA_OFFSET::VARCHAR AS K,
        ROW_NUMBER() OVER (
            PARTITION BY d.FAILURE_CLASS ORDER BY d.FIRST_SEEN DESC, d.DEAD_LETTER_ID ASC
        ) AS N
    FROM {{ raw.schema }}.DEAD_LETTER_EVENTS AS d
    -- A batch is committed minutes after it was read; the day lets Snowflake leave out older micro-partitions.
    WHERE d.FIRST_SEEN >= DATEADD('second', -%(window_seconds)s - 86400, CURRENT_TIMESTAMP())
        AND d.BATCH_ID IN (SELECT b.BATCH_ID FROM batches AS b)
        AND d.REPLAYED_AT IS NULL
),

by_class AS (
    SELECT
        FAILURE_CLASS,
        COUNT(*) AS DEAD_LETTERS,
        LISTAGG(CASE WHEN N <= 5 THEN K END, '; ') WITHIN GROUP (ORDER BY N ASC) AS NEWEST
    FROM letters
    GROUP BY FAILURE_CLASS
),

share AS (
    SELECT
        t.MESSAGES,
        COALESCE(SUM(c.DEAD_LETTERS), 0) AS DEAD_IN_ALL,
        COALESCE(SUM(c.DEAD_LETTERS), 0) / GREATEST(t.MESSAGES, 1) AS DEAD_SHARE
    FROM traffic AS t
    LEFT JOIN by_class AS c ON TRUE
    GROUP BY t.MESSAGES
)

SELECT
    COALESCE(c.FAILURE_CLASS, 'no dead letter') AS SUBJECT,
    COALESCE(c.DEAD_LETTERS, 0) AS DEAD_LETTERS,
    s.DEAD_IN_ALL,
    s.MESSAGES AS CHECKED,
    ROUND(100 * s.DEAD_SHARE, 3) AS PERCENT_IN_ALL,
    CASE WHEN s.DEAD_SHARE > %(fail_share)s THEN 'ERROR' ELSE 'WARN' END AS SEVERITY,
    CASE
        WHEN s.DEAD_SHARE > %(warn_share)s AND s.MESSAGES >= %(min_messages)s THEN COALESCE(c.DEAD_LETTERS, 0)
        ELSE 0
    END AS OFFENDING,
    CASE
        WHEN s.DEAD_SHARE > %(warn_share)s AND s.MESSAGES >= %(min_messages)s THEN c.NEWEST
    END AS OFFENDING_KEYS
FROM share AS s
LEFT JOIN by_class AS c ON TRUE
ORDER BY DEAD_LETTERS DESC, SUBJECT ASC;
