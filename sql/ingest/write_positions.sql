-- Under the fence, after the positions were read again: nobody else can be writing them.
MERGE INTO {{ raw.schema }}.KAFKA_OFFSETS AS t
USING (
    SELECT
        p.VALUE:"partition"::INTEGER AS PARTITION_ID,
        p.VALUE:"to"::INTEGER AS NEXT_OFFSET,
        p.VALUE:"last_record_offset"::INTEGER AS LAST_RECORD_OFFSET,
        p.VALUE:"last_record_timestamp_ms"::INTEGER AS LAST_RECORD_TIMESTAMP_MS
    FROM TABLE(FLATTEN(INPUT => PARSE_JSON(%(partitions)s))) AS p
) AS s
    ON t.CLUSTER_ID = %(cluster_id)s
    AND t.TOPIC = %(topic)s
    AND t.TOPIC_ID = %(topic_id)s
    AND t.PARTITION_ID = s.PARTITION_ID
WHEN MATCHED THEN UPDATE SET
    NEXT_OFFSET = s.NEXT_OFFSET,
    LAST_RECORD_OFFSET = COALESCE(s.LAST_RECORD_OFFSET, t.LAST_RECORD_OFFSET),
    -- That of this record or none: with another one's, the record would look like that of a topic made anew.
    LAST_RECORD_TIMESTAMP_MS = CASE
        WHEN s.LAST_RECORD_OFFSET IS NULL THEN t.LAST_RECORD_TIMESTAMP_MS
        ELSE s.LAST_RECORD_TIMESTAMP_MS
    END,
    UPDATED_AT = %(now)s::TIMESTAMP_LTZ
WHEN NOT MATCHED THEN INSERT (
    CLUSTER_ID, TOPIC, TOPIC_ID, PARTITION_ID, NEXT_OFFSET, LAST_RECORD_OFFSET, LAST_RECORD_TIMESTAMP_MS,
    UPDATED_AT
) VALUES (
    %(cluster_id)s, %(topic)s, %(topic_id)s, s.PARTITION_ID, s.NEXT_OFFSET, s.LAST_RECORD_OFFSET,
    s.LAST_RECORD_TIMESTAMP_MS, %(now)s::TIMESTAMP_LTZ
);
