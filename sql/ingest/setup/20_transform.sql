-- The lock of what writes STAGING and PRODUCTION: transformations and rebuilds. Landing has its own (INGEST_FENCE) and
-- never waits for this one.
CREATE TABLE IF NOT EXISTS {{ raw.schema }}.TRANSFORM_FENCE (
    ID INTEGER NOT NULL COMMENT 'Always 1',
    EPOCH INTEGER NOT NULL COMMENT 'Counts transactions; updating it is the lock',
    PRIMARY KEY (ID)
) COMMENT = 'One row: the lock of the transformations and rebuilds of this shop';

INSERT INTO {{ raw.schema }}.TRANSFORM_FENCE (ID, EPOCH)
SELECT 1, 0 WHERE NOT EXISTS (SELECT 1 FROM {{ raw.schema }}.TRANSFORM_FENCE);
