"""PARSE_JSON as strict as a warehouse that has to keep what it was given.

DuckDB's own JSON cast takes duplicate keys, trailing commas, NaN and 1e400, and keeps the text as it is: two
readers of the same VARIANT could then see two values. This one refuses all of them (Snowflake refuses
duplicate keys; about the rest it is laxer than this). An empty or blank text is NULL, as in Snowflake.

The quick way decodes and encodes with msgspec, which drops duplicate keys and makes null of a number out of
range: either shows as a different count of quotes or nulls. Texts with a backslash, and any that differ, take
the slow way through `json`, which says what is wrong.
"""

from __future__ import annotations

import json
import math
from typing import Any

import duckdb
import msgspec
import pyarrow as pa
from duckdb.func import FunctionNullHandling, PythonUDFType

_decode = msgspec.json.Decoder().decode
_encode = msgspec.json.Encoder().encode


def why_not_json(text: str) -> str | None:
    """What is wrong with a JSON text, or None. A blank text is not wrong: PARSE_JSON makes it NULL."""
    if _plainly_json(text.encode("utf-8", "surrogatepass")) or not text.strip():
        return None
    try:
        json.loads(text, object_pairs_hook=_distinct, parse_constant=_no_constant, parse_float=_finite)
    except RecursionError:
        return "nested too deeply"
    except ValueError as error:
        return str(error)
    return None


def _plainly_json(text: bytes) -> bool:
    """The quick way: true only of what is JSON for certain."""
    if b"\\" in text:
        return False
    try:
        again = _encode(_decode(text))
    except (msgspec.DecodeError, msgspec.EncodeError, OverflowError, RecursionError, ValueError):
        return False
    return text.count(b'"') == again.count(b'"') and text.count(b"null") == again.count(b"null")


def _distinct(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        names = [name for name, _ in pairs]
        twice = next(name for name in names if names.count(name) > 1)
        raise ValueError(f"duplicate object attribute {twice!r}")
    return found


def _no_constant(name: str) -> None:
    raise ValueError(f"{name} is not JSON")


def _finite(digits: str) -> float:
    if not math.isfinite(value := float(digits)):
        raise ValueError(f"number {digits} is out of range")
    return value


def _parse(texts: pa.ChunkedArray) -> pa.Array | pa.ChunkedArray:
    blank = False
    for text in texts.cast(pa.binary()).to_pylist():
        if text is None or _plainly_json(text):
            continue
        if wrong := why_not_json(text.decode()):
            raise ValueError(f"Error parsing JSON: {wrong}")
        blank = blank or not text.strip()
    return _checked(texts) if blank else texts


def _checked(texts: pa.ChunkedArray) -> pa.Array:
    """The texts that are JSON; NULL for the others, and for blank ones."""
    values = texts.to_pylist()
    return pa.array([t if t and t.strip() and why_not_json(t) is None else None for t in values], pa.string())


def register(connection: duckdb.DuckDBPyConnection) -> None:
    """Make `_caves_strict_json` and `_caves_try_json` known to DuckDB; every cursor shares them."""
    for name, function in (("_caves_strict_json", _parse), ("_caves_try_json", _checked)):
        connection.create_function(
            name,
            function,
            ["VARCHAR"],
            "VARCHAR",
            type=PythonUDFType.ARROW,
            null_handling=FunctionNullHandling.SPECIAL,
        )
