"""Every way in which a message is not a valid event, each by name, made from a valid one.

For dead letters to be seen, and for tests: the contract must refuse every kind here.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

import msgspec

Event = Mapping[str, Any]
EventType = Literal["ORDER_CREATED", "INVENTORY_ADJUSTED"]

_ORDER: EventType = "ORDER_CREATED"
_ADJUSTMENT: EventType = "INVENTORY_ADJUSTED"
_REMOVED = object()
_DEPTH = 65

_encode = msgspec.json.Encoder(decimal_format="number").encode


@dataclass(frozen=True)
class InvalidKind:
    """One way of being invalid."""

    name: str
    spoil: Callable[[Event], bytes | None]
    """From a valid event to the message's value; None is a tombstone. The event is left as it is."""
    event_type: EventType | None = None
    """The only type of event it can be made from, if there is one."""

    def fits(self, event: Event) -> bool:
        """Whether it can be made from this event."""
        return self.event_type in (None, event["event_type"])


def _put(path: str, value: Any) -> Callable[[Event], bytes]:
    """Set (or, with _REMOVED, leave out) the field at a dotted path."""
    *parents, field = path.split(".")

    def spoil(event: Event) -> bytes:
        spoilt: Any = copy.deepcopy(dict(event))
        target = spoilt
        for parent in parents:
            target = target[parent]
        if value is _REMOVED:
            del target[field]
        else:
            target[field] = value
        return _encode(spoilt)

    return spoil


def _content(field: str, value: Any) -> Callable[[Event], bytes]:
    return _put(f"event_content.{field}", value)


def _text(field: str, json_text: bytes) -> Callable[[Event], bytes]:
    """Write `json_text` as the field's value, unchecked."""
    return _content(field, msgspec.Raw(json_text))


def _appended(field: bytes) -> Callable[[Event], bytes]:
    """Write one more field, unchecked, at the end of the outermost object."""
    return lambda event: _encode(event)[:-1] + b"," + field + b"}"


_KINDS = (
    # not a message at all
    InvalidKind("tombstone", lambda _: None),
    InvalidKind("empty", lambda _: b""),
    InvalidKind("not_json", lambda _: "un Médoc, s'il vous plaît".encode()),
    InvalidKind("truncated", lambda event: _encode(event)[: len(_encode(event)) // 2]),
    InvalidKind("json_null", lambda _: b"null"),
    InvalidKind("array", lambda event: b"[" + _encode(event) + b"]"),
    InvalidKind("string", lambda _: b'"ORDER_CREATED"'),
    # not strict JSON, in fields that the contract names and in others
    InvalidKind("invalid_utf8", _text("product_name", b'"Ros\xe9"')),
    InvalidKind("invalid_utf8_in_unknown_field", _text("note", b'"Ros\xe9"')),
    InvalidKind("duplicate_key", _appended(b'"event_type":"ORDER_CREATED"')),
    InvalidKind(
        "duplicate_key_nested", lambda e: _encode(e).replace(b'"product_id"', b'"product_id":1,"product_id"')
    ),
    InvalidKind("duplicate_key_in_unknown_field", _text("extra", b'{"a":1,"b":{"c":1,"c":2}}')),
    InvalidKind("number_out_of_range", _text("unit_price", b"1e400"), _ORDER),
    InvalidKind("number_out_of_range_in_unknown_field", _text("extra", b"[-1e400]")),
    InvalidKind("nan", _text("total_price", b"NaN"), _ORDER),
    InvalidKind("infinity_in_unknown_field", _text("extra", b"-Infinity")),
    InvalidKind("too_deep", _text("extra", b"[" * _DEPTH + b"]" * _DEPTH)),
    # shape
    InvalidKind("missing_event_type", _put("event_type", _REMOVED)),
    InvalidKind("missing_metadata", _put("event_metadata", _REMOVED)),
    InvalidKind("missing_event_id", _put("event_metadata.event_id", _REMOVED)),
    InvalidKind("missing_product_id", _content("product_id", _REMOVED)),
    InvalidKind("content_is_a_list", _put("event_content", [])),
    InvalidKind("null_product_name", _content("product_name", None)),
    # types
    InvalidKind("string_for_number", _content("quantity", "6"), _ORDER),
    InvalidKind("fraction_for_integer", _content("quantity", 1.5), _ORDER),
    InvalidKind("boolean_for_number", _content("stock_level", True), _ADJUSTMENT),
    InvalidKind("event_id_no_uuid", _put("event_metadata.event_id", "42")),
    # lists
    InvalidKind("unknown_event_type", _put("event_type", "ORDER_SHIPPED")),
    InvalidKind("unknown_category", _content("category", "Orange")),
    InvalidKind("unknown_adjustment_type", _content("adjustment_type", "THEFT"), _ADJUSTMENT),
    InvalidKind("unknown_sales_channel", _content("sales_channel", "Minitel"), _ORDER),
    # ranges
    InvalidKind("quantity_zero", _content("quantity", 0), _ORDER),
    InvalidKind("negative_price", _content("unit_price", -18.5), _ORDER),
    InvalidKind("discount_one", _content("discount", 1), _ORDER),
    InvalidKind("negative_discount", _content("discount", -0.05), _ORDER),
    InvalidKind("quantity_change_zero", _content("quantity_change", 0), _ADJUSTMENT),
    InvalidKind("negative_stock_level", _content("stock_level", -1), _ADJUSTMENT),
    InvalidKind("identifier_zero", _content("product_id", 0)),
    InvalidKind("integer_beyond_64_bits", _content("product_id", 2**63)),
    InvalidKind("amount_too_large", _content("total_price", 100_000_000), _ORDER),
    InvalidKind("string_too_long", _content("product_name", "Château " * 26)),
    # time
    InvalidKind("timestamp_without_zone", _content("timestamp", "2026-01-31T10:00:00.000000")),
    InvalidKind("timestamp_is_a_date", _put("event_metadata.timestamp", "2026-01-31")),
    InvalidKind("timestamp_as_number", _content("timestamp", 1_769_853_600)),
    InvalidKind("year_2300", _content("timestamp", "2300-01-01T00:00:00Z")),
    InvalidKind("year_1969", _put("event_metadata.timestamp", "1969-12-31T23:59:59Z")),
)

INVALID_KINDS: Mapping[str, InvalidKind] = {kind.name: kind for kind in _KINDS}
"""Every kind by name."""
