-- Which version of these files a database has: one row for each time that something changed.
CREATE TABLE IF NOT EXISTS {{ raw.schema }}.DEPLOYMENTS (
    VERSION VARCHAR(50) NOT NULL COMMENT 'Version of the project',
    SQL_HASH VARCHAR(64) NOT NULL COMMENT 'SHA-256 of the shop''s setup statements',
    CHANGES INTEGER NOT NULL COMMENT 'Statements that this deployment ran',
    DEPLOYED_AT TIMESTAMP_LTZ NOT NULL COMMENT 'When it was done',
    DEPLOYED_BY VARCHAR(255) NOT NULL COMMENT 'User of the warehouse who did it'
) COMMENT = 'What of this shop was deployed, when and by whom';
