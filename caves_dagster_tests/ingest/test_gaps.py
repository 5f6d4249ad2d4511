"""What Kafka lost before it could be read: recorded, reported until acknowledged, and never in the way."""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from caves_dagster.ingest.positions import GapReason
from caves_dagster.local.platform import Platform, running_platform
from caves_dagster.shop import Message
from caves_dagster.warehouse.connection import Row
from caves_dagster_tests.conftest import Caves, _caves
from caves_dagster_tests.ingest.accounting import (
    accounted_for,
    ingest,
    landed_ids,
    make_topic,
    require_exactly_once,
)

OFFSETS = "RAW_DATA.KAFKA_OFFSETS"


def gaps(caves: Caves) -> list[Row]:
    """The recorded gaps, by partition."""
    sql = (
        "SELECT PARTITION_ID, OFFSET_FROM, OFFSET_TO, REASON, ACKNOWLEDGED_AT FROM RAW_DATA.INGEST_GAPS "
        "ORDER BY PARTITION_ID"
    )
    return caves.warehouse.query(sql)


def acknowledge(caves: Caves, partition: int) -> None:
    """Somebody accepts what was lost of a partition."""
    caves.warehouse.execute(
        "UPDATE RAW_DATA.INGEST_GAPS SET ACKNOWLEDGED_AT = CURRENT_TIMESTAMP(), ACKNOWLEDGED_BY = 'test' "
        "WHERE PARTITION_ID = %(partition)s",
        {"partition": partition},
    )


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
    found = {gap["PARTITION_ID"]: (gap["OFFSET_FROM"], gap["OFFSET_TO"]) for gap in gaps(caves)}
    assert found == {partition: (offset, None) for partition, offset in positions.items()}
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
    (gap,) = gaps(caves)
    assert (gap["OFFSET_FROM"], gap["OFFSET_TO"]) == (end, end + 5)
    assert accounted_for(caves).status == "FAIL"
    assert f"{partition}: LOG_TRUNCATED" in "".join(accounted_for(caves).offending_keys)
    more = caves.events(30, seed=2)
    caves.publish(more)
    ingest(caves)
    assert {message.event_id for message in more} <= set(landed_ids(caves)), "ingestion goes on"


def test_records_deleted_by_retention_are_a_gap_and_ingestion_goes_on_behind_it(caves: Caves) -> None:
    """The broker keeps 5 MiB of a partition."""
    first = [replace(message, key=b"one partition") for message in caves.events(5)]
    caves.publish(first)
    ingest(caves)
    filler = [Message(b"one partition", bytes([index]) * 60_000 + _noise(index)) for index in range(160)]
    for start in range(0, len(filler), 20):
        caves.publish(filler[start : start + 20])
    last = [replace(message, key=b"one partition") for message in caves.events(5, seed=2)]
    caves.publish(last)
    (partition, end) = next(iter(partitions_with_events(caves).items()))
    low = caves.kafka.inspect(caves.shop.topic).partitions[partition].low
    assert low > 5, "nothing was deleted: the test shows nothing"

    report = ingest(caves)

    assert [(g.partition, g.offset_from, g.offset_to, g.reason) for g in report.gaps] == [
        (partition, 5, low, GapReason.RETENTION)
    ]
    assert report.landed + report.dead == end - low
    assert {message.event_id for message in (*first, *last)} == set(landed_ids(caves))
    outcome = accounted_for(caves)
    assert outcome.status == "FAIL"
    assert f"{caves.shop.topic} {partition}: RETENTION from 5 to {low}" in "".join(outcome.offending_keys)
    acknowledge(caves, partition)
    assert accounted_for(caves).status == "PASS"


def _noise(seed: int) -> bytes:
    """Bytes that do not compress."""
    return random.Random(seed).randbytes(40_000)


@pytest.fixture
def restartable(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[tuple[Platform, Caves]]:
    """A platform of the test's own, whose broker may be restarted."""
    with running_platform(tmp_path / "home") as platform:
        for caves in _caves(platform, request.node.name):
            yield platform, caves


def test_another_cluster_at_the_same_address_is_a_warning_and_its_events_land(
    restartable: tuple[Platform, Caves],
) -> None:
    platform, caves = restartable
    first = caves.events(50)
    caves.publish(first)
    ingest(caves)
    before = caves.kafka.inspect(caves.shop.topic).cluster_id
    broker = Platform(platform.home, servers=("broker",))
    broker.stop()
    broker.start()
    make_topic(caves)
    second = caves.events(50, seed=2)
    caves.publish(second)
    assert caves.kafka.inspect(caves.shop.topic).cluster_id != before

    report = ingest(caves)

    assert {gap.reason for gap in report.gaps} == {GapReason.NEW_CLUSTER}
    assert set(landed_ids(caves)) == {message.event_id for message in (*first, *second)}
    outcome = accounted_for(caves)
    assert outcome.status == "WARN"
    for gap in gaps(caves):
        assert f"{gap['PARTITION_ID']}: NEW_CLUSTER from {gap['OFFSET_FROM']}" in "".join(
            outcome.offending_keys
        )
        acknowledge(caves, int(gap["PARTITION_ID"]))
    require_exactly_once(caves, [*first, *second])
