"""Whether a table still is what its DDL says: columns that are missing, are more, or have another type."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from caves_dagster.checks.check import Evidence
from caves_dagster.shop import Table
from caves_dagster.warehouse.connection import Row
from caves_dagster.warehouse.ddl import Column, described

_COLUMNS = """
    SELECT
        COLUMN_NAME, DATA_TYPE, CHARACTER_MAXIMUM_LENGTH, NUMERIC_PRECISION, NUMERIC_SCALE, IS_NULLABLE
    FROM INFORMATION_SCHEMA.COLUMNS
    WHERE TABLE_SCHEMA = %(schema)s AND TABLE_NAME = %(name)s
    ORDER BY ORDINAL_POSITION
"""
# What Snowflake's INFORMATION_SCHEMA calls the types that DDL may spell otherwise.
_STORED_AS = {
    **dict.fromkeys(("INTEGER", "BIGINT", "SMALLINT", "TINYINT", "DECIMAL", "NUMERIC"), "NUMBER"),
    **dict.fromkeys(("VARCHAR", "STRING", "CHAR"), "TEXT"),
    "TIMESTAMP": "TIMESTAMP_NTZ",
    "DATETIME": "TIMESTAMP_NTZ",
    "TIMESTAMPTZ": "TIMESTAMP_TZ",
    "DOUBLE": "FLOAT",
    "VARBINARY": "BINARY",
}
_WHOLE = "NUMBER(38, 0)"
_TEXT_LENGTH = 16_777_216
"""Of text that is declared without one: https://docs.snowflake.com/en/sql-reference/data-types-text"""


def schema_rows(table: Table, evidence: Evidence) -> Sequence[Row]:
    """One row for the table; a column more than the DDL's is a warning, everything else an error."""
    found = {
        row["COLUMN_NAME"]: row
        for row in evidence.warehouse.query(_COLUMNS, {"schema": table.schema, "name": table.name})
    }
    expected = described(evidence.shop)[table.full_name].columns
    differences = [_difference(column, found.get(column.name)) for column in expected]
    wrong = [difference for difference in differences if difference]
    if not found:
        wrong = ["there is no such table: run `caves setup`"]
    more = [f"{name} is not in the DDL" for name in sorted(set(found) - {column.name for column in expected})]
    return [
        {
            "SUBJECT": table.full_name,
            "CHECKED": len(expected),
            "SEVERITY": "ERROR" if wrong else "WARN",
            "OFFENDING": len(wrong) + len(more),
            "OFFENDING_KEYS": ", ".join([*wrong, *more]),
        }
    ]


def _difference(column: Column, stored: dict[str, Any] | None) -> str:
    if stored is None:
        return f"{column.name} is missing"
    wanted, has = stored_type(column.type), _type(stored)
    if has != wanted:
        return f"{column.name} is {has}, expected {wanted}"
    nullable = stored["IS_NULLABLE"] == "YES"
    if nullable is not column.nullable:
        return f"{column.name} {'takes' if nullable else 'does not take'} NULL"
    return ""


def stored_type(declared: str) -> str:
    """A type of the DDL as INFORMATION_SCHEMA describes it."""
    base, bracket, rest = declared.partition("(")
    stored = _STORED_AS.get(base, base)
    if stored == "TEXT":
        return f"TEXT({rest}" if bracket else f"TEXT({_TEXT_LENGTH})"
    if stored == "NUMBER":
        return f"NUMBER({rest if ',' in rest else rest.removesuffix(')') + ', 0)'}" if bracket else _WHOLE
    return stored


def _type(stored: dict[str, Any]) -> str:
    kind = str(stored["DATA_TYPE"])
    if kind == "NUMBER":
        return f"NUMBER({stored['NUMERIC_PRECISION']}, {stored['NUMERIC_SCALE']})"
    if kind == "TEXT":
        return f"TEXT({stored['CHARACTER_MAXIMUM_LENGTH']})"
    return kind
