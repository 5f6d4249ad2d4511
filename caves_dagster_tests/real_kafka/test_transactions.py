"""Transactional producers: what was aborted never lands, what is open is not read past."""

from __future__ import annotations

from collections.abc import Iterable

import pytest
from confluent_kafka import Producer

from caves_dagster.shop import Message
from caves_dagster_tests.brokers import until
from caves_dagster_tests.conftest import Caves
from caves_dagster_tests.ingest.accounting import (
    accounted_for,
    gaps,
    ingest,
    landed_ids,
    require_exactly_once,
)
from caves_dagster_tests.real_kafka.broker import lags, marks, reason, send, settings, tick


def producer(caves: Caves, name: str = "a", **config: object) -> Producer:
    """A transactional producer that has begun."""
    found = Producer(settings(caves, transactional_id=f"{caves.shop.topic}-{name}", **config))
    found.init_transactions(30)
    found.begin_transaction()
    return found


def write(caves: Caves, into: Producer, messages: Iterable[Message], partition: int = 0) -> None:
    """Write within the open transaction; the broker has it afterwards."""
    for message in messages:
        into.produce(caves.shop.topic, message.value, message.key, partition=partition)
    assert into.flush(30) == 0


def require_at_rest(caves: Caves) -> None:
    """Lag is 0, the sensor says so, and every offset is accounted for."""
    assert reason(tick(caves)).startswith(f"Nothing new in {caves.shop.topic}: lag 0 over ")
    assert accounted_for(caves).status == "PASS", accounted_for(caves).offending_keys
    assert gaps(caves) == []


@pytest.mark.topic(1)
def test_committed_messages_land_once_and_the_commit_marker_is_skipped(caves: Caves) -> None:
    messages = caves.events(12)
    writer = producer(caves)
    write(caves, writer, messages)
    writer.commit_transaction(30)

    until(lambda: marks(caves).end == 13, "the commit is visible")
    report = ingest(caves)

    assert (report.landed, report.skipped, report.lag_after, report.positions) == (12, 1, 0, {0: 13})
    require_exactly_once(caves, messages)
    require_at_rest(caves)


@pytest.mark.topic(1)
def test_aborted_messages_never_land_and_are_not_reported_as_lost(caves: Caves) -> None:
    before, aborted, after = caves.events(5), caves.events(9, seed=2), caves.events(6, seed=3)
    send(caves, before)
    writer = producer(caves)
    write(caves, writer, aborted)
    writer.abort_transaction(30)
    send(caves, after)

    until(lambda: marks(caves).end == 21, "the abort is visible")
    report = ingest(caves)

    assert (report.landed, report.skipped, report.dead) == (11, 10, 0)
    require_exactly_once(caves, [*before, *after])
    require_at_rest(caves)


@pytest.mark.topic(2)
def test_a_partition_that_ends_in_aborted_messages_is_read_to_its_end(caves: Caves) -> None:
    messages = caves.events(5)
    send(caves, messages, partition=0)
    writer = producer(caves)
    write(caves, writer, caves.events(8, seed=2), partition=0)
    write(caves, writer, caves.events(8, seed=3), partition=1)
    writer.abort_transaction(30)

    until(lambda: (marks(caves, 0).end, marks(caves, 1).end) == (14, 9), "the abort is visible")
    report = ingest(caves)

    assert (report.landed, report.skipped, report.positions) == (5, 18, {0: 14, 1: 9})
    require_exactly_once(caves, messages)
    require_at_rest(caves)
    again = ingest(caves)
    assert (again.batches, again.lag_before) == (0, 0)


@pytest.mark.topic(1)
def test_an_open_transaction_is_not_read_past_and_its_messages_land_after_the_commit(
    caves: Caves,
) -> None:
    before, inside, behind = caves.events(7), caves.events(5, seed=2), caves.events(11, seed=3)
    send(caves, before)
    writer = producer(caves)
    write(caves, writer, inside)
    send(caves, behind)
    assert marks(caves).end == 7, "the last stable offset, not the high watermark"
    assert ingest(caves).positions == {0: 7}
    require_at_rest(caves)
    assert ingest(caves).batches == 0
    writer.commit_transaction(30)

    until(lambda: marks(caves).end == 24, "the commit is visible")
    assert lags(tick(caves)) == ["17"]
    report = ingest(caves)

    assert (report.landed, report.skipped) == (16, 1)
    require_exactly_once(caves, [*before, *inside, *behind])
    require_at_rest(caves)


@pytest.mark.topic(1)
def test_what_stands_behind_a_dead_producers_transaction_lands_when_the_broker_ends_it(
    caves: Caves,
) -> None:
    inside, behind = caves.events(5), caves.events(11, seed=2)
    writer = producer(caves, transaction_timeout_ms=1500)
    write(caves, writer, inside)
    send(caves, behind)
    assert ingest(caves).landed == 0

    until(lambda: marks(caves).end == 17, "the broker has ended the transaction")
    report = ingest(caves)

    assert (report.landed, report.skipped) == (11, 6)
    require_exactly_once(caves, behind)
    require_at_rest(caves)


@pytest.mark.topic(1)
def test_interleaved_transactions_land_exactly_what_was_committed(caves: Caves) -> None:
    writers = [producer(caves, name) for name in "abc"]
    events = [caves.events(40, seed=seed) for seed in (1, 2, 3)]
    for start in range(0, 40, 8):
        for writer, messages in zip(writers, events, strict=True):
            write(caves, writer, messages[start : start + 8])
    writers[1].abort_transaction(30)
    writers[0].commit_transaction(30)
    writers[2].commit_transaction(30)

    until(lambda: marks(caves).end == 123, "the transactions have ended")
    report = ingest(caves, batch_max_events=13)

    assert (report.landed, report.skipped) == (80, 43)
    assert set(landed_ids(caves)).isdisjoint({message.event_id for message in events[1]})
    require_exactly_once(caves, [*events[0], *events[2]])
    require_at_rest(caves)
