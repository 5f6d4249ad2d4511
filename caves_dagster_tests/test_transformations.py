"""RAW to STAGING to PRODUCTION to the views: figures, winners among versions, transactions, repetition."""

from __future__ import annotations

import json
import random
import threading
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from decimal import ROUND_HALF_UP, Decimal
from pathlib import Path
from typing import Any

import pytest

from caves_dagster.assets.transformation import transform
from caves_dagster.errors import StatementFailed
from caves_dagster.warehouse.connection import Row, Warehouse
from caves_dagster.warehouse.scripts import transformation_sql
from caves_dagster_tests.conftest import Caves
from caves_dagster_tests.raw_rows import NOON, Feed, RawRow, consume_all, insert_raw
from caves_dagster_tests.versions import (
    PRODUCED,
    STAGED,
    event_time,
    expected_production,
    in_order,
    rows_of,
    split,
    versions,
)

_STREAMS = (
    "RAW_DATA.STREAM_RAW_EVENTS",
    "STAGING.STREAM_STG_ORDERS",
    "STAGING.STREAM_STG_INVENTORY_FOR_HISTORY",
    "STAGING.STREAM_STG_INVENTORY_FOR_CURRENT",
)


_at = datetime.fromisoformat
"""A moment without a zone, as TIMESTAMP_NTZ is read."""


def _move(caves: Caves, rows: Sequence[RawRow]) -> dict[str, int]:
    insert_raw(caves.warehouse, rows)
    return consume_all(caves.warehouse, caves.shop)


def _only(rows: Iterable[Row]) -> Row:
    (row,) = rows
    return row


# --- figures ---


def test_an_order_and_an_adjustment_are_typed_exactly(caves: Caves) -> None:
    order = Feed().order(where={"recorded": NOON + timedelta(milliseconds=7), "partition": 3})
    _move(caves, [order, Feed().adjustment(quantity_change=-3, stock_level=0)])

    row = _only(caves.warehouse.query("SELECT * FROM PRODUCTION.ORDERS"))
    assert row.pop("LOADED_AT") == row.pop("UPDATED_AT")
    assert row == {
        "ORDER_LINE_ID": 67890,
        "CUSTOMER_ID": 42,
        "PRODUCT_ID": 1015,
        "PRODUCT_NAME": "Chardonnay Réserve 🥂",
        "PRODUCT_CATEGORY": "Blanc",
        "QUANTITY": 6,
        "UNIT_PRICE": Decimal("18.50"),
        "DISCOUNT": Decimal("0.1500"),
        "TOTAL_AMOUNT": Decimal("94.35"),
        "BOTTLE_SIZE_LITERS": Decimal("0.750"),
        "SALES_CHANNEL": "E-com",
        "EVENT_TIME": _at("2026-07-28 11:00"),
        "ORDER_DATE": date(2026, 7, 28),
        "KAFKA_TOPIC": "sales_events",
        "KAFKA_PARTITION": 3,
        "KAFKA_OFFSET": 0,
        "KAFKA_TIMESTAMP": _at("2026-07-28 12:00:00.007000"),
    }
    assert [type(row[name]) for name in ("UNIT_PRICE", "DISCOUNT", "TOTAL_AMOUNT")] == [Decimal] * 3
    staged = _only(caves.warehouse.query("SELECT * FROM STAGING.STG_ORDERS"))
    assert staged["INGESTION_TIME"] == NOON.replace(tzinfo=None)

    row = _only(caves.warehouse.query("SELECT * FROM PRODUCTION.INVENTORY_HISTORY"))
    assert (row["ADJUSTMENT_ID"], row["ADJUSTMENT_TYPE"]) == (5001, "RESTOCK")
    assert (row["QUANTITY_CHANGE"], row["STOCK_LEVEL"]) == (-3, 0)
    current = _only(caves.warehouse.query("SELECT * FROM PRODUCTION.INVENTORY_CURRENT"))
    assert (current["WAREHOUSE_LOCATION"], current["CURRENT_STOCK_LEVEL"]) == ("Lyon", 0)
    assert current["LAST_MOVEMENT_AT"] == _at("2026-07-28 11:00")
    assert current["LAST_ADJUSTMENT_ID"] == 5001


def test_amounts_round_half_away_from_zero_and_what_does_not_fit_is_null(caves: Caves) -> None:
    written = {
        "18.5": "18.50",
        "0": "0.00",
        "0.005": "0.01",
        "0.004999": "0.00",
        "1.005": "1.01",
        "2.675": "2.68",
        "94.345": "94.35",
        "94.3449999": "94.34",
        "0.125": "0.13",
        "1e2": "100.00",
        "99999999.99": "99999999.99",
        "99999999.994": "99999999.99",
        "99999999.995": None,
        "123456789": None,
        "null": None,
        '"7"': "7.00",
        '"a lot"': None,
        '{"euros": 7}': None,
        "true": None,
    }
    feed = Feed()
    rows = [
        replace(row, content=row.content.replace('"total_price": 94.35', f'"total_price": {text}'))
        for text in written
        for row in [feed.order(feed.offset + 1)]
    ]
    _move(caves, rows)

    found = caves.warehouse.query("SELECT TOTAL_AMOUNT FROM PRODUCTION.ORDERS ORDER BY ORDER_LINE_ID")
    amounts = [row["TOTAL_AMOUNT"] for row in found]
    assert dict(zip(written, amounts, strict=True)) == {
        text: None if amount is None else Decimal(amount) for text, amount in written.items()
    }


def test_times_with_any_offset_become_utc_and_so_does_the_date(caves: Caves) -> None:
    written = {
        "2026-07-28T11:00:00Z": _at("2026-07-28 11:00"),
        "2026-07-28T01:30:00+02:00": _at("2026-07-27 23:30"),
        "2026-07-28T20:45:00-05:30": _at("2026-07-29 02:15"),
        "2026-12-31T23:59:59.999-00:01": _at("2027-01-01 00:00:59.999000"),
        "2026-07-28T11:00:00.123456Z": _at("2026-07-28 11:00:00.123456"),
        "1970-01-01T00:00:00+00:00": _at("1970-01-01 00:00"),
        "2199-12-31T23:59:59Z": _at("2199-12-31 23:59:59"),
        "2024-02-29T12:00:00+14:00": _at("2024-02-28 22:00"),
        "yesterday": None,
        "2026-02-30T12:00:00Z": None,
    }
    feed = Feed()
    _move(caves, [feed.order(feed.offset + 1, timestamp=text) for text in written])

    found = caves.warehouse.query(
        "SELECT EVENT_TIME, ORDER_DATE FROM PRODUCTION.ORDERS ORDER BY ORDER_LINE_ID"
    )
    times = [row["EVENT_TIME"] for row in found]
    assert dict(zip(written, times, strict=True)) == written
    assert [row["ORDER_DATE"] for row in found] == [at.date() if at else None for at in written.values()]


def test_integers_of_64_bits_and_any_text_come_through(caves: Caves) -> None:
    feed = Feed()
    names = ["Château d'Yquem 🥂🇫🇷", 'L"été; DROP TABLE', "a\\b", "é" * 200, "-- '' {{ source }} %(x)s"]
    _move(caves, [feed.order(2**63 - 1 - place, product_name=name) for place, name in enumerate(names)])

    found = caves.warehouse.query("SELECT * FROM PRODUCTION.ORDERS ORDER BY ORDER_LINE_ID DESC")
    assert [row["PRODUCT_NAME"] for row in found] == names
    assert [row["ORDER_LINE_ID"] for row in found] == [2**63 - 1 - place for place in range(len(names))]


def test_a_row_that_cannot_be_read_does_not_block_the_stream(caves: Caves) -> None:
    feed = Feed()
    _move(
        caves,
        [
            feed.order(None),
            feed.order("x", unit_price="dear", discount=7, quantity=1e40, bottle_size_liters=1000),
            feed.order(1, unit_price="dear", discount=70, quantity=[1], total_price=-1e9, timestamp=12),
            feed.adjustment(None),
            feed.adjustment(2, warehouse=None, quantity_change="many"),
            feed.adjustment(3, timestamp="soon"),
            feed.adjustment(4, stock_level="full", timestamp="2026-07-28T11:59:00Z"),
            feed.adjustment(5),
        ],
    )

    assert (caves.count("STAGING.STG_ORDERS"), caves.count("STAGING.STG_INVENTORY_ADJUSTMENTS")) == (3, 5)
    assert [caves.count(stream) for stream in _STREAMS] == [0, 0, 0, 0]
    order = _only(caves.warehouse.query("SELECT * FROM PRODUCTION.ORDERS"))
    unread = ("UNIT_PRICE", "DISCOUNT", "QUANTITY", "TOTAL_AMOUNT", "EVENT_TIME", "ORDER_DATE")
    assert [order[name] for name in unread] == [None] * 6
    assert order["PRODUCT_NAME"] == "Chardonnay Réserve 🥂"
    history = caves.warehouse.query("SELECT ADJUSTMENT_ID AS K FROM PRODUCTION.INVENTORY_HISTORY ORDER BY K")
    assert [row["K"] for row in history] == [2, 3, 4, 5]
    # Neither a movement without a time nor one without a level says how much there is.
    current = _only(caves.warehouse.query("SELECT * FROM PRODUCTION.INVENTORY_CURRENT"))
    assert (current["LAST_ADJUSTMENT_ID"], current["CURRENT_STOCK_LEVEL"]) == (5, 124)


_NO_EVENTS = (
    "null", "true", "7", '"order_line_id"', "[]", "{}", '[{"order_line_id": 1, "adjustment_id": 1}]',
    '{"a": ' * 60 + "1" + "}" * 60,
)  # fmt: skip
"""JSON that is no event."""
_VALUES = {
    "missing": "",
    "null": "null",
    "false": "false",
    "empty text": '""',
    "text": '"beaucoup"',
    "long text": json.dumps("é🥂" * 5_000),
    "5,000 zeros": json.dumps("0" * 5_000),
    "NUL and quotes": json.dumps("\0'\\\"%(x)s"),
    "array": "[1, [2], null]",
    "object": '{"a": {"b": [1]}}',
    "fraction": "1.5",
    "more than 64 bits": "9223372036854775808",
    "less than 64 bits": "-9223372036854775809",
    "38 digits": "9" * 38,
    "39 digits": "9" * 39,
    "largest float": "1.7976931348623157e308",
    "smallest float": "-5e-324",
    "infinity": '"infinity"',
    "minus infinity": '"-infinity"',
    "not a number": '"NaN"',
    "year 200000": '"200000-01-01T00:00:00Z"',
    "year 10000 in UTC": '"9999-12-31T23:59:59-14:00"',
    "before Christ": '"0044-03-15 (BC) 00:00:00+00:00"',
    "1969 in UTC": '"1970-01-01T00:00:00+00:01"',
    "2200 in UTC": '"2199-12-31T23:59:59-00:01"',
}
"""What any field may hold instead, as JSON."""


def _with_every_field(row: RawRow, text: str, kept: Sequence[str] = ()) -> RawRow:
    fields = {key: json.dumps(value) if key in kept else text for key, value in row.event.items()}
    content = ", ".join(f'"{key}": {value}' for key, value in fields.items() if value)
    return replace(row, content="{" + content + "}", product_id=1015)


def test_whatever_a_row_of_raw_holds_the_streams_are_drained(caves: Caves) -> None:
    feed, good = Feed(offset=1), Feed(offset=100_000)
    rows: list[RawRow] = []
    for text in _NO_EVENTS:
        rows += [replace(row, content=text, product_id=1015) for row in (feed.order(), feed.adjustment())]
    for text in _VALUES.values():
        # Without a key, and with one, so that the other fields come as far as PRODUCTION.
        rows += [_with_every_field(row, text) for row in (feed.order(), feed.adjustment())]
        pair = feed.order(feed.offset), feed.adjustment(feed.offset)
        rows += [
            _with_every_field(row, text, ("order_line_id", "adjustment_id", "warehouse")) for row in pair
        ]
    for place in range(0, len(rows) + 3, 10):
        rows[place:place] = [
            good.order(good.offset, product_id=2000),
            good.adjustment(good.offset, product_id=2000 + place),
        ]
    _move(caves, rows)

    assert [caves.count(stream) for stream in _STREAMS] == [0, 0, 0, 0]
    assert [caves.count(table) for table in STAGED] == [len(rows) / 2] * 2
    for table, expected in expected_production(good.rows).items():
        found = [row for row in rows_of(caves, table) if row["KAFKA_OFFSET"] >= 100_000]
        assert found == sorted(expected, key=repr)
    others = [row for row in rows_of(caves, "PRODUCTION.ORDERS") if row["KAFKA_OFFSET"] < 100_000]
    keyed = {row["ORDER_LINE_ID"]: row for row in others if row["ORDER_LINE_ID"] == row["KAFKA_OFFSET"]}
    by_value = dict(zip(_VALUES, (keyed[key] for key in sorted(keyed)), strict=True))
    assert {name for name, row in by_value.items() if row["EVENT_TIME"]} == set()
    assert {name for name, row in by_value.items() if row["QUANTITY"] is not None} == {
        "5,000 zeros", "fraction", "smallest float",
    }  # fmt: skip
    # What is read of it can be read.
    for view in caves.shop.views:
        caves.warehouse.query(f"SELECT * FROM {view.full_name}")


def test_a_text_that_is_too_long_is_cut_to_its_column_and_raw_keeps_it(caves: Caves) -> None:
    feed = Feed()
    long = "é🥂" * 101
    order = feed.order(1, product_name=long, category=long, sales_channel=long)
    movement = feed.adjustment(2, product_name=long, category=long, warehouse=long, adjustment_type=long)
    _move(caves, [order, movement])

    row = _only(caves.warehouse.query("SELECT * FROM PRODUCTION.ORDERS"))
    assert [row[name] for name in ("PRODUCT_NAME", "PRODUCT_CATEGORY", "SALES_CHANNEL")] == [
        long[:200], long[:50], long[:100],
    ]  # fmt: skip
    row = _only(caves.warehouse.query("SELECT * FROM PRODUCTION.INVENTORY_HISTORY"))
    names = ("PRODUCT_NAME", "PRODUCT_CATEGORY", "WAREHOUSE_LOCATION", "ADJUSTMENT_TYPE")
    assert [row[name] for name in names] == [long[:200], long[:50], long[:100], long[:50]]
    current = _only(caves.warehouse.query("SELECT * FROM PRODUCTION.INVENTORY_CURRENT"))
    assert current["WAREHOUSE_LOCATION"] == long[:100]
    kept = caves.warehouse.query(
        "SELECT EVENT_CONTENT:product_name::VARCHAR AS N FROM RAW_DATA.RAW_EVENTS_STREAM"
    )
    assert [row["N"] for row in kept] == [long, long]


# --- which version wins ---


def _production(caves: Caves) -> dict[str, list[dict[str, Any]]]:
    return {table: rows_of(caves, table) for table in PRODUCED}


def _shifted(row: RawRow, by: int) -> RawRow:
    """The same record about other keys."""
    keys = {"order_line_id", "adjustment_id", "product_id"} & row.event.keys()
    return row.changed(**{key: row.event[key] + by for key in keys})


def test_every_order_of_arrival_and_every_split_gives_the_same_rows(caves: Caves) -> None:
    """Thirty permutations of each of two sets, side by side with keys of their own: one wait for all."""
    chance = random.Random(1)
    sets = [versions(chance), versions(chance)]
    permutations = [
        split(chance, [_shifted(row, by=1000 * number) for row in sets[number % 2]], count=5)
        for number in range(60)
    ]
    for batches in zip(*permutations, strict=True):
        _move(caves, [row for batch in batches for row in batch])

    expected = expected_production([row for batches in permutations for batch in batches for row in batch])
    assert _production(caves) == in_order(expected)
    assert all(found and len(found) % 30 == 0 for found in expected.values())


_TIES: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "record timestamp": ({"recorded": NOON, "offset": 9}, {"recorded": NOON + timedelta(seconds=1)}),
    "no record timestamp": ({"recorded": None, "offset": 9}, {"recorded": NOON, "offset": 1}),
    "topic": ({"topic": "a", "partition": 9}, {"topic": "b"}),
    "partition": ({"partition": 9, "offset": 100}, {"partition": 10, "offset": 1}),
    "offset": ({"offset": 99}, {"offset": 100}),
}


@pytest.mark.parametrize("arrival", ["together", "loser first", "winner first"])
def test_ties_of_the_event_time_are_broken_by_the_record(caves: Caves, arrival: str) -> None:
    feed = Feed()
    losers, winners = [], []
    for key, (loses, wins) in enumerate(_TIES.values(), start=1):
        losers += [
            feed.order(key, loses, quantity=1),
            feed.adjustment(key, loses, quantity_change=1, product_id=key),
        ]
        winners += [
            feed.order(key, wins, quantity=2),
            feed.adjustment(key, wins, quantity_change=2, product_id=key),
        ]
    orders = {
        "together": [losers + winners],
        "loser first": [losers, winners],
        "winner first": [winners, losers],
    }
    for batch in orders[arrival]:
        _move(caves, batch)

    found = caves.warehouse.query("SELECT QUANTITY FROM PRODUCTION.ORDERS ORDER BY ORDER_LINE_ID")
    assert dict(zip(_TIES, [row["QUANTITY"] for row in found], strict=True)) == dict.fromkeys(_TIES, 2)
    moved = caves.warehouse.query(
        "SELECT QUANTITY_CHANGE AS Q FROM PRODUCTION.INVENTORY_HISTORY ORDER BY ADJUSTMENT_ID"
    )
    assert [row["Q"] for row in moved] == [2] * len(_TIES)
    current = caves.warehouse.query(
        "SELECT KAFKA_OFFSET AS O FROM PRODUCTION.INVENTORY_CURRENT ORDER BY PRODUCT_ID"
    )
    winning = [row.offset for row in winners if row.event_type == "INVENTORY_ADJUSTED"]
    assert [row["O"] for row in current] == winning


def test_an_event_without_a_readable_time_loses_to_any_other(caves: Caves) -> None:
    feed = Feed()
    late = feed.order(1, timestamp="1999-01-01T00:00:00Z", quantity=2)
    unread = feed.order(1, timestamp="one day", quantity=1)
    for batch in ([unread], [late], [unread]):
        _move(caves, batch)

    assert _only(caves.warehouse.query("SELECT QUANTITY FROM PRODUCTION.ORDERS"))["QUANTITY"] == 2


def test_a_late_movement_never_overwrites_the_stock_and_history_keeps_it(caves: Caves) -> None:
    feed = Feed()
    _move(caves, [feed.adjustment(1, stock_level=10, timestamp="2026-07-28T11:00:00Z")])
    _move(caves, [feed.adjustment(2, stock_level=99, timestamp="2026-07-28T12:59:59.999+02:00")])
    _move(caves, [feed.adjustment(3, stock_level=7, timestamp="2026-07-28T13:00:00.001+02:00")])

    current = _only(caves.warehouse.query("SELECT * FROM PRODUCTION.INVENTORY_CURRENT"))
    assert (current["CURRENT_STOCK_LEVEL"], current["LAST_ADJUSTMENT_ID"]) == (7, 3)
    assert caves.count("PRODUCTION.INVENTORY_HISTORY") == 3


def test_an_event_more_than_a_day_ahead_of_its_ingestion_never_wins_the_stock(caves: Caves) -> None:
    feed = Feed()
    ahead = feed.adjustment(1, stock_level=99, timestamp="2026-07-29T12:00:00.001Z")
    at_the_limit = feed.adjustment(2, stock_level=10, product_id=1016, timestamp="2026-07-29T12:00:00Z")
    sound = feed.adjustment(3, stock_level=7, timestamp="2026-07-28T11:00:00Z")
    _move(caves, [ahead, at_the_limit])
    _move(caves, [sound])

    found = caves.warehouse.query(
        "SELECT CURRENT_STOCK_LEVEL AS L FROM PRODUCTION.INVENTORY_CURRENT ORDER BY PRODUCT_ID"
    )
    assert [row["L"] for row in found] == [7, 10]
    assert caves.count("PRODUCTION.INVENTORY_HISTORY") == 3


# --- repetition and rebuilding ---


def _pass_the_tables(caves: Caves) -> int:
    """Every transformation with the table in place of its stream; rows changed."""
    changed = 0
    for step in caves.shop.transformations:
        with caves.warehouse.transaction():
            for table in step.writes:
                for statement in transformation_sql(caves.shop, step.layer, table, step.source):
                    changed += caves.warehouse.execute(statement)
    return changed


def test_rows_that_pass_twice_change_nothing_and_a_rebuild_gives_the_same(caves: Caves) -> None:
    rows = versions(random.Random(7))
    _move(caves, rows)
    everything = (*STAGED, *PRODUCED)
    before = {table: rows_of(caves, table, load_times=True) for table in everything}

    assert _pass_the_tables(caves) == 0
    assert {table: rows_of(caves, table, load_times=True) for table in everything} == before
    assert sum(consume_all(caves.warehouse, caves.shop).values()) == 0

    # Landed a second time, as after a rewind: nothing but the raw table grows.
    changed = _move(caves, rows)
    assert (sum(changed.values()), caves.count("RAW_DATA.RAW_EVENTS_STREAM")) == (0, 2 * len(rows))
    assert {table: rows_of(caves, table, load_times=True) for table in everything} == before

    for table in everything:
        caves.warehouse.execute(f"DELETE FROM {table}")
    assert _pass_the_tables(caves) > 0
    assert _production(caves) == in_order(expected_production(rows))


def test_the_first_load_time_of_a_line_stays_when_it_changes(caves: Caves) -> None:
    feed = Feed()
    _move(caves, [feed.order(1)])
    first = _only(caves.warehouse.query("SELECT LOADED_AT, UPDATED_AT FROM PRODUCTION.ORDERS"))
    _move(caves, [feed.order(1, timestamp="2026-07-28T11:00:01Z")])
    second = _only(caves.warehouse.query("SELECT LOADED_AT, UPDATED_AT FROM PRODUCTION.ORDERS"))

    assert second["LOADED_AT"] == first["LOADED_AT"]
    assert second["UPDATED_AT"] > first["UPDATED_AT"]


def test_an_empty_stream_is_consumed_without_a_change(caves: Caves) -> None:
    assert set(consume_all(caves.warehouse, caves.shop).values()) == {0}


# --- one transaction ---


def test_a_failure_in_the_second_table_undoes_the_first_and_leaves_the_stream(
    caves: Caves, tmp_path: Path
) -> None:
    feed = Feed()
    rows = [feed.order(1), feed.order(2), feed.adjustment(1)]
    insert_raw(caves.warehouse, rows)
    broken = tmp_path / "caves" / "staging" / "stg_inventory_adjustments.sql"
    broken.parent.mkdir(parents=True)
    broken.write_text(
        "INSERT INTO STAGING.STG_INVENTORY_ADJUSTMENTS (EVENT_ID) SELECT EVENT_ID FROM {{ source }};"
    )
    step = caves.shop.transformations[0]

    with pytest.raises(StatementFailed):
        transform(caves.warehouse, replace(caves.shop, sql=tmp_path), step)

    assert [caves.count(table) for table in STAGED] == [0, 0]
    assert [caves.count(stream) for stream in _STREAMS] == [3, 0, 0, 0]
    assert set(transform(caves.warehouse, caves.shop, step).values()) == {2, 1}
    assert [caves.count(stream) for stream in _STREAMS] == [0, 2, 1, 1]


def test_two_consumers_at_once_double_nothing_and_both_end(caves: Caves) -> None:
    rounds, failures = 2, []
    totals: dict[str, int] = defaultdict(int)
    lock, start = threading.Lock(), threading.Barrier(2, timeout=60)
    feed = Feed()

    def consume() -> None:
        try:
            with Warehouse(caves.settings.snowflake) as warehouse:
                for _ in range(rounds):
                    start.wait()
                    changed = consume_all(warehouse, caves.shop)
                    with lock:
                        for table, count in changed.items():
                            totals[table] += count
                    start.wait()
        except BaseException as error:  # noqa: BLE001 - handed to the test's thread
            failures.append(error)
            start.abort()

    threads = [threading.Thread(target=consume, daemon=True) for _ in range(2)]
    insert_raw(
        caves.warehouse, [feed.order(n) for n in range(300)] + [feed.adjustment(n) for n in range(200)]
    )
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(timeout=120)

    assert failures == []
    assert not any(thread.is_alive() for thread in threads)
    consume_all(caves.warehouse, caves.shop)  # what one staged after the other had looked
    assert [caves.count(stream) for stream in _STREAMS] == [0, 0, 0, 0]
    assert [caves.count(table) for table in (*STAGED, *PRODUCED)] == [300, 200, 300, 200, 1]
    assert (totals["STAGING.STG_ORDERS"], totals["STAGING.STG_INVENTORY_ADJUSTMENTS"]) == (300, 200)


# --- views ---


def _rounded(value: Decimal) -> Decimal:
    return value.quantize(Decimal("0.01"), ROUND_HALF_UP)


def test_the_views_give_the_figures_that_decimals_give(caves: Caves) -> None:
    chance = random.Random(3)
    feed = Feed()
    for number in range(1, 121):
        product = 1000 + number % 12
        feed.order(
            number,
            product_id=product,
            product_name=f"Vin {product}",
            category="Rouge" if product % 2 else "Blanc",
            quantity=chance.randrange(1, 13),
            total_price=chance.randrange(1, 100_000) / 100,
            timestamp=f"2026-07-{20 + number % 7}T23:30:00+0{number % 3}:00",
        )
    orders = feed.rows
    _move(caves, orders)

    by_day: dict[date, list[Decimal]] = defaultdict(list)
    by_wine: dict[tuple[str, str], list[tuple[int, Decimal]]] = defaultdict(list)
    for row in orders:
        amount = Decimal(str(row.event["total_price"]))
        by_day[event_time(row).date()].append(amount)
        by_wine[row.event["product_name"], row.event["category"]].append((row.event["quantity"], amount))

    assert caves.warehouse.query("SELECT * FROM ANALYTICS.DAILY_SALES") == [
        {
            "ORDER_DATE": day,
            "ORDER_COUNT": len(amounts),
            "DAILY_REVENUE": sum(amounts),
            "AVG_ORDER_VALUE": _rounded(sum(amounts, Decimal()) / len(amounts)),
        }
        for day, amounts in sorted(by_day.items(), reverse=True)
    ]
    top = sorted(by_wine.items(), key=lambda item: (-sum(amount for _, amount in item[1]), item[0]))[:10]
    assert caves.warehouse.query("SELECT * FROM ANALYTICS.TOP_WINES") == [
        {
            "PRODUCT_NAME": name,
            "PRODUCT_CATEGORY": category,
            "ORDER_COUNT": len(lines),
            "TOTAL_QUANTITY": sum(quantity for quantity, _ in lines),
            "TOTAL_REVENUE": sum(amount for _, amount in lines),
        }
        for (name, category), lines in top
    ]


def test_averages_round_half_away_from_zero(caves: Caves) -> None:
    feed = Feed()
    halves = {"2026-07-01": ["1.00", "1.01"], "2026-07-02": ["0.01", "0.02"], "2026-07-03": ["2.67", "2.68"]}
    orders = [
        feed.order(feed.offset + 1, total_price=float(amount), timestamp=f"{day}T12:00:00Z")
        for day, amounts in halves.items()
        for amount in amounts
    ]
    # 201 bottles of 200 wines: 1.005 each.
    stock = [feed.adjustment(n, product_id=n, stock_level=2 if n == 1 else 1) for n in range(1, 201)]
    _move(caves, orders + stock)

    days = caves.warehouse.query("SELECT AVG_ORDER_VALUE AS A FROM ANALYTICS.DAILY_SALES ORDER BY ORDER_DATE")
    assert [row["A"] for row in days] == [Decimal("1.01"), Decimal("0.02"), Decimal("2.68")]
    assert caves.warehouse.query("SELECT * FROM ANALYTICS.STOCK_BY_CATEGORY") == [
        {
            "PRODUCT_CATEGORY": "Blanc",
            "PRODUCT_COUNT": 200,
            "TOTAL_STOCK": 201,
            "AVG_STOCK_PER_PRODUCT": Decimal("1.01"),
        }
    ]


def test_stock_counts_a_product_once_over_its_warehouses(caves: Caves) -> None:
    feed = Feed()
    _move(
        caves,
        [
            feed.adjustment(1, warehouse="Lyon", stock_level=3),
            feed.adjustment(2, warehouse="Nîmes", stock_level=4),
            feed.adjustment(3, product_id=1016, stock_level=0),
            feed.adjustment(4, product_id=1017, category="Rouge", stock_level=5),
        ],
    )

    found = caves.warehouse.query("SELECT * FROM ANALYTICS.STOCK_BY_CATEGORY")
    assert [tuple(row.values()) for row in found] == [
        ("Blanc", 2, 7, Decimal("3.50")),
        ("Rouge", 1, 5, Decimal("5.00")),
    ]


_MOST = 2**63 - 1
_DEAREST = Decimal("99999999.99")


def test_the_views_stand_the_contract_s_limits(caves: Caves) -> None:
    feed = Feed()
    for number in range(_MOST, _MOST - 4, -1):
        feed.order(
            number, customer_id=_MOST, product_id=_MOST, product_name="é" * 200, quantity=_MOST,
            unit_price=99_999_999.99, total_price=99_999_999.99, discount=0.9999, bottle_size_liters=99.999,
            timestamp="2199-12-31T23:59:59.999999Z",
        )  # fmt: skip
        feed.adjustment(
            number, product_id=number, quantity_change=-_MOST - 1, stock_level=_MOST, warehouse="é" * 100
        )
    feed.adjustment(1, category="Rouge", stock_level=10**12)
    feed.adjustment(2, category="Rouge", product_id=1016, stock_level=10**12 + 1)
    _move(caves, feed.rows)

    assert caves.warehouse.query("SELECT * FROM ANALYTICS.DAILY_SALES") == [
        {
            "ORDER_DATE": date(2199, 12, 31),
            "ORDER_COUNT": 4,
            "DAILY_REVENUE": 4 * _DEAREST,
            "AVG_ORDER_VALUE": _DEAREST,
        }
    ]
    top = _only(caves.warehouse.query("SELECT * FROM ANALYTICS.TOP_WINES"))
    assert (top["TOTAL_QUANTITY"], top["TOTAL_REVENUE"]) == (4 * _MOST, 4 * _DEAREST)
    blanc, rouge = caves.warehouse.query("SELECT * FROM ANALYTICS.STOCK_BY_CATEGORY")
    assert (blanc["PRODUCT_COUNT"], blanc["TOTAL_STOCK"]) == (4, 4 * _MOST)
    # The local server divides as FLOAT: 15 digits.
    assert float(blanc["AVG_STOCK_PER_PRODUCT"]) == pytest.approx(_MOST, rel=1e-15)
    assert tuple(rouge.values()) == ("Rouge", 2, 2 * 10**12 + 1, Decimal("1000000000000.50"))


def test_views_of_empty_tables_are_empty(caves: Caves) -> None:
    for view in caves.shop.views:
        assert caves.warehouse.query(f"SELECT * FROM {view.full_name}") == []


def test_consolidated_sales_are_the_history_and_the_orders_and_its_totals_their_sums(caves: Caves) -> None:
    feed = Feed()
    orders = [
        feed.order(n, quantity=n, total_price=n + 0.37, timestamp="2026-07-28T23:30:00-01:00") for n in (1, 2)
    ]
    _move(caves, orders)
    caves.warehouse.execute(
        "INSERT INTO BATCH_DATA.SALES (SALE_ID, SALE_DATE, CUSTOMER_ID, PRODUCT_ID, QUANTITY_SOLD, "
        "TOTAL_PRICE, SALES_CHANNEL) VALUES (1, '2025-06-01 10:00:00', 7, 1003, 3, 30.10, 'Boutique'), "
        "(2, '2025-06-02 11:00:00', 8, 1004, 1, 9.90, NULL)"
    )

    found = caves.warehouse.query(
        "SELECT * FROM ANALYTICS.CONSOLIDATED_SALES ORDER BY SALE_DATE, TOTAL_PRICE"
    )
    assert [tuple(row.values()) for row in found] == [
        (_at("2025-06-01 10:00"), 7, 1003, 3, Decimal("30.10"), "BATCH", 1, "Boutique"),
        (_at("2025-06-02 11:00"), 8, 1004, 1, Decimal("9.90"), "BATCH", 2, None),
        (_at("2026-07-29 00:30"), 42, 1015, 1, Decimal("1.37"), "STREAMING", 1, "E-com"),
        (_at("2026-07-29 00:30"), 42, 1015, 2, Decimal("2.37"), "STREAMING", 2, "E-com"),
    ]
    sums = caves.warehouse.query(
        "SELECT SOURCE, SUM(TOTAL_PRICE) AS S FROM ANALYTICS.CONSOLIDATED_SALES "
        "GROUP BY SOURCE ORDER BY SOURCE"
    )
    (batch,) = caves.warehouse.query("SELECT SUM(TOTAL_PRICE) AS S FROM BATCH_DATA.SALES")
    (streaming,) = caves.warehouse.query("SELECT SUM(TOTAL_AMOUNT) AS S FROM PRODUCTION.ORDERS")
    assert [row["S"] for row in sums] == [batch["S"], streaming["S"]] == [Decimal("40.00"), Decimal("3.74")]


def test_sales_by_channel_are_those_of_the_last_24_hours(caves: Caves) -> None:
    feed, now = Feed(), datetime.now(UTC)
    for channel, hours, price in (
        ("E-com", 0.1, 1.00),
        ("E-com", 23.9, 1.01),
        ("E-com", 24.1, 500.0),
        ("Salon", 1, 7.5),
        ("Boutique", 25, 3.0),
        ("Boutique", -2, 3.0),
    ):
        at = (now - timedelta(hours=hours)).isoformat()
        feed.order(feed.offset + 1, sales_channel=channel, total_price=price, timestamp=at)
    _move(caves, feed.rows)

    found = caves.warehouse.query("SELECT * FROM ANALYTICS.SALES_BY_CHANNEL")
    assert [tuple(row.values()) for row in found] == [
        ("E-com", 2, Decimal("1.01")),
        ("Salon", 1, Decimal("7.50")),
    ]


def test_adjustments_by_type_and_what_is_low_in_stock(caves: Caves) -> None:
    feed = Feed()
    feed.adjustment(1, adjustment_type="DAMAGE", quantity_change=-4, stock_level=9, product_id=1)
    feed.adjustment(2, adjustment_type="DAMAGE", quantity_change=-1, stock_level=10, product_id=2)
    feed.adjustment(3, adjustment_type="RESTOCK", quantity_change=_MOST, stock_level=_MOST, product_id=3)
    feed.adjustment(4, adjustment_type="RESTOCK", quantity_change=_MOST, stock_level=0, product_id=4)
    _move(caves, feed.rows)

    found = caves.warehouse.query("SELECT * FROM ANALYTICS.ADJUSTMENTS_BY_TYPE")
    assert [tuple(row.values()) for row in found] == [("DAMAGE", 2, -5), ("RESTOCK", 2, 2 * _MOST)]
    low = caves.warehouse.query("SELECT * FROM ANALYTICS.LOW_STOCK")
    assert [(row["PRODUCT_ID"], row["CURRENT_STOCK_LEVEL"]) for row in low] == [(4, 0), (1, 9)]
    assert low[0]["WAREHOUSE_LOCATION"] == "Lyon"
    assert low[0]["LAST_MOVEMENT_AT"] == _at("2026-07-28 11:00")
