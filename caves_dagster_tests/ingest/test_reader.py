"""Reading a plan, with a consumer that hands over what the test says, in that order."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from types import SimpleNamespace
from typing import Any

import pytest
from confluent_kafka import KafkaError, TopicPartition

from caves_dagster.errors import KafkaUnreachable, PositionsMoved
from caves_dagster.ingest.positions import Plan, Position, make_plan
from caves_dagster.ingest.reader import Progress, Read, read_batches
from caves_dagster.kafka.client import KafkaClient, TopicState, Watermarks
from caves_dagster.settings import KafkaSettings

TOPIC = "sales_events"
PATIENCE = 5.0
_CREATE_TIME = 1


@dataclass
class FakeMessage:
    """What librdkafka hands over: a record, an end-of-partition event or an error."""

    partition_: int
    offset_: int
    value_: bytes | None = b"value"
    key_: bytes | None = b"key"
    code: int | None = None
    timestamp_: tuple[int, int] = (_CREATE_TIME, 1_000)
    headers_: list[tuple[str, bytes]] | None = None

    def topic(self) -> str:
        return TOPIC

    def partition(self) -> int:
        return self.partition_

    def offset(self) -> int:
        return self.offset_

    def value(self) -> bytes | None:
        return self.value_

    def key(self) -> bytes | None:
        return self.key_

    def headers(self) -> list[tuple[str, bytes]] | None:
        return self.headers_

    def timestamp(self) -> tuple[int, int]:
        return self.timestamp_

    def error(self) -> KafkaError | None:
        return None if self.code is None else KafkaError(self.code, "as the test wants it")


def records(partition: int, *offsets: int, **more: Any) -> list[FakeMessage]:
    return [FakeMessage(partition, offset, **more) for offset in offsets]


def end_of(partition: int, offset: int) -> FakeMessage:
    return FakeMessage(partition, offset, code=KafkaError._PARTITION_EOF)


@dataclass
class FakeConsumer:
    """Hands over `script` piece by piece, then nothing; an empty answer takes its whole time-out."""

    script: list[FakeMessage]
    clock: list[float] = field(default_factory=lambda: [0.0])
    asked: list[int] = field(default_factory=list)
    unassigned: list[int] = field(default_factory=list)
    closed: bool = False
    silent_calls: int = 0

    def consume(self, count: int, timeout: float) -> list[FakeMessage]:
        assert not self.closed
        self.asked.append(count)
        if self.silent_calls or not self.script:
            self.silent_calls -= self.silent_calls > 0
            self.clock[0] += timeout
            return []
        taken, self.script[:] = self.script[:count], self.script[count:]
        return taken

    def incremental_unassign(self, partitions: list[TopicPartition]) -> None:
        self.unassigned += [partition.partition for partition in partitions]

    def close(self) -> None:
        self.closed = True


class FakeKafka(KafkaClient):
    """A client whose readers are one prepared consumer."""

    def __init__(self, script: list[FakeMessage]) -> None:
        super().__init__(KafkaSettings(bootstrap_servers="nowhere.invalid:9092", timeout_seconds=PATIENCE))
        self.consumer = FakeConsumer(list(script))
        self.start: dict[int, int] | None = None

    def reader(self, topic: str, start: Mapping[int, int], group_id: str = "") -> Any:
        assert topic == TOPIC
        self.start = dict(start)
        return self.consumer


@pytest.fixture(autouse=True)
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The reader's time, in seconds: it passes only while a consumer waits."""
    now = [0.0]
    monkeypatch.setattr("caves_dagster.ingest.reader.time", SimpleNamespace(monotonic=lambda: now[0]))
    return now


def plan_of(marks: dict[int, tuple[int, int]], positions: dict[int, int] | None = None) -> Plan:
    """A plan over partitions that keep `[low, end)`; without positions nothing was ever read."""
    watermarks = {partition: Watermarks(low, end) for partition, (low, end) in marks.items()}
    state = TopicState("cluster", TOPIC, "topic-id", watermarks)
    moved = datetime(2026, 3, 2, tzinfo=UTC)
    known = [
        Position("cluster", "topic-id", partition, offset, None, None, moved)
        for partition, offset in (positions or {}).items()
    ]
    return make_plan(state, known)


def read(kafka: FakeKafka, plan: Plan, max_events: int = 1000, max_bytes: int = 1_000_000) -> list[Read]:
    return list(read_batches(kafka, plan, max_events, max_bytes))


def offsets(batch: Read) -> list[tuple[int, int]]:
    return [(message.partition, message.offset) for message in batch.messages]


# --- what is taken


def test_every_record_below_the_goal_is_taken_in_the_order_of_its_arrival() -> None:
    kafka = FakeKafka([*records(0, 5, 6), *records(1, 0), *records(0, 7)])
    (batch,) = read(kafka, plan_of({0: (0, 8), 1: (0, 1)}, {0: 5, 1: 0}))
    assert offsets(batch) == [(0, 5), (0, 6), (1, 0), (0, 7)]
    assert batch.progress == {0: Progress(5, 8, 7, 1_000), 1: Progress(0, 1, 0, 1_000)}
    assert kafka.start == {0: 5, 1: 0}


def test_a_message_keeps_its_key_value_headers_and_timestamp() -> None:
    headers = [("trace", b"1"), ("trace", b"2")]
    kafka = FakeKafka([FakeMessage(0, 0, b"v\xff", None, timestamp_=(2, 77), headers_=headers)])
    (batch,) = read(kafka, plan_of({0: (0, 1)}))
    (message,) = batch.messages
    assert (message.topic, message.partition, message.offset) == (TOPIC, 0, 0)
    assert (message.key, message.value, message.timestamp_ms) == (None, b"v\xff", 77)
    assert message.headers == headers


def test_a_tombstone_is_a_message() -> None:
    kafka = FakeKafka([FakeMessage(0, 0, None, b"key")])
    (batch,) = read(kafka, plan_of({0: (0, 1)}))
    assert batch.messages[0].value is None
    assert batch.bytes == len(b"key")


@pytest.mark.parametrize("stamp", [(0, 0), (0, 1_000), (_CREATE_TIME, -1)])
def test_a_record_without_a_timestamp_has_none(stamp: tuple[int, int]) -> None:
    (batch,) = read(FakeKafka([FakeMessage(0, 0, timestamp_=stamp)]), plan_of({0: (0, 1)}))
    assert batch.messages[0].timestamp_ms is None
    assert batch.progress[0].last_record_timestamp_ms is None


def test_a_timestamp_of_0_is_a_timestamp() -> None:
    (batch,) = read(FakeKafka([FakeMessage(0, 0, timestamp_=(_CREATE_TIME, 0))]), plan_of({0: (0, 1)}))
    assert batch.messages[0].timestamp_ms == 0


# --- where a partition ends


def test_a_record_at_the_goal_is_not_taken_and_ends_the_partition() -> None:
    kafka = FakeKafka(records(0, 0, 1, 2))
    (batch,) = read(kafka, plan_of({0: (0, 2)}))
    assert offsets(batch) == [(0, 0), (0, 1)]
    assert batch.progress[0].end == 2


def test_a_record_past_the_goal_ends_the_partition_at_the_goal() -> None:
    # Offsets 1 to 9 hold no record any more; those from 5 on are not this run's.
    kafka = FakeKafka(records(0, 0, 10))
    (batch,) = read(kafka, plan_of({0: (0, 5)}))
    assert offsets(batch) == [(0, 0)]
    assert batch.progress == {0: Progress(0, 5, 0, 1_000)}


def test_offsets_without_a_record_below_the_goal_are_passed_over() -> None:
    # 2 is a control record, 3 and 4 were aborted.
    kafka = FakeKafka(records(0, 0, 1, 5))
    (batch,) = read(kafka, plan_of({0: (0, 6)}))
    assert offsets(batch) == [(0, 0), (0, 1), (0, 5)]
    assert batch.progress == {0: Progress(0, 6, 5, 1_000)}


def test_an_end_of_partition_at_the_goal_ends_it_where_the_last_offsets_hold_no_record() -> None:
    kafka = FakeKafka([*records(0, 0), end_of(0, 3)])
    (batch,) = read(kafka, plan_of({0: (0, 3)}))
    assert batch.progress == {0: Progress(0, 3, 0, 1_000)}


def test_a_partition_of_nothing_but_control_records_moves_to_its_goal_without_a_record() -> None:
    (batch,) = read(FakeKafka([end_of(0, 7)]), plan_of({0: (0, 7)}, {0: 4}))
    assert batch.messages == []
    assert batch.progress == {0: Progress(4, 7, None, None)}


def test_an_end_of_partition_below_the_goal_ends_nothing() -> None:
    # The follower that answered had not yet heard of the last record.
    kafka = FakeKafka([*records(0, 0), end_of(0, 1), *records(0, 1)])
    (batch,) = read(kafka, plan_of({0: (0, 2)}))
    assert offsets(batch) == [(0, 0), (0, 1)]
    assert batch.progress[0].end == 2


def test_a_partition_that_is_done_is_no_longer_fetched_while_the_others_are() -> None:
    kafka = FakeKafka([*records(0, 0), *records(1, 0, 1)])
    read(kafka, plan_of({0: (0, 1), 1: (0, 2)}), max_events=1)
    assert kafka.consumer.unassigned == [0, 1]


def test_what_was_still_queued_of_a_partition_that_is_done_is_left() -> None:
    kafka = FakeKafka([*records(0, 0, 1), *records(0, 2), *records(1, 0)])
    first, second = read(kafka, plan_of({0: (0, 1), 1: (0, 1)}), max_events=1)
    assert offsets(first) + offsets(second) == [(0, 0), (1, 0)]
    assert 0 not in second.progress


# --- bounds


def test_a_batch_holds_at_most_max_events() -> None:
    kafka = FakeKafka([*records(0, *range(5)), *records(1, *range(2))])
    batches = read(kafka, plan_of({0: (0, 5), 1: (0, 2)}), max_events=3)
    assert [len(batch.messages) for batch in batches] == [3, 3, 1]


def test_batches_follow_each_other_without_holes() -> None:
    kafka = FakeKafka(records(0, 0, 1, 4, 5, 6))
    batches = read(kafka, plan_of({0: (0, 7)}), max_events=2)
    assert [(batch.progress[0].start, batch.progress[0].end) for batch in batches] == [(0, 2), (2, 6), (6, 7)]


def test_a_batch_is_closed_once_it_has_max_bytes() -> None:
    big = records(0, *range(4), value_=b"x" * 57)
    kafka = FakeKafka(big)
    kafka.consumer = OneAtATime(list(big))
    batches = read(kafka, plan_of({0: (0, 4)}), max_bytes=100)
    assert [batch.bytes for batch in batches] == [120, 120]


def test_a_messages_headers_count_as_bytes_of_the_batch() -> None:
    headers = [("name", b"x" * 40), ("null", None)]
    kafka = FakeKafka([])
    kafka.consumer = OneAtATime(records(0, *range(4), value_=None, key_=None, headers_=headers))
    batches = read(kafka, plan_of({0: (0, 4)}), max_bytes=90)
    assert [(len(batch.messages), batch.bytes) for batch in batches] == [(2, 96), (2, 96)]


def test_messages_that_grow_all_at_once_overshoot_the_batch_by_what_the_queue_held_at_most() -> None:
    """Judged by the small ones, thousands more would fit; a call that waited would be given them."""

    class Queue(FakeConsumer):
        def consume(self, count: int, timeout: float) -> list[FakeMessage]:
            assert timeout == 0 or count == 1, "more than one message is waited for"
            return super().consume(min(count, 10), timeout)

    kafka = FakeKafka([])
    small, large = records(0, *range(100)), records(0, *range(100, 200), value_=b"x" * 10_000)
    kafka.consumer = Queue([*small, *large])
    batches = read(kafka, plan_of({0: (0, 200)}), max_bytes=50_000)
    assert max(batch.bytes for batch in batches) <= 50_000 + 10 * 10_003


def test_it_never_asks_for_more_than_the_goal_and_the_batch_leave_room_for() -> None:
    kafka = FakeKafka(records(0, *range(5)))
    read(kafka, plan_of({0: (0, 5)}), max_events=4)
    assert kafka.consumer.asked == [4, 1]


def test_one_call_asks_for_a_bounded_number_of_messages() -> None:
    kafka = FakeKafka([end_of(0, 5_000_000)])
    read(kafka, plan_of({0: (0, 5_000_000)}), max_events=2_000_000)
    assert max(kafka.consumer.asked) <= 1_000_000


class OneAtATime(FakeConsumer):
    """Hands over single messages, as a slow broker does."""

    def consume(self, count: int, timeout: float) -> list[FakeMessage]:
        return super().consume(1, timeout)


# --- the first batch


def test_the_first_batch_writes_the_position_of_partitions_never_seen() -> None:
    kafka = FakeKafka(records(1, 0))
    (batch,) = read(kafka, plan_of({0: (9, 9), 1: (0, 1), 2: (0, 4)}, {2: 4}))
    assert batch.progress == {0: Progress(9, 9), 1: Progress(0, 1, 0, 1_000)}


def test_the_news_are_in_the_first_batch_only() -> None:
    kafka = FakeKafka(records(1, 0, 1))
    first, second = read(kafka, plan_of({0: (9, 9), 1: (0, 2)}, {1: 0}), max_events=1)
    assert set(first.progress) == {0, 1}
    assert set(second.progress) == {1}


def test_a_gap_is_written_even_when_there_is_nothing_to_read() -> None:
    kafka = FakeKafka([])
    (batch,) = read(kafka, plan_of({0: (50, 50), 1: (0, 3)}, {0: 10, 1: 3}))
    assert batch.messages == []
    assert batch.progress == {0: Progress(50, 50)}
    assert kafka.start is None, "no consumer is needed for that"


def test_without_news_there_is_no_batch_and_no_consumer() -> None:
    kafka = FakeKafka([])
    assert read(kafka, plan_of({0: (0, 3)}, {0: 3})) == []
    assert kafka.start is None


def test_only_partitions_with_something_to_read_are_assigned() -> None:
    kafka = FakeKafka(records(1, 2))
    read(kafka, plan_of({0: (0, 3), 1: (0, 3)}, {0: 3, 1: 2}))
    assert kafka.start == {1: 2}


# --- trouble


def test_records_deleted_between_plan_and_read_ask_for_a_new_plan() -> None:
    kafka = FakeKafka([FakeMessage(0, 0, code=KafkaError._AUTO_OFFSET_RESET)])
    with pytest.raises(PositionsMoved, match=TOPIC):
        read(kafka, plan_of({0: (0, 3)}))
    assert kafka.consumer.closed


def test_any_other_error_of_a_partition_is_a_broker_in_trouble() -> None:
    kafka = FakeKafka([*records(0, 0), FakeMessage(0, -1, code=KafkaError._ALL_BROKERS_DOWN)])
    with pytest.raises(KafkaUnreachable, match="as the test wants it"):
        read(kafka, plan_of({0: (0, 3)}))
    assert kafka.consumer.closed


def test_an_error_of_a_partition_that_is_done_still_counts() -> None:
    kafka = FakeKafka([*records(0, 0), FakeMessage(0, -1, code=KafkaError._ALL_BROKERS_DOWN)])
    with pytest.raises(KafkaUnreachable):
        read(kafka, plan_of({0: (0, 1), 1: (0, 1)}))


def test_a_broker_that_hands_over_nothing_counts_as_away_after_the_time_it_may_take_to_answer(
    clock: list[float],
) -> None:
    kafka = FakeKafka(records(0, 0))
    kafka.consumer.clock = clock
    with pytest.raises(KafkaUnreachable, match=r"\[0\]"):
        read(kafka, plan_of({0: (0, 3)}))
    assert PATIENCE < clock[0] < PATIENCE + 0.5
    assert kafka.consumer.closed


def test_whatever_arrives_starts_the_wait_anew(clock: list[float]) -> None:
    class Slow(FakeConsumer):
        def consume(self, count: int, timeout: float) -> list[FakeMessage]:
            taken = super().consume(1, timeout)
            # One call in two waits.
            self.silent_calls = self.silent_calls or (80 if taken else 0)
            return taken

    kafka = FakeKafka([])
    kafka.consumer = Slow(records(0, 0, 1, 2), clock)
    (batch,) = read(kafka, plan_of({0: (0, 3)}))
    assert len(batch.messages) == 3
    assert clock[0] > PATIENCE


def test_the_consumer_is_closed_at_the_end_and_when_the_caller_stops_early() -> None:
    finished = FakeKafka(records(0, 0))
    read(finished, plan_of({0: (0, 1)}))
    assert finished.consumer.closed

    left = FakeKafka(records(0, 0, 1))
    batches = read_batches(left, plan_of({0: (0, 2)}), 1, 1000)
    next(batches)
    batches.close()  # type: ignore[attr-defined]
    assert left.consumer.closed
