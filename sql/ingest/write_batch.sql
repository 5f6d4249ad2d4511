INSERT INTO {{ raw.schema }}.INGEST_BATCHES (
    BATCH_ID, EPOCH, RUN_ID, CLUSTER_ID, TOPIC, TOPIC_ID, CONSUMED, LANDED, DEAD, SKIPPED, BYTES, PARTITIONS,
    READ_SECONDS, DECODE_SECONDS, UPLOAD_SECONDS, LOAD_SECONDS, COMMITTED_AT
)
SELECT
    %(batch_id)s, MAX(EPOCH), %(run_id)s, %(cluster_id)s, %(topic)s, %(topic_id)s, %(consumed)s, %(landed)s,
    %(dead)s, %(skipped)s, %(bytes)s, PARSE_JSON(%(partitions)s), %(read_seconds)s, %(decode_seconds)s,
    %(upload_seconds)s, %(load_seconds)s, %(now)s::TIMESTAMP_LTZ
FROM {{ raw.schema }}.INGEST_FENCE
WHERE ID = 1;
