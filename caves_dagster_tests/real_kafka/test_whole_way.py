"""The way of an event from a real broker to production, and what the broker tells on the way."""

from __future__ import annotations

import time

import dagster as dg
import pytest
from confluent_kafka import ConsumerGroupTopicPartitions

from caves_dagster.checks import run_check, shop_checks
from caves_dagster.definitions import build_definitions
from caves_dagster.jobs import pipeline_name
from caves_dagster_tests.conftest import Caves
from caves_dagster_tests.ingest.accounting import accounted_for, ingest, landed_ids, require_exactly_once
from caves_dagster_tests.real_kafka.broker import add_partitions, ask, gaps, lags, reason, send, tick


@pytest.mark.topic(6)
def test_every_event_reaches_production_in_a_dagster_run_and_every_check_passes(
    caves_on_kafka: Caves,
) -> None:
    caves = caves_on_kafka
    messages = caves.events(3000, invalid_rate=0.1)
    invalid = sum(message.event_id is None for message in messages)
    caves.publish(messages)
    assert lags(tick(caves)) == ["3000"]

    job = build_definitions(caves.settings).resolve_job_def(pipeline_name(caves.shop))
    with dg.DagsterInstance.ephemeral() as instance:
        assert job.execute_in_process(instance=instance).success

    require_exactly_once(caves, messages)
    assert caves.count("RAW_DATA.DEAD_LETTER_EVENTS") == invalid > 200
    produced = caves.count("PRODUCTION.ORDERS") + caves.count("PRODUCTION.INVENTORY_HISTORY")
    assert produced == 3000 - invalid
    for check in shop_checks(caves.shop):
        outcome = run_check(caves.warehouse, caves.shop, check)
        assert outcome.status == "PASS", (check.name, outcome.offending_keys)
    assert reason(tick(caves)) == f"Nothing new in {caves.shop.topic}: lag 0 over 6 partitions."


def test_positions_stand_under_the_brokers_cluster_id_and_topic_id(caves_on_kafka: Caves) -> None:
    caves = caves_on_kafka
    caves.publish(caves.events(30))
    ingest(caves)
    state = caves.kafka.inspect(caves.shop.topic)
    (described,) = ask(caves, lambda client: {"cluster": client.describe_cluster()})
    assert state.cluster_id == described.cluster_id
    assert len(state.topic_id) == 22, "16 bytes in Kafka's base64"
    rows = caves.warehouse.query("SELECT DISTINCT CLUSTER_ID, TOPIC_ID FROM RAW_DATA.KAFKA_OFFSETS")
    assert [(row["CLUSTER_ID"], row["TOPIC_ID"]) for row in rows] == [(state.cluster_id, state.topic_id)]


def test_a_topic_with_one_message_is_read_to_its_end(caves_on_kafka: Caves) -> None:
    caves = caves_on_kafka
    messages = caves.events(1)
    send(caves, messages, partition=2)
    assert ingest(caves).landed == 1
    report = ingest(caves)
    assert (report.landed, report.batches, report.lag_before) == (0, 0, 0)
    require_exactly_once(caves, messages)


def test_an_empty_topic_is_no_work(caves_on_kafka: Caves) -> None:
    report = ingest(caves_on_kafka)
    assert (report.landed, report.dead, report.skipped, report.gaps) == (0, 0, 0, [])
    assert not tick(caves_on_kafka).run_requests


@pytest.mark.topic(1)
def test_partitions_that_were_added_are_read_from_their_start_without_a_gap(caves_on_kafka: Caves) -> None:
    caves = caves_on_kafka
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


def test_lag_tools_see_the_positions_as_a_consumer_groups_offsets(caves_on_kafka: Caves) -> None:
    caves = caves_on_kafka
    caves.publish(caves.events(60))
    ingest(caves)
    group = ConsumerGroupTopicPartitions(f"{caves.settings.group_id}-dagster")
    (answer,) = ask(caves, lambda client: client.list_consumer_group_offsets([group]))
    offsets = {
        found.partition: found.offset for found in answer.topic_partitions if found.topic == caves.shop.topic
    }
    assert offsets == caves.kafka.inspect(caves.shop.topic).ends
    assert sum(offsets.values()) == 60


def test_an_idle_tick_takes_less_than_a_second(caves_on_kafka: Caves) -> None:
    caves = caves_on_kafka
    caves.publish(caves.events(40))
    ingest(caves)
    cursor = tick(caves).cursor
    took = []
    for _ in range(10):
        began = time.monotonic()
        result = tick(caves, cursor)
        took.append(time.monotonic() - began)
        assert reason(result) == f"Nothing new in {caves.shop.topic}: lag 0 over 3 partitions."
    assert max(took) < 1.0, took


@pytest.mark.topic(2)
def test_small_batches_over_two_partitions_join_without_a_hole(caves_on_kafka: Caves) -> None:
    caves = caves_on_kafka
    messages = caves.events(500, invalid_rate=0.1)
    send(caves, messages[:200], partition=0)
    send(caves, messages[200:], partition=1)
    report = ingest(caves, batch_max_events=37)
    assert report.batches >= 500 // 37
    assert len(landed_ids(caves)) == report.landed
    require_exactly_once(caves, messages)
    assert accounted_for(caves).status == "PASS"
