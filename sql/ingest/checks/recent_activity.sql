-- When something last landed, and how much lately. That nothing ever did is an error.
WITH activity AS (
    SELECT
        COALESCE(SUM(LANDED + DEAD), 0) AS CHECKED,
        COALESCE(SUM(CASE WHEN COMMITTED_AT >= DATEADD('hour', -1, CURRENT_TIMESTAMP()) THEN LANDED END), 0)
            AS EVENTS_LAST_HOUR,
        COALESCE(SUM(CASE WHEN COMMITTED_AT >= DATEADD('hour', -24, CURRENT_TIMESTAMP()) THEN LANDED END), 0)
            AS EVENTS_LAST_DAY,
        MAX(CASE WHEN LANDED + DEAD > 0 THEN COMMITTED_AT END) AS LAST_LANDING
    FROM {{ raw.schema }}.INGEST_BATCHES
)

SELECT
    'landing' AS SUBJECT,
    CHECKED,
    EVENTS_LAST_HOUR,
    EVENTS_LAST_DAY,
    LAST_LANDING,
    CASE WHEN LAST_LANDING IS NULL THEN 'ERROR' ELSE 'WARN' END AS SEVERITY,
    CASE
        WHEN LAST_LANDING >= DATEADD('second', -%(quiet_seconds)s, CURRENT_TIMESTAMP()) THEN 0
        ELSE 1
    END AS OFFENDING,
    CASE
        WHEN LAST_LANDING >= DATEADD('second', -%(quiet_seconds)s, CURRENT_TIMESTAMP()) THEN NULL
        ELSE COALESCE('nothing since ' || LAST_LANDING::VARCHAR, 'nothing has ever landed')
    END AS OFFENDING_KEYS
FROM activity;
