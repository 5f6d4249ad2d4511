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

# FLATTEN in place of fakesnow's, which numbers the rows by a window over all of them, takes an object's keys
# for paths, makes NULL of a JSON null and fails on a value that is neither array nor object.
#
# In this shape DuckDB unnests row by row, and is spared a join of every input with its own elements: the list
# has to be one expression of the input. `list_transform` over one element evaluates the input only once.
#
# Not as in Snowflake: SEQ is the same for equal inputs; an object's keys come as they stand in the text, not
# sorted. OUTER, RECURSIVE, PATH and MODE are refused (`expressions.py`).
_FLATTEN = """
CREATE OR REPLACE MACRO {db}.main._caves_elements(j) AS (CASE json_type(j)
    WHEN 'ARRAY' THEN list_transform(json_extract(j, '$[*]'), lambda v, i: struct_pack(
        KEY := NULL::VARCHAR, PATH := '[' || (i - 1) || ']', INDEX := (i - 1)::BIGINT, VALUE := v))
    WHEN 'OBJECT' THEN list_transform(list_zip(json_keys(j), json_extract(j, '$.*')), lambda e: struct_pack(
        KEY := e[1],
        PATH := CASE WHEN regexp_full_match(e[1], '[A-Za-z_][A-Za-z0-9_$]*') THEN e[1]
            ELSE '[''' || e[1] || ''']' END,
        INDEX := NULL::BIGINT,
        VALUE := e[2])) END);
CREATE OR REPLACE MACRO {db}.main._fs_flatten(input) AS TABLE
    SELECT hash(to_json(input)) AS SEQ, e.KEY, e.PATH, e.INDEX, e.VALUE, to_json(input) AS THIS
    FROM (SELECT unnest(list_transform([to_json(input)], lambda j: {db}.main._caves_elements(j))[1]) AS e);
"""


def create(connection: duckdb.DuckDBPyConnection, database: str) -> None:
    """Create the macros in one database."""
    connection.execute(_MACROS.format(db=quote(database)))
    connection.execute(macros.creation_sql(quote(database)))
    connection.execute(_FLATTEN.format(db=quote(database)))
