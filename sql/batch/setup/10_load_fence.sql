-- The lock of a shop's batch loads, in the schema of its batch tables.
CREATE SCHEMA IF NOT EXISTS {{ schema }};

CREATE TABLE IF NOT EXISTS {{ schema }}.LOAD_FENCE (
    ID INTEGER NOT NULL COMMENT 'Always 1',
    EPOCH INTEGER NOT NULL COMMENT 'Counts batch loads; updating it is the lock',
    PRIMARY KEY (ID)
) COMMENT = 'One row: the lock of the batch loads of this shop';

INSERT INTO {{ schema }}.LOAD_FENCE (ID, EPOCH)
SELECT 1, 0 WHERE NOT EXISTS (SELECT 1 FROM {{ schema }}.LOAD_FENCE);
