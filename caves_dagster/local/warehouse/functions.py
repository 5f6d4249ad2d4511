"""SQL macros that stand for Snowflake functions DuckDB lacks or does differently.

They are created in the `main` schema of every database, where any session finds them.
"""

from __future__ import annotations

import duckdb
from fakesnow import macros

from caves_dagster.local.warehouse.names import quote

_MACROS = """
-- What Snowflake prints for a value cast to VARCHAR: the text inside a VARIANT string, not its JSON;
-- timestamps with milliseconds; a whole FLOAT without its point.
CREATE OR REPLACE MACRO {db}.main._caves_text(x) AS (CASE
    WHEN typeof(x) = 'JSON' THEN (x::VARCHAR::JSON) ->> '$'
    WHEN typeof(x) = 'TIMESTAMP' THEN strftime(x::VARCHAR::TIMESTAMP, '%Y-%m-%d %H:%M:%S.%g')
    WHEN typeof(x) = 'TIMESTAMP WITH TIME ZONE'
        THEN strftime(x::VARCHAR::TIMESTAMPTZ AT TIME ZONE 'UTC', '%Y-%m-%d %H:%M:%S.%g') || ' +0000'
    WHEN typeof(x) = 'DOUBLE' THEN regexp_replace(x::VARCHAR, '\\.0$', '')
    WHEN typeof(x) = 'BLOB' THEN hex(x::VARCHAR::BLOB)
    ELSE x::VARCHAR END);
-- The functions of the TRY_ family take text only, and refuse a VARIANT when they are compiled.
CREATE OR REPLACE MACRO {db}.main._caves_try_text(x, target) AS (CASE
    WHEN typeof(x) = 'JSON'
        THEN error('TRY_CAST cannot be used with arguments of types VARIANT and ' || target)
    ELSE x::VARCHAR END);
-- DuckDB reads digits grouped by underscores as a number.
CREATE OR REPLACE MACRO {db}.main._caves_number_text(x) AS (
    CASE WHEN contains(x, '_') THEN NULL ELSE x END);
CREATE OR REPLACE MACRO {db}.main._caves_divide(a, b) AS (
    CASE WHEN b = 0 AND a IS NOT NULL THEN error('Division by zero') ELSE a / b END);
CREATE OR REPLACE MACRO {db}.main._caves_type_name(t) AS (CASE
    WHEN t IN ('BIGINT', 'HUGEINT', 'INTEGER', 'UBIGINT') THEN 'NUMBER(38,0)'
    WHEN starts_with(t, 'DECIMAL') THEN 'NUMBER' || substr(t, 8)
    WHEN t = 'VARCHAR' THEN 'TEXT'
    WHEN t = 'DOUBLE' THEN 'FLOAT'
    WHEN t = 'BLOB' THEN 'BINARY'
    WHEN t IN ('TIMESTAMP', 'TIMESTAMP_NS') THEN 'TIMESTAMP_NTZ'
    WHEN t = 'TIMESTAMP WITH TIME ZONE' THEN 'TIMESTAMP_LTZ'
    WHEN t = 'JSON' THEN 'VARIANT'
    ELSE t END);
"""


def create(connection: duckdb.DuckDBPyConnection, database: str) -> None:
    """Create the macros in one database."""
    connection.execute(_MACROS.format(db=quote(database)))
    connection.execute(macros.creation_sql(quote(database)))
