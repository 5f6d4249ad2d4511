-- Consumes what waits in a stream without looking at it: a statement that changes a table has to read the stream, even
-- where it writes no row.
INSERT INTO {{ raw.schema }}.TRANSFORM_FENCE (ID, EPOCH)
SELECT 1, 0 FROM {{ stream }} WHERE FALSE;
