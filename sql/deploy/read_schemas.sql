-- Which of a shop's schemas are there.
SELECT SCHEMA_NAME FROM INFORMATION_SCHEMA.SCHEMATA
WHERE SCHEMA_NAME IN ('{{ schemas | join("', '") }}');
