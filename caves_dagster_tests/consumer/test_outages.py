"""Broker or warehouse away, or another one at the same address: the consumer waits, and goes on."""

from __future__ import annotations

import os
import threading
from pathlib import Path

import pytest
from confluent_kafka import Consumer, TopicPartition

from caves_dagster.consumer.consume import Consumption
from caves_dagster.consumer.group import GroupReader
from caves_dagster.errors import CavesError
from caves_dagster.local.platform import WAREHOUSE, Platform, running_platform
from caves_dagster.warehouse.connection import Warehouse
from caves_dagster_tests.brokers import Broker, on_both_brokers, until
from caves_dagster_tests.conftest import Caves, caves_on
from caves_dagster_tests.consumer.processes import consuming
from caves_dagster_tests.consumer.test_metrics import fetch, scraped, total
from caves_dagster_tests.ingest.accounting import (
    acknowledge,
    gaps,
    landed_ids,
    require_exactly_once,
    require_sound,
)

_IMPATIENT = {"CAVES_SNOWFLAKE_NETWORK_TIMEOUT": "5", "CAVES_KAFKA_TIMEOUT_SECONDS": "5"}


def is_known(caves: Caves) -> bool:
    """Whether the broker has the topic, after it was made."""
    try:
        return len(caves.kafka.inspect(caves.shop.topic).partitions) > 0
    except CavesError:
        return False


@on_both_brokers
def test_another_cluster_at_the_same_address_is_a_gap_and_its_events_land(
    spare_caves: Caves, spare_broker: Broker, tmp_path: Path
) -> None:
    caves = spare_caves
    first, second = caves.events(40), caves.events(90, seed=2)
    with consuming(caves, tmp_path / "log") as consumer:
        caves.publish(first)
        until(lambda: len(landed_ids(caves)) == 40, "the first cluster's events have landed")
        spare_broker.replace()
        spare_broker.make_topic(caves.shop.topic)
        until(lambda: is_known(caves), "the topic is known")
        caves.publish(second)
        until(lambda: len(landed_ids(caves)) == 130, "the second cluster's events have landed", 90)
        assert consumer.stop() == 0, consumer.said
    assert {reason for *_, reason in gaps(caves)} == {"NEW_CLUSTER"}
    acknowledge(caves)
    require_exactly_once(caves, [*first, *second])


@pytest.mark.slow
def test_a_warehouse_that_was_away_costs_only_time(embedded_broker: Broker, tmp_path: Path) -> None:
    with running_platform(tmp_path / "own", servers=(WAREHOUSE,)) as own:
        platform = Platform(own.home, preferred_ports=False, servers=(WAREHOUSE,), owner=os.getpid())
        with caves_on(own, embedded_broker, "warehouse_away") as caves:
            messages = caves.events(120, invalid_rate=0.1)
            with scraped(caves, tmp_path / "log", "--transform", **_IMPATIENT) as (consumer, port):
                caves.publish(messages[:60])
                until(lambda: caves.count("PRODUCTION.ORDERS") > 0, "something is in production")
                platform.stop()
                caves.publish(messages[60:])
                consumer.await_word("cannot be reached")
                until(
                    lambda: total(fetch(port, "/metrics")[1], "kafka_consumer_lag") >= 60, "the lag is seen"
                )
                platform.start()
                caves.warehouse.close()  # the server knows the session no more
                landed = "SELECT SUM(CONSUMED) AS N FROM RAW_DATA.INGEST_BATCHES"
                until(lambda: caves.warehouse.query(landed)[0]["N"] == 120, "all has landed", 90)
                assert consumer.stop() == 0, consumer.said
            require_exactly_once(caves, messages)
            require_sound(caves)


def test_partitions_that_the_topic_does_not_have_are_waited_out(
    caves: Caves, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever leads the group may share out those of a topic that was made anew with fewer."""
    given, waited = GroupReader._given, GroupReader.wait

    def too_many(self: GroupReader, consumer: Consumer, partitions: list[TopicPartition]) -> None:
        given(self, consumer, partitions)
        self.owned.add(99)

    def wait(self: GroupReader, seconds: float, stop: threading.Event) -> None:
        waited(self, seconds, stop)
        self.owned.discard(99)  # as the next assignment has it, which only comes to one that listens

    monkeypatch.setattr(GroupReader, "_given", too_many)
    monkeypatch.setattr(GroupReader, "wait", wait)
    caves.publish(caves.events(20))
    stop = threading.Event()
    with Warehouse(caves.settings.snowflake) as warehouse:
        consumption = Consumption(caves.settings, caves.shop, warehouse)
        thread = threading.Thread(target=consumption.run, args=(stop, lambda batch: None))
        thread.start()
        try:
            until(lambda: caves.count("RAW_DATA.RAW_EVENTS_STREAM") == 20, "the events have landed")
        finally:
            stop.set()
            thread.join(30)
