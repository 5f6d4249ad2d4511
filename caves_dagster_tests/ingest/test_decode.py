"""A message to a row or a dead letter, under the wine shop's contract."""

from __future__ import annotations

import copy
import json
import math
import subprocess
import sys
from collections.abc import Callable
from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import msgspec
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from caves_dagster.ingest import strict_json
from caves_dagster.ingest.decode import decode
from caves_dagster.ingest.reader import KafkaMessage
from caves_dagster.shop import Contract, InvalidEvent
from caves_dagster.shops.caves.contract import CONTRACT
from caves_dagster.shops.caves.invalid import INVALID_KINDS

MAX_BYTES = 1 << 20
_MAX_INT64 = 2**63 - 1

ORDER: dict[str, Any] = {
    "event_type": "ORDER_CREATED",
    "event_metadata": {
        "event_id": "6f1d8a52-3c53-4a7e-9a59-0c9f6f3f6f10",
        "timestamp": "2026-03-01T10:15:30.123456Z",
        "source": "caves-albert",
        "schema_version": 1,
    },
    "event_content": {
        "order_line_id": 67890,
        "customer_id": 42,
        "product_id": 1015,
        "product_name": "Chardonnay Réserve 🥂",
        "category": "Blanc",
        "quantity": 6,
        "unit_price": 18.5,
        "discount": 0.15,
        "total_price": 94.35,
        "bottle_size_liters": 0.75,
        "sales_channel": "E-com",
        "timestamp": "2026-03-01T10:15:30.123456Z",
    },
}
ADJUSTMENT: dict[str, Any] = {
    "event_type": "INVENTORY_ADJUSTED",
    "event_metadata": ORDER["event_metadata"],
    "event_content": {
        "adjustment_id": 7,
        "product_id": 1000,
        "product_name": "Château des Tilleuls Saint-Émilion 🍷",
        "category": "Rouge",
        "warehouse": "Nîmes",
        "adjustment_type": "DAMAGE",
        "quantity_change": -3,
        "stock_level": 0,
        "timestamp": "2026-03-01T10:15:30Z",
    },
}
REMOVED = object()


def message(value: bytes | None) -> KafkaMessage:
    return KafkaMessage("sales_events", 3, 14, None, b"1015", value, [])


def row(value: bytes | None, contract: Contract = CONTRACT) -> dict[str, Any]:
    """The message's row, by column, UTF-8 as text."""
    values = decode(message(value), contract, MAX_BYTES)
    texts = (one.decode() if isinstance(one, bytes) else one for one in values)
    return dict(zip(contract.columns, texts, strict=True))


def refusal(value: bytes | None) -> InvalidEvent:
    with pytest.raises(InvalidEvent) as caught:
        row(value)
    return caught.value


def put(event: dict[str, Any], path: str, value: Any) -> dict[str, Any]:
    """A copy of the event with the field at the dotted path set, or left out."""
    changed = copy.deepcopy(event)
    *parents, field = path.split(".")
    target = changed
    for parent in parents:
        target = target[parent]
    if value is REMOVED:
        del target[field]
    else:
        target[field] = value
    return changed


def encoded(event: Any) -> bytes:
    return json.dumps(event, ensure_ascii=False).encode()


def with_field(path: str, value: Any) -> bytes:
    """The sample event that has the field's parent fields, with the field set."""
    adjustment = path.rpartition(".")[2] in ADJUSTMENT["event_content"].keys() - ORDER["event_content"].keys()
    return encoded(put(ADJUSTMENT if adjustment else ORDER, path, value))


# --- rows


def test_an_order_becomes_a_row() -> None:
    found = row(encoded(ORDER))
    assert (found["EVENT_TYPE"], found["PRODUCT_ID"], found["CUSTOMER_ID"]) == ("ORDER_CREATED", 1015, 42)
    assert found["EVENT_ID"] == "6f1d8a52-3c53-4a7e-9a59-0c9f6f3f6f10"
    assert json.loads(found["EVENT_METADATA"]) == ORDER["event_metadata"]
    assert json.loads(found["EVENT_CONTENT"]) == ORDER["event_content"]


def test_an_adjustment_becomes_a_row_without_a_customer() -> None:
    found = row(encoded(ADJUSTMENT))
    assert (found["EVENT_TYPE"], found["PRODUCT_ID"]) == ("INVENTORY_ADJUSTED", 1000)
    assert found["CUSTOMER_ID"] is None
    assert json.loads(found["EVENT_CONTENT"]) == ADJUSTMENT["event_content"]


def test_both_halves_are_kept_byte_for_byte_unknown_fields_included() -> None:
    content = (
        json.dumps(ORDER["event_content"], ensure_ascii=False)[:-1].replace("18.5", "18.50")
        + ',\n\t "gift":{ "note" : "\\u00e0 \\ud83c\\udf78 bientôt", "weights":[1.10, 2e0, -0.0,'
        + ' 12345678901234567890123456789012345678 ]}, "A":null  }'
    )
    metadata = json.dumps(ORDER["event_metadata"])[:-1] + ' , "trace" : "a/b" }'
    value = (
        f' {{"version":2, "event_content" : {content} ,"event_metadata":{metadata},'
        f'"event_type":"ORDER_CREATED","x":[{{}}]}}\n'
    )
    found = row(value.encode())
    assert found["EVENT_CONTENT"] == content
    assert found["EVENT_METADATA"] == metadata


def test_an_event_id_is_written_in_its_canonical_form() -> None:
    shouted = with_field("event_metadata.event_id", "6F1D8A52-3C53-4A7E-9A59-0C9F6F3F6F10")
    assert row(shouted)["EVENT_ID"] == "6f1d8a52-3c53-4a7e-9a59-0c9f6f3f6f10"


def test_escaped_names_of_fields_are_those_fields() -> None:
    value = encoded(ORDER).replace(b'"event_content"', rb'"event\u005fcontent"')
    assert row(value)["PRODUCT_ID"] == 1015


# --- the message as a whole


def test_a_message_without_a_value_is_empty() -> None:
    for value in (None, b""):
        assert (refusal(value).failure_class, refusal(value).path) == ("EMPTY", "$")


def test_a_message_may_be_exactly_as_long_as_allowed() -> None:
    value = encoded(ORDER)
    assert decode(message(value), CONTRACT, len(value))
    with pytest.raises(InvalidEvent, match=f"{len(value)} bytes, at most {len(value) - 1}") as caught:
        decode(message(value), CONTRACT, len(value) - 1)
    assert (caught.value.failure_class, caught.value.path) == ("TOO_LARGE", "$")


def test_a_message_that_is_too_long_is_not_even_parsed() -> None:
    assert refusal(b"\xff" * (MAX_BYTES + 1)).failure_class == "TOO_LARGE"


@pytest.mark.parametrize(
    "value", [b"null", b"17", b'"ORDER_CREATED"', b"[]", b"true", b"[" + encoded(ORDER) + b"]"]
)
def test_a_message_that_is_no_object_is_refused_as_a_whole(value: bytes) -> None:
    assert (refusal(value).failure_class, refusal(value).path) == ("CONTRACT", "$")


@pytest.mark.parametrize(
    ("unknown", "failure_class", "path"),
    [
        (b'"Ros\xe9"', "ENCODING", "$"),
        (rb'"\ud800"', "ENCODING", "$.event_content.extra"),
        (b'{"a": [{"b": 1, "b": 1}]}', "DUPLICATE_KEY", "$.event_content.extra.a[0]"),
        (b"[1, -1e400]", "NUMBER_RANGE", "$.event_content.extra[1]"),
        (b"9" * 39, "NUMBER_RANGE", "$.event_content.extra"),
        (b"[NaN]", "SYNTAX", "$.event_content.extra[0]"),
        (b"[" * 63 + b"]" * 63, "NESTING", "$"),
    ],
)
def test_what_no_message_may_contain_is_refused_in_fields_the_contract_does_not_name(
    unknown: bytes, failure_class: str, path: str
) -> None:
    value = encoded(put(ORDER, "event_content.extra", "HERE")).replace(b'"HERE"', unknown)
    found = refusal(value)
    assert (found.failure_class, found.path) == (failure_class, path)


@pytest.mark.parametrize("depth", [900, 5_000, 100_000])
@pytest.mark.parametrize(("opening", "closing"), [("[", "]"), ('{"a":', "}")])
def test_a_message_nested_deeper_than_any_parser_goes_is_refused_as_any_other(
    depth: int, opening: str, closing: str
) -> None:
    """The typed decoder raises RecursionError: uncaught, it would stop the topic at this message for ever."""
    deep = opening * depth + "1" + closing * depth
    for value in (deep, encoded(ORDER).decode()[:-1] + f',"x":{deep}}}'):
        assert refusal(value.encode()).failure_class == "NESTING"
    # Cut short, it may be told as either.
    assert refusal((opening * depth).encode()).failure_class in {"NESTING", "SYNTAX"}


def test_an_unknown_field_may_be_nested_up_to_64_levels_of_the_message() -> None:
    unknown = b"[" * 62 + b"]" * 62
    value = encoded(put(ORDER, "event_content.extra", "HERE")).replace(b'"HERE"', unknown)
    assert unknown.decode() in row(value)["EVENT_CONTENT"]


# --- shape


@pytest.mark.parametrize("event", [ORDER, ADJUSTMENT], ids=["order", "adjustment"])
def test_every_field_must_be_there_and_not_null(event: dict[str, Any]) -> None:
    names = ["event_type", "event_metadata", "event_content"]
    names += [f"{half}.{name}" for half in names[1:] for name in event[half]]
    assert len(names) in {19, 16}
    for name in names:
        missing = refusal(encoded(put(event, name, REMOVED)))
        parent = name.rpartition(".")[0]
        assert (missing.failure_class, missing.path) == ("CONTRACT", f"$.{parent}" if parent else "$")
        assert name.rpartition(".")[2] in missing.reason
        null = refusal(encoded(put(event, name, None)))
        assert (null.failure_class, null.path) == ("CONTRACT", f"$.{name}")


@pytest.mark.parametrize("half", ["event_metadata", "event_content"])
@pytest.mark.parametrize("wrong", [[], "x", 1, True])
def test_the_halves_are_objects(half: str, wrong: Any) -> None:
    found = refusal(encoded(put(ORDER, half, wrong)))
    assert (found.failure_class, found.path) == ("CONTRACT", f"$.{half}")


def test_the_content_must_be_that_of_the_event_type() -> None:
    found = refusal(encoded({**ORDER, "event_content": ADJUSTMENT["event_content"]}))
    assert (found.failure_class, found.path) == ("CONTRACT", "$.event_content")


def test_a_path_is_not_taken_from_the_text_of_the_event() -> None:
    found = refusal(with_field("event_content.category", "X - at `$.lies`"))
    assert found.path == "$.event_content.category"
    assert refusal(encoded("X - at `$.lies`")).path == "$"


def test_a_path_to_a_key_of_another_contract_is_its_object() -> None:
    contract = Contract({"A": "int64"}, dict[str, dict[int, int]], lambda event, value: (event["a"][1],))
    assert row(b'{"a": {"1": 5}}', contract) == {"A": 5}
    with pytest.raises(InvalidEvent) as caught:
        row(b'{"a": {"one": 5}}', contract)
    assert (caught.value.failure_class, caught.value.path) == ("CONTRACT", "$[...]")


class _Optional(msgspec.Struct):
    a: int
    b: int = 0


class _Dated(msgspec.Struct):
    a: int
    b: datetime


@pytest.mark.parametrize(
    ("kind", "value"),
    [
        # Written again it has `b` too: as many colons as with the key that stands twice.
        (_Optional, b'{"a": 1, "a": 1}'),
        # Written again the offset has a colon more.
        (_Dated, b'{"a": 1, "a": 1, "b": "2026-01-01T10:00:00+0200"}'),
        # The escape hides a colon.
        (CONTRACT.event, encoded(ORDER).replace(b'{"event_id"', b'{"source":"\\u003a","event_id"')),
    ],
)
def test_a_key_that_stands_twice_is_found_where_counting_colons_would_not_find_it(
    kind: Any, value: bytes
) -> None:
    contract = Contract({"A": "int64"}, kind, lambda event, value: (1,))
    with pytest.raises(InvalidEvent) as caught:
        row(value, contract)
    assert caught.value.failure_class == "DUPLICATE_KEY"


# --- types and ranges, field by field

INTEGERS = {
    "event_content.order_line_id": (1, _MAX_INT64),
    "event_content.adjustment_id": (1, _MAX_INT64),
    "event_content.customer_id": (1, _MAX_INT64),
    "event_content.product_id": (1, _MAX_INT64),
    "event_content.quantity": (1, _MAX_INT64),
    "event_content.stock_level": (0, _MAX_INT64),
    "event_content.quantity_change": (-_MAX_INT64 - 1, _MAX_INT64),
}
AMOUNTS = {
    "event_content.unit_price": (0, 99_999_999.99),
    "event_content.total_price": (0, 99_999_999.99),
    "event_content.discount": (0, math.nextafter(1, 0)),
    "event_content.bottle_size_liters": (5e-324, 99.999),
}
STRINGS = {
    "event_content.product_name": (1, 200),
    "event_content.warehouse": (1, 100),
    "event_metadata.source": (0, 200),
}
LISTS: dict[str, set[Any]] = {
    "event_type": {"ORDER_CREATED", "INVENTORY_ADJUSTED"},
    "event_metadata.schema_version": {1},
    "event_content.category": {"Rouge", "Blanc", "Rosé", "Effervescent", "Spiritueux"},
    "event_content.adjustment_type": {"RESTOCK", "SALE_CORRECTION", "RETURN", "DAMAGE", "COUNT"},
    "event_content.sales_channel": {"E-com", "Boutique", "Téléphone", "Salon"},
}
OTHERS = {"event_metadata.event_id", "event_metadata.timestamp", "event_content.timestamp"}


def test_every_field_is_in_a_table_here() -> None:
    named = {"event_type"}
    for event in (ORDER, ADJUSTMENT):
        named |= {f"{half}.{name}" for half in ("event_metadata", "event_content") for name in event[half]}
    assert named == {*INTEGERS, *AMOUNTS, *STRINGS, *LISTS, *OTHERS}


def assert_refused(path: str, value: Any) -> None:
    found = refusal(with_field(path, value))
    assert (found.failure_class, found.path) == ("CONTRACT", f"$.{path}"), value


@pytest.mark.parametrize("path", INTEGERS)
def test_integers_are_64_bits_and_in_their_range(path: str) -> None:
    least, most = INTEGERS[path]
    for fits in (least, most, max(least, 1)):
        assert row(with_field(path, fits))
    for wrong in (least - 1, most + 1, 10**30, -(10**30)):
        assert_refused(path, wrong)


@pytest.mark.parametrize("path", INTEGERS)
@pytest.mark.parametrize("wrong", ["6", 6.0, 1.5, 1e3, True, [6], {"value": 6}, ""])
def test_an_integer_is_neither_a_string_nor_a_fraction_nor_a_boolean(path: str, wrong: Any) -> None:
    assert_refused(path, wrong)


def test_a_movement_of_nothing_is_refused() -> None:
    assert_refused("event_content.quantity_change", 0)
    assert row(with_field("event_content.quantity_change", -1))


@pytest.mark.parametrize("path", AMOUNTS)
def test_amounts_are_in_their_range(path: str) -> None:
    least, most = AMOUNTS[path]
    for fits in (least, most, 0.5):
        assert row(with_field(path, fits))
    above = math.nextafter(most, math.inf)
    for wrong in (math.nextafter(least, -math.inf) if least else -5e-324, above, math.ceil(above), -1, 1e300):
        assert_refused(path, wrong)


@pytest.mark.parametrize("path", AMOUNTS)
@pytest.mark.parametrize("wrong", ["0.5", False, [0.5], ""])
def test_an_amount_is_neither_a_string_nor_a_boolean(path: str, wrong: Any) -> None:
    assert_refused(path, wrong)


def test_a_whole_number_is_an_amount() -> None:
    assert row(with_field("event_content.unit_price", 18))
    assert row(with_field("event_content.discount", 0))


@pytest.mark.parametrize("path", STRINGS)
def test_strings_fit_their_column_counted_in_characters(path: str) -> None:
    least, most = STRINGS[path]
    for fits in ("x" * least, "🍷" * most):
        assert row(with_field(path, fits))
    assert_refused(path, "é" * (most + 1))
    if least:
        assert_refused(path, "")


@pytest.mark.parametrize("path", STRINGS)
@pytest.mark.parametrize("wrong", [1, True, ["Paris"], {}])
def test_a_string_is_a_string(path: str, wrong: Any) -> None:
    assert_refused(path, wrong)


@pytest.mark.parametrize("path", LISTS)
def test_only_the_values_of_a_list_are_accepted(path: str) -> None:
    for fits in LISTS[path]:
        if path != "event_type":
            assert row(with_field(path, fits))
    sample = next(iter(LISTS[path]))
    wrong_values: tuple[Any, ...] = (str(sample).lower() + " ", "", 2, True, 1.0, [sample], {})
    for wrong in wrong_values:
        assert_refused(path, wrong)


def test_a_category_is_compared_as_it_is_written() -> None:
    assert_refused("event_content.category", "Rose\u0301")
    assert_refused("event_content.category", "rosé")


@pytest.mark.parametrize(
    "wrong", ["", "42", "6f1d8a52", 42, "6f1d8a52-3c53-4a7e-9a59-0c9f6f3f6f1g", [], True]
)
def test_an_event_id_is_a_uuid(wrong: Any) -> None:
    assert_refused("event_metadata.event_id", wrong)


# --- time

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
TIMESTAMPS = ("event_metadata.timestamp", "event_content.timestamp")


@pytest.mark.parametrize("path", TIMESTAMPS)
@pytest.mark.parametrize(
    "fits",
    [
        "2026-03-01T10:15:30Z",
        "2026-03-01T10:15:30.1Z",
        "2026-03-01T23:59:59.999999999Z",
        "2026-03-01T10:15:30+00:00",
        "2026-03-01T10:15:30-00:00",
        "2026-03-01T10:15:30.123+05:45",
        "2026-03-01T00:00:00-23:59",
        "2024-02-29T00:00:00Z",
        "1970-01-01T00:00:00Z",
        "2199-12-31T23:59:59.999999999Z",
        "1969-12-31T23:30:00-01:00",
        "2200-01-01T00:30:00+01:00",
    ],
)
def test_timestamps_of_any_zone_are_accepted(path: str, fits: str) -> None:
    half = f"{path.partition('.')[0].upper()}"
    assert json.loads(row(with_field(path, fits))[half])["timestamp"] == fits


@pytest.mark.parametrize("path", TIMESTAMPS)
@pytest.mark.parametrize(
    "wrong",
    [
        "2026-03-01T10:15:30",  # no zone
        "2026-03-01T10:15:30.5",
        "2026-03-01",
        "2026-03-01 10:15:30Z",
        "2026-03-01t10:15:30z",
        "2026-03-01T10:15Z",
        "2026-03-01T10:15:30+0100",
        "2026-03-01T10:15:30+01",
        "2026-03-01T10:15:30.Z",
        "2026-03-01T10:15:30,5Z",
        "2026-03-01T10:15:30.1234567891Z",
        "20260301T101530Z",
        "2026-W09-7T10:15:30Z",
        "+2026-03-01T10:15:30Z",
        " 2026-03-01T10:15:30Z",
        "2026-03-01T10:15:30Z\n",
        "2026-03-01T10:15:30 UTC",
        "2026-03-01T10:15:30Z[Europe/Paris]",
        "",
        1_772_360_130,
        1_772_360_130.5,
        None,
        True,
    ],
)
def test_what_is_no_rfc_3339_time_with_a_zone_is_refused(path: str, wrong: Any) -> None:
    assert_refused(path, wrong)


@pytest.mark.parametrize("path", TIMESTAMPS)
@pytest.mark.parametrize(
    "wrong",
    [
        "2026-02-29T10:15:30Z",
        "2026-04-31T10:15:30Z",
        "2026-13-01T10:15:30Z",
        "2026-00-01T10:15:30Z",
        "2026-03-00T10:15:30Z",
        "0000-03-01T10:15:30Z",
        "2026-03-01T24:00:00Z",
        "2026-03-01T10:60:00Z",
        "2026-03-01T10:15:60Z",
        "2026-12-31T23:59:60Z",
        "2026-03-01T10:15:30+24:00",
        "2026-03-01T10:15:30+01:60",
        "٢٠٢٦-03-01T10:15:30Z",
        "2026-03-01T1٠:15:30Z",
        "2026-03-01T10:15:30.١Z",
        "2026-03-01T10:15:30+0١:00",
    ],
)
def test_what_is_no_date_or_hour_or_digit_is_refused(path: str, wrong: str) -> None:
    assert_refused(path, wrong)


@pytest.mark.parametrize("path", TIMESTAMPS)
@pytest.mark.parametrize(
    "wrong",
    [
        "1969-12-31T23:59:59.999999Z",
        "2200-01-01T00:00:00Z",
        "1970-01-01T00:30:00+01:00",
        "2199-12-31T23:30:00-01:00",
        "0001-01-01T00:00:00+23:59",
        "9999-12-31T23:59:59-23:59",
    ],
)
def test_the_years_1970_to_2199_are_those_of_the_time_in_utc(path: str, wrong: str) -> None:
    assert_refused(path, wrong)
    assert "1970 to 2199" in refusal(with_field(path, wrong)).reason


@given(
    st.integers(-2 * 86_400, 230 * 366 * 86_400).map(lambda seconds: EPOCH + timedelta(seconds=seconds)),
    st.integers(-23 * 60 - 59, 23 * 60 + 59),
)
@example(datetime(2200, 1, 1, tzinfo=UTC), -1)
@example(EPOCH, 1)
def test_a_time_is_accepted_if_its_utc_year_is_in_range(moment: datetime, offset: int) -> None:
    sent = moment.astimezone(timezone(timedelta(minutes=offset))).isoformat()
    value = with_field("event_content.timestamp", sent)
    if 1970 <= moment.year <= 2199:
        assert json.loads(row(value)["EVENT_CONTENT"])["timestamp"] == sent
    else:
        assert refusal(value).path == "$.event_content.timestamp"


# --- what is not the contract's business


@pytest.mark.parametrize(
    ("field", "value"),
    [("total_price", 1.0), ("product_id", 999_999), ("customer_id", 999_999), ("product_name", "Eau")],
)
def test_whether_the_figures_agree_is_not_the_contract_s_business(field: str, value: Any) -> None:
    assert row(with_field(f"event_content.{field}", value))


# --- the catalogue of invalid kinds

CLASSES = {
    "EMPTY": {"tombstone", "empty"},
    "SYNTAX": {"not_json", "truncated", "nan", "infinity_in_unknown_field"},
    "ENCODING": {"invalid_utf8", "invalid_utf8_in_unknown_field"},
    "DUPLICATE_KEY": {"duplicate_key", "duplicate_key_nested", "duplicate_key_in_unknown_field"},
    "NUMBER_RANGE": {"number_out_of_range", "number_out_of_range_in_unknown_field"},
    "NESTING": {"too_deep"},
}


@pytest.mark.parametrize("name", INVALID_KINDS)
def test_every_kind_of_the_catalogue_is_refused_with_its_class(name: str) -> None:
    kind = INVALID_KINDS[name]
    expected = next((found for found, names in CLASSES.items() if name in names), "CONTRACT")
    events = [event for event in (ORDER, ADJUSTMENT) if kind.fits(event)]
    assert events
    for event in events:
        assert refusal(kind.spoil(event)).failure_class == expected


def test_the_classes_name_kinds_that_exist() -> None:
    assert set().union(*CLASSES.values()) <= set(INVALID_KINDS)


# --- any value whatever

JSON_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)
# Values near what the contract wants, so that some mutations leave the event valid.
_LIKELY_NUMBERS = (
    0,
    1,
    -1,
    2**63 - 1,
    2**63,
    -(2**63),
    10**37,
    10**38,
    0.0,
    0.999,
    1.0,
    99.999,
    1e8,
    math.inf,
)
_LIKELY_STRINGS = ("", "Blanc", "Rosé", "RESTOCK", "Salon", "x" * 200, "x" * 201, "2026-03-01T10:15:30Z")
LIKELY_VALUES: st.SearchStrategy[Any] = st.sampled_from(
    [*_LIKELY_NUMBERS, *_LIKELY_STRINGS, "1970-01-01T00:00:00+00:01", None, {}, []]
)
PATHS = sorted({*INTEGERS, *AMOUNTS, *STRINGS, *LISTS, *OTHERS, "event_metadata", "event_content"})


@st.composite
def mutated_events(draw: Callable[[Any], Any]) -> Any:
    """An event with up to three fields changed, added or removed."""
    event: Any = copy.deepcopy(draw(st.sampled_from([ORDER, ADJUSTMENT])))
    for _ in range(draw(st.integers(0, 3))):
        *parents, field = draw(st.sampled_from(PATHS)).split(".")
        target = event
        for parent in parents:
            target = target.get(parent) if isinstance(target, dict) else None
        if not isinstance(target, dict):
            continue
        action = draw(st.sampled_from(["change", "change", "add", "remove"]))
        if action == "remove":
            target.pop(field, None)
        else:
            name = field if action == "change" else draw(st.text(max_size=8))
            target[name] = draw(LIKELY_VALUES | JSON_VALUES)
    return event


@given(mutated_events(), st.booleans(), st.sampled_from([None, 1]))
@settings(max_examples=400)
def test_any_mutated_event_is_a_row_with_its_content_or_is_refused(
    event: Any, escaped: bool, indent: int | None
) -> None:
    sent = json.dumps(event, ensure_ascii=escaped, indent=indent)
    try:
        found = row(sent.encode())
    except InvalidEvent as invalid:
        verdict = invalid.path
    else:
        verdict = "$"
        assert found["EVENT_CONTENT"] in sent
        assert json.loads(found["EVENT_CONTENT"]) == event["event_content"]
        assert json.loads(found["EVENT_METADATA"]) == event["event_metadata"]
        assert found["PRODUCT_ID"] == event["event_content"]["product_id"]
        assert_valid(event)
    assert verdict.startswith("$")


def assert_valid(event: dict[str, Any]) -> None:
    """The contract said yes: each field is of its table's type and in its range."""
    kind = ORDER if event["event_type"] == "ORDER_CREATED" else ADJUSTMENT
    for half in ("event_metadata", "event_content"):
        for name in kind[half]:
            path, value = f"{half}.{name}", event[half][name]
            if path in INTEGERS:
                assert type(value) is int
                assert INTEGERS[path][0] <= value <= INTEGERS[path][1]
                assert value or name != "quantity_change"
            elif path in AMOUNTS:
                assert type(value) in {int, float}
                assert AMOUNTS[path][0] <= value <= AMOUNTS[path][1]
            elif path in STRINGS:
                assert type(value) is str
                assert STRINGS[path][0] <= len(value) <= STRINGS[path][1]
            elif path in LISTS:
                assert value in LISTS[path]
                assert type(value) is type(next(iter(LISTS[path])))


@given(st.binary(max_size=80))
@example(b"[1e400")
@example(b'{"a":NaN')
def test_any_bytes_are_a_row_or_are_refused(value: bytes) -> None:
    try:
        row(value)
    except InvalidEvent as invalid:
        assert_told(invalid)


@given(st.sampled_from([ORDER, ADJUSTMENT]), st.data())
@settings(max_examples=300)
def test_an_event_with_any_bytes_written_over_it_is_a_row_or_is_refused(
    event: dict[str, Any], data: st.DataObject
) -> None:
    value = encoded(event)
    start = data.draw(st.integers(0, len(value)))
    stop = data.draw(st.integers(start, min(len(value), start + 12)))
    noise = data.draw(
        st.binary(max_size=8) | st.sampled_from([b"1e400", b"NaN", b"{", b'"', b"[" * 70, b"9" * 40])
    )
    spoilt = value[:start] + noise + value[stop:]
    try:
        found = row(spoilt)
    except InvalidEvent as invalid:
        assert_told(invalid)
    else:
        assert found["EVENT_CONTENT"].encode() in spoilt
        strict_json.check(spoilt)


@pytest.mark.parametrize(
    "place",
    [
        '"Chardonnay',
        '"caves-albert',
        '"E-com"',
        '"quantity"',
        '"quantity": 6',
        '"unit_price": ',
        '"unit_price": 18',
        "{",
    ],
)
def test_no_single_byte_gets_past_the_strict_look(place: str) -> None:
    before, _, after = encoded(ORDER).partition(place.encode())
    accepted = []
    for byte in range(256):
        value = before + place.encode() + bytes([byte]) + after
        try:
            row(value)
        except InvalidEvent:
            continue
        accepted.append(byte)
        strict_json.check(value)
    assert ord(" ") in accepted or ord("9") in accepted


def assert_told(invalid: InvalidEvent) -> None:
    """A dead letter says what failed, and where."""
    known = {*CLASSES, "CONTRACT", "TOO_LARGE"}
    assert invalid.failure_class in known
    assert invalid.path.startswith("$")
    assert invalid.reason


_TOGETHER = """
import sys, threading
from caves_dagster.ingest.decode import decode
from caves_dagster.ingest.reader import KafkaMessage
from caves_dagster.shops.caves.contract import CONTRACT

sys.setswitchinterval(1e-6)
message = KafkaMessage("t", 0, 0, None, None, sys.stdin.buffer.read(), ())
together = threading.Barrier(4)
rows = []

def work():
    together.wait()
    rows.append(decode(message, CONTRACT, 2**20))

threads = [threading.Thread(target=work) for _ in range(4)]
for thread in threads:
    thread.start()
for thread in threads:
    thread.join()
assert len(rows) == 4
"""


def test_threads_that_decode_their_first_event_at_the_same_time_all_get_its_row() -> None:
    """Making msgspec's decoder in two threads at once crashed 24 of 25 processes."""
    for _ in range(3):
        done = subprocess.run(
            [sys.executable, "-c", _TOGETHER], input=encoded(ORDER), capture_output=True, check=False
        )
        assert done.returncode == 0, done.stderr.decode()
