INSERT INTO {{ raw.schema }}.INGEST_GAPS (
    GAP_ID, CLUSTER_ID, TOPIC, TOPIC_ID, PARTITION_ID, OFFSET_FROM, OFFSET_TO, REASON, FOUND_AT
)
SELECT
    UUID_STRING(),
    %(cluster_id)s,
    %(topic)s,
    %(topic_id)s,
    g.VALUE:"partition"::INTEGER,
    g.VALUE:"from"::INTEGER,
    g.VALUE:"to"::INTEGER,
    g.VALUE:"reason"::VARCHAR,
    %(now)s::TIMESTAMP_LTZ
FROM TABLE(FLATTEN(INPUT => PARSE_JSON(%(gaps)s))) AS g;
