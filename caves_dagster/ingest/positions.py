"""Where to read from, where to stop, and what was lost on the way. Pure: facts in, a plan out.

Each rule is named by a test in `caves_dagster_tests/ingest/test_positions.py`.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from caves_dagster.kafka.client import TopicState


class GapReason(StrEnum):
    """Why offsets could not be read."""

    RETENTION = "RETENTION"
    """The broker deleted them first: the log starts above the position."""
    LOG_TRUNCATED = "LOG_TRUNCATED"
    """The log ends below the position: it was cut, and may have been written anew."""
    TOPIC_RECREATED = "TOPIC_RECREATED"
    """Another topic stands under the same name."""
    NEW_CLUSTER = "NEW_CLUSTER"
    """Another cluster answers at the same address; the embedded broker is one at every start."""


@dataclass(frozen=True)
class Position:
    """One row of KAFKA_OFFSETS."""

    cluster_id: str
    topic_id: str
    partition: int
    next_offset: int
    last_record_offset: int | None
    last_record_timestamp_ms: int | None
    updated_at: datetime


@dataclass(frozen=True)
class Gap:
    """Offsets `[offset_from, offset_to)` of a partition that were or may have been lost.

    `offset_to` is None where the end of what was lost cannot be known.
    """

    partition: int
    offset_from: int
    offset_to: int | None
    reason: GapReason


@dataclass(frozen=True)
class Plan:
    """What one run reads.

    Attributes:
        expected: next offset per partition that KAFKA_OFFSETS holds now, None where it has no row; the
            landing transaction compares it again.
        start: offset to read from, for every partition of the topic.
        goal: offset to reach, for every partition: the end when the plan was made.
        gaps: what has to be recorded with the first batch.
    """

    state: TopicState
    expected: Mapping[int, int | None]
    start: Mapping[int, int]
    goal: Mapping[int, int]
    gaps: tuple[Gap, ...]

    @property
    def lag(self) -> int:
        """Offsets between the start and the goal, over all partitions."""
        return sum(self.goal[partition] - self.start[partition] for partition in self.start)

    @property
    def pending(self) -> dict[int, int]:
        """Start of each partition that has something to read."""
        return {p: offset for p, offset in self.start.items() if offset < self.goal[p]}

    @property
    def has_news(self) -> bool:
        """Whether a batch has to be landed: something to read, or a gap to record."""
        return self.lag > 0 or bool(self.gaps)


def current_positions(state: TopicState, stored: Iterable[Position]) -> dict[int, Position]:
    """The positions that hold for this cluster and topic.

    A topic that was known without an id keeps its positions when its broker learns to give ids; where the
    broker gives none (any more), the newest position of each partition holds.
    """
    of_cluster = [row for row in stored if row.cluster_id == state.cluster_id]
    if not state.topic_id:
        return _latest(of_cluster)
    same = [row for row in of_cluster if row.topic_id == state.topic_id]
    if not same and all(row.topic_id == "" for row in of_cluster):
        same = of_cluster
    return {row.partition: row for row in same}


def to_verify(state: TopicState, stored: Iterable[Position]) -> dict[int, Position]:
    """Positions whose last record should be read again, as the broker has no topic id to tell a new topic.

    Only partitions with something to read: without that nothing can be lost or doubled.
    """
    if state.topic_id:
        return {}
    return {
        partition: row
        for partition, row in current_positions(state, stored).items()
        if row.last_record_offset is not None
        and row.last_record_timestamp_ms is not None
        and (marks := state.partitions.get(partition)) is not None
        and marks.low <= row.last_record_offset < row.next_offset < marks.end
    }


def make_plan(state: TopicState, stored: Collection[Position], recreated: bool = False) -> Plan:
    """Plan a run over `state` from the stored positions of the topic.

    Args:
        state: the topic now.
        stored: every row of KAFKA_OFFSETS for this topic, other clusters and topic ids included.
        recreated: the last record of a partition was read again and was another record (`to_verify`).
    """
    current = current_positions(state, stored)
    # What stands under exactly this cluster and topic id: an adopted position stands under another.
    same = (state.cluster_id, state.topic_id)
    own = {row.partition: row.next_offset for row in stored if (row.cluster_id, row.topic_id) == same}
    known = bool(current) and not recreated
    earlier = _latest(row for row in stored if row.partition not in current)
    start: dict[int, int] = {}
    gaps: list[Gap] = []
    for partition, marks in state.partitions.items():
        row = current.get(partition)
        gap = None
        if row is not None:
            gap = _gap(row, marks.low, marks.end, bool(state.topic_id), recreated)
        elif not known and (old := earlier.get(partition)) is not None:
            gap = Gap(partition, old.next_offset, None, _another(old, state))
        if gap is not None:
            gaps.append(gap)
        start[partition] = marks.low if gap is not None or row is None else row.next_offset
    if not known:
        # Of another topic, or cluster, also what stood in partitions that this one does not have.
        gone = {row.partition: row for row in (*earlier.values(), *current.values())}
        gaps += [
            Gap(partition, row.next_offset, None, _another(row, state))
            for partition, row in sorted(gone.items())
            if partition not in state.partitions
        ]
    return Plan(
        state=state,
        expected={partition: own.get(partition) for partition in state.partitions},
        start=start,
        goal={partition: max(marks.end, start[partition]) for partition, marks in state.partitions.items()},
        gaps=tuple(gaps),
    )


def _another(old: Position, state: TopicState) -> GapReason:
    same_cluster = old.cluster_id == state.cluster_id
    return GapReason.TOPIC_RECREATED if same_cluster else GapReason.NEW_CLUSTER


def _gap(row: Position, low: int, end: int, has_topic_id: bool, recreated: bool) -> Gap | None:
    position = row.next_offset
    if recreated or (position > end and not has_topic_id):
        return Gap(row.partition, position, None, GapReason.TOPIC_RECREATED)
    if position > end:
        return Gap(row.partition, end, position, GapReason.LOG_TRUNCATED)
    if position < low:
        return Gap(row.partition, position, low, GapReason.RETENTION)
    return None


def _latest(rows: Iterable[Position]) -> dict[int, Position]:
    """The most recently moved row of each partition."""
    found: dict[int, Position] = {}
    for row in rows:
        if row.partition not in found or found[row.partition].updated_at < row.updated_at:
            found[row.partition] = row
    return found
