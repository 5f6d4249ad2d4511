-- The lock: whoever has updated this row holds it until COMMIT.
UPDATE {{ schema }}.LOAD_FENCE SET EPOCH = EPOCH + 1 WHERE ID = 1;
