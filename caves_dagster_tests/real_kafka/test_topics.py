"""What a topic is called, how many partitions it has, and what it costs to look at it."""

from __future__ import annotations

import time

import pytest

from caves_dagster_tests.conftest import Caves
from caves_dagster_tests.ingest.accounting import gaps, ingest, require_exactly_once
from caves_dagster_tests.real_kafka.broker import add_partitions, ask, reason, send, tick


def test_positions_stand_under_the_brokers_cluster_id_and_topic_id(caves: Caves) -> None:
    caves.publish(caves.events(30))
    ingest(caves)
    state = caves.kafka.inspect(caves.shop.topic)
    (described,) = ask(caves, lambda client: {"cluster": client.describe_cluster()})
    assert state.cluster_id == described.cluster_id
    assert len(state.topic_id) == 22, "16 bytes in Kafka's base64"
    rows = caves.warehouse.query("SELECT DISTINCT CLUSTER_ID, TOPIC_ID FROM RAW_DATA.KAFKA_OFFSETS")
    assert [(row["CLUSTER_ID"], row["TOPIC_ID"]) for row in rows] == [(state.cluster_id, state.topic_id)]


@pytest.mark.topic(1)
def test_partitions_that_were_added_are_read_from_their_start_without_a_gap(caves: Caves) -> None:
    first, second, third = caves.events(20), caves.events(15, seed=2), caves.events(10, seed=3)
    send(caves, first)
    ingest(caves)
    add_partitions(caves, 3)
    send(caves, second, partition=2)
    send(caves, third)

    report = ingest(caves)

    assert (report.landed, report.gaps, gaps(caves)) == (25, [], [])
    assert report.positions == {0: 30, 1: 0, 2: 15}
    require_exactly_once(caves, [*first, *second, *third])


def test_an_idle_tick_takes_less_than_a_second(caves: Caves) -> None:
    caves.publish(caves.events(40))
    ingest(caves)
    cursor = tick(caves).cursor
    took = []
    for _ in range(10):
        began = time.monotonic()
        result = tick(caves, cursor)
        took.append(time.monotonic() - began)
        assert reason(result) == f"Nothing new in {caves.shop.topic}: lag 0 over 4 partitions."
    assert max(took) < 1.0, took
