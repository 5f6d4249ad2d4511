-- Batches from before epochs were written down. Landings were counted even then: there are no fewer than batches.
UPDATE {{ raw.schema }}.INGEST_BATCHES
SET EPOCH = b.EPOCH
FROM (
    SELECT
        BATCH_ID,
        ROW_NUMBER() OVER (ORDER BY COMMITTED_AT ASC, BATCH_ID ASC) AS EPOCH
    FROM {{ raw.schema }}.INGEST_BATCHES
    WHERE EPOCH IS NULL
) AS b
WHERE INGEST_BATCHES.BATCH_ID = b.BATCH_ID AND INGEST_BATCHES.EPOCH IS NULL;
