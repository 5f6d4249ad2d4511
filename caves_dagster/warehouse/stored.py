"""Columns as INFORMATION_SCHEMA describes them, and how that compares to their DDL."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

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


def stored_type(declared: str) -> str:
    """A type of the DDL as INFORMATION_SCHEMA describes it."""
    base, bracket, rest = declared.partition("(")
    stored = _STORED_AS.get(base, base)
    if stored == "TEXT":
        return f"TEXT({rest}" if bracket else f"TEXT({_TEXT_LENGTH})"
    if stored == "NUMBER":
        return f"NUMBER({rest if ',' in rest else rest.removesuffix(')') + ', 0)'}" if bracket else _WHOLE
    return stored


def type_of(row: Mapping[str, Any]) -> str:
    """The type of a column, from its row in INFORMATION_SCHEMA.COLUMNS."""
    kind = str(row["DATA_TYPE"])
    if kind == "NUMBER":
        return f"NUMBER({row['NUMERIC_PRECISION']}, {row['NUMERIC_SCALE']})"
    if kind == "TEXT":
        return f"TEXT({row['CHARACTER_MAXIMUM_LENGTH']})"
    return kind


def is_wider(stored: str, wanted: str) -> bool:
    """Whether every value of type `stored` also is one of `wanted`, which Snowflake can make of it in place.

    A longer text, or a number with more digits before the point and as many after it.
    """
    kind, size, scale = _sized(stored)
    other, wanted_size, wanted_scale = _sized(wanted)
    return kind in ("TEXT", "NUMBER") and (kind, scale) == (other, wanted_scale) and wanted_size > size


def _sized(stored: str) -> tuple[str, int, str]:
    kind, _, rest = stored.partition("(")
    size, _, scale = rest.removesuffix(")").partition(", ")
    return kind, int(size or 0), scale
