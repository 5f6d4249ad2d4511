"""Reading a real topic: what was sent comes back byte for byte, in order, in batches with bounds."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise

import pytest
from confluent_kafka import Producer

from caves_dagster.errors import PositionsMoved
from caves_dagster.ingest.reader import Read, read_batches
from caves_dagster.kafka.client import client_config
from caves_dagster_tests.brokers import on_both_brokers
from caves_dagster_tests.conftest import Caves
from caves_dagster_tests.ingest.accounting import plan

pytestmark = on_both_brokers

MIB = 2**20
STAMP = 1_772_360_000_123


def send(caves: Caves, count: int, partition: int = 0, size: int = 0) -> None:
    """Messages that say where they stand: `partition:number`, padded to a size."""
    producer = Producer(client_config(caves.settings.kafka))
    for number in range(count):
        value = f"{partition}:{number}".encode().ljust(size)
        producer.produce(caves.shop.topic, value, partition=partition)
    assert producer.flush(30) == 0


def read(caves: Caves, max_events: int = 10_000, max_bytes: int = 64 * MIB) -> list[Read]:
    return list(read_batches(caves.kafka, plan(caves), max_events, max_bytes))


@pytest.mark.topic(retention_ms=-1)  # the records are stamped with a time long ago
def test_key_value_headers_and_timestamp_come_back_as_they_were_sent(caves: Caves) -> None:
    everything = bytes(range(256))
    sent: list[tuple[bytes | None, bytes | None, list[tuple[str, str | bytes | None]]]] = [
        (everything, everything, [("a", everything), ("a", b""), ("clé", None)]),
        (None, None, []),
        (b"", b"", [("", b"empty name")]),
        (b"key", None, []),
    ]
    producer = Producer(client_config(caves.settings.kafka))
    for key, value, headers in sent:
        producer.produce(caves.shop.topic, value, key, partition=1, headers=headers, timestamp=STAMP)
    assert producer.flush(10) == 0
    (batch,) = read(caves)
    assert [(m.key, m.value, list(m.headers)) for m in batch.messages] == sent
    assert [(m.topic, m.partition, m.offset, m.timestamp_ms) for m in batch.messages] == [
        (caves.shop.topic, 1, offset, STAMP) for offset in range(len(sent))
    ]


def test_each_partition_is_read_in_order_and_batches_join_without_a_hole(caves: Caves) -> None:
    for partition, count in ((0, 300), (1, 7), (3, 500)):
        send(caves, count, partition)
    batches = read(caves, max_events=64)
    assert max(len(batch.messages) for batch in batches) == 64
    for partition, count in ((0, 300), (1, 7), (3, 500)):
        own = [m for batch in batches for m in batch.messages if m.partition == partition]
        assert [(m.offset, m.value) for m in own] == [
            (offset, f"{partition}:{offset}".encode()) for offset in range(count)
        ]
        moves = [batch.progress[partition] for batch in batches if partition in batch.progress]
        assert (moves[0].start, moves[-1].end) == (0, count)
        assert all(before.end == after.start for before, after in pairwise(moves))


def test_what_is_sent_after_the_plan_is_left_to_the_next_run(caves: Caves) -> None:
    send(caves, 20)
    before = plan(caves)
    send(caves, 30)
    (batch,) = read_batches(caves.kafka, before, 10_000, MIB)
    assert (len(batch.messages), batch.progress[0].end) == (20, 20)


def test_a_batch_is_bounded_in_bytes(caves: Caves) -> None:
    send(caves, 60, size=50_000)
    batches = read(caves, max_bytes=500_000)
    assert sum(len(batch.messages) for batch in batches) == 60
    # The first messages show how large they are; after those a batch ends where it is full.
    assert max(batch.bytes for batch in batches) <= 500_000 + 50_000


def test_a_position_beyond_the_log_asks_for_a_new_plan(caves: Caves) -> None:
    send(caves, 5)
    before = plan(caves)
    beyond = replace(before, start={**before.start, 0: 50}, goal={**before.goal, 0: 60})
    with pytest.raises(PositionsMoved, match=caves.shop.topic):
        list(read_batches(caves.kafka, beyond, 100, MIB))
