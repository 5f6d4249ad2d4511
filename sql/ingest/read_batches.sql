-- In the order they were committed in: EPOCH is counted under the fence.
SELECT EPOCH, CONSUMED, LANDED, DEAD, BYTES, PARTITIONS, DECODE_SECONDS, UPLOAD_SECONDS, LOAD_SECONDS
FROM {{ raw.schema }}.INGEST_BATCHES
WHERE TOPIC = %(topic)s
    AND EPOCH > %(epoch)s
ORDER BY EPOCH ASC
LIMIT %(limit)s;
