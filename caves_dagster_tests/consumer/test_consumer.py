"""`caves consume`: what it lands, how it ends, and who else may write."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

from caves_dagster.consumer.consume import Consumption
from caves_dagster.errors import WriteConflict
from caves_dagster.warehouse.abandoned import landing_transaction
from caves_dagster.warehouse.connection import Warehouse
from caves_dagster_tests.brokers import APACHE, on_both_brokers, until
from caves_dagster_tests.conftest import Caves
from caves_dagster_tests.consumer.processes import Consumer, consuming
from caves_dagster_tests.ingest.accounting import (
    files_on_stage,
    ingest,
    require_exactly_once,
    require_sound,
)

RAW = "RAW_DATA.RAW_EVENTS_STREAM"
BATCHES = "RAW_DATA.INGEST_BATCHES"


def landed(caves: Caves) -> int:
    """Messages in committed batches."""
    (row,) = caves.warehouse.query(f"SELECT COALESCE(SUM(CONSUMED), 0) AS N FROM {BATCHES}")
    return int(row["N"])


@contextmanager
def fence_held(caves: Caves) -> Iterator[None]:
    """Another writer's transaction, which nobody gets past."""
    # Ended by the server's reaper where the block takes longer than it likes.
    with suppress(WriteConflict), caves.warehouse.transaction("CAVES_TEST"):
        caves.warehouse.execute("UPDATE RAW_DATA.INGEST_FENCE SET EPOCH = EPOCH + 1")
        yield


@on_both_brokers
def test_events_land_as_they_come_and_go_on_to_production(caves: Caves, tmp_path: Path) -> None:
    messages = caves.events(350, invalid_rate=0.05)
    caves.publish(messages[:100])
    with consuming(caves, tmp_path / "log", "--transform") as consumer:
        until(lambda: landed(caves) == 100, "what waited has landed")
        caves.publish(messages[100:])
        until(lambda: landed(caves) == 350, "what came has landed")
        began = time.monotonic()
        assert consumer.stop() == 0, consumer.said
        assert time.monotonic() - began < 10
    require_exactly_once(caves, messages)
    require_sound(caves)  # PRODUCTION holds what RAW holds, and nothing waits in a stream
    assert caves.count("PRODUCTION.ORDERS") > 0
    assert files_on_stage(caves) == []
    events = caves.count(RAW)
    dead = 350 - events
    assert f"{events} events landed and {dead} dead letters" in consumer.said
    assert "Ended." in consumer.said
    assert "Traceback" not in consumer.said


def test_a_transformation_that_fails_does_not_hold_up_landing(caves: Caves, tmp_path: Path) -> None:
    messages = caves.events(200)
    caves.warehouse.execute("ALTER TABLE PRODUCTION.ORDERS RENAME TO PRODUCTION.ORDERS_AWAY")
    with consuming(caves, tmp_path / "log", "--transform") as consumer:
        caves.publish(messages[:100])
        consumer.await_word("A transformation failed")
        caves.publish(messages[100:])
        until(lambda: landed(caves) == 200, "everything has landed")
        caves.warehouse.execute("ALTER TABLE PRODUCTION.ORDERS_AWAY RENAME TO PRODUCTION.ORDERS")
        produced = ("PRODUCTION.ORDERS", "PRODUCTION.INVENTORY_HISTORY")
        until(lambda: sum(caves.count(table) for table in produced) == 200, "everything is in production", 90)
        assert consumer.stop() == 0, consumer.said
    require_sound(caves)


def test_it_goes_on_at_the_position_of_record_not_at_the_groups(caves: Caves, tmp_path: Path) -> None:
    messages = caves.events(120)
    caves.publish(messages[:60])
    with consuming(caves, tmp_path / "log") as consumer:
        until(lambda: landed(caves) == 60, "the first half has landed")
        assert consumer.stop() == 0
    caves.publish(messages[60:90])
    ingest(caves)  # a Dagster run meanwhile, which the group knows nothing of
    caves.publish(messages[90:])
    with consuming(caves, tmp_path / "log") as consumer:
        until(lambda: landed(caves) == 120, "the rest has landed")
        assert consumer.stop() == 0
    require_exactly_once(caves, messages)


@pytest.mark.slow
def test_a_run_of_dagster_beside_it_costs_neither_anything(caves: Caves, tmp_path: Path) -> None:
    messages = caves.events(600)
    with consuming(caves, tmp_path / "log") as consumer:
        for index in range(0, 600, 60):
            caves.publish(messages[index : index + 60])
            ingest(caves)
        until(lambda: landed(caves) == 600, "everything has landed")
        assert consumer.stop() == 0, consumer.said
    require_exactly_once(caves, messages)


@pytest.mark.slow
def test_one_that_was_suspended_lands_nothing_that_another_has_landed(caves: Caves, tmp_path: Path) -> None:
    """Its partitions went to the other one meanwhile; it wakes up with messages of them in its hands."""
    messages = caves.events(400)
    with consuming(caves, tmp_path / "first") as first:
        caves.publish(messages[:100])
        until(lambda: landed(caves) == 100, "the first hundred have landed")
        caves.publish(messages[100:300])
        os.kill(first.process.pid, signal.SIGSTOP)
        with consuming(caves, tmp_path / "second") as second:
            until(lambda: landed(caves) == 300, "the second has landed what the first could not", 60)
            os.kill(first.process.pid, signal.SIGCONT)
            caves.publish(messages[300:])
            until(lambda: landed(caves) == 400, "the rest has landed")
            first.await_word("went to others")
            assert (first.stop(), second.stop()) == (0, 0)
    require_exactly_once(caves, messages)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_finishes_the_batch_in_hand(caves: Caves, tmp_path: Path, number: int) -> None:
    """A linger of a minute: nothing would have landed yet."""
    caves.publish(caves.events(20))
    with consuming(caves, tmp_path / "log", CAVES_CONSUMER_LINGER_SECONDS="60") as consumer:
        until(lambda: caves.count("RAW_DATA.KAFKA_OFFSETS") > 0, "it has its positions")
        time.sleep(1.5)
        assert landed(caves) == 0
        began = time.monotonic()
        consumer.process.send_signal(number)
        assert consumer.process.wait(15) == 0, consumer.said
        assert time.monotonic() - began < 10
    assert landed(caves) == 20


def test_a_second_signal_ends_it_at_once(caves: Caves, tmp_path: Path) -> None:
    messages = caves.events(20)
    with consuming(caves, tmp_path / "log") as consumer, fence_held(caves):
        caves.publish(messages)
        time.sleep(2.0)
        consumer.process.send_signal(signal.SIGTERM)
        time.sleep(0.5)
        assert consumer.process.poll() is None
        consumer.process.send_signal(signal.SIGTERM)
        assert consumer.process.wait(2) == 128 + signal.SIGTERM
    assert landed(caves) == 0
    ingest(caves)
    require_exactly_once(caves, messages)


@pytest.mark.real_kafka
@pytest.mark.parametrize("broker", [APACHE], indirect=True)
def test_a_group_that_waits_for_a_dead_member_does_not_hold_up_its_end(caves: Caves, tmp_path: Path) -> None:
    with consuming(caves, tmp_path / "dead") as dead:
        dead.kill()
    consumer = Consumer(caves, tmp_path / "log")
    consumer.await_word("Consuming")
    time.sleep(1.0)
    began = time.monotonic()
    assert "Given" not in consumer.said
    assert consumer.stop() == 0, consumer.said
    assert time.monotonic() - began < 10


def test_what_holds_it_up_does_not_hold_up_its_end(caves: Caves, tmp_path: Path) -> None:
    """Another writer keeps the fence: the batch in hand is given up, and nothing is lost by it."""
    messages = caves.events(20)
    with consuming(caves, tmp_path / "log") as consumer, fence_held(caves):
        caves.publish(messages)
        time.sleep(2.0)
        began = time.monotonic()
        consumer.stop()
        assert time.monotonic() - began < 10
        assert "read again" in consumer.said
    ingest(caves)
    require_exactly_once(caves, messages)


def test_it_lands_another_shop_by_the_same_steps(dropship: Caves) -> None:
    messages = dropship.events(60, invalid_rate=0.1)
    dropship.publish(messages)
    stop = threading.Event()
    with Warehouse(dropship.settings.snowflake) as warehouse:
        consumption = Consumption(dropship.settings, dropship.shop, warehouse)
        thread = threading.Thread(target=consumption.run, args=(stop, lambda batch: None))
        thread.start()
        until(lambda: consumption.report.landed + consumption.report.dead == 60, "the events have landed")
        stop.set()
        thread.join(20)
    assert dropship.count(dropship.shop.raw.full_name) == consumption.report.landed
    assert consumption.report.dead == sum(message.event_id is None for message in messages)


def is_ended(session: Warehouse) -> bool:
    """Whether somebody ended its transaction; not the server's reaper, as it is not idle for that."""
    try:
        session.query("SELECT 1")
    except WriteConflict:
        return True
    return False


@pytest.mark.slow
def test_a_transaction_that_a_killed_instance_left_open_is_ended(
    caves: Caves, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("caves_dagster.consumer.consume.KILLED_AFTER_SECONDS", 1.0)
    messages = caves.events(20)
    caves.publish(messages)
    stop = threading.Event()
    with Warehouse(caves.settings.snowflake) as killed, Warehouse(caves.settings.snowflake) as warehouse:
        consumption = Consumption(caves.settings, caves.shop, warehouse)
        thread = threading.Thread(target=consumption.run, args=(stop, lambda batch: None))
        killed.execute(f"BEGIN TRANSACTION NAME {landing_transaction('caves')}")
        killed.execute("UPDATE RAW_DATA.INGEST_FENCE SET EPOCH = EPOCH + 1")
        thread.start()
        until(lambda: is_ended(killed), "the transaction is ended")
        until(lambda: landed(caves) == 20, "the events have landed")
        stop.set()
        thread.join(20)
    require_exactly_once(caves, messages)


def test_a_topic_that_is_not_there_is_one_line(caves: Caves, tmp_path: Path) -> None:
    consumer = Consumer(caves, tmp_path / "log", "--shop", "nosuch")
    assert consumer.process.wait(60) != 0
    assert "Traceback" not in consumer.said
    assert "nosuch" in consumer.said
