-- Tables of a shop's schemas, and how many rows they have.
SELECT TABLE_SCHEMA, TABLE_NAME, ROW_COUNT, COMMENT
FROM INFORMATION_SCHEMA.TABLES
WHERE TABLE_TYPE = 'BASE TABLE' AND TABLE_SCHEMA IN ('{{ schemas | join("', '") }}');
