"""What Kafka lost before it could be read: recorded, reported until acknowledged, and never in the way."""

from __future__ import annotations

import random
import time
from dataclasses import replace

import pytest

from caves_dagster.ingest.positions import GapReason
from caves_dagster.shop import Message
from caves_dagster_tests.brokers import Broker, on_both_brokers, until
from caves_dagster_tests.conftest import Caves
from caves_dagster_tests.ingest.accounting import (
    accounted_for,
    acknowledge,
    gaps,
    ingest,
    landed_ids,
    require_exactly_once,
)

pytestmark = on_both_brokers

OFFSETS = "RAW_DATA.KAFKA_OFFSETS"


def partitions_with_events(caves: Caves) -> dict[int, int]:
    """End offset of each partition that holds something."""
    return {partition: end for partition, end in caves.kafka.inspect(caves.shop.topic).ends.items() if end}


def test_a_topic_read_in_full_has_no_gap(caves: Caves) -> None:
    caves.publish(caves.events(40))
    assert ingest(caves).gaps == []
    assert gaps(caves) == []
    assert accounted_for(caves).status == "PASS"


def test_another_topic_under_the_same_name_is_a_gap_until_it_is_acknowledged(caves: Caves) -> None:
    caves.publish(caves.events(40))
    positions = ingest(caves).positions
    # As if all that had been another topic: what the topic holds now is new.
    for table in (OFFSETS, "RAW_DATA.INGEST_BATCHES"):
        caves.warehouse.execute(f"UPDATE {table} SET TOPIC_ID = 'an earlier topic'")

    report = ingest(caves)

    assert report.landed == 40
    assert {gap.reason for gap in report.gaps} == {GapReason.TOPIC_RECREATED}
    assert gaps(caves) == [(p, offset, None, "TOPIC_RECREATED") for p, offset in sorted(positions.items())]
    outcome = accounted_for(caves)
    assert outcome.status == "FAIL"
    for partition, offset in positions.items():
        assert f"{caves.shop.topic} {partition}: TOPIC_RECREATED from {offset}" in "".join(
            outcome.offending_keys
        )
    assert ingest(caves).gaps == [], "a gap is recorded once"
    for partition in positions:
        assert accounted_for(caves).status == "FAIL"
        acknowledge(caves, partition)
    assert accounted_for(caves).status == "PASS", accounted_for(caves).offending_keys


def test_a_log_that_ends_below_the_position_was_cut(caves: Caves) -> None:
    caves.publish(caves.events(60))
    ingest(caves)
    ends = partitions_with_events(caves)
    partition, end = next(iter(ends.items()))
    caves.warehouse.execute(
        f"UPDATE {OFFSETS} SET NEXT_OFFSET = NEXT_OFFSET + 5 WHERE PARTITION_ID = {partition}"
    )

    report = ingest(caves)

    assert [(gap.partition, gap.reason) for gap in report.gaps] == [(partition, GapReason.LOG_TRUNCATED)]
    assert gaps(caves) == [(partition, end, end + 5, "LOG_TRUNCATED")]
    assert accounted_for(caves).status == "FAIL"
    assert f"{partition}: LOG_TRUNCATED" in "".join(accounted_for(caves).offending_keys)
    more = caves.events(30, seed=2)
    caves.publish(more)
    ingest(caves)
    assert {message.event_id for message in more} <= set(landed_ids(caves)), "ingestion goes on"


@pytest.mark.topic(retention_bytes=2**20, segment_bytes=2**20)
def test_records_deleted_by_retention_are_a_gap_and_ingestion_goes_on_behind_it(caves: Caves) -> None:
    """The embedded broker keeps 5 MiB of a partition, the real one about what the topic says."""
    first = [replace(message, key=b"one partition") for message in caves.events(5)]
    caves.publish(first)
    ingest(caves)
    filler = [Message(b"one partition", bytes([index]) * 60_000 + _noise(index)) for index in range(160)]
    for start in range(0, len(filler), 20):
        caves.publish(filler[start : start + 20])
    last = [replace(message, key=b"one partition") for message in caves.events(5, seed=2)]
    caves.publish(last)
    (partition, end) = next(iter(partitions_with_events(caves).items()))
    low = low_at_rest(caves, partition)
    assert low > 5, "nothing was deleted: the test shows nothing"

    report = ingest(caves)

    assert gaps(caves) == [(partition, 5, low, "RETENTION")]
    assert report.landed + report.dead == end - low
    assert {message.event_id for message in (*first, *last)} == set(landed_ids(caves))
    outcome = accounted_for(caves)
    assert outcome.status == "FAIL"
    assert f"{caves.shop.topic} {partition}: RETENTION from 5 to {low}" in "".join(outcome.offending_keys)
    acknowledge(caves, partition)
    assert accounted_for(caves).status == "PASS"


def low_at_rest(caves: Caves, partition: int) -> int:
    """Where the log begins, once the broker has deleted what it will delete."""
    seen = [-1]

    def rests() -> bool:
        seen.append(caves.kafka.inspect(caves.shop.topic).partitions[partition].low)
        time.sleep(0.5)
        return seen[-1] == seen[-2] > 5

    until(rests, "records were deleted")
    return seen[-1]


def _noise(seed: int) -> bytes:
    """Bytes that do not compress."""
    return random.Random(seed).randbytes(40_000)


def test_another_cluster_at_the_same_address_is_a_warning_and_its_events_land(
    spare_broker: Broker, spare_caves: Caves
) -> None:
    caves = spare_caves
    first, second = caves.events(50), caves.events(50, seed=2)
    caves.publish(first)
    positions = ingest(caves).positions
    before, address = caves.kafka.inspect(caves.shop.topic).cluster_id, spare_broker.bootstrap_servers
    spare_broker.replace()
    assert spare_broker.bootstrap_servers == address
    spare_broker.make_topic(caves.shop.topic)
    caves.publish(second)
    assert caves.kafka.inspect(caves.shop.topic).cluster_id != before

    report = ingest(caves)

    assert {gap.reason for gap in report.gaps} == {GapReason.NEW_CLUSTER}
    assert gaps(caves) == [(p, offset, None, "NEW_CLUSTER") for p, offset in sorted(positions.items())]
    assert set(landed_ids(caves)) == {message.event_id for message in (*first, *second)}
    outcome = accounted_for(caves)
    assert outcome.status == "WARN"
    for partition, offset in positions.items():
        assert f"{partition}: NEW_CLUSTER from {offset}" in "".join(outcome.offending_keys)
    acknowledge(caves)
    require_exactly_once(caves, [*first, *second])
