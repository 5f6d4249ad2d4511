"""Records of every kind: codecs, sizes, and logs with holes."""

from __future__ import annotations

import json
import random

import pytest

from caves_dagster.shop import Message
from caves_dagster_tests.brokers import until
from caves_dagster_tests.conftest import Caves
from caves_dagster_tests.ingest.accounting import (
    accounted_for,
    dead_letters,
    gaps,
    ingest,
    landed_ids,
    require_exactly_once,
)
from caves_dagster_tests.real_kafka.broker import configure, marks, send, tick

MIB = 2**20


@pytest.mark.topic(1)
@pytest.mark.parametrize("codec", ["none", "gzip", "snappy", "lz4", "zstd"])
def test_batches_of_every_codec_are_read(caves: Caves, codec: str) -> None:
    messages = caves.events(300, invalid_rate=0.05)
    send(caves, messages, compression_codec=codec, linger_ms=100)
    ingest(caves)
    require_exactly_once(caves, messages)


@pytest.mark.topic(1, compression_type="gzip")
def test_batches_that_the_broker_compresses_again_are_read(caves: Caves) -> None:
    messages = caves.events(300)
    send(caves, messages, compression_codec="zstd", linger_ms=100)
    ingest(caves)
    require_exactly_once(caves, messages)


@pytest.mark.topic(2)
def test_messages_of_a_mebibyte_land_or_are_dead_letters_byte_for_byte(caves: Caves) -> None:
    noise = random.Random(1)
    large = [noise.randbytes(MIB) for _ in range(15)]
    events = caves.events(15)
    padded = [
        Message(
            event.key,
            json.dumps(json.loads(event.value) | {"note": "é" * (MIB // 2)}).encode(),
            event.event_id,
        )
        for event in events
        if event.value is not None
    ]
    mixed = [
        one for pair in zip(padded, (Message(b"k", value) for value in large), strict=True) for one in pair
    ]
    send(caves, mixed, partition=1, message_max_bytes=8 * MIB)
    report = ingest(caves, batch_max_bytes=3 * MIB)
    assert (report.landed, report.dead) == (15, 15)
    assert report.batches >= 3, "a batch is bounded in bytes"
    assert [bytes(row["VALUE"]) for row in dead_letters(caves)] == large
    require_exactly_once(caves, mixed)


@pytest.mark.topic(1)
def test_a_message_above_the_limit_is_a_whole_dead_letter_and_its_neighbours_land(caves: Caves) -> None:
    large = Message(b"k", random.Random(2).randbytes(caves.settings.max_event_bytes + 1))
    before, after = caves.events(3), caves.events(3, seed=2)
    send(caves, [*before, large, *after], message_max_bytes=8 * MIB)
    assert ingest(caves).dead_by_class == {"TOO_LARGE": 1}
    assert [bytes(row["VALUE"]) for row in dead_letters(caves)] == [large.value]
    require_exactly_once(caves, [*before, large, *after])


@pytest.mark.topic(
    1, cleanup_policy="compact", segment_ms=200, min_cleanable_dirty_ratio=0.01, min_compaction_lag_ms=0
)
def test_holes_of_a_compacted_topic_are_skipped_and_not_reported_as_lost(caves: Caves) -> None:
    rounds = [caves.events(40, seed=seed) for seed in (1, 2, 3)]
    for messages in rounds:
        send(caves, [Message(b"%d" % (index % 8), m.value, m.event_id) for index, m in enumerate(messages)])
    last = caves.events(3, seed=4)

    def compacted() -> bool:
        # A record closes the segment before it, so that it can be compacted.
        send(caves, [Message(b"closing", last[0].value, last[0].event_id)])
        return records(caves) < marks(caves).end // 2

    until(compacted, "the log has holes")
    configure(caves, min_cleanable_dirty_ratio=1)
    there, end = records(caves), marks(caves).end

    report = ingest(caves)

    assert (report.landed + report.dead, report.lag_after, report.positions) == (there, 0, {0: end})
    assert report.skipped == end - there > 60
    newest = {message.event_id for message in rounds[-1][-8:]}
    assert newest <= set(landed_ids(caves)), "the newest of each key"
    assert (gaps(caves), accounted_for(caves).status) == ([], "PASS")
    assert not tick(caves).run_requests


def records(caves: Caves) -> int:
    """How many records the log of partition 0 holds."""
    end = marks(caves).end
    consumer = caves.kafka.reader(caves.shop.topic, {0: 0})
    try:
        found = 0
        while True:
            for message in consumer.consume(1000, 1.0):
                if message.error() is not None:
                    return found
                found += 1
                if message.offset() == end - 1:
                    return found
    finally:
        consumer.close()
