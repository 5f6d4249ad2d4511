"""Whether a table still is what its DDL says: columns that are missing, are more, or have another type."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from caves_dagster.checks.check import Evidence
from caves_dagster.shop import Table
from caves_dagster.warehouse.connection import Row
from caves_dagster.warehouse.ddl import Column, described
from caves_dagster.warehouse.stored import stored_type, type_of

_COLUMNS = """
    SELECT
        COLUMN_NAME, DATA_TYPE, CHARACTER_MAXIMUM_LENGTH, NUMERIC_PRECISION, NUMERIC_SCALE, IS_NULLABLE
    FROM INFORMATION_SCHEMA.COLUMNS
    WHERE TABLE_SCHEMA = %(schema)s AND TABLE_NAME = %(name)s
    ORDER BY ORDINAL_POSITION
"""


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
    wanted, has = stored_type(column.type), type_of(stored)
    if has != wanted:
        return f"{column.name} is {has}, expected {wanted}"
    nullable = stored["IS_NULLABLE"] == "YES"
    if nullable is not column.nullable:
        return f"{column.name} {'takes' if nullable else 'does not take'} NULL"
    return ""
