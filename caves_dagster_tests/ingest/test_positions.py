"""Planning a run: where to start, where to stop, which gaps to record."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from caves_dagster.ingest.positions import (
    Gap,
    GapReason,
    Plan,
    Position,
    current_positions,
    make_plan,
    to_verify,
)
from caves_dagster.ingest.reader import Progress, opening
from caves_dagster.kafka.client import TopicState, Watermarks

CLUSTER, TOPIC_ID = "cluster-a", "topic-id-1"
MONDAY = datetime(2026, 3, 2, tzinfo=UTC)


def topic(
    partitions: dict[int, tuple[int, int]], cluster_id: str = CLUSTER, topic_id: str = TOPIC_ID
) -> TopicState:
    """A topic whose partitions keep the offsets `[low, end)`."""
    marks = {number: Watermarks(low, end) for number, (low, end) in partitions.items()}
    return TopicState(cluster_id, "sales_events", topic_id, marks)


def row(
    partition: int,
    next_offset: int,
    cluster_id: str = CLUSTER,
    topic_id: str = TOPIC_ID,
    days: int = 0,
    last: tuple[int, int] | None = None,
) -> Position:
    """A row of KAFKA_OFFSETS, last moved `days` after Monday; `last` is its last record's offset and time."""
    offset, timestamp = last if last is not None else (None, None)
    moved = MONDAY + timedelta(days=days)
    return Position(cluster_id, topic_id, partition, next_offset, offset, timestamp, moved)


def only_gap(plan: Plan) -> Gap:
    (gap,) = plan.gaps
    return gap


# --- a run without trouble


def test_a_run_goes_on_where_the_last_one_stopped() -> None:
    plan = make_plan(topic({0: (0, 100), 1: (0, 50)}), [row(0, 60), row(1, 50)])
    assert plan.start == {0: 60, 1: 50}
    assert plan.goal == {0: 100, 1: 50}
    assert plan.expected == {0: 60, 1: 50}
    assert plan.gaps == ()


def test_lag_counts_the_offsets_between_start_and_goal_over_all_partitions() -> None:
    plan = make_plan(topic({0: (0, 100), 1: (0, 50), 2: (10, 30)}), [row(0, 60), row(1, 50)])
    assert plan.lag == 40 + 0 + 20


def test_only_partitions_with_something_to_read_are_pending() -> None:
    plan = make_plan(topic({0: (0, 100), 1: (0, 50), 2: (7, 7)}), [row(0, 60), row(1, 50)])
    assert plan.pending == {0: 60}


def test_nothing_to_read_is_no_news() -> None:
    plan = make_plan(topic({0: (0, 100), 1: (0, 0)}), [row(0, 100), row(1, 0)])
    assert not plan.has_news
    assert plan.lag == 0


def test_something_to_read_is_news() -> None:
    assert make_plan(topic({0: (0, 101)}), [row(0, 100)]).has_news


def test_a_gap_is_news_even_when_there_is_nothing_to_read() -> None:
    plan = make_plan(topic({0: (100, 100)}), [row(0, 40)])
    assert plan.lag == 0
    assert plan.has_news


def test_a_log_that_was_just_emptied_up_to_the_position_is_no_gap() -> None:
    plan = make_plan(topic({0: (100, 130)}), [row(0, 100)])
    assert plan.gaps == ()
    assert plan.start == {0: 100}


# --- partitions and topics seen for the first time


def test_a_first_run_reads_from_the_earliest_offset() -> None:
    plan = make_plan(topic({0: (0, 10), 1: (0, 0)}), [])
    assert plan.start == {0: 0, 1: 0}
    assert plan.expected == {0: None, 1: None}
    assert plan.gaps == ()


def test_a_first_run_on_a_log_that_starts_above_0_is_not_a_gap() -> None:
    plan = make_plan(topic({0: (500, 600)}), [])
    assert plan.start == {0: 500}
    assert plan.gaps == ()


def test_a_first_record_on_a_new_partition_is_not_a_gap() -> None:
    plan = make_plan(topic({0: (0, 10), 1: (0, 3)}), [row(0, 10)])
    assert plan.start == {0: 10, 1: 0}
    assert plan.expected == {0: 10, 1: None}
    assert plan.gaps == ()
    assert plan.pending == {1: 0}


def test_a_new_partition_whose_log_starts_above_0_is_not_a_gap() -> None:
    plan = make_plan(topic({0: (0, 10), 1: (4, 9)}), [row(0, 10)])
    assert plan.start[1] == 4
    assert plan.gaps == ()


def test_a_stored_partition_that_the_topic_no_longer_has_is_left_alone() -> None:
    plan = make_plan(topic({0: (0, 10)}), [row(0, 5), row(7, 3)])
    assert set(plan.start) == set(plan.goal) == set(plan.expected) == {0}
    assert plan.gaps == ()


# --- every reason of a gap


def test_records_deleted_before_they_were_read_are_a_gap_that_ends_at_the_log_start() -> None:
    plan = make_plan(topic({0: (100, 200)}), [row(0, 40)])
    assert only_gap(plan) == Gap(0, 40, 100, GapReason.RETENTION)
    assert plan.start == {0: 100}
    assert plan.expected == {0: 40}


def test_a_log_that_ends_below_the_position_was_truncated_and_is_read_again() -> None:
    plan = make_plan(topic({0: (10, 30)}), [row(0, 50)])
    assert only_gap(plan) == Gap(0, 30, 50, GapReason.LOG_TRUNCATED)
    assert plan.start == {0: 10}
    assert plan.goal == {0: 30}


def test_without_a_topic_id_a_log_that_ends_below_the_position_is_another_topic() -> None:
    plan = make_plan(topic({0: (0, 30)}, topic_id=""), [row(0, 50, topic_id="")])
    assert only_gap(plan) == Gap(0, 50, None, GapReason.TOPIC_RECREATED)
    assert plan.start == {0: 0}


def test_another_topic_id_under_the_same_name_is_a_recreated_topic() -> None:
    plan = make_plan(topic({0: (0, 30)}, topic_id="topic-id-2"), [row(0, 20)])
    assert only_gap(plan) == Gap(0, 20, None, GapReason.TOPIC_RECREATED)
    assert plan.start == {0: 0}
    assert plan.expected == {0: None}, "the new topic's row has still to be written"


def test_a_recreated_topic_with_fewer_partitions_is_a_gap_on_every_partition_it_had() -> None:
    state = topic({0: (0, 10)}, topic_id="topic-id-2")
    plan = make_plan(state, [row(0, 60), row(1, 50)])
    assert set(plan.start) == set(plan.goal) == set(plan.expected) == {0}
    assert plan.gaps == tuple(
        Gap(p, offset, None, GapReason.TOPIC_RECREATED) for p, offset in {0: 60, 1: 50}.items()
    )
    assert opening(plan).progress == {0: Progress(0, 0)}
    recorded = [row(0, 60), row(1, 50), row(0, 0, topic_id="topic-id-2", days=1)]
    assert make_plan(state, recorded).gaps == (), "a gap is recorded once"


def test_without_a_topic_id_one_with_fewer_partitions_is_a_gap_on_every_partition_it_had() -> None:
    state = topic({0: (0, 70)}, topic_id="")
    stored = [row(0, 60, topic_id="", last=(59, 1000)), row(1, 50, topic_id="", last=(49, 1000))]
    plan = make_plan(state, stored, recreated=True)
    assert {(gap.partition, gap.offset_from) for gap in plan.gaps} == {(0, 60), (1, 50)}
    assert make_plan(state, [replace(stored[0], next_offset=0), stored[1]]).gaps == (), (
        "a gap is recorded once"
    )


def test_another_cluster_at_the_same_address_is_a_gap() -> None:
    plan = make_plan(topic({0: (5, 30)}, cluster_id="cluster-b"), [row(0, 20)])
    assert only_gap(plan) == Gap(0, 20, None, GapReason.NEW_CLUSTER)
    assert plan.start == {0: 5}
    assert plan.expected == {0: None}


def test_another_cluster_is_a_gap_on_every_partition_it_had() -> None:
    plan = make_plan(
        topic({0: (0, 1), 1: (0, 1), 2: (0, 1)}, cluster_id="cluster-b"), [row(0, 20), row(1, 0)]
    )
    assert {gap.partition: gap.offset_from for gap in plan.gaps} == {0: 20, 1: 0}
    assert plan.start == {0: 0, 1: 0, 2: 0}


def test_a_record_that_reads_otherwise_than_before_tells_a_recreated_topic() -> None:
    stored = [row(0, 20, topic_id=""), row(1, 5, topic_id="")]
    plan = make_plan(topic({0: (0, 30), 1: (0, 5)}, topic_id=""), stored, recreated=True)
    assert plan.gaps == (
        Gap(0, 20, None, GapReason.TOPIC_RECREATED),
        Gap(1, 5, None, GapReason.TOPIC_RECREATED),
    )
    assert plan.start == {0: 0, 1: 0}
    assert plan.expected == {0: 20, 1: 5}, "the rows are still the topic's, and are written over"


def test_partitions_have_gaps_of_their_own() -> None:
    plan = make_plan(topic({0: (100, 200), 1: (0, 30), 2: (0, 9)}), [row(0, 40), row(1, 50), row(2, 4)])
    assert {gap.partition: gap.reason for gap in plan.gaps} == {
        0: GapReason.RETENTION,
        1: GapReason.LOG_TRUNCATED,
    }
    assert plan.start == {0: 100, 1: 0, 2: 4}


@pytest.mark.parametrize("stored", [[], [row(0, 40)], [row(0, 500)], [row(0, 40, cluster_id="cluster-b")]])
def test_the_goal_is_never_below_the_start(stored: list[Position]) -> None:
    # A log may be emptied between the two requests that ask for its start and its end.
    plan = make_plan(topic({0: (100, 90)}), stored)
    assert plan.goal[0] >= plan.start[0]
    assert plan.lag == 0


# --- clusters and topics that come and go


def test_back_to_an_earlier_cluster_goes_on_there_without_a_gap() -> None:
    stored = [row(0, 70, days=0), row(0, 12, cluster_id="cluster-b", days=5)]
    plan = make_plan(topic({0: (0, 100)}), stored)
    assert plan.start == {0: 70}
    assert plan.expected == {0: 70}
    assert plan.gaps == ()


def test_a_gap_of_a_new_cluster_begins_where_the_latest_one_stopped() -> None:
    stored = [row(0, 70, days=1), row(0, 12, cluster_id="cluster-b", days=5), row(0, 33, "cluster-c", days=3)]
    plan = make_plan(topic({0: (0, 1)}, cluster_id="cluster-d"), stored)
    assert only_gap(plan) == Gap(0, 12, None, GapReason.NEW_CLUSTER)


def test_a_new_partition_of_a_known_topic_is_no_gap_even_if_an_earlier_cluster_had_it() -> None:
    stored = [row(0, 10), row(1, 77, cluster_id="cluster-b")]
    plan = make_plan(topic({0: (0, 10), 1: (0, 5)}), stored)
    assert plan.gaps == ()
    assert plan.start[1] == 0


def test_positions_of_other_topic_ids_of_the_same_cluster_do_not_count() -> None:
    stored = [row(0, 10, topic_id="topic-id-0", days=9), row(0, 4, days=1)]
    assert current_positions(topic({0: (0, 10)}), stored) == {0: stored[1]}


# --- a topic id that appears later


def test_positions_stored_without_a_topic_id_are_adopted_when_the_broker_learns_to_give_one() -> None:
    plan = make_plan(topic({0: (0, 100)}), [row(0, 60, topic_id="")])
    assert plan.start == {0: 60}
    assert plan.gaps == ()


def test_an_adopted_row_is_not_expected_under_the_new_topic_id() -> None:
    plan = make_plan(topic({0: (0, 100)}), [row(0, 60, topic_id="")])
    assert plan.expected == {0: None}


def test_rows_without_a_topic_id_are_not_adopted_where_another_id_was_known() -> None:
    stored = [row(0, 60, topic_id=""), row(0, 90, topic_id="topic-id-0", days=1)]
    plan = make_plan(topic({0: (0, 100)}), stored)
    assert only_gap(plan) == Gap(0, 90, None, GapReason.TOPIC_RECREATED)


def test_rows_of_another_cluster_are_not_adopted() -> None:
    plan = make_plan(topic({0: (0, 100)}), [row(0, 60, cluster_id="cluster-b", topic_id="")])
    assert only_gap(plan).reason is GapReason.NEW_CLUSTER


# --- which records to read again


def verify(stored: list[Position], low: int = 0, end: int = 100, topic_id: str = "") -> set[int]:
    return set(to_verify(topic({0: (low, end)}, topic_id=topic_id), stored))


def test_the_last_record_is_read_again_where_no_topic_id_tells_a_new_topic() -> None:
    stored = row(0, 60, topic_id="", last=(59, 1000))
    assert to_verify(topic({0: (0, 100)}, topic_id=""), [stored]) == {0: stored}


def test_nothing_is_read_again_where_the_broker_gives_topic_ids() -> None:
    assert verify([row(0, 60, last=(59, 1000))], topic_id=TOPIC_ID) == set()


def test_nothing_is_read_again_on_a_partition_without_news() -> None:
    assert verify([row(0, 100, topic_id="", last=(99, 1000))]) == set()


def test_nothing_is_read_again_where_no_record_was_read_before() -> None:
    assert verify([row(0, 60, topic_id="")]) == set()


def test_a_record_without_a_timestamp_tells_nothing() -> None:
    untimed = Position(CLUSTER, "", 0, 60, 59, None, MONDAY)
    assert verify([untimed]) == set()


def test_a_record_that_retention_deleted_cannot_be_read_again() -> None:
    stored = [row(0, 60, topic_id="", last=(59, 1000))]
    assert verify(stored, low=60) == set()
    assert verify(stored, low=59) == {0}


def test_a_partition_that_is_gone_cannot_be_read_again() -> None:
    assert verify([row(3, 60, topic_id="", last=(59, 1000))]) == set()


def test_records_of_an_earlier_cluster_are_not_read_again() -> None:
    assert verify([row(0, 60, cluster_id="cluster-b", topic_id="", last=(59, 1000))]) == set()
