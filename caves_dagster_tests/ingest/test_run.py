"""A run: how long it waits and goes on, and two at once."""

from __future__ import annotations

import threading
import time
from datetime import UTC, datetime, timedelta

import pytest
from confluent_kafka import Producer, TopicPartition

from caves_dagster.errors import KafkaUnreachable, PositionsMoved
from caves_dagster.ingest import run
from caves_dagster.ingest.positions import Plan
from caves_dagster.ingest.report import IngestReport
from caves_dagster.ingest.run import Ingestion
from caves_dagster.ingest.steps import IngestSteps
from caves_dagster.kafka.client import KafkaClient, TopicState, client_config
from caves_dagster.warehouse.connection import Warehouse
from caves_dagster_tests.brokers import on_both_brokers
from caves_dagster_tests.conftest import Caves
from caves_dagster_tests.ingest.accounting import files_on_stage, ingest, ingestion, require_exactly_once

pytestmark = on_both_brokers

RAW = "RAW_DATA.RAW_EVENTS_STREAM"
BATCHES = "RAW_DATA.INGEST_BATCHES"


# --- a broker that is away


class _Away(KafkaClient):
    """A broker that gives no answer for its first requests."""

    def __init__(self, caves: Caves, requests: float, timeout_seconds: float) -> None:
        super().__init__(caves.settings.kafka.model_copy(update={"timeout_seconds": timeout_seconds}))
        self._left, self._asked = requests, 0

    def go_away(self) -> None:
        """From now on."""
        self._left = float("inf")

    def inspect(self, topic: str) -> TopicState:
        self._asked += 1
        if self._asked > self._left:
            return super().inspect(topic)
        time.sleep(self.settings.timeout_seconds)
        raise KafkaUnreachable("Nobody is there.", "Wait.")


def test_a_run_waits_for_a_broker_that_is_started_again(caves: Caves) -> None:
    messages = caves.events(30)
    caves.publish(messages)
    kafka = _Away(caves, requests=2, timeout_seconds=2)
    assert Ingestion(caves.settings, caves.shop, kafka, caves.warehouse, "test").run().landed == 30
    require_exactly_once(caves, messages)


@pytest.mark.parametrize("there", [0, 10])
def test_a_run_that_waited_for_a_broker_takes_what_producers_bring_a_moment_later(
    caves: Caves, there: int
) -> None:
    messages = caves.events(30)
    caves.publish(messages[:there])
    kafka = _Away(caves, requests=1, timeout_seconds=2)
    producers = threading.Timer(4, caves.publish, (messages[there:],))
    producers.start()
    try:
        assert Ingestion(caves.settings, caves.shop, kafka, caves.warehouse, "test").run().landed == 30
    finally:
        producers.join()
    require_exactly_once(caves, messages)


def test_a_run_does_not_wait_for_long_for_a_broker_that_stays_away(caves: Caves) -> None:
    kafka = _Away(caves, requests=float("inf"), timeout_seconds=1)
    began = time.monotonic()
    with pytest.raises(KafkaUnreachable):
        Ingestion(caves.settings, caves.shop, kafka, caves.warehouse, "test").run()
    assert 3 <= time.monotonic() - began < 20


# --- what comes while it lands


@pytest.mark.parametrize("long", [True, False])
def test_after_a_long_landing_what_came_meanwhile_lands_too_but_once(
    caves: Caves, monkeypatch: pytest.MonkeyPatch, long: bool
) -> None:
    monkeypatch.setattr(run, "_LONG_SECONDS", 0.0 if long else float("inf"))
    messages = caves.events(30)
    rounds = iter((messages[10:20], messages[20:]))
    caves.publish(messages[:10])

    def meanwhile(report: IngestReport) -> None:
        caves.publish(next(rounds, []))

    landing = Ingestion(caves.settings, caves.shop, caves.kafka, caves.warehouse, "test", meanwhile)
    report = landing.run()
    assert (report.landed, report.batches) == ((20, 2) if long else (10, 1))
    assert sum(report.positions.values()) == report.landed
    assert ingest(caves).landed == 10
    if long:
        require_exactly_once(caves, messages)


def test_what_came_meanwhile_is_the_next_run_s_where_it_cannot_be_landed(
    caves: Caves, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(run, "_LONG_SECONDS", 0.0)
    messages = caves.events(20)
    caves.publish(messages[:10])
    kafka = _Away(caves, requests=0, timeout_seconds=1)

    def away(report: IngestReport) -> None:
        caves.publish(messages[10:])
        kafka.go_away()

    assert Ingestion(caves.settings, caves.shop, kafka, caves.warehouse, "test", away).run().landed == 10
    assert "left to the next run" in caplog.text
    assert ingest(caves).landed == 10
    require_exactly_once(caves, messages)


def test_what_came_meanwhile_is_the_next_run_s_where_another_writer_is_always_first(
    caves: Caves, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(run, "_LONG_SECONDS", 0.0)
    monkeypatch.setattr(run, "_MORE_PATIENCE_SECONDS", 0.5)
    messages = caves.events(20)
    caves.publish(messages[:10])

    def first(steps: IngestSteps) -> Plan:
        raise PositionsMoved("Another was first.", "Try again.")

    def meanwhile(report: IngestReport) -> None:
        caves.publish(messages[10:])
        monkeypatch.setattr(IngestSteps, "plan", first)

    landing = Ingestion(caves.settings, caves.shop, caves.kafka, caves.warehouse, "test", meanwhile)
    assert landing.run().landed == 10
    assert "left to the next run" in caplog.text
    monkeypatch.undo()
    assert ingest(caves).landed == 10
    require_exactly_once(caves, messages)


# --- quiet topics


def test_a_topic_with_one_message_in_a_day_is_read_to_its_end_each_time_and_at_once(caves: Caves) -> None:
    yesterday, today = caves.events(2)
    for number, (message, age) in enumerate(((yesterday, timedelta(days=1)), (today, timedelta(0))), 1):
        stamp = int((datetime.now(UTC) - age).timestamp() * 1000)
        producer = Producer(client_config(caves.settings.kafka))
        producer.produce(caves.shop.topic, message.value, message.key, partition=2, timestamp=stamp)
        assert producer.flush(10) == 0
        began = time.monotonic()
        report = ingest(caves)
        assert time.monotonic() - began < 5, "it waited for more to come"
        assert (report.landed, report.lag_before, report.lag_after) == (1, 1, 0)
        again = ingest(caves)
        assert (again.batches, again.lag_before, again.positions[2]) == (0, 0, number)
        (row,) = caves.warehouse.query(
            f"SELECT KAFKA_TIMESTAMP AS T FROM {RAW} WHERE KAFKA_OFFSET = {number - 1}"
        )
        assert row["T"].timestamp() == pytest.approx(stamp / 1000)
    require_exactly_once(caves, [yesterday, today])


def test_an_empty_topic_is_no_work(caves: Caves) -> None:
    report = ingest(caves)
    assert (report.landed, report.dead, report.skipped, report.gaps) == (0, 0, 0, [])
    assert (report.batches, report.lag_before) == (0, 0)


# --- two at once


def test_two_ingestions_in_two_threads_land_every_event_once(caves: Caves) -> None:
    messages = caves.events(400, invalid_rate=0.05)
    caves.publish(messages)
    reports, failures = [], []
    together = threading.Barrier(2)

    def work(name: str) -> None:
        with Warehouse(caves.settings.snowflake) as session:
            one: Ingestion = ingestion(caves, name, session, batch_max_events=20)
            together.wait()
            try:
                reports.append(one.run())
            except BaseException as error:  # noqa: BLE001 - shown by the assertion below
                failures.append(error)

    threads = [threading.Thread(target=work, args=(f"writer {index}",)) for index in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert failures == []
    assert sum(report.landed + report.dead for report in reports) == 400
    require_exactly_once(caves, messages)
    assert files_on_stage(caves) == []


# --- lag tools


def test_offsets_are_committed_to_a_group_for_lag_tools(caves: Caves) -> None:
    caves.publish(caves.events(80))
    report = ingest(caves)
    consumer = caves.kafka.reader(caves.shop.topic, {}, f"{caves.settings.group_id}-dagster")
    try:
        asked = [TopicPartition(caves.shop.topic, partition) for partition in report.positions]
        found = {item.partition: item.offset for item in consumer.committed(asked, timeout=10)}
    finally:
        consumer.close()
    assert found == report.positions
    assert sum(found.values()) == 80
