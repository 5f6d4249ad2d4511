"""Generated payloads through decode, landing, staging and production, held against an independent reading.

Each is a row equal to what was sent, or a dead letter with the bytes that were sent. `--fuzz-seed` gives
other payloads, `--fuzz-payloads` another number of them in a round.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from decimal import ROUND_HALF_UP, Decimal
from pathlib import Path
from typing import Any

import pytest

from caves_dagster.ingest.batch import DeadLetter, build
from caves_dagster.ingest.land import Lander, Landing
from caves_dagster.ingest.reader import KafkaMessage, Progress, Read
from caves_dagster.kafka.client import TopicState, Watermarks
from caves_dagster.local.platform import Platform
from caves_dagster.warehouse.connection import Row
from caves_dagster_tests.brokers import Broker
from caves_dagster_tests.conftest import Caves, caves_on
from caves_dagster_tests.ingest.accounting import accounted_for, require_sound
from caves_dagster_tests.ingest.fuzz.payloads import MAX_EVENT_BYTES, Payload, payloads
from caves_dagster_tests.ingest.fuzz.reading import Event, Refused, exact, read
from caves_dagster_tests.raw_rows import consume_all

# One process makes them once.
pytestmark = pytest.mark.xdist_group("fuzz")

# The first round is in every run of the tests, the others are slow ones: 120,000 payloads in all.
ROUNDS = 6
BATCH = 10_000
_LAST_TIMESTAMP_MS = 7_258_118_399_999


@dataclass
class Fuzzed:
    """What was sent, by offset, and which of it is an event; the rest ought to be dead letters."""

    caves: Caves
    sent: list[Payload] = field(default_factory=list)
    valid: dict[int, Event] = field(default_factory=dict)
    refused: list[DeadLetter] = field(default_factory=list)
    ingested_at: datetime | None = None

    def rows(self, table: str, columns: str = "*") -> Iterator[Row]:
        """A table's rows in the order of offsets, a part at a time."""
        for start in range(0, len(self.sent), BATCH):
            yield from self.caves.warehouse.query(
                f"SELECT {columns} FROM {table} WHERE KAFKA_OFFSET BETWEEN {start} AND {start + BATCH - 1} "
                "ORDER BY KAFKA_OFFSET"
            )


@pytest.fixture(
    scope="module", params=[0, *(pytest.param(number, marks=pytest.mark.slow) for number in range(1, ROUNDS))]
)
def fuzzed(
    request: pytest.FixtureRequest,
    platform: Platform,
    embedded_broker: Broker,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Fuzzed]:
    """A round's payloads, landed in large batches and carried to production after each."""
    seed = request.config.getoption("--fuzz-seed") + request.param
    count = request.config.getoption("--fuzz-payloads")
    folder = tmp_path_factory.mktemp("fuzz")
    print(f"{count} payloads of seed {seed}")  # noqa: T201 - pytest shows it beside a failure
    with caves_on(platform, embedded_broker, f"fuzz_{request.param}") as caves:
        found = Fuzzed(caves)
        for payload in payloads(caves.shop, seed, count):
            with suppress(Refused):
                found.valid[len(found.sent)] = read(payload.value, MAX_EVENT_BYTES)
            found.sent.append(payload)
        for start in range(0, count, BATCH):
            land(found, start, folder)
            consume_all(caves.warehouse, caves.shop)
        yield found


def land(fuzzed: Fuzzed, start: int, folder: Path) -> None:
    """Land one batch, as an ingestion would that had read it."""
    caves = fuzzed.caves
    part = fuzzed.sent[start : start + BATCH]
    end = start + len(part)
    topic = caves.shop.topic
    messages = [
        KafkaMessage(topic, 0, offset, sent.timestamp_ms, sent.key, sent.value, sent.headers)
        for offset, sent in enumerate(part, start)
    ]
    batch = build(
        Read(messages, {0: Progress(start, end, end - 1)}), caves.shop.contract, MAX_EVENT_BYTES, folder
    )
    state = TopicState("cluster", topic, "topic", {0: Watermarks(0, end)})
    Lander(caves.warehouse, caves.shop).land(batch, Landing(state, {0: start or None}, (), "fuzz"))
    fuzzed.refused += [letter for letter in batch.dead if letter.failure_class == "LANDING"]
    fuzzed.ingested_at = fuzzed.ingested_at or batch.ingested_at


def stamp(sent: Payload) -> datetime | None:
    """The record's timestamp as the tables hold it."""
    ms = sent.timestamp_ms
    if ms is None or not 0 <= ms <= _LAST_TIMESTAMP_MS:
        return None
    return datetime(1970, 1, 1, tzinfo=UTC) + timedelta(milliseconds=ms)


def test_there_is_enough_of_either_kind(fuzzed: Fuzzed) -> None:
    assert len(fuzzed.sent) // 4 < len(fuzzed.valid) < len(fuzzed.sent) * 3 // 4


def test_every_payload_is_a_row_or_a_dead_letter_and_as_the_contract_has_it(fuzzed: Fuzzed) -> None:
    rows = [row["KAFKA_OFFSET"] for row in fuzzed.rows("RAW_DATA.RAW_EVENTS_STREAM", "KAFKA_OFFSET")]
    dead = [row["KAFKA_OFFSET"] for row in fuzzed.rows("RAW_DATA.DEAD_LETTER_EVENTS", "KAFKA_OFFSET")]
    wrongly = {offset: fuzzed.sent[offset].value for offset in {*rows} ^ {*fuzzed.valid}}
    assert wrongly == {}
    assert sorted([*rows, *dead]) == list(range(len(fuzzed.sent))), "each exactly once"
    assert accounted_for(fuzzed.caves).status == "PASS"


def test_no_payload_makes_the_warehouse_refuse_its_batch(fuzzed: Fuzzed) -> None:
    assert fuzzed.refused == []


def test_every_row_is_equal_to_what_was_sent(fuzzed: Fuzzed) -> None:
    unequal = {}
    for row in fuzzed.rows("RAW_DATA.RAW_EVENTS_STREAM"):
        sent, event = fuzzed.sent[row["KAFKA_OFFSET"]], fuzzed.valid[row["KAFKA_OFFSET"]]
        found = (
            row["EVENT_TYPE"],
            row["PRODUCT_ID"],
            row["CUSTOMER_ID"],
            row["EVENT_ID"],
            row["KAFKA_TIMESTAMP"],
            exact(row["EVENT_METADATA"]),
            exact(row["EVENT_CONTENT"]),
            exact(row["EVENT_EXTRA"] or "{}"),
        )
        expected = (
            event.event_type,
            event.content["product_id"],
            event.content["customer_id"] if event.event_type == "ORDER_CREATED" else None,
            event.metadata["event_id"].lower(),
            stamp(sent),
            event.metadata,
            event.content,
            event.extra,
        )
        if found != expected:
            unequal[row["KAFKA_OFFSET"]] = (sent.value, found)
    assert unequal == {}


def test_every_dead_letter_holds_the_bytes_that_were_sent(fuzzed: Fuzzed) -> None:
    unequal = {}
    for row in fuzzed.rows("RAW_DATA.DEAD_LETTER_EVENTS"):
        sent = fuzzed.sent[row["KAFKA_OFFSET"]]
        headers = [
            (one["name"], None if one["value"] is None else base64.b64decode(one["value"]))
            for one in json.loads(row["HEADERS"])
        ]
        found = Payload(_bytes(row["MESSAGE_KEY"]), _bytes(row["VALUE"]), headers, sent.timestamp_ms)
        told = row["FAILURE_CLASS"] and row["FAILURE_REASON"] and row["FAILURE_PATH"].startswith("$")
        if found != sent or row["KAFKA_TIMESTAMP"] != stamp(sent) or not told:
            unequal[row["KAFKA_OFFSET"]] = (sent, found)
    assert unequal == {}


def _bytes(value: Any) -> bytes | None:
    return None if value is None else bytes(value)


# --- staging and production


def decimal(value: Any, places: int) -> Decimal:
    """A figure rounded as its column has it, halves away from zero."""
    return Decimal(value).quantize(Decimal(1).scaleb(-places), ROUND_HALF_UP)


_COMMON: dict[str, Callable[[Event], Any]] = {
    "PRODUCT_ID": lambda event: event.content["product_id"],
    "PRODUCT_NAME": lambda event: event.content["product_name"],
    "PRODUCT_CATEGORY": lambda event: event.content["category"],
    "EVENT_TIME": lambda event: event.time.replace(tzinfo=None),
}
ORDER: dict[str, Callable[[Event], Any]] = _COMMON | {
    "ORDER_LINE_ID": lambda event: event.content["order_line_id"],
    "CUSTOMER_ID": lambda event: event.content["customer_id"],
    "QUANTITY": lambda event: event.content["quantity"],
    "UNIT_PRICE": lambda event: decimal(event.content["unit_price"], 2),
    "DISCOUNT": lambda event: decimal(event.content["discount"], 4),
    "TOTAL_AMOUNT": lambda event: decimal(event.content["total_price"], 2),
    "BOTTLE_SIZE_LITERS": lambda event: decimal(event.content["bottle_size_liters"], 3),
    "SALES_CHANNEL": lambda event: event.content["sales_channel"],
}
ADJUSTMENT: dict[str, Callable[[Event], Any]] = _COMMON | {
    "ADJUSTMENT_ID": lambda event: event.content["adjustment_id"],
    "WAREHOUSE_LOCATION": lambda event: event.content["warehouse"],
    "ADJUSTMENT_TYPE": lambda event: event.content["adjustment_type"],
    "QUANTITY_CHANGE": lambda event: event.content["quantity_change"],
    "STOCK_LEVEL": lambda event: event.content["stock_level"],
}
KINDS = {
    "ORDER_CREATED": ("STAGING.STG_ORDERS", "PRODUCTION.ORDERS", "ORDER_LINE_ID", ORDER),
    "INVENTORY_ADJUSTED": (
        "STAGING.STG_INVENTORY_ADJUSTMENTS",
        "PRODUCTION.INVENTORY_HISTORY",
        "ADJUSTMENT_ID",
        ADJUSTMENT,
    ),
}


def of_kind(fuzzed: Fuzzed, kind: str) -> dict[int, Event]:
    return {offset: event for offset, event in fuzzed.valid.items() if event.event_type == kind}


def newest(fuzzed: Fuzzed, events: dict[int, Event], key: Callable[[Event], Any]) -> dict[Any, int]:
    """The offset of each key's winner: the latest event time, then the latest record."""
    oldest = datetime(1970, 1, 1, tzinfo=UTC)
    found: dict[Any, int] = {}
    for offset in sorted(events, key=lambda o: (events[o].time, stamp(fuzzed.sent[o]) or oldest, o)):
        found[key(events[offset])] = offset
    return found


@pytest.mark.parametrize("kind", KINDS)
def test_every_event_is_staged_with_its_figures(fuzzed: Fuzzed, kind: str) -> None:
    table, _, _, columns = KINDS[kind]
    events = of_kind(fuzzed, kind)
    rows = {row["KAFKA_OFFSET"]: row for row in fuzzed.rows(table)}
    assert rows.keys() == events.keys()
    assert unequal(fuzzed, rows, columns) == {}


@pytest.mark.parametrize("kind", KINDS)
def test_production_holds_the_newest_version_of_each_key(fuzzed: Fuzzed, kind: str) -> None:
    _, table, key, columns = KINDS[kind]
    winners = newest(fuzzed, of_kind(fuzzed, kind), columns[key])
    rows = {row[key]: row for row in fuzzed.rows(table)}
    assert {name: row["KAFKA_OFFSET"] for name, row in rows.items()} == winners
    assert fuzzed.caves.count(table) == len(rows) < len(of_kind(fuzzed, kind)), (
        "no versions met: it shows nothing"
    )
    assert unequal(fuzzed, {row["KAFKA_OFFSET"]: row for row in rows.values()}, columns) == {}


def test_stock_is_that_of_the_newest_movement_of_each_product_and_warehouse(fuzzed: Fuzzed) -> None:
    assert fuzzed.ingested_at is not None
    too_early = fuzzed.ingested_at + timedelta(days=1)
    timely = {
        offset: event
        for offset, event in of_kind(fuzzed, "INVENTORY_ADJUSTED").items()
        if event.time <= too_early
    }
    winners = newest(fuzzed, timely, lambda event: (event.content["product_id"], event.content["warehouse"]))
    rows = list(fuzzed.rows("PRODUCTION.INVENTORY_CURRENT"))
    found = {(row["PRODUCT_ID"], row["WAREHOUSE_LOCATION"]): row["KAFKA_OFFSET"] for row in rows}
    assert (found, len(rows)) == (winners, len(winners))
    levels = {row["KAFKA_OFFSET"]: row["CURRENT_STOCK_LEVEL"] for row in rows}
    assert levels == {offset: timely[offset].content["stock_level"] for offset in winners.values()}


def test_every_check_and_every_view_stands_them(fuzzed: Fuzzed) -> None:
    caves = fuzzed.caves
    require_sound(caves)
    for view in caves.shop.views:
        caves.warehouse.query(f"SELECT * FROM {view.full_name}")


def unequal(
    fuzzed: Fuzzed, rows: dict[int, Row], columns: dict[str, Callable[[Event], Any]]
) -> dict[int, tuple[bytes | None, dict[str, Any]]]:
    """The rows of which a column is not as the event has it, with that column."""
    found = {}
    for offset, row in rows.items():
        event = fuzzed.valid[offset]
        wrong = {
            name: (row[name], value(event)) for name, value in columns.items() if row[name] != value(event)
        }
        if wrong:
            found[offset] = (fuzzed.sent[offset].value, wrong)
    return found
