"""What a message ought to become, read without the project's decoder: `json` with exact decimals.

The contract is written a second time here, from the specification, so that neither can be wrong alone.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from decimal import Decimal, InvalidOperation
from math import isinf
from typing import Any

MAX_DEPTH = 64
_INT64 = range(-(2**63), 2**63)
_UUID = re.compile(r"[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}")
_SURROGATE = re.compile("[\ud800-\udfff]")
_TIME = re.compile(
    r"([0-9]{4})-([0-9]{2})-([0-9]{2})T([0-9]{2}):([0-9]{2}):([0-9]{2})(?:\.([0-9]{1,9}))?"
    r"(?:Z|([+-])([0-9]{2}):([0-9]{2}))"
)


@dataclass(frozen=True)
class Event:
    """A valid event: its parts, numbers exact."""

    event_type: str
    metadata: Mapping[str, Any]
    content: Mapping[str, Any]
    extra: Mapping[str, Any]

    @property
    def time(self) -> datetime:
        """When it happened, in UTC, to the microsecond."""
        return utc(self.content["timestamp"])


class Refused(Exception):
    """The message is not a valid event."""


def read(value: bytes | None, max_bytes: int) -> Event:
    """The event in a message.

    Raises:
        Refused: it holds none; says why.
    """
    _require(bool(value), "empty")
    assert value is not None
    _require(len(value) <= max_bytes, "too long")
    event = _json(value)
    _require(isinstance(event, dict), "no object")
    for part in ("event_metadata", "event_content"):
        _require(isinstance(event.get(part), dict), f"no {part}")
    kind = event.get("event_type")
    _require(isinstance(kind, str) and kind in CONTENT, "event_type")
    _each(METADATA, event["event_metadata"])
    _each(CONTENT[kind], event["event_content"])
    extra = {name: item for name, item in event.items() if name not in _PARTS}
    return Event(kind, event["event_metadata"], event["event_content"], extra)


_PARTS = {"event_type", "event_metadata", "event_content"}


def utc(text: str) -> datetime:
    """A time with its zone in UTC, digits beyond the microsecond cut off."""
    found = _TIME.fullmatch(text)
    _require(found is not None, "no time")
    assert found is not None
    year, month, day, hour, minute, second, fraction, sign, hours, minutes = found.groups()
    _require(int(hours or 0) < 24 and int(minutes or 0) < 60, "no zone")
    offset = timedelta(hours=int(hours or 0), minutes=int(minutes or 0)) * (-1 if sign == "-" else 1)
    try:
        local = datetime(int(year), int(month), int(day), int(hour), int(minute), int(second), tzinfo=UTC)
        moment = local.replace(microsecond=int((fraction or "0").ljust(6, "0")[:6])) - offset
    except (ValueError, OverflowError):
        raise Refused("no date") from None
    _require(1970 <= moment.year <= 2199, "year")
    return moment


def _require(holds: bool, what: str) -> None:
    if not holds:
        raise Refused(what)


# --- strict JSON


def _json(value: bytes) -> Any:
    try:
        parsed = json.loads(
            value.decode("utf-8"),
            parse_float=_decimal,
            parse_int=_integer,
            parse_constant=_constant,
            object_pairs_hook=_object,
        )
    except RecursionError:
        raise Refused("nesting") from None
    except ValueError as error:
        raise Refused(str(error)) from None
    _look(parsed, 1)
    return parsed


def _decimal(text: str) -> Decimal:
    _require(not isinf(float(text)), "number")
    try:
        return Decimal(text)
    except InvalidOperation:  # an exponent of more than 18 digits, and so nothing
        return Decimal(0)


def _integer(text: str) -> int:
    _require(len(text.lstrip("-")) <= 38, "integer")
    return int(text)


def _constant(text: str) -> Any:
    raise Refused(text)


_EXACT = json.JSONDecoder(parse_float=_decimal)


def exact(text: str) -> Any:
    """JSON text as the warehouse gives it, numbers exact."""
    return _EXACT.decode(text)


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    _require(len(dict(pairs)) == len(pairs), "duplicate key")
    return dict(pairs)


def _look(item: Any, level: int) -> None:
    """No half of a surrogate pair anywhere, and no nesting beyond the limit."""
    if isinstance(item, str):
        _require(_SURROGATE.search(item) is None, "surrogate")
    elif isinstance(item, dict | list):
        _require(level <= MAX_DEPTH, "nesting")
        for child in item:
            _look(child, level + 1)
        for child in item.values() if isinstance(item, dict) else ():
            _look(child, level + 1)


# --- the contract

Rule = Callable[[Any], bool]


def integer(low: int, high: int = 2**63 - 1) -> Rule:
    """A 64-bit integer, written as one."""
    return lambda item: type(item) is int and item in _INT64 and low <= item <= high


def number(low: float, high: float, low_in: bool = True, high_in: bool = True) -> Rule:
    """A number whose double is in a range."""

    def holds(item: Any) -> bool:
        if type(item) not in (int, Decimal):
            return False
        above = float(item) >= low if low_in else float(item) > low
        return above and (float(item) <= high if high_in else float(item) < high)

    return holds


def text(low: int, high: int) -> Rule:
    """A string of so many characters."""
    return lambda item: isinstance(item, str) and low <= len(item) <= high


def one_of(*values: str) -> Rule:
    """One of a list, exactly."""
    return lambda item: isinstance(item, str) and item in values


def _is_time(item: Any) -> bool:
    return isinstance(item, str) and bool(utc(item))


_ID, _AMOUNT = integer(1), number(0, 99_999_999.99)
METADATA: Mapping[str, Rule] = {
    "event_id": lambda item: isinstance(item, str) and bool(_UUID.fullmatch(item)),
    "timestamp": _is_time,
    "source": text(0, 200),
    "schema_version": lambda item: type(item) is int and item == 1,
}
_PRODUCT: Mapping[str, Rule] = {
    "product_id": _ID,
    "product_name": text(1, 200),
    "category": one_of("Rouge", "Blanc", "Rosé", "Effervescent", "Spiritueux"),
    "timestamp": _is_time,
}
CONTENT: Mapping[str, Mapping[str, Rule]] = {
    "ORDER_CREATED": {
        **_PRODUCT,
        "order_line_id": _ID,
        "customer_id": _ID,
        "quantity": integer(1),
        "unit_price": _AMOUNT,
        "discount": number(0, 1, high_in=False),
        "total_price": _AMOUNT,
        "bottle_size_liters": number(0, 99.999, low_in=False),
        "sales_channel": one_of("E-com", "Boutique", "Téléphone", "Salon"),
    },
    "INVENTORY_ADJUSTED": {
        **_PRODUCT,
        "adjustment_id": _ID,
        "warehouse": text(1, 100),
        "adjustment_type": one_of("RESTOCK", "SALE_CORRECTION", "RETURN", "DAMAGE", "COUNT"),
        "quantity_change": lambda item: integer(-(2**63))(item) and item != 0,
        "stock_level": integer(0),
    },
}


def _each(rules: Mapping[str, Rule], part: Mapping[str, Any]) -> None:
    for name, holds in rules.items():
        _require(name in part and holds(part[name]), name)
