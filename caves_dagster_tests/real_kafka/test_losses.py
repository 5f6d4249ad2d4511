"""What a broker loses or replaces: recorded with partition and range, reported, and never in the way."""

from __future__ import annotations

from collections import Counter

import pytest

from caves_dagster.errors import TopicNotFound
from caves_dagster.ingest.positions import GapReason
from caves_dagster.ingest.report import IngestReport
from caves_dagster.ingest.run import Ingestion
from caves_dagster_tests.brokers import until
from caves_dagster_tests.conftest import Caves
from caves_dagster_tests.ingest.accounting import (
    accounted_for,
    acknowledge,
    gaps,
    ingest,
    landed_ids,
    require_exactly_once,
)
from caves_dagster_tests.real_kafka.broker import (
    configure,
    delete_records,
    delete_topic,
    heavy,
    lags,
    marks,
    recreate_topic,
    send,
    tick,
)


def require_reported_until_acknowledged(caves: Caves, text: str) -> None:
    """The check fails and names the range, until somebody acknowledges it."""
    outcome = accounted_for(caves)
    assert outcome.status == "FAIL"
    assert text in "".join(outcome.offending_keys)
    acknowledge(caves)
    assert accounted_for(caves).status == "PASS", accounted_for(caves).offending_keys


@pytest.mark.topic(2)
def test_unread_records_that_were_deleted_are_a_gap_with_partition_and_range(caves: Caves) -> None:
    first, lost, rest = caves.events(10), caves.events(7, seed=2), caves.events(13, seed=3)
    other = caves.events(5, seed=4)
    send(caves, first, partition=1)
    ingest(caves)
    send(caves, [*lost, *rest], partition=1)
    send(caves, other, partition=0)
    delete_records(caves, {1: 17})

    report = ingest(caves)

    assert (report.landed, gaps(caves)) == (18, [(1, 10, 17, "RETENTION")])
    assert set(landed_ids(caves)) == {message.event_id for message in (*first, *rest, *other)}
    require_reported_until_acknowledged(caves, f"{caves.shop.topic} 1: RETENTION from 10 to 17")
    assert ingest(caves).gaps == [], "a gap is recorded once"


@pytest.mark.topic(1)
def test_records_that_retention_deleted_are_a_gap_and_ingestion_goes_on_behind_it(
    caves: Caves,
) -> None:
    first, lost, last = caves.events(10), caves.events(20, seed=2), caves.events(5, seed=3)
    send(caves, first)
    ingest(caves)
    send(caves, lost)
    configure(caves, retention_ms=1)
    until(lambda: marks(caves).low == 30, "retention has deleted everything")
    configure(caves, retention_ms=3_600_000)
    assert lags(tick(caves)) == ["0"], "a gap is news"
    assert ingest(caves).gaps[0].offset_to == 30
    send(caves, last)

    report = ingest(caves)

    assert (report.landed, gaps(caves)) == (5, [(0, 10, 30, "RETENTION")])
    assert set(landed_ids(caves)) == {message.event_id for message in (*first, *last)}
    require_reported_until_acknowledged(caves, "0: RETENTION from 10 to 30")


@pytest.mark.topic(1)
def test_records_deleted_while_the_topic_is_read_are_a_gap_and_the_same_run_goes_on(
    caves: Caves,
) -> None:
    messages = heavy(caves.events(1500))
    send(caves, messages)

    def delete(report: IngestReport) -> None:
        if report.batches == 1:
            delete_records(caves, {0: 1490})

    settings = caves.settings.model_copy(update={"batch_max_events": 50})
    report = Ingestion(settings, caves.shop, caves.kafka, caves.warehouse, "deleted", delete).run()

    ((partition, start, end, reason),) = gaps(caves)
    assert (partition, end, reason) == (0, 1490, "RETENTION")
    assert 50 <= start < 1490, "nothing was deleted before it was read: the test shows nothing"
    assert (report.landed, report.lag_after) == (start + 10, 0)
    read = [message.event_id for message in (*messages[:start], *messages[1490:])]
    assert landed_ids(caves) == Counter(read)
    require_reported_until_acknowledged(caves, f"0: RETENTION from {start} to 1490")


@pytest.mark.topic(1)
def test_records_deleted_after_they_were_read_are_no_loss(caves: Caves) -> None:
    messages = caves.events(20)
    send(caves, messages)
    ingest(caves)
    delete_records(caves, {0: 20})
    assert (ingest(caves).gaps, gaps(caves)) == ([], [])
    require_exactly_once(caves, messages)


@pytest.mark.topic(1)
def test_a_first_read_of_a_log_whose_start_was_deleted_begins_at_its_start(caves: Caves) -> None:
    send(caves, caves.events(20))
    delete_records(caves, {0: 8})
    report = ingest(caves)
    assert (report.landed, report.gaps, report.positions) == (12, [], {0: 20})


@pytest.mark.topic(1)
@pytest.mark.parametrize("size", [4, 25, 60], ids=["smaller", "as long", "outgrown"])
def test_a_recreated_topic_is_told_by_its_id_and_read_from_its_start(caves: Caves, size: int) -> None:
    first, second = caves.events(25), caves.events(size, seed=2)
    send(caves, first)
    ingest(caves)
    recreate_topic(caves)
    send(caves, second)

    report = ingest(caves)

    assert [gap.reason for gap in report.gaps] == [GapReason.TOPIC_RECREATED]
    assert (report.landed, gaps(caves)) == (size, [(0, 25, None, "TOPIC_RECREATED")])
    require_reported_until_acknowledged(caves, "0: TOPIC_RECREATED from 25")
    require_exactly_once(caves, [*first, *second])


def test_a_topic_that_was_deleted_is_named_and_nothing_is_written(caves: Caves) -> None:
    caves.publish(caves.events(10))
    ingest(caves)
    delete_topic(caves)
    with pytest.raises(TopicNotFound, match=f"has no topic '{caves.shop.topic}'"):
        ingest(caves)
    assert (caves.count(caves.shop.raw.full_name), gaps(caves)) == (10, [])
