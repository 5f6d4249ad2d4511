"""Reads a topic from a plan's start to its goal, batch by batch, bounded in events and bytes."""

from __future__ import annotations

import time
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from operator import methodcaller
from typing import Any, NamedTuple

from confluent_kafka import KafkaError, KafkaException, TopicPartition

from caves_dagster.errors import KafkaUnreachable, PositionsMoved
from caves_dagster.ingest.positions import Plan
from caves_dagster.kafka.client import KafkaClient

# One call into librdkafka hands over at most this many messages (its own limit is a million).
LARGEST_CALL = 10_000
_FIRST_CALL = 10
_WAIT_SECONDS = 0.1


class KafkaMessage(NamedTuple):
    """One message as it was read. `timestamp_ms` is None where the record has none."""

    topic: str
    partition: int
    offset: int
    timestamp_ms: int | None
    key: bytes | None
    value: bytes | None
    headers: Sequence[tuple[str, bytes | None]]

    @property
    def size(self) -> int:
        """Bytes of its key, value and headers."""
        named = sum(len(name) + len(value or b"") for name, value in self.headers) if self.headers else 0
        return len(self.key or b"") + len(self.value or b"") + named


@dataclass
class Progress:
    """How far one batch moves one partition: offsets `[start, end)`."""

    start: int
    end: int
    last_record_offset: int | None = None
    last_record_timestamp_ms: int | None = None


@dataclass
class Read:
    """One batch as it was read."""

    messages: list[KafkaMessage] = field(default_factory=list)
    progress: dict[int, Progress] = field(default_factory=dict)
    bytes: int = 0
    seconds: float = 0.0

    @property
    def moves(self) -> bool:
        """Whether it moves any partition, over records or over offsets without one."""
        return any(moved.end > moved.start for moved in self.progress.values())

    def drop(self, partitions: Collection[int]) -> None:
        """Forget what was read of some partitions."""
        self.messages = [message for message in self.messages if message.partition not in partitions]
        self.bytes = sum(message.size for message in self.messages)
        self.progress = {p: moved for p, moved in self.progress.items() if p not in partitions}


def read_batches(client: KafkaClient, plan: Plan, max_events: int, max_bytes: int) -> Iterator[Read]:
    """Yield batches until every partition has reached its goal; the first has the plan's news even if empty.

    A partition is done at the first record or end-of-partition event at or past its goal. Offsets below the
    goal without a record (control records, aborted or compacted ones) are passed over.

    Raises:
        KafkaUnreachable: nothing arrived for the `timeout_seconds` of the client's settings.
        PositionsMoved: the broker deleted records between the plan and the read.
    """
    position = dict(plan.start)
    first = opening(plan)
    pending = plan.pending
    if not pending:
        if plan.gaps:
            yield first
        return
    consumer = client.reader(plan.state.topic, pending)
    patience = client.settings.timeout_seconds
    try:
        batch = first
        while pending:
            began = time.monotonic()
            _fill(consumer, plan, position, pending, batch, max_events, max_bytes, patience)
            batch.seconds = time.monotonic() - began
            yield batch
            batch = Read()
    except KafkaException as error:
        if error.args[0].code() == KafkaError._AUTO_OFFSET_RESET:
            raise PositionsMoved(
                f"The log of {plan.state.topic!r} moved away from under a position ({error.args[0].str()}).",
                "Ingestion plans again and records the gap.",
            ) from error
        raise KafkaUnreachable(
            f"Reading {plan.state.topic!r} failed ({error.args[0].str()}).",
            client.settings.remedy,
        ) from error
    finally:
        consumer.close()


def opening(plan: Plan) -> Read:
    """The first batch: it also writes the position of partitions never seen and of those with a gap."""
    moved = {gap.partition for gap in plan.gaps}
    new = {partition for partition, offset in plan.expected.items() if offset is None}
    there = (moved | new) & plan.start.keys()
    return Read(progress={p: Progress(plan.start[p], plan.start[p]) for p in sorted(there)})


def _fill(
    consumer: Any,
    plan: Plan,
    position: dict[int, int],
    pending: dict[int, int],
    batch: Read,
    max_events: int,
    max_bytes: int,
    patience: float,
) -> None:
    """Add messages to `batch` until it is full or nothing is pending.

    A call that waits could hand over many times the bytes that still fit, were the messages to become larger
    all at once. So only what the consumer's queue holds is taken, which is bounded.
    """
    deadline = time.monotonic() + patience
    while pending and len(batch.messages) < max_events and batch.bytes < max_bytes:
        remaining = sum(plan.goal[p] - position[p] for p in pending)
        room = max_events - len(batch.messages)
        call = min(remaining, room, LARGEST_CALL, fitting(batch, max_bytes))
        received = consumer.consume(max(1, call), 0) or consumer.consume(1, _WAIT_SECONDS)
        if not received:
            if time.monotonic() > deadline:
                raise KafkaUnreachable(
                    f"Kafka handed over nothing of {plan.state.topic!r} for {patience:.0f} s although "
                    f"partitions {sorted(pending)} are not at their end.",
                    "Check the broker; what is not read yet is read from there on.",
                )
            continue
        deadline = time.monotonic() + patience
        take(received, plan.state.topic, plan.goal, position, pending, batch)
        done = [p for p in position if p in pending and position[p] >= plan.goal[p]]
        for partition in done:
            del pending[partition]
        if done:
            consumer.incremental_unassign([TopicPartition(plan.state.topic, p) for p in done])


def fitting(batch: Read, max_bytes: int) -> int:
    """How many messages of the size seen so far still fit; a few, to see it, in an empty batch."""
    if not batch.bytes:
        return _FIRST_CALL
    return 1 + (max_bytes - batch.bytes) * len(batch.messages) // batch.bytes


def take(
    received: Sequence[Any],
    topic: str,
    goal: Mapping[int, int],
    position: dict[int, int],
    pending: Mapping[int, int],
    batch: Read,
) -> None:
    """Account for messages and end-of-partition events, as far as partitions are pending.

    Raises:
        KafkaException: one of them is an error.
    """
    for message in received:
        error = message.error()
        if error is not None and error.code() != KafkaError._PARTITION_EOF:
            raise KafkaException(error)
        partition, offset = message.partition(), message.offset()
        # A partition that is done may still have messages in the consumer's queue.
        if partition not in pending or position[partition] >= goal[partition]:
            continue
        progress = batch.progress.get(partition)
        if progress is None:
            progress = batch.progress[partition] = Progress(position[partition], position[partition])
        if error is None and offset < goal[partition]:
            kind, timestamp = message.timestamp()
            key, value = message.key(), message.value()
            known = timestamp if kind and timestamp >= 0 else None
            taken = KafkaMessage(topic, partition, offset, known, key, value, _headers(message))
            batch.messages.append(taken)
            batch.bytes += taken.size
            progress.last_record_offset = offset
            progress.last_record_timestamp_ms = known
            position[partition] = progress.end = offset + 1
        else:
            # What lies before the end, or before a record past the goal, has been handed over.
            end = max(position[partition], min(offset, goal[partition]))
            position[partition] = progress.end = end


# Not `message.headers()`: where a header's name is not UTF-8, confluent_kafka returns a list with a hole in
# it and an error set, which a call that the interpreter has specialised does not look at. It crashed.
_call_headers = methodcaller("headers")


def _headers(message: Any) -> Sequence[tuple[str, bytes | None]]:
    """The message's headers; one unreadable header in their place where a name is not UTF-8."""
    try:
        return _call_headers(message) or ()
    except (SystemError, UnicodeDecodeError):
        return [("\ufffd", None)]
