"""The wine shop's event generator."""

from __future__ import annotations

import json
from collections import Counter, defaultdict
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta, timezone
from decimal import ROUND_HALF_UP, Decimal
from hashlib import sha256
from itertools import count, islice
from typing import Any

import pytest

from caves_dagster.ingest.decode import decode
from caves_dagster.ingest.reader import KafkaMessage
from caves_dagster.shop import InvalidEvent
from caves_dagster.shops.caves.catalogue import (
    ADJUSTMENT_TYPES,
    CUSTOMER_IDS,
    PRODUCTS,
    SALES_CHANNELS,
    WAREHOUSES,
)
from caves_dagster.shops.caves.contract import CONTRACT
from caves_dagster.shops.caves.events import EventGenerator, Generated, generate, generate_labelled
from caves_dagster.shops.caves.invalid import INVALID_KINDS, InvalidKind

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)
BY_ID = {product.product_id: product for product in PRODUCTS}


def parsed(items: list[Generated]) -> list[dict[str, Any]]:
    return [json.loads(item.value or b"", parse_float=Decimal) for item in items]


@pytest.fixture(scope="module")
def sample() -> list[dict[str, Any]]:
    return parsed(list(islice(EventGenerator(11, lambda: NOON), 20_000)))


def contents(sample: list[dict[str, Any]], event_type: str) -> list[dict[str, Any]]:
    return [event["event_content"] for event in sample if event["event_type"] == event_type]


def decoded(value: bytes | None) -> tuple[Any, ...]:
    message = KafkaMessage(
        topic="sales_events", partition=0, offset=0, timestamp_ms=0, key=b"1", value=value, headers=[]
    )
    return decode(message, CONTRACT, 4 * 2**20)


def test_the_same_seed_repeats_everything_but_the_timestamps() -> None:
    ticks = count()
    later = EventGenerator(5, lambda: NOON + timedelta(seconds=next(ticks)))
    first, second = (
        parsed(list(islice(EventGenerator(5, lambda: NOON), 500))),
        parsed(list(islice(later, 500))),
    )
    assert first != second
    for event in first + second:
        del event["event_metadata"]["timestamp"], event["event_content"]["timestamp"]
    assert first == second


def test_seed_11_gives_these_bytes_on_every_machine() -> None:
    values = b"\n".join(item.value or b"" for item in islice(EventGenerator(11, lambda: NOON), 100))
    assert sha256(values).hexdigest() == "61d3180b3c557fd69eb4857239840a5cd794c3a58420f889e3a1994d17380569"


def test_two_seeds_share_no_identifier() -> None:
    def identifiers(seed: int) -> set[Any]:
        found: set[Any] = set()
        for item in islice(EventGenerator(seed, lambda: NOON), 5000):
            content = item.event["event_content"]
            found |= {item.event["event_metadata"]["event_id"]}
            found |= {content.get("order_line_id") or content["adjustment_id"]}
        return found

    sets = [identifiers(seed) for seed in (1, -1, 2)]
    assert all(len(found) == 10_000 for found in sets)
    assert len(set.union(*sets)) == 30_000


def test_seven_in_ten_are_orders_and_one_order_in_four_has_a_discount(sample: list[dict[str, Any]]) -> None:
    orders = contents(sample, "ORDER_CREATED")
    assert len(orders) / len(sample) == pytest.approx(0.7, abs=0.015)
    assert sum(order["discount"] > 0 for order in orders) / len(orders) == pytest.approx(0.25, abs=0.015)


def test_totals_are_rounded_half_up_to_cents(sample: list[dict[str, Any]]) -> None:
    for order in contents(sample, "ORDER_CREATED"):
        exact = order["unit_price"] * order["quantity"] * (1 - order["discount"])
        assert Decimal(order["total_price"]) == exact.quantize(Decimal("0.01"), ROUND_HALF_UP)


def test_numbers_in_the_json_are_written_with_cents() -> None:
    for item in islice(EventGenerator(3, lambda: NOON), 2000):
        for number in ("unit_price", "total_price"):
            if number in item.event["event_content"]:
                value = item.event["event_content"][number]
                assert f'"{number}":{value:.2f},'.encode() in (item.value or b"")


def test_name_category_price_and_size_follow_from_the_product(sample: list[dict[str, Any]]) -> None:
    for event in sample:
        content = event["event_content"]
        product = BY_ID[content["product_id"]]
        assert (content["product_name"], content["category"]) == (product.name, product.category)
        if event["event_type"] == "ORDER_CREATED":
            assert content["unit_price"] == product.price
            assert content["bottle_size_liters"] == product.bottle_size_liters


def test_every_product_customer_channel_warehouse_and_type_occurs(sample: list[dict[str, Any]]) -> None:
    orders = contents(sample, "ORDER_CREATED")
    adjustments = contents(sample, "INVENTORY_ADJUSTED")
    assert {content["product_id"] for content in orders + adjustments} == set(BY_ID)
    assert {order["customer_id"] for order in orders} == set(CUSTOMER_IDS)
    assert {order["sales_channel"] for order in orders} == set(SALES_CHANNELS)
    assert {adjustment["warehouse"] for adjustment in adjustments} == set(WAREHOUSES)
    assert {adjustment["adjustment_type"] for adjustment in adjustments} == set(ADJUSTMENT_TYPES)


def test_a_stock_level_is_the_previous_one_plus_the_change_and_never_negative() -> None:
    levels: dict[tuple[int, str], int] = {}
    reached: defaultdict[str, int] = defaultdict(int)
    for item in islice(EventGenerator(7, lambda: NOON), 60_000):
        content = item.event["event_content"]
        if "stock_level" not in content:
            continue
        place = (content["product_id"], content["warehouse"])
        level, change = content["stock_level"], content["quantity_change"]
        assert change != 0
        assert level >= 0
        if place in levels:
            assert level == levels[place] + change
        levels[place] = level
        reached["zero"] += level == 0
        reached["low"] += level < 10
    assert reached["zero"], "an empty shelf is part of the story"
    assert max(levels.values()) < 500


def test_timestamps_are_utc_with_microseconds_whatever_the_clock_s_zone() -> None:
    paris = timezone(timedelta(hours=2))
    event = next(EventGenerator(1, lambda: datetime(2026, 7, 1, 0, 30, tzinfo=paris))).event
    assert event["event_metadata"]["timestamp"] == "2026-06-30T22:30:00.000000Z"
    assert event["event_content"]["timestamp"] == "2026-06-30T22:30:00.000000Z"


def test_the_key_is_the_product_id_and_the_text_is_utf_8_unescaped() -> None:
    for item in islice(EventGenerator(1, lambda: NOON), 200):
        content = item.event["event_content"]
        assert item.key == str(content["product_id"]).encode()
        assert content["product_name"].encode() in (item.value or b"")


def test_the_contract_accepts_every_valid_event() -> None:
    for item in islice(EventGenerator(2, lambda: NOON), 3000):
        row = decoded(item.value)
        assert row[0] == item.event["event_type"]


@pytest.mark.parametrize("kind", INVALID_KINDS.values(), ids=INVALID_KINDS.keys())
def test_the_contract_refuses_every_kind_of_invalid_message(kind: InvalidKind) -> None:
    victims = (item.event for item in EventGenerator(4, lambda: NOON) if kind.fits(item.event))
    for victim in islice(victims, 20):
        before = json.dumps(victim, default=str)
        with pytest.raises(InvalidEvent):
            decoded(kind.spoil(victim))
        assert json.dumps(victim, default=str) == before


def test_the_invalid_share_is_kept_and_runs_through_every_kind() -> None:
    items = list(islice(generate_labelled(9, 0.1, lambda: NOON), 10_000))
    kinds = Counter(item.invalid_kind for item in items)
    assert kinds.pop(None) == 9000
    assert set(kinds) == set(INVALID_KINDS)
    assert max(kinds.values()) - min(kinds.values()) <= 1


def test_invalid_messages_do_not_change_the_valid_ones() -> None:
    spoilt = generate_labelled(9, 0.3, lambda: NOON)
    left = [item for item in islice(spoilt, 3000) if item.invalid_kind is None]
    assert left == list(islice(EventGenerator(9, lambda: NOON), len(left)))


@pytest.mark.parametrize(("rate", "invalid"), [(0.0, 0), (1.0, 300), (0.01, 3)])
def test_any_share_is_possible(rate: float, invalid: int) -> None:
    items = islice(generate_labelled(1, rate, lambda: NOON), 300)
    assert sum(item.invalid_kind is not None for item in items) == invalid


@pytest.mark.parametrize("rate", [-0.1, 1.1])
def test_a_rate_that_is_no_share_is_refused(rate: float) -> None:
    with pytest.raises(ValueError, match="between 0 and 1"):
        next(generate(1, rate, lambda: NOON))


def test_messages_carry_the_event_id_of_valid_events_only() -> None:
    def pairs() -> Iterator[tuple[str | None, str | None]]:
        labelled, messages = generate_labelled(1, 0.5, lambda: NOON), generate(1, 0.5, lambda: NOON)
        for item, message in zip(islice(labelled, 50), messages, strict=False):
            yield (None if item.invalid_kind else item.event["event_metadata"]["event_id"]), message.event_id

    assert all(expected == given for expected, given in pairs())
