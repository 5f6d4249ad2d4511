"""What every message must be before its contract is asked: strict JSON, all through.

A fast typed decoder skips the fields it does not know, and with them invalid UTF-8, duplicate keys and
numbers such as 1e400 (seen with msgspec). The warehouse would refuse those later, and their whole batch with
them.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from typing import Any

from caves_dagster.shop import InvalidEvent

MAX_DEPTH = 64
# Snowflake holds an integer in a VARIANT exactly up to this many digits.
MAX_INTEGER_DIGITS = 38


def check(value: bytes) -> None:
    """Refuse a message that is not strict JSON.

    Raises:
        InvalidEvent: ENCODING (invalid UTF-8, or an escaped half of a surrogate pair), SYNTAX, DUPLICATE_KEY,
            NUMBER_RANGE (beyond 38 digits or a double) or NESTING (deeper than 64), with the JSON path.
    """
    try:
        text = value.decode("utf-8")
    except UnicodeDecodeError as error:
        raise InvalidEvent(
            "ENCODING", f"invalid UTF-8 at byte {error.start}: 0x{value[error.start]:02x}"
        ) from None
    try:
        parsed = _DECODER.decode(text)
    except _Refused:
        raise _explain(text) from None
    except json.JSONDecodeError as error:
        raise _syntax(error) from None
    except RecursionError:
        raise _nesting() from None
    # Most messages have too few brackets to be too deep: counting them is cheaper than walking.
    if text.count("{") + text.count("[") > MAX_DEPTH and _depth(parsed) > MAX_DEPTH:
        raise _nesting()
    if "\\u" in text:
        _refuse_lone_surrogates(parsed)


def _syntax(error: json.JSONDecodeError) -> InvalidEvent:
    return InvalidEvent("SYNTAX", f"not JSON: {error.msg} at character {error.pos}")


def _nesting() -> InvalidEvent:
    return InvalidEvent("NESTING", f"nested deeper than {MAX_DEPTH}")


class _Refused(Exception):
    """Something is wrong; `_explain` finds what and where."""


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise _Refused
    return found


def _finite(text: str) -> float:
    number = float(text)
    if math.isinf(number):
        raise _Refused
    return number


def _integer(text: str) -> int:
    if len(text.lstrip("-")) > MAX_INTEGER_DIGITS:
        raise _Refused
    return int(text)


def _constant(text: str) -> Any:
    raise _Refused


_DECODER = json.JSONDecoder(
    object_pairs_hook=_unique, parse_float=_finite, parse_int=_integer, parse_constant=_constant
)


class _Object(list[tuple[str, Any]]):
    """An object's pairs, duplicates kept."""


class _Number(str):
    """A number's text."""


class _Constant(str):
    """NaN, Infinity or -Infinity."""


_KEEPING = json.JSONDecoder(
    object_pairs_hook=_Object, parse_float=_Number, parse_int=_Number, parse_constant=_Constant
)


def _explain(text: str) -> InvalidEvent:
    """Parse again, slowly, keeping everything, and name the first thing that was refused."""
    try:
        parsed = _KEEPING.decode(text)
    except json.JSONDecodeError as error:
        # What was refused stood before the place where the text stops being JSON.
        return _syntax(error)
    except RecursionError:
        return _nesting()
    for path, item in _walk(parsed, "$"):
        if isinstance(item, _Constant):
            return InvalidEvent("SYNTAX", f"not JSON: {item}", path)
        if isinstance(item, _Number):
            digits = item.lstrip("-")
            if digits.isdigit() and len(digits) > MAX_INTEGER_DIGITS:
                return InvalidEvent("NUMBER_RANGE", f"an integer of {len(digits)} digits", path)
            if math.isinf(float(item)):
                return InvalidEvent("NUMBER_RANGE", f"{item[:40]} is beyond a double", path)
        if isinstance(item, _Object):
            seen: set[str] = set()
            for name, _ in item:
                if name in seen:
                    return InvalidEvent("DUPLICATE_KEY", f"the key {name[:100]!r} stands twice", path)
                seen.add(name)
    return InvalidEvent("SYNTAX", "not strict JSON")


def _walk(item: Any, path: str) -> Iterator[tuple[str, Any]]:
    """Every value with its path, outermost first, without recursion."""
    stack = [(path, item)]
    while stack:
        path, item = stack.pop()
        yield path, item
        if isinstance(item, _Object):
            stack.extend((f"{path}.{name[:100]}", value) for name, value in reversed(item))
        elif isinstance(item, dict):
            stack.extend((f"{path}.{name[:100]}", value) for name, value in reversed(item.items()))
        elif isinstance(item, list):
            stack.extend((f"{path}[{index}]", value) for index, value in reversed(list(enumerate(item))))


def _depth(parsed: Any) -> int:
    """Levels of objects and arrays."""
    deepest, stack = 0, [(parsed, 1)]
    while stack:
        item, level = stack.pop()
        if not isinstance(item, dict | list):
            continue
        deepest = max(deepest, level)
        children = item.values() if isinstance(item, dict) else item
        stack.extend((child, level + 1) for child in children)
    return deepest


def _refuse_lone_surrogates(parsed: Any) -> None:
    for path, item in _walk(parsed, "$"):
        names = list(item) if isinstance(item, dict) else []
        for text in [item, *names] if isinstance(item, str) else names:
            try:
                text.encode("utf-8")
            except UnicodeEncodeError:
                raise InvalidEvent("ENCODING", "an escaped half of a surrogate pair", path) from None
