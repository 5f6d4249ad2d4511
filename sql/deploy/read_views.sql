-- Views of a shop's schemas. Whoever does not own one sees no definition.
SELECT TABLE_SCHEMA, TABLE_NAME, VIEW_DEFINITION, COMMENT
FROM INFORMATION_SCHEMA.VIEWS
WHERE TABLE_SCHEMA IN ('{{ schemas | join("', '") }}');
