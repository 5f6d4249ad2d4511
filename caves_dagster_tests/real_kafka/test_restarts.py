"""A broker that goes away, comes back, or is killed while it is read."""

from __future__ import annotations

import os
import signal
import threading
import time
from contextlib import suppress

import pytest

from caves_dagster.errors import KafkaUnreachable
from caves_dagster.ingest.report import IngestReport
from caves_dagster.ingest.run import Ingestion
from caves_dagster.kafka.client import KafkaClient
from caves_dagster.kafka.producer import publish
from caves_dagster.local.apache_kafka.node import ApacheKafka
from caves_dagster_tests.conftest import Caves
from caves_dagster_tests.ingest.accounting import gaps, ingest, require_exactly_once
from caves_dagster_tests.real_kafka.broker import heavy, one_key, recreate_topic, send, tick


def kill(node: ApacheKafka) -> None:
    """End the broker without a word."""
    pid = node.status().pid
    assert pid is not None
    os.kill(pid, signal.SIGKILL)


@pytest.mark.topic(3)
@pytest.mark.parametrize("how", ["stopped", "killed"])
def test_a_broker_restarted_in_the_middle_of_an_ingestion_loses_and_doubles_nothing(
    own_kafka: ApacheKafka, spare_caves: Caves, how: str
) -> None:
    caves = spare_caves
    messages = heavy(caves.events(1500))
    caves.publish(messages)
    restarted: list[int] = []
    starting = threading.Thread(target=own_kafka.start)

    def restart(report: IngestReport) -> None:
        if not restarted:
            restarted.append(report.landed)
            if how == "killed":
                kill(own_kafka)
            else:
                own_kafka.stop()
            starting.start()

    settings = caves.settings.model_copy(update={"batch_max_events": 100})
    patient = KafkaClient(settings.kafka.model_copy(update={"timeout_seconds": 30}))
    report = Ingestion(settings, caves.shop, patient, caves.warehouse, "restart", restart).run()
    starting.join()
    assert report.landed == 1500
    assert restarted[0] < 1500, "the restart came after the end: it shows nothing"
    assert gaps(caves) == []
    require_exactly_once(caves, messages)
    assert not tick(caves).run_requests


def test_a_broker_that_is_away_is_named_and_what_it_keeps_lands_when_it_is_back(
    own_kafka: ApacheKafka, spare_caves: Caves
) -> None:
    caves = spare_caves
    first, second = caves.events(40), caves.events(40, seed=2)
    caves.publish(first)
    ingest(caves)
    caves.publish(second)
    kill(own_kafka)
    began = time.monotonic()
    with pytest.raises(KafkaUnreachable, match=caves.settings.kafka.bootstrap_servers):
        ingest(caves)
    with pytest.raises(KafkaUnreachable):
        tick(caves)
    assert time.monotonic() - began < 6 * caves.settings.kafka.timeout_seconds
    own_kafka.start()

    assert ingest(caves).landed == 40

    assert gaps(caves) == []
    require_exactly_once(caves, [*first, *second])


def test_a_producer_and_an_ingestion_survive_a_broker_that_is_killed_under_both(
    own_kafka: ApacheKafka, spare_caves: Caves
) -> None:
    caves = spare_caves
    messages = caves.events(1200, invalid_rate=0.05)
    sender = threading.Thread(
        target=lambda: publish(
            caves.settings.kafka, caves.shop.topic, messages, rate=150, delivery_timeout_seconds=60
        ).require_delivery()
    )
    sender.start()
    patient = KafkaClient(caves.settings.kafka.model_copy(update={"timeout_seconds": 30}))
    for _ in range(2):
        time.sleep(1.5)
        kill(own_kafka)
        starting = threading.Thread(target=own_kafka.start)
        starting.start()
        Ingestion(caves.settings, caves.shop, patient, caves.warehouse, "waits").run()
        starting.join()
    sender.join(90)
    assert not sender.is_alive()
    ingest(caves)
    assert gaps(caves) == []
    require_exactly_once(caves, messages)


@pytest.mark.topic(1)
def test_a_topic_recreated_under_an_ingestion_doubles_nothing(caves: Caves) -> None:
    """The new topic is longer than the old one was read: a reader that went on would mix them up."""
    first, second = heavy(caves.events(1500)), caves.events(2500, seed=2)
    send(caves, one_key(first))
    recreated: list[int] = []

    def recreate(report: IngestReport) -> None:
        if not recreated:
            recreated.append(report.landed)
            recreate_topic(caves)
            send(caves, one_key(second))

    settings = caves.settings.model_copy(update={"batch_max_events": 50})
    with suppress(KafkaUnreachable):
        Ingestion(settings, caves.shop, caves.kafka, caves.warehouse, "recreated", recreate).run()
    ingest(caves)

    found = caves.warehouse.query("SELECT EVENT_ID, COUNT(*) AS N FROM RAW_DATA.RAW_EVENTS_STREAM GROUP BY 1")
    ids = {row["EVENT_ID"]: row["N"] for row in found}
    assert {event_id for event_id, count in ids.items() if count > 1} == set(), "events were doubled"
    assert {message.event_id for message in second} <= set(ids), "events of the new topic were lost"
    assert [reason for *_, reason in gaps(caves)] == ["TOPIC_RECREATED"]
