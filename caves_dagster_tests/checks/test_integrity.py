"""Each check on sound data, and seen to fail with the offending keys when the data is corrupted.

Most corruptions are made in a transaction that is rolled back: the checks run inside it, and the next test
finds the data sound again. PRODUCTION's tables stand without the keys that Snowflake does not enforce either:
else nothing could be there twice.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from caves_dagster.assets.transformation import transform
from caves_dagster.checks.catalogue import integrity_checks, shop_checks
from caves_dagster.checks.check import Check, Outcome, SqlFinder, run_check
from caves_dagster.ingest.run import Ingestion
from caves_dagster.local.platform import Platform
from caves_dagster.warehouse.connection import Row, Warehouse
from caves_dagster.warehouse.scripts import setup_sql, statements
from caves_dagster_tests.brokers import Broker
from caves_dagster_tests.conftest import Caves, caves_on
from caves_dagster_tests.raw_rows import Feed, consume_all, insert_raw

_ALL = {"offsets_accounted_for", "raw_vs_prod_counts", "duplicates"}


def _checked(caves: Caves, since: datetime | None = None) -> dict[str, Outcome]:
    checks = integrity_checks(caves.shop)
    return {one.name: run_check(caves.warehouse, caves.shop, one, since, in_run=True) for one in checks}


def _statuses(outcomes: dict[str, Outcome]) -> dict[str, str]:
    return {name: outcome.status for name, outcome in outcomes.items()}


def _subject(outcome: Outcome, subject: str) -> Row:
    (row,) = [row for row in outcome.rows if row["SUBJECT"] == subject]
    return row


# --- sound data ---


@pytest.fixture(scope="module")
def sound(platform: Platform, embedded_broker: Broker) -> Iterator[Caves]:
    """Events and dead letters landed in several batches and wholly consumed; PRODUCTION without keys."""
    with caves_on(platform, embedded_broker, "checks") as caves:
        for text in setup_sql(caves.shop):
            if match := re.match(r"CREATE TABLE IF NOT EXISTS (PRODUCTION\.\w+)", text):
                caves.warehouse.execute(f"DROP TABLE {match[1]}")
                caves.warehouse.execute(re.sub(r",\s*PRIMARY KEY \([\w, ]+\)", "", text))
        settings = caves.settings.model_copy(update={"batch_max_events": 60})
        for seed in (1, 2):
            caves.publish(caves.events(150, seed=seed, invalid_rate=0.2))
            Ingestion(settings, caves.shop, caves.kafka, caves.warehouse, "test").run()
            consume_all(caves.warehouse, caves.shop)
        yield caves


def test_sound_data_passes_with_the_figures(sound: Caves) -> None:
    outcomes = _checked(sound)

    assert _statuses(outcomes) == dict.fromkeys(_ALL, "PASS")
    orders, adjustments = sound.count("PRODUCTION.ORDERS"), sound.count("PRODUCTION.INVENTORY_HISTORY")
    dead = sound.count("RAW_DATA.DEAD_LETTER_EVENTS")
    assert min(orders, adjustments, dead) > 30
    figures = _subject(outcomes["raw_vs_prod_counts"], "orders")
    assert (figures["IN_RAW"], figures["IN_PRODUCTION"], figures["WAITING"]) == (orders, orders, 0)
    revenue = sound.warehouse.query("SELECT SUM(TOTAL_AMOUNT) AS S FROM PRODUCTION.ORDERS")[0]["S"]
    assert figures["FIGURE_IN_RAW"] == figures["FIGURE_IN_PRODUCTION"] == revenue
    assert _subject(outcomes["raw_vs_prod_counts"], "adjustments")["IN_RAW"] == adjustments
    twice = {row["SUBJECT"]: (row["CHECKED"], row["DISTINCT_KEYS"]) for row in outcomes["duplicates"].rows}
    assert twice == {
        table: (sound.count(table),) * 2
        for table in (
            "PRODUCTION.ORDERS",
            "PRODUCTION.INVENTORY_HISTORY",
            "PRODUCTION.INVENTORY_CURRENT",
            "RAW_DATA.RAW_EVENTS_STREAM",
        )
    }
    accounted = outcomes["offsets_accounted_for"]
    assert _subject(accounted, "offsets add up")["CHECKED"] == orders + adjustments + dead == 300
    assert _subject(accounted, "ranges join")["CHECKED"] >= 6
    assert {row["SUBJECT"] for row in accounted.rows} == {
        "ranges join",
        "offsets add up",
        "nothing lost",
        "same cluster",
    }


def test_empty_tables_do_not_pass(caves: Caves) -> None:
    """Nobody has seen that all is well."""
    outcomes = _checked(caves)

    assert _statuses(outcomes) == dict.fromkeys(_ALL, "WARN")
    assert all(outcome.said.startswith("There was nothing to check") for outcome in outcomes.values())
    for outcome in outcomes.values():
        for row in outcome.rows:
            assert {value for value in row.values() if isinstance(value, int)} <= {0}
            assert row["OFFENDING_KEYS"] in (None, "")
    assert [len(outcome.rows) for outcome in outcomes.values()] == [4, 2, 4]


# --- corrupted data ---

_RAW_COLUMNS = (
    "EVENT_TYPE, PRODUCT_ID, CUSTOMER_ID, EVENT_METADATA, EVENT_CONTENT, INGESTION_TIME, EVENT_ID,"
    " KAFKA_TOPIC, KAFKA_PARTITION, KAFKA_OFFSET, KAFKA_TIMESTAMP, BATCH_ID"
)

Corruption = Callable[[Warehouse], dict[str, str]]
"""Spoils rows; returns the checks that have to fail, with a key each has to name."""


def _pick(warehouse: Warehouse, what: str) -> Any:
    (row,) = warehouse.query(f"SELECT {what}")
    return next(iter(row.values()))


def _order(warehouse: Warehouse) -> int:
    return int(_pick(warehouse, "MIN(ORDER_LINE_ID) FROM PRODUCTION.ORDERS"))


def order_deleted(warehouse: Warehouse) -> dict[str, str]:
    key = _order(warehouse)
    warehouse.execute(f"DELETE FROM PRODUCTION.ORDERS WHERE ORDER_LINE_ID = {key}")
    return {"raw_vs_prod_counts": f"orders: {key}"}


def order_amount_changed(warehouse: Warehouse) -> dict[str, str]:
    key = _order(warehouse)
    warehouse.execute(
        f"UPDATE PRODUCTION.ORDERS SET TOTAL_AMOUNT = TOTAL_AMOUNT + 0.01 WHERE ORDER_LINE_ID = {key}"
    )
    return {"raw_vs_prod_counts": f"orders: {key}"}


def order_of_an_older_version(warehouse: Warehouse) -> dict[str, str]:
    """Its amount is the newest version's all the same."""
    key = _order(warehouse)
    warehouse.execute(
        "UPDATE PRODUCTION.ORDERS SET CUSTOMER_ID = 7, EVENT_TIME = DATEADD('second', -1, EVENT_TIME)"
        f" WHERE ORDER_LINE_ID = {key}"
    )
    return {"raw_vs_prod_counts": f"orders: {key}"}


def order_amount_lost(warehouse: Warehouse) -> dict[str, str]:
    key = _order(warehouse)
    warehouse.execute(f"UPDATE PRODUCTION.ORDERS SET TOTAL_AMOUNT = NULL WHERE ORDER_LINE_ID = {key}")
    return {"raw_vs_prod_counts": f"orders: {key}"}


def order_that_raw_lacks(warehouse: Warehouse) -> dict[str, str]:
    warehouse.execute(
        "INSERT INTO PRODUCTION.ORDERS (ORDER_LINE_ID, TOTAL_AMOUNT, KAFKA_TOPIC, KAFKA_PARTITION,"
        " KAFKA_OFFSET,"
        " LOADED_AT, UPDATED_AT) SELECT 424242, 1, 't', 0, 0, SYSDATE(), SYSDATE()"
    )
    return {"raw_vs_prod_counts": "orders: 424242"}


def two_amounts_exchanged(warehouse: Warehouse) -> dict[str, str]:
    """The sum of the revenue stays as it was."""
    key = _order(warehouse)
    other = _pick(
        warehouse,
        f"MAX(ORDER_LINE_ID) FROM PRODUCTION.ORDERS WHERE TOTAL_AMOUNT > 1 AND ORDER_LINE_ID > {key}",
    )
    warehouse.execute(
        f"UPDATE PRODUCTION.ORDERS SET TOTAL_AMOUNT = TOTAL_AMOUNT + 1 WHERE ORDER_LINE_ID = {key}"
    )
    warehouse.execute(
        f"UPDATE PRODUCTION.ORDERS SET TOTAL_AMOUNT = TOTAL_AMOUNT - 1 WHERE ORDER_LINE_ID = {other}"
    )
    return {"raw_vs_prod_counts": f"orders: {key}, {other}"}


def adjustment_lost(warehouse: Warehouse) -> dict[str, str]:
    key = _pick(warehouse, "MAX(ADJUSTMENT_ID) FROM PRODUCTION.INVENTORY_HISTORY")
    warehouse.execute(f"DELETE FROM PRODUCTION.INVENTORY_HISTORY WHERE ADJUSTMENT_ID = {key}")
    return {"raw_vs_prod_counts": f"adjustments: {key}"}


def movement_changed(warehouse: Warehouse) -> dict[str, str]:
    key = _pick(warehouse, "MAX(ADJUSTMENT_ID) FROM PRODUCTION.INVENTORY_HISTORY")
    warehouse.execute(
        "UPDATE PRODUCTION.INVENTORY_HISTORY SET QUANTITY_CHANGE = QUANTITY_CHANGE + 1 WHERE"
        f" ADJUSTMENT_ID = {key}"
    )
    return {"raw_vs_prod_counts": f"adjustments: {key}"}


def order_doubled(warehouse: Warehouse) -> dict[str, str]:
    key = _order(warehouse)
    warehouse.execute(
        f"INSERT INTO PRODUCTION.ORDERS SELECT * FROM PRODUCTION.ORDERS WHERE ORDER_LINE_ID = {key}"
    )
    return {"duplicates": f"PRODUCTION.ORDERS: {key}"}


def movement_doubled(warehouse: Warehouse) -> dict[str, str]:
    key = _pick(warehouse, "MAX(ADJUSTMENT_ID) FROM PRODUCTION.INVENTORY_HISTORY")
    table = "PRODUCTION.INVENTORY_HISTORY"
    warehouse.execute(f"INSERT INTO {table} SELECT * FROM {table} WHERE ADJUSTMENT_ID = {key}")
    return {"duplicates": f"{table}: {key}"}


def stock_doubled(warehouse: Warehouse) -> dict[str, str]:
    table = "PRODUCTION.INVENTORY_CURRENT"
    key = _pick(warehouse, f"MIN(PRODUCT_ID::VARCHAR || ' ' || WAREHOUSE_LOCATION) FROM {table}")
    product, _, city = key.partition(" ")
    warehouse.execute(
        f"INSERT INTO {table} SELECT * FROM {table} WHERE PRODUCT_ID = {product} AND WAREHOUSE_LOCATION"
        " = %(city)s",
        {"city": city},
    )
    return {"duplicates": f"{table}: {key}"}


def _raw_order(warehouse: Warehouse) -> Row:
    (row,) = warehouse.query(
        "SELECT EVENT_ID, BATCH_ID, KAFKA_TOPIC, KAFKA_PARTITION, KAFKA_OFFSET,"
        " EVENT_CONTENT:order_line_id::VARCHAR"
        " AS K FROM RAW_DATA.RAW_EVENTS_STREAM WHERE EVENT_TYPE = 'ORDER_CREATED' ORDER BY EVENT_ID LIMIT 1"
    )
    return row


def raw_row_deleted(warehouse: Warehouse) -> dict[str, str]:
    row = _raw_order(warehouse)
    warehouse.execute(
        "DELETE FROM RAW_DATA.RAW_EVENTS_STREAM WHERE EVENT_ID = %(id)s", {"id": row["EVENT_ID"]}
    )
    return {
        "raw_vs_prod_counts": f"orders: {row['K']}",
        "offsets_accounted_for": f"offsets add up: {row['KAFKA_TOPIC']} {row['KAFKA_PARTITION']}: ",
    }


def raw_row_doubled(warehouse: Warehouse) -> dict[str, str]:
    row = _raw_order(warehouse)
    table = "RAW_DATA.RAW_EVENTS_STREAM"
    warehouse.execute(
        f"INSERT INTO {table} SELECT * FROM {table} WHERE EVENT_ID = %(id)s", {"id": row["EVENT_ID"]}
    )
    where = f"{row['KAFKA_TOPIC']} {row['KAFKA_PARTITION']}"
    return {
        "duplicates": f"{table}: {where}:{row['KAFKA_OFFSET']}",
        "offsets_accounted_for": f"offsets add up: {where}: ",
    }


def raw_row_of_no_batch(warehouse: Warehouse) -> dict[str, str]:
    table = "RAW_DATA.RAW_EVENTS_STREAM"
    warehouse.execute(
        f"INSERT INTO {table} ({_RAW_COLUMNS}) SELECT 'OTHER', PRODUCT_ID, CUSTOMER_ID, EVENT_METADATA,"
        " EVENT_CONTENT, INGESTION_TIME,"
        f" EVENT_ID, KAFKA_TOPIC, 1, 77, KAFKA_TIMESTAMP, 'nowhere' FROM {table} LIMIT 1"
    )
    return {
        "offsets_accounted_for": "no such batch nowhere, partition 1: 77 to 78, landed 1 of 0, dead 0 of 0"
    }


def raw_row_outside_its_batch(warehouse: Warehouse) -> dict[str, str]:
    row = _raw_order(warehouse)
    warehouse.execute(
        "UPDATE RAW_DATA.RAW_EVENTS_STREAM SET KAFKA_OFFSET = 99999 WHERE EVENT_ID = %(id)s",
        {"id": row["EVENT_ID"]},
    )
    return {
        "offsets_accounted_for": f"offsets add up: {row['KAFKA_TOPIC']} {row['KAFKA_PARTITION']}: ",
        # RAW's version is newer by it than the one that production has.
        "raw_vs_prod_counts": f"orders: {row['K']}",
    }


def dead_letter_deleted(warehouse: Warehouse) -> dict[str, str]:
    key = _pick(warehouse, "MIN(DEAD_LETTER_ID) FROM RAW_DATA.DEAD_LETTER_EVENTS")
    warehouse.execute("DELETE FROM RAW_DATA.DEAD_LETTER_EVENTS WHERE DEAD_LETTER_ID = %(id)s", {"id": key})
    return {"offsets_accounted_for": "offsets add up: "}


def dead_letter_replayed_without_its_row(warehouse: Warehouse) -> dict[str, str]:
    key = _pick(warehouse, "MIN(DEAD_LETTER_ID) FROM RAW_DATA.DEAD_LETTER_EVENTS")
    warehouse.execute(
        "UPDATE RAW_DATA.DEAD_LETTER_EVENTS SET REPLAYED_AT = CURRENT_TIMESTAMP() WHERE DEAD_LETTER_ID"
        " = %(id)s",
        {"id": key},
    )
    return {"offsets_accounted_for": "offsets add up: "}


def row_lost_and_dead_letter_doubled(warehouse: Warehouse) -> dict[str, str]:
    """In one batch and partition: their sum stays as it was."""
    (dead,) = warehouse.query("SELECT * FROM RAW_DATA.DEAD_LETTER_EVENTS ORDER BY DEAD_LETTER_ID LIMIT 1")
    found = {"batch": dead["BATCH_ID"], "partition": dead["KAFKA_PARTITION"]}
    (row,) = warehouse.query(
        "SELECT EVENT_ID FROM RAW_DATA.RAW_EVENTS_STREAM WHERE BATCH_ID = %(batch)s"
        " AND KAFKA_PARTITION = %(partition)s LIMIT 1",
        found,
    )
    warehouse.execute(
        "DELETE FROM RAW_DATA.RAW_EVENTS_STREAM WHERE EVENT_ID = %(id)s", {"id": row["EVENT_ID"]}
    )
    warehouse.execute(
        "INSERT INTO RAW_DATA.DEAD_LETTER_EVENTS SELECT 'again', VALUE, MESSAGE_KEY, HEADERS, KAFKA_TOPIC,"
        " KAFKA_PARTITION, KAFKA_OFFSET, KAFKA_TIMESTAMP, FAILURE_CLASS, FAILURE_REASON, FAILURE_PATH,"
        " FIRST_SEEN,"
        " ATTEMPTS, REPLAYED_AT, BATCH_ID FROM RAW_DATA.DEAD_LETTER_EVENTS WHERE DEAD_LETTER_ID = %(id)s",
        {"id": dead["DEAD_LETTER_ID"]},
    )
    return {"offsets_accounted_for": "offsets add up: ", "raw_vs_prod_counts": ": "}


def _batch(warehouse: Warehouse, place: str) -> str:
    epoch = f"{place}(EPOCH) FROM RAW_DATA.INGEST_BATCHES"
    found = _pick(warehouse, f"BATCH_ID FROM RAW_DATA.INGEST_BATCHES WHERE EPOCH = (SELECT {epoch})")
    return str(found)


def first_batch_deleted(warehouse: Warehouse) -> dict[str, str]:
    batch = _batch(warehouse, "MIN")
    warehouse.execute("DELETE FROM RAW_DATA.INGEST_BATCHES WHERE BATCH_ID = %(id)s", {"id": batch})
    return {"offsets_accounted_for": f"no such batch {batch}"}


def middle_batch_deleted(warehouse: Warehouse) -> dict[str, str]:
    epoch = _pick(warehouse, "MIN(EPOCH) + 1 FROM RAW_DATA.INGEST_BATCHES")
    warehouse.execute(f"DELETE FROM RAW_DATA.INGEST_BATCHES WHERE EPOCH = {epoch}")
    return {"offsets_accounted_for": "offsets add up: no such batch"}


def last_batch_deleted(warehouse: Warehouse) -> dict[str, str]:
    batch = _batch(warehouse, "MAX")
    warehouse.execute("DELETE FROM RAW_DATA.INGEST_BATCHES WHERE BATCH_ID = %(id)s", {"id": batch})
    return {"offsets_accounted_for": ", the position is "}


def all_batches_deleted(warehouse: Warehouse) -> dict[str, str]:
    warehouse.execute("DELETE FROM RAW_DATA.INGEST_BATCHES")
    return {"offsets_accounted_for": "batches end at nothing, the position is "}


def batch_count_changed(warehouse: Warehouse) -> dict[str, str]:
    batch = _batch(warehouse, "MIN")
    warehouse.execute(
        "UPDATE RAW_DATA.INGEST_BATCHES SET LANDED = LANDED + 1, DEAD = DEAD - 1 WHERE BATCH_ID = %(id)s",
        {"id": batch},
    )
    return {"offsets_accounted_for": f"batch {batch}"}


def batch_skipped_changed(warehouse: Warehouse) -> dict[str, str]:
    batch = _batch(warehouse, "MAX")
    warehouse.execute(
        "UPDATE RAW_DATA.INGEST_BATCHES SET SKIPPED = SKIPPED + 1 WHERE BATCH_ID = %(id)s", {"id": batch}
    )
    return {"offsets_accounted_for": f"batch {batch}"}


def batch_consumed_changed(warehouse: Warehouse) -> dict[str, str]:
    batch = _batch(warehouse, "MAX")
    warehouse.execute(
        "UPDATE RAW_DATA.INGEST_BATCHES SET CONSUMED = CONSUMED + 1 WHERE BATCH_ID = %(id)s", {"id": batch}
    )
    return {"offsets_accounted_for": f"batch {batch}"}


def _position(warehouse: Warehouse) -> tuple[int, int]:
    partition = int(_pick(warehouse, "MIN(PARTITION_ID) FROM RAW_DATA.KAFKA_OFFSETS WHERE NEXT_OFFSET > 0"))
    where = f"FROM RAW_DATA.KAFKA_OFFSETS WHERE PARTITION_ID = {partition}"
    return partition, int(_pick(warehouse, f"NEXT_OFFSET {where}"))


def position_moved_on(warehouse: Warehouse) -> dict[str, str]:
    partition, at = _position(warehouse)
    warehouse.execute(
        f"UPDATE RAW_DATA.KAFKA_OFFSETS SET NEXT_OFFSET = {at + 5} WHERE PARTITION_ID = {partition}"
    )
    return {"offsets_accounted_for": f" {partition}: batches end at {at}, the position is {at + 5}"}


def position_moved_back(warehouse: Warehouse) -> dict[str, str]:
    partition, at = _position(warehouse)
    warehouse.execute(f"UPDATE RAW_DATA.KAFKA_OFFSETS SET NEXT_OFFSET = 0 WHERE PARTITION_ID = {partition}")
    return {"offsets_accounted_for": f" {partition}: batches end at {at}, the position is 0"}


def position_deleted(warehouse: Warehouse) -> dict[str, str]:
    partition, at = _position(warehouse)
    warehouse.execute(f"DELETE FROM RAW_DATA.KAFKA_OFFSETS WHERE PARTITION_ID = {partition}")
    return {"offsets_accounted_for": f" {partition}: batches end at {at}, the position is missing"}


CORRUPTIONS: list[Corruption] = [
    order_deleted,
    order_amount_changed,
    order_of_an_older_version,
    order_amount_lost,
    order_that_raw_lacks,
    two_amounts_exchanged,
    adjustment_lost,
    movement_changed,
    order_doubled,
    movement_doubled,
    stock_doubled,
    raw_row_deleted,
    raw_row_doubled,
    raw_row_of_no_batch,
    raw_row_outside_its_batch,
    dead_letter_deleted,
    dead_letter_replayed_without_its_row,
    row_lost_and_dead_letter_doubled,
    first_batch_deleted,
    middle_batch_deleted,
    last_batch_deleted,
    all_batches_deleted,
    batch_count_changed,
    batch_skipped_changed,
    batch_consumed_changed,
    position_moved_on,
    position_moved_back,
    position_deleted,
]


@pytest.mark.parametrize("corrupt", CORRUPTIONS, ids=lambda one: one.__name__)
def test_fails_with_the_offending_key_and_nothing_else_does(spoilt: Caves, corrupt: Corruption) -> None:
    expected = corrupt(spoilt.warehouse)
    whole = _checked(spoilt)
    recent = run_check(
        spoilt.warehouse,
        spoilt.shop,
        integrity_checks(spoilt.shop)[0],
        datetime.now(UTC) - timedelta(hours=1),
    )

    assert _statuses(whole) == {name: "FAIL" if name in expected else "PASS" for name in _ALL}
    assert recent.status == whole["offsets_accounted_for"].status
    for name, key in expected.items():
        assert key in "\n".join(whole[name].offending_keys)


def test_a_loss_before_the_window_is_seen_by_the_totals(spoilt: Caves) -> None:
    raw_row_deleted(spoilt.warehouse)
    later = datetime.now(UTC) + timedelta(hours=1)
    outcome = run_check(spoilt.warehouse, spoilt.shop, integrity_checks(spoilt.shop)[0], later)

    assert outcome.status == "FAIL"
    (key,) = outcome.offending_keys
    assert re.fullmatch(r"offsets add up: all batches: landed \d+ of \d+, dead (\d+) of \1", key)
    assert _subject(outcome, "ranges join")["CHECKED"] == 0
    assert str(_subject(outcome, "ranges join")["SCOPE"]).startswith("batches since ")


def test_a_dead_letter_that_was_replayed_is_accounted_for_by_its_row(spoilt: Caves) -> None:
    spoilt.warehouse.execute("UPDATE RAW_DATA.DEAD_LETTER_EVENTS SET REPLAYED_AT = CURRENT_TIMESTAMP()")
    spoilt.warehouse.execute(
        f"INSERT INTO RAW_DATA.RAW_EVENTS_STREAM ({_RAW_COLUMNS})"
        " SELECT 'REPLAYED', 1, NULL, OBJECT_CONSTRUCT(),"
        " PARSE_JSON('{}'),"
        " FIRST_SEEN, DEAD_LETTER_ID, KAFKA_TOPIC, KAFKA_PARTITION, KAFKA_OFFSET, KAFKA_TIMESTAMP, BATCH_ID"
        " FROM RAW_DATA.DEAD_LETTER_EVENTS"
    )

    assert _statuses(_checked(spoilt)) == dict.fromkeys(_ALL, "PASS")
    recent = _checked(spoilt, datetime.now(UTC) - timedelta(hours=1))["offsets_accounted_for"]
    assert (recent.status, recent.offending_keys) == ("PASS", [])


# --- gaps ---

_GAP = """
INSERT INTO RAW_DATA.INGEST_GAPS (
    GAP_ID, CLUSTER_ID, TOPIC, TOPIC_ID, PARTITION_ID, OFFSET_FROM, OFFSET_TO, REASON, FOUND_AT,
    ACKNOWLEDGED_AT
)
SELECT UUID_STRING(), CLUSTER_ID, TOPIC, TOPIC_ID, PARTITION_ID, %(from)s, %(to)s, %(reason)s,
    CURRENT_TIMESTAMP(), %(acknowledged)s::TIMESTAMP_LTZ
FROM RAW_DATA.KAFKA_OFFSETS WHERE PARTITION_ID = %(partition)s
"""


def _gap(
    caves: Caves, reason: str, begin: int, end: int | None, partition: int = 0, acknowledged: bool = False
) -> None:
    names = {"from": begin, "to": end, "reason": reason, "partition": partition}
    at = datetime.now(UTC).isoformat() if acknowledged else None
    caves.warehouse.execute(_GAP, names | {"acknowledged": at})


@pytest.mark.parametrize(
    ("reason", "status", "subject"),
    [
        ("RETENTION", "FAIL", "nothing lost"),
        ("LOG_TRUNCATED", "FAIL", "nothing lost"),
        ("TOPIC_RECREATED", "FAIL", "nothing lost"),
        ("NEW_CLUSTER", "WARN", "same cluster"),
    ],
)
def test_a_gap_counts_until_it_is_acknowledged(spoilt: Caves, reason: str, status: str, subject: str) -> None:
    _gap(spoilt, reason, 17, None)
    later = datetime.now(UTC) + timedelta(hours=1)

    for since in (None, later):
        outcomes = _checked(spoilt, since)
        assert _statuses(outcomes) == dict.fromkeys(_ALL, "PASS") | {"offsets_accounted_for": status}
        (key,) = outcomes["offsets_accounted_for"].offending_keys
        assert re.fullmatch(rf"{subject}: \S+ 0: {reason} from 17 to \?", key)
        row = _subject(outcomes["offsets_accounted_for"], subject)
        assert (row["CHECKED"], row["OFFENDING"]) == (1, 1)

    spoilt.warehouse.execute("UPDATE RAW_DATA.INGEST_GAPS SET ACKNOWLEDGED_AT = CURRENT_TIMESTAMP()")
    assert _statuses(_checked(spoilt)) == dict.fromkeys(_ALL, "PASS")


def _append_batch(caves: Caves, partition: int, begin: int, end: int) -> None:
    """A batch that found no message between two offsets, and the position behind it."""
    moved = [{"partition": partition, "from": begin, "to": end, "landed": 0, "dead": 0}]
    caves.warehouse.execute(
        "INSERT INTO RAW_DATA.INGEST_BATCHES (BATCH_ID, EPOCH, RUN_ID, CLUSTER_ID, TOPIC, TOPIC_ID, CONSUMED,"
        " LANDED, DEAD, SKIPPED, BYTES, PARTITIONS, COMMITTED_AT) SELECT 'appended', 1000000, 'r',"
        " CLUSTER_ID, TOPIC,"
        " TOPIC_ID, 0, 0, 0, %(skipped)s, 0, PARSE_JSON(%(moved)s), CURRENT_TIMESTAMP()"
        " FROM RAW_DATA.KAFKA_OFFSETS WHERE PARTITION_ID = %(partition)s",
        {"skipped": end - begin, "moved": json.dumps(moved), "partition": partition},
    )
    caves.warehouse.execute(
        f"UPDATE RAW_DATA.KAFKA_OFFSETS SET NEXT_OFFSET = {end} WHERE PARTITION_ID = {partition}"
    )


@pytest.mark.parametrize(
    ("reason", "begins", "gap", "status"),
    [
        ("joined", 0, None, "PASS"),
        ("hole", 10, None, "FAIL"),
        ("overlap", -3, None, "FAIL"),
        ("RETENTION", 10, (0, 10), "PASS"),
        ("RETENTION", 10, (0, 9), "FAIL"),
        ("RETENTION", 10, (1, 10), "FAIL"),
        ("LOG_TRUNCATED", -8, (-3, 0), "PASS"),
        ("LOG_TRUNCATED", -8, (-3, -1), "FAIL"),
        ("LOG_TRUNCATED", 4, (-3, 0), "FAIL"),
        ("TOPIC_RECREATED", -9, (0, None), "PASS"),
        ("TOPIC_RECREATED", -9, (1, None), "FAIL"),
    ],
)
def test_ranges_join_unless_that_very_gap_is_recorded(
    spoilt: Caves, reason: str, begins: int, gap: tuple[int, int | None] | None, status: str
) -> None:
    """Offsets as seen from the position."""
    partition, at = _position(spoilt.warehouse)
    if gap is not None:
        end = None if gap[1] is None else at + gap[1]
        _gap(spoilt, reason, at + gap[0], end, partition, acknowledged=True)
    _append_batch(spoilt, partition, at + begins, at + begins + 2)

    outcome = _checked(spoilt)["offsets_accounted_for"]
    assert outcome.status == status
    if status == "FAIL":
        (key,) = outcome.offending_keys
        assert key.startswith("ranges join: ")
        assert key.endswith(f" {partition}: {at} to {at + begins}")


# --- waiting, unreadable, many ---


def test_what_waits_in_a_stream_is_counted_and_hides_nothing_else(caves: Caves) -> None:
    feed = Feed()
    raw = integrity_checks(caves.shop)[1]

    def waiting() -> tuple[str, list[int], list[str]]:
        outcome = run_check(caves.warehouse, caves.shop, raw)
        return outcome.status, [int(row["WAITING"]) for row in outcome.rows], outcome.offending_keys

    insert_raw(caves.warehouse, [feed.order(1), feed.order(2), feed.adjustment(1)])
    assert waiting() == ("PASS", [2, 1], [])
    for step, expected in zip(caves.shop.transformations, ([2, 1], [0, 1], [0, 0], [0, 0]), strict=True):
        transform(caves.warehouse, caves.shop, step)
        assert waiting() == ("PASS", expected, [])

    # A newer version on its way: the older one in production is no fault, another line's loss is.
    insert_raw(
        caves.warehouse, [feed.order(1, total_price=1, timestamp="2026-07-28T11:30:00Z"), feed.order(3)]
    )
    assert waiting() == ("PASS", [2, 0], [])
    caves.warehouse.execute("DELETE FROM PRODUCTION.ORDERS WHERE ORDER_LINE_ID = 2")
    assert waiting() == ("FAIL", [2, 0], ["orders: 2"])
    transform(caves.warehouse, caves.shop, caves.shop.transformations[0])
    assert waiting() == ("FAIL", [2, 0], ["orders: 2"])


def test_the_newest_version_is_the_one_that_production_is_held_against(caves: Caves) -> None:
    """Also where a time cannot be read: NULL would come first in Snowflake's descending order."""
    feed = Feed()
    rows = [
        feed.order(1, total_price=1),
        feed.order(1, total_price=2, timestamp="2026-07-28T13:00:00+01:00"),
        feed.order(1, total_price=3, timestamp="one day"),
        feed.order(2, total_price=5, where={"recorded": None}),
        feed.order(2, total_price=6),
        feed.order(2, total_price=7, where={"recorded": None}),
        feed.adjustment(1, quantity_change=1, timestamp="one day"),
        feed.adjustment(1, quantity_change=2),
    ]
    for row in rows:
        insert_raw(caves.warehouse, [row])
    consume_all(caves.warehouse, caves.shop)

    outcome = run_check(caves.warehouse, caves.shop, integrity_checks(caves.shop)[1])
    assert (outcome.status, outcome.offending_keys) == ("PASS", [])
    assert [int(row["FIGURE_IN_RAW"]) for row in outcome.rows] == [8, 2]


def test_records_without_a_readable_key_are_named_by_their_place(caves: Caves) -> None:
    feed = Feed(offset=40)
    insert_raw(caves.warehouse, [feed.order("x"), feed.order(None), feed.order(1), feed.adjustment([])])
    consume_all(caves.warehouse, caves.shop)

    outcome = run_check(caves.warehouse, caves.shop, integrity_checks(caves.shop)[1])
    assert outcome.status == "FAIL"
    assert outcome.offending_keys == [
        "orders: no key at sales_events 0:40, no key at sales_events 0:41",
        "adjustments: no key at sales_events 0:43",
    ]


def test_the_checks_stand_the_contract_s_limits(caves: Caves) -> None:
    feed = Feed()
    most = 2**63 - 1
    for number in range(most, most - 4, -1):
        where = {"offset": number - 1, "batch": "b" * 36, "topic": "t" * 249}
        feed.order(
            number, where, product_id=most, customer_id=most, product_name="é" * 200, quantity=most,
            total_price=99_999_999.99, timestamp="2199-12-31T23:59:59.999999Z",
        )  # fmt: skip
        where = where | {"offset": number - 5}
        feed.adjustment(
            number, where, product_id=number, warehouse="é" * 100, quantity_change=-most - 1, stock_level=most
        )
    insert_raw(caves.warehouse, feed.rows)
    for _ in range(2):
        outcomes = _checked(caves, datetime(2026, 1, 1, tzinfo=UTC)) | _checked(caves)
        # The rows are of no batch.
        assert _statuses(outcomes) == dict.fromkeys(_ALL, "PASS") | {"offsets_accounted_for": "FAIL"}
        consume_all(caves.warehouse, caves.shop)

    orders, movements = outcomes["raw_vs_prod_counts"].rows
    assert orders["FIGURE_IN_RAW"] == orders["FIGURE_IN_PRODUCTION"] == Decimal("399999999.96")
    assert movements["FIGURE_IN_RAW"] == movements["FIGURE_IN_PRODUCTION"] == -4 * (most + 1)

    for table in ("PRODUCTION.ORDERS", "PRODUCTION.INVENTORY_HISTORY"):
        caves.warehouse.execute(f"DELETE FROM {table}")
    keys = _checked(caves)["raw_vs_prod_counts"].offending_keys
    assert [str(most) in key and str(most - 3) in key for key in keys] == [True, True]


def test_the_checks_stand_whatever_raw_holds(caves: Caves) -> None:
    feed = Feed()
    contents = ["null", "[]", '"x"', "{}", '{"order_line_id": [1], "adjustment_id": {"a": 1}}']
    contents += [
        f'{{"order_line_id": {key}, "adjustment_id": {key}, "total_price": {key}, "quantity_change": {key},'
        f' "timestamp": {key}}}'
        for key in (
            2**63,
            -(2**63) - 1,
            "9" * 38,
            "9" * 39,
            "1e308",
            '"infinity"',
            '"200000-01-01T00:00:00Z"',
        )
    ]
    rows = [
        replace(row, content=text, product_id=1015)
        for text in contents
        for row in (feed.order(), feed.adjustment())
    ]
    insert_raw(caves.warehouse, [*rows, feed.order(1), feed.adjustment(1)])
    for waits in (True, False):
        outcomes = _checked(caves)
        assert outcomes["duplicates"].status == "PASS"
        found = outcomes["raw_vs_prod_counts"]
        assert [(row["OFFENDING"], row["IN_RAW"], row["WAITING"]) for row in found.rows] == [
            (len(contents), 1, int(waits))
        ] * 2
        consume_all(caves.warehouse, caves.shop)


def test_twenty_keys_are_named_of_however_many(spoilt: Caves) -> None:
    wrong = spoilt.count("PRODUCTION.ORDERS")
    spoilt.warehouse.execute("UPDATE PRODUCTION.ORDERS SET TOTAL_AMOUNT = -1")
    spoilt.warehouse.execute(
        "INSERT INTO PRODUCTION.INVENTORY_HISTORY SELECT * FROM PRODUCTION.INVENTORY_HISTORY"
    )
    outcomes = _checked(spoilt)

    orders = _subject(outcomes["raw_vs_prod_counts"], "orders")
    assert (orders["OFFENDING"], len(orders["OFFENDING_KEYS"].split(", "))) == (wrong, 20)
    twice = _subject(outcomes["duplicates"], "PRODUCTION.INVENTORY_HISTORY")
    assert len(set(twice["OFFENDING_KEYS"].split(", "))) == 20
    assert twice["OFFENDING"] == twice["DISTINCT_KEYS"] == twice["CHECKED"] / 2


# --- the machinery ---


def test_a_check_is_one_statement(caves: Caves) -> None:
    found = [check.find for check in shop_checks(caves.settings, caves.shop)]
    for find in found:
        if isinstance(find, SqlFinder):
            for windowed in (False, True):
                assert len(statements(find.sql(caves.shop, windowed))) == 1
    assert sum(isinstance(find, SqlFinder) for find in found) > 20


def test_a_check_that_gives_no_row_has_checked_nothing_and_fails(caves: Caves, tmp_path: Path) -> None:
    (tmp_path / "none.sql").write_text(
        "SELECT 'x' AS SUBJECT, 'ERROR' AS SEVERITY, 0 AS OFFENDING, '' AS OFFENDING_KEYS WHERE FALSE;"
    )
    shop = replace(caves.shop, sql=tmp_path)
    outcome = run_check(caves.warehouse, shop, Check("none", "", shop.raw, SqlFinder("none.sql")))

    assert (outcome.status, list(outcome.rows)) == ("FAIL", [])
