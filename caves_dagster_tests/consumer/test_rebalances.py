"""Instances that come and go: killed, stopped and started at random under load, with every event once.

The long form: `pytest -m "real_kafka or not real_kafka" caves_dagster_tests/consumer/test_rebalances.py
--chaos-seconds 300`.
"""

from __future__ import annotations

import random
import signal
import time
from pathlib import Path

import pytest

from caves_dagster_tests.brokers import on_both_brokers, until
from caves_dagster_tests.conftest import Caves
from caves_dagster_tests.consumer.processes import Consumer
from caves_dagster_tests.faults.ledger import Producer
from caves_dagster_tests.faults.verdict import Tables, judge
from caves_dagster_tests.ingest.accounting import accounted_for, require_sound

pytestmark = on_both_brokers

_RATE = 500.0
_INSTANCES = 2
_SEED = 20_261_121


def lag(caves: Caves) -> int:
    """Offsets of the topic that no position has passed."""
    (row,) = caves.warehouse.query("SELECT SUM(NEXT_OFFSET) AS N FROM RAW_DATA.KAFKA_OFFSETS")
    return sum(caves.kafka.inspect(caves.shop.topic).ends.values()) - int(row["N"] or 0)


@pytest.mark.slow
def test_instances_that_join_and_leave_share_the_partitions(caves: Caves, tmp_path: Path) -> None:
    first = Consumer(caves, tmp_path / "first")
    second = Consumer(caves, tmp_path / "second")
    try:
        for consumer in (first, second):
            consumer.await_word("are its own.")
        until(lambda: _owned(first) | _owned(second) == {0, 1, 2, 3}, "every partition has an owner")
        until(lambda: len(_owned(first)) == len(_owned(second)) == 2, "both have two")
        assert first.stop() == 0, first.said
        until(lambda: _owned(second) == {0, 1, 2, 3}, "the one that stays has all")
        assert second.stop() == 0, second.said
    finally:
        first.kill()
        second.kill()


def _owned(consumer: Consumer) -> set[int]:
    """The partitions it last said are its own."""
    lines = [line for line in consumer.said.splitlines() if "are its own." in line]
    if not lines:
        return set()
    listed = lines[-1].rpartition("; [")[2].partition("]")[0]
    return {int(number) for number in listed.split(",") if number.strip()}


@pytest.mark.slow
def test_whatever_is_killed_and_started_nothing_is_lost_and_nothing_doubled(
    caves: Caves, tmp_path: Path, pytestconfig: pytest.Config
) -> None:
    chance = random.Random(_SEED)
    options = ("--transform",)
    running = [Consumer(caves, tmp_path / f"log{index}", *options) for index in range(_INSTANCES)]
    producer = Producer(caves.settings.kafka, caves.shop, tmp_path / "ledger", _SEED, _RATE)
    producer.start()
    kills = stops = 0
    deadline = time.monotonic() + pytestconfig.getoption("--chaos-seconds")
    try:
        while time.monotonic() < deadline:
            time.sleep(chance.uniform(0.5, 5.0))
            producer.require_alive()
            index = chance.randrange(_INSTANCES)
            if chance.random() < 0.7:
                running[index].kill()
                kills += 1
            else:
                # One that had not begun yet ends as any process does.
                assert running[index].stop() in ((0,) if running[index].said else (0, -signal.SIGTERM))
                stops += 1
            running[index] = Consumer(caves, tmp_path / f"log{index}", *options)
        sent = producer.stop()
        until(lambda: lag(caves) == 0, "everything has landed", 120)
        for consumer in running:
            assert consumer.stop() == 0, consumer.said
    finally:
        producer.stop()
        for consumer in running:
            consumer.kill()
    print(f"{len(sent.events):,} events, {kills} kills, {stops} stops")  # noqa: T201 - with `-s`
    assert kills > 1
    assert judge(sent, Tables.read(caves.warehouse)).good
    assert accounted_for(caves).status == "PASS"
    require_sound(caves)
