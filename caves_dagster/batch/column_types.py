"""A column's values from a source's bytes to its type: strictly, by the table's DDL.

Nothing is guessed, rounded, cut or dropped: a value fits its column as it stands, or it is at fault.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from caves_dagster.errors import DeclarationError
from caves_dagster.warehouse.ddl import Column

if TYPE_CHECKING:
    import pyarrow as pa

_INTEGER = r"^[+-]?[0-9]+(\.0+)?$"
_NUMBER = r"^[+-]?[0-9]+(\.[0-9]+)?$"
_DATE = r"^[0-9]{4}-[0-9]{2}-[0-9]{2}$"
_CLOCK = r"[0-9]{2}:[0-9]{2}(:[0-9]{2}(\.[0-9]{1,6})?)?"
_ZONE = r"(Z|[+-][0-9]{2}:?[0-9]{2})"
_TIMESTAMP = rf"^[0-9]{{4}}-[0-9]{{2}}-[0-9]{{2}}([ T]{_CLOCK}{_ZONE}?)?$"


@dataclass(frozen=True)
class ColumnType:
    """How a column's values are read, and what they are held to; `expected` says it to people."""

    arrow: pa.DataType
    pattern: str | None
    expected: str
    nullable: bool
    least: int | None
    longest: int | None

    def convert(self, values: pa.Array) -> tuple[pa.Array, list[int]]:
        """The values typed, and the places of those that do not fit (NULL in the result)."""
        import pyarrow as pa
        import pyarrow.compute as pc

        bad = set() if self.nullable else set(_places(pc.is_null(values)))
        try:
            text = values.cast(pa.string())
        except pa.ArrowInvalid:
            wrong = {place for place, value in enumerate(values.to_pylist()) if not _is_utf8(value)}
            bad |= wrong
            text = _without(values, wrong).cast(pa.string())
        if self.pattern is not None:
            wrong = set(_places(pc.invert(pc.match_substring_regex(text, self.pattern))))
            bad |= wrong
            text = _without(text, wrong)
        if self.longest is not None:
            bad |= set(_places(pc.greater(pc.utf8_length(text), self.longest)))
        text = self._normal(text)
        try:
            typed = self._cast(text)
        except pa.ArrowInvalid:
            wrong = {place for place in range(len(text)) if not self._takes(text.slice(place, 1))}
            bad |= wrong
            typed = self._cast(_without(text, wrong))
        if self.least is not None:
            bad |= set(_places(pc.less(typed, self.least)))
        return typed, sorted(bad)

    def _normal(self, text: pa.Array) -> pa.Array:
        """Text as Arrow's casts read it."""
        import pyarrow as pa
        import pyarrow.compute as pc

        if pa.types.is_integer(self.arrow):
            return pc.replace_substring_regex(text, r"^\+|\.0+$", "")
        if pa.types.is_timestamp(self.arrow):
            zoned = pc.match_substring_regex(text, rf"{_CLOCK}{_ZONE}$")
            clock = pc.match_substring(text, ":")
            text = pc.if_else(clock, text, pc.binary_join_element_wise(text, "00:00", " "))
            return pc.if_else(zoned, text, pc.binary_join_element_wise(text, "Z", ""))
        return text

    def _cast(self, text: pa.Array) -> pa.Array:
        import pyarrow as pa

        if pa.types.is_timestamp(self.arrow):
            return text.cast(pa.timestamp("us", "UTC")).cast(self.arrow)
        return text.cast(self.arrow)

    def _takes(self, text: pa.Array) -> bool:
        import pyarrow as pa

        try:
            self._cast(text)
        except pa.ArrowInvalid:
            return False
        return True


def column_type(column: Column, at_least: Mapping[str, int]) -> ColumnType:
    """How a column is read.

    Raises:
        DeclarationError: its type is not one that batch tables may have.
    """
    import pyarrow as pa

    least = at_least.get(column.name)
    enough = "" if least is None else f" of at least {least}"
    found = re.fullmatch(r"([A-Z_]+)(?:\((\d+)(?:, (\d+))?\))?", column.type)
    kind, size, scale = found.groups() if found else (column.type, None, None)
    longest = None
    if kind == "INTEGER":
        arrow, pattern, expected = pa.int64(), _INTEGER, f"an integer{enough}"
    elif kind == "DECIMAL" and size:
        digits, decimals = int(size), int(scale or 0)
        arrow, pattern = pa.decimal128(digits, decimals), _NUMBER
        expected = (
            f"a number{enough} with up to {digits - decimals} digits before and {decimals} behind the point"
        )
    elif kind == "DATE":
        arrow, pattern, expected = pa.date32(), _DATE, "a date like 2026-06-30"
    elif kind in ("TIMESTAMP", "TIMESTAMP_NTZ"):
        arrow, pattern = pa.timestamp("us"), _TIMESTAMP
        expected = "a time like 2026-06-30 18:30:00, with up to six decimals, UTC or with its offset"
    elif kind in ("VARCHAR", "TEXT", "STRING"):
        arrow, pattern, longest = pa.string(), None, int(size) if size else None
        expected = f"text in UTF-8{f' of at most {longest} characters' if longest else ''}"
    else:
        raise DeclarationError(
            f"The batch column {column.name} has type {column.type}.",
            "Use INTEGER, DECIMAL(p, s), DATE, TIMESTAMP or VARCHAR.",
        )
    return ColumnType(arrow, pattern, expected, column.nullable, least, longest)


def _places(mask: pa.Array) -> list[int]:
    """Where a mask is true."""
    import pyarrow.compute as pc

    return list(pc.indices_nonzero(pc.fill_null(mask, False)).to_pylist())


def _without(values: pa.Array, places: set[int]) -> pa.Array:
    """The values with NULL at these places."""
    import pyarrow as pa
    import pyarrow.compute as pc

    if not places:
        return values
    mask = pa.array([place in places for place in range(len(values))])
    return pc.if_else(mask, pa.scalar(None, values.type), values)


def _is_utf8(value: bytes | None) -> bool:
    try:
        (value or b"").decode()
    except UnicodeDecodeError:
        return False
    return True
