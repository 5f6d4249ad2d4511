"""A member of a consumer group: which partitions are its own, and what it reads of them.

The group only shares the partitions out. Where to read from is never asked of it: a partition that was given
is *unplaced*, and nothing of it is fetched, until `place` says at which offset it begins.

    given (unplaced) ── place ──▶ read ── taken away, or unplace ──▶ forgotten, the batch in hand included

Rebalances are cooperative: partitions that stay are read on meanwhile. librdkafka calls back only within
`consume`, so never while a batch is landed; one that was cut off meanwhile learns it there, or from the
landing transaction, which compares the positions.
"""

from __future__ import annotations

import logging
import sys
import time
from collections.abc import Mapping, Sequence
from threading import Event, Thread
from typing import Any

from confluent_kafka import Consumer, KafkaError, KafkaException, TopicPartition

from caves_dagster.errors import KafkaUnreachable
from caves_dagster.ingest.reader import LARGEST_CALL, Read, fitting, take
from caves_dagster.kafka.client import reader_config
from caves_dagster.settings import KafkaSettings

log = logging.getLogger(__name__)

_WAIT_SECONDS = 0.1
# A member that was killed is missed after this; its heartbeats come from a thread of their own.
_SESSION = {"session.timeout.ms": 10_000, "heartbeat.interval.ms": 1000}
_LEAVE_SECONDS = 2.0
_ENDLESS = sys.maxsize


class GroupReader:
    """One member of a group, for one topic. Not for use by two threads at once.

    Args:
        kafka: where the broker is.
        group_id: name of the group.
    """

    def __init__(self, kafka: KafkaSettings, topic: str, group_id: str) -> None:
        self._kafka = kafka
        self._topic = topic
        self.owned: set[int] = set()
        self.positions: dict[int, int] = {}
        """Next offset to read of each partition that is placed."""
        self._batch = Read()
        config = reader_config(kafka, group_id) | _SESSION
        self._consumer = Consumer(config | {"partition.assignment.strategy": "cooperative-sticky"})
        self._consumer.subscribe(
            [topic], on_assign=self._given, on_revoke=self._taken_away, on_lost=self._taken_away
        )

    @property
    def unplaced(self) -> bool:
        """Whether a partition of its own waits for being told where to begin."""
        return self.owned != self.positions.keys()

    def place(self, start: Mapping[int, int]) -> None:
        """Read every partition of its own from `start` on."""
        self.unplace()
        self.positions = {partition: start[partition] for partition in self.owned if partition in start}
        self._consumer.incremental_assign(
            [TopicPartition(self._topic, partition, offset) for partition, offset in self.positions.items()]
        )

    def unplace(self) -> None:
        """Read nothing until the next `place`, which may begin elsewhere."""
        self._consumer.incremental_unassign(self._named(self.positions))
        self.positions = {}

    def next_batch(self, enough: int, seconds: float, max_events: int, max_bytes: int, stop: Event) -> Read:
        """What comes within `seconds`; less than that once there are `enough` and no more is at hand.

        So batches grow by themselves with what waited while the last one was landed, up to the bounds. One
        ends early when a partition is given.

        Raises:
            KafkaException: the broker, or the group, will not have it so.
        """
        batch = self._batch = Read()
        began = time.monotonic()
        while len(batch.messages) < max_events and batch.bytes < max_bytes and not self.unplaced:
            call = min(max_events - len(batch.messages), LARGEST_CALL, fitting(batch, max_bytes))
            received = self._consumer.consume(max(1, call), 0)
            left = began + seconds - time.monotonic()
            if not received and (len(batch.messages) >= enough or left <= 0 or stop.is_set()):
                break
            received = received or self._consumer.consume(1, min(_WAIT_SECONDS, left))
            self._take(received, batch)
            if left <= 0 and batch.messages:
                break
        batch.seconds = time.monotonic() - began
        batch.progress = {p: moved for p, moved in batch.progress.items() if moved.end > moved.start}
        return batch

    def wait(self, seconds: float, stop: Event) -> None:
        """Stay in the group for a while without reading: what is unplaced is not fetched."""
        self.unplace()
        deadline = time.monotonic() + seconds
        while not stop.is_set() and (left := deadline - time.monotonic()) > 0:
            self._consumer.consume(1, min(_WAIT_SECONDS, left))

    def lags(self) -> dict[int, int]:
        """Offsets between the position and the end as the broker last told it, of each partition placed."""
        lags = {}
        for partition, position in self.positions.items():
            marks = self._consumer.get_watermark_offsets(TopicPartition(self._topic, partition), cached=True)
            lags[partition] = max(0, marks[1] - position) if marks else 0
        return lags

    def commit(self, offsets: Mapping[int, int]) -> None:
        """Tell the group, for lag tools only: nothing reads it back."""
        wanted = [TopicPartition(self._topic, partition, offset) for partition, offset in offsets.items()]
        try:
            self._consumer.commit(offsets=wanted, asynchronous=True)
        except KafkaException as error:
            log.debug("Committing offsets for lag tools failed: %s", error)

    def close(self) -> None:
        """Leave the group: its partitions go to the others at once.

        While the group waits for a member that died, the broker lets nobody leave: seen to take five seconds.
        That is not waited for; this member is then missed as the other one is.
        """
        leaving = Thread(target=self._consumer.close, name="leaving", daemon=True)
        leaving.start()
        leaving.join(_LEAVE_SECONDS)

    def unreachable(self, error: KafkaException) -> KafkaUnreachable:
        """The error as one of this project's."""
        return KafkaUnreachable(
            f"Reading {self._topic!r} failed ({error.args[0].str()}).", self._kafka.remedy
        )

    def _take(self, received: Sequence[Any], batch: Read) -> None:
        goal = dict.fromkeys(self.positions, _ENDLESS)
        take(received, self._topic, goal, self.positions, self.positions, batch)

    def _given(self, consumer: Consumer, partitions: list[TopicPartition]) -> None:
        self.owned |= {one.partition for one in partitions}
        # Nothing for now: else they would be read from where the group believes them to be.
        consumer.incremental_assign([])
        if partitions:
            log.info("Given partitions %s; %s are its own.", _numbers(partitions), sorted(self.owned))

    def _taken_away(self, consumer: Consumer, partitions: list[TopicPartition]) -> None:
        gone = {one.partition for one in partitions}
        self.owned -= gone
        consumer.incremental_unassign(self._named(gone & self.positions.keys()))
        self.positions = {p: offset for p, offset in self.positions.items() if p not in gone}
        self._batch.drop(gone)
        log.info("Partitions %s went to others; %s are its own.", _numbers(partitions), sorted(self.owned))

    def _named(self, partitions: Any) -> list[TopicPartition]:
        return [TopicPartition(self._topic, partition) for partition in partitions]


def is_fatal(error: KafkaException) -> bool:
    """Whether this member can never read again."""
    return bool(error.args[0].fatal()) or error.args[0].code() == KafkaError._FATAL


def _numbers(partitions: list[TopicPartition]) -> list[int]:
    return sorted(one.partition for one in partitions)
