-- What is deployed now.
INSERT INTO {{ raw.schema }}.DEPLOYMENTS (VERSION, SQL_HASH, CHANGES, DEPLOYED_AT, DEPLOYED_BY)
SELECT %(version)s, %(sql_hash)s, %(changes)s, CURRENT_TIMESTAMP(), CURRENT_USER();
