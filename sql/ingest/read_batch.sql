SELECT BATCH_ID
FROM {{ raw.schema }}.INGEST_BATCHES
WHERE BATCH_ID = %(batch_id)s;
