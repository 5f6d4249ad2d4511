"""What each database keeps about itself, beside DuckDB's own catalogue, in its hidden schema.

`objects` holds a row for each schema, table, view, stage, stream, task and file format (comment, creation
time, options), `columns` what a column was declared as (DuckDB has one type where Snowflake has OBJECT, ARRAY
and VARIANT, or TIMESTAMP_LTZ and TIMESTAMP_TZ) with its comment and key, `loads` which files COPY has loaded,
`task_runs` the runs of tasks. They live in the database they describe, so they change in the same transaction
as it and travel with its file. The views are INFORMATION_SCHEMA's.
"""

from __future__ import annotations

from caves_dagster.local.warehouse.names import HIDDEN, literal, quote

_TABLES = """
CREATE SCHEMA IF NOT EXISTS {h};
CREATE TABLE IF NOT EXISTS {h}.objects (
    kind VARCHAR NOT NULL, schema_name VARCHAR NOT NULL, name VARCHAR NOT NULL, comment VARCHAR,
    created_on TIMESTAMPTZ NOT NULL, options JSON, session VARCHAR
);
CREATE TABLE IF NOT EXISTS {h}.columns (
    schema_name VARCHAR NOT NULL, table_name VARCHAR NOT NULL, column_name VARCHAR NOT NULL,
    declared VARCHAR, comment VARCHAR, is_key BOOLEAN
);
CREATE TABLE IF NOT EXISTS {h}.loads (
    schema_name VARCHAR NOT NULL, table_name VARCHAR NOT NULL, file_name VARCHAR NOT NULL,
    etag VARCHAR NOT NULL, last_load_time TIMESTAMPTZ NOT NULL, row_count BIGINT
);
CREATE TABLE IF NOT EXISTS {h}.task_runs (
    key VARCHAR PRIMARY KEY, query_id VARCHAR, schema_name VARCHAR NOT NULL, name VARCHAR NOT NULL,
    task_id VARCHAR NOT NULL, query_text VARCHAR, condition_text VARCHAR, state VARCHAR NOT NULL,
    error_code VARCHAR, error_message VARCHAR, scheduled_time TIMESTAMPTZ NOT NULL,
    query_start_time TIMESTAMPTZ, next_scheduled_time TIMESTAMPTZ, completed_time TIMESTAMPTZ,
    root_task_id VARCHAR, graph_version BIGINT, run_id BIGINT, scheduled_from VARCHAR, attempt_number BIGINT
);
"""

_VIEWS = """
CREATE OR REPLACE VIEW {h}.information_tables AS
SELECT t.database_name AS TABLE_CATALOG, t.schema_name AS TABLE_SCHEMA, t.table_name AS TABLE_NAME,
    'SYSADMIN' AS TABLE_OWNER, t.kind AS TABLE_TYPE, 'NO' AS IS_TRANSIENT, NULL::VARCHAR AS CLUSTERING_KEY,
    t.estimated_size AS ROW_COUNT, NULL::BIGINT AS BYTES, 1 AS RETENTION_TIME,
    CASE t.kind WHEN 'VIEW' THEN 'NO' ELSE 'YES' END AS IS_INSERTABLE_INTO, 'YES' AS IS_TYPED,
    o.created_on AS CREATED, o.created_on AS LAST_ALTERED, o.comment AS COMMENT, 'NO' AS IS_TEMPORARY
FROM (
    SELECT database_name, schema_name, table_name, 'BASE TABLE' AS kind, estimated_size FROM duckdb_tables()
    UNION ALL
    SELECT database_name, schema_name, view_name, 'VIEW', NULL FROM duckdb_views() WHERE NOT internal
) t
LEFT JOIN {h}.objects o
    ON o.kind IN ('TABLE', 'VIEW') AND o.schema_name = t.schema_name AND o.name = t.table_name
WHERE t.database_name = {db} AND t.schema_name NOT IN ('main', '{hidden}')
    AND NOT EXISTS (
        SELECT 1 FROM {h}.objects s
        WHERE s.kind = 'STREAM' AND s.schema_name = t.schema_name AND s.name = t.table_name
    );
CREATE OR REPLACE VIEW {h}.information_columns AS
SELECT c.database_name AS TABLE_CATALOG, c.schema_name AS TABLE_SCHEMA, c.table_name AS TABLE_NAME,
    c.column_name AS COLUMN_NAME, c.column_index AS ORDINAL_POSITION, c.column_default AS COLUMN_DEFAULT,
    CASE WHEN c.is_nullable THEN 'YES' ELSE 'NO' END AS IS_NULLABLE,
    regexp_extract(c.full_type, '^[A-Z_]+') AS DATA_TYPE,
    CASE WHEN c.full_type LIKE 'TEXT%' THEN coalesce(c.size, 16777216) END AS CHARACTER_MAXIMUM_LENGTH,
    CASE WHEN c.full_type LIKE 'TEXT%' THEN least(coalesce(c.size, 16777216) * 4, 16777216)
         WHEN c.full_type LIKE 'BINARY%' THEN coalesce(c.size, 8388608) END AS CHARACTER_OCTET_LENGTH,
    CASE WHEN c.full_type LIKE 'NUMBER%' THEN coalesce(c.size, 38) END AS NUMERIC_PRECISION,
    CASE WHEN c.full_type LIKE 'NUMBER%' THEN 10 END AS NUMERIC_PRECISION_RADIX,
    CASE WHEN c.full_type LIKE 'NUMBER%'
         THEN coalesce(try_cast(regexp_extract(c.full_type, ', ?(\\d+)', 1) AS INTEGER), 0)
         END AS NUMERIC_SCALE,
    CASE WHEN c.full_type LIKE 'TIME%' THEN 9 END AS DATETIME_PRECISION,
    'NO' AS IS_IDENTITY, c.comment AS COMMENT, coalesce(c.is_key, false) AS IS_KEY, c.full_type AS FULL_TYPE
FROM (
    SELECT d.* EXCLUDE (comment), m.comment, m.is_key,
        coalesce(m.declared, _caves_type_name(d.data_type)) AS full_type,
        try_cast(regexp_extract(coalesce(m.declared, d.data_type), '\\((\\d+)', 1) AS BIGINT) AS size
    FROM duckdb_columns() d
    LEFT JOIN {h}.columns m
        ON m.schema_name = d.schema_name AND m.table_name = d.table_name AND m.column_name = d.column_name
    WHERE d.database_name = {db} AND NOT d.internal AND d.schema_name NOT IN ('main', '{hidden}')
) c;
CREATE OR REPLACE VIEW {h}.information_views AS
SELECT v.database_name AS TABLE_CATALOG, v.schema_name AS TABLE_SCHEMA, v.view_name AS TABLE_NAME,
    'SYSADMIN' AS TABLE_OWNER, coalesce(o.options ->> 'definition', v.sql) AS VIEW_DEFINITION,
    'NO' AS IS_SECURE,
    o.created_on AS CREATED, o.created_on AS LAST_ALTERED, o.comment AS COMMENT
FROM duckdb_views() v
LEFT JOIN {h}.objects o ON o.kind = 'VIEW' AND o.schema_name = v.schema_name AND o.name = v.view_name
WHERE v.database_name = {db} AND NOT v.internal AND v.schema_name NOT IN ('main', '{hidden}')
    AND NOT EXISTS (
        SELECT 1 FROM {h}.objects s
        WHERE s.kind = 'STREAM' AND s.schema_name = v.schema_name AND s.name = v.view_name
    );
CREATE OR REPLACE VIEW {h}.information_schemata AS
SELECT s.database_name AS CATALOG_NAME, s.schema_name AS SCHEMA_NAME, 'SYSADMIN' AS SCHEMA_OWNER,
    'NO' AS IS_TRANSIENT, 1 AS RETENTION_TIME, o.created_on AS CREATED, o.created_on AS LAST_ALTERED,
    o.comment AS COMMENT
FROM duckdb_schemas() s
LEFT JOIN {h}.objects o ON o.kind = 'SCHEMA' AND o.name = s.schema_name
WHERE s.database_name = {db} AND NOT s.internal AND s.schema_name NOT IN ('main', '{hidden}')
UNION ALL SELECT {db}, 'INFORMATION_SCHEMA', NULL, 'NO', 1, NULL, NULL, NULL;
CREATE OR REPLACE VIEW {h}.information_databases AS
SELECT database_name AS DATABASE_NAME, 'SYSADMIN' AS DATABASE_OWNER, 'NO' AS IS_TRANSIENT,
    NULL::VARCHAR AS COMMENT, 1 AS RETENTION_TIME, 'STANDARD' AS TYPE
FROM duckdb_databases() WHERE NOT internal AND database_name <> 'memory';
CREATE OR REPLACE VIEW {h}.information_load_history AS
SELECT schema_name AS SCHEMA_NAME, file_name AS FILE_NAME, table_name AS TABLE_NAME,
    last_load_time AS LAST_LOAD_TIME, 'LOADED' AS STATUS, row_count AS ROW_COUNT FROM {h}.loads;
"""

INFORMATION_SCHEMA = {"TABLES", "COLUMNS", "VIEWS", "SCHEMATA", "DATABASES", "LOAD_HISTORY"}
"""The views of INFORMATION_SCHEMA that exist."""


def creation_sql(database: str) -> str:
    """Everything a database needs before a session can use it; harmless where it is already there."""
    hidden = f"{quote(database)}.{HIDDEN}"
    values = {"h": hidden, "db": literal(database), "hidden": HIDDEN}
    return (_TABLES + _VIEWS).format(**values)
