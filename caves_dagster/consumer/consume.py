"""The consumer's loop: place what was given, read a batch, land it, by the same steps as a Dagster run.

The position of record is KAFKA_OFFSETS, never the group's. So nothing has to be finished or handed over when
partitions move: what was read and not landed is forgotten, and whoever has the partition now reads it again.
"""

from __future__ import annotations

import logging
import math
import os
import random
import socket
import tempfile
import time
import uuid
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from threading import Event

from confluent_kafka import KafkaException

from caves_dagster.consumer.group import GroupReader, is_fatal
from caves_dagster.errors import CavesError, PositionsMoved, RetryableError, TopicNotFound, WriteConflict
from caves_dagster.ingest.batch import Batch
from caves_dagster.ingest.land import Landing
from caves_dagster.ingest.memory import return_large_blocks
from caves_dagster.ingest.positions import Gap
from caves_dagster.ingest.reader import Read, opening
from caves_dagster.ingest.report import IngestReport
from caves_dagster.ingest.steps import IngestSteps
from caves_dagster.kafka.client import KafkaClient, TopicState
from caves_dagster.settings import Settings
from caves_dagster.shop import Shop
from caves_dagster.warehouse.abandoned import abort_abandoned, landing_transaction
from caves_dagster.warehouse.connection import Warehouse

log = logging.getLogger(__name__)

SAY_SECONDS = 10.0
ALIVE_SECONDS = 120.0
"""The loop has to come round within this; a landing may wait for locks and for a slow warehouse."""
WORKED_SECONDS = 30.0
"""A turn longer ago than this, beside the linger, is not work that goes on: Dagster may take over."""
KILLED_AFTER_SECONDS = 30.0
"""A landing transaction that is older is ended where it is in the way: its writer may try again."""
_FENCE_SECONDS = 5.0
_LONGEST_BACK_OFF = 10.0


class _AnotherTopic(Exception):
    """Another topic or cluster stands there now; a member that knew the one before gets nothing of it."""


def group_name(settings: Settings, shop: Shop) -> str:
    """The consumer group of a shop's instances."""
    return f"{settings.group_id}-{shop.name}"


class Consumption:
    """One instance of a shop's consumer.

    Args:
        warehouse: a session nobody else uses meanwhile.

    Attributes:
        report: what this instance has landed since it began.
        committed: where its own partitions stand in KAFKA_OFFSETS, as far as it knows.
        turned_at, landed_at: when the loop last came round and a batch last landed, on the monotonic clock.
    """

    def __init__(self, settings: Settings, shop: Shop, warehouse: Warehouse) -> None:
        self._settings = settings
        self._shop = shop
        self._warehouse = warehouse
        self._steps = IngestSteps(settings, shop, KafkaClient(settings.kafka), warehouse, _FENCE_SECONDS)
        self._on_landed: Callable[[Batch], None] = lambda batch: None
        self._run_id = f"consumer-{socket.gethostname()[:50]}-{os.getpid()}-{uuid.uuid4().hex[:8]}"
        self._held_up = False
        self._identity: tuple[str, str] | None = None
        self._said_at, self._said = time.monotonic(), 0
        self.report = IngestReport(shop.topic)
        self.committed: Mapping[int, int] = {}
        self.turned_at = self.landed_at = time.monotonic()
        self._worked_at = -math.inf

    def is_alive(self) -> bool:
        """Whether the loop goes round."""
        return time.monotonic() - self.turned_at < ALIVE_SECONDS

    def is_landing(self) -> bool:
        """Whether it has partitions, and has just landed what they held."""
        seconds = WORKED_SECONDS + self._settings.consumer.linger_seconds
        return time.monotonic() - self._worked_at < seconds

    def run(self, stop: Event, on_landed: Callable[[Batch], None]) -> None:
        """Land until told to stop; then finish the batch in hand and leave the group.

        Args:
            on_landed: called with each batch after its commit.

        Raises:
            CavesError: something that trying again does not help; whatever was committed stays.
        """
        self._on_landed = on_landed
        return_large_blocks()
        reader = self._join()
        failures = 0
        try:
            while not stop.is_set():
                try:
                    self._turn(reader, stop)
                    failures = 0
                except _AnotherTopic:
                    log.info("Joining the group anew: another topic or cluster is there now.")
                    reader.close()
                    reader = self._join()
                except (RetryableError, TopicNotFound, KafkaException) as error:
                    if isinstance(error, KafkaException) and is_fatal(error):
                        raise reader.unreachable(error) from error
                    # One that was there may be made again; one that never was is a mistake.
                    if isinstance(error, TopicNotFound) and not self.report.batches:
                        raise
                    failures += 1
                    self._back_off(reader, error, failures, stop)
        finally:
            self._say(reader, 0)
            reader.close()

    def _join(self) -> GroupReader:
        return GroupReader(self._settings.kafka, self._shop.topic, group_name(self._settings, self._shop))

    def _turn(self, reader: GroupReader, stop: Event) -> None:
        """Once round: at most one batch."""
        if reader.unplaced:
            self._state = self._place(reader)
        limits = self._settings.consumer
        read = reader.next_batch(
            limits.batch_events,
            limits.linger_seconds,
            self._settings.batch_max_events,
            self._settings.batch_max_bytes,
            stop,
        )
        if read.moves:
            self._land(read, self._state, ())
            reader.commit({partition: moved.end for partition, moved in read.progress.items()})
        self.committed = dict(reader.positions)  # all that was read is landed
        self.turned_at = time.monotonic()
        if self.committed:
            self._worked_at = self.turned_at
        self._say(reader, SAY_SECONDS)

    def _place(self, reader: GroupReader) -> TopicState:
        """Begin where KAFKA_OFFSETS says, with new partitions and gaps recorded for the whole topic.

        Not only for the partitions of its own: which ones were known before tells a gap from a new partition,
        so it has to be settled before anybody's first batch.
        """
        if self._held_up:
            # An instance that was killed may have left it open; its partitions are here by now.
            abort_abandoned(self._warehouse, landing_transaction(self._shop.name), KILLED_AFTER_SECONDS)
            self._held_up = False
        self._steps.sweep()
        plan = self._steps.plan()
        settled = self._steps.settle()
        if settled is not None:
            self._done(settled)
        first = opening(plan)
        if first.progress:
            expected = {partition: plan.expected[partition] for partition in first.progress}
            self._land(first, plan.state, plan.gaps, expected)
        identity = (plan.state.cluster_id, plan.state.topic_id)
        before, self._identity = self._identity, identity
        if before not in (None, identity):
            raise _AnotherTopic
        reader.place(plan.start)
        self.committed = dict(reader.positions)
        if reader.unplaced:
            # Whoever leads the group has not seen yet which ones there are. Only while it waits does this
            # member hear of another assignment.
            raise PositionsMoved(
                f"The group gave it partitions {sorted(reader.owned - plan.start.keys())}, which "
                f"{plan.state.topic!r} does not have.",
                "It asks again which ones are its own.",
            )
        return plan.state

    def _land(
        self,
        read: Read,
        state: TopicState,
        gaps: Sequence[Gap],
        expected: Mapping[int, int | None] | None = None,
    ) -> None:
        if expected is None:
            expected = {partition: moved.start for partition, moved in read.progress.items()}
        with tempfile.TemporaryDirectory(prefix="caves-") as folder:
            batch = self._steps.decode(read, state, Path(folder))
            self._done(self._steps.land(batch, Landing(state, expected, gaps, self._run_id)))

    def _done(self, batch: Batch) -> None:
        self.landed_at = time.monotonic()
        self.report.count(batch)
        self._on_landed(batch)

    def _back_off(
        self, reader: GroupReader, error: CavesError | KafkaException, failures: int, stop: Event
    ) -> None:
        """Forget the batch in hand, and go on from the position of record after a while."""
        told = reader.unreachable(error) if isinstance(error, KafkaException) else error
        if stop.is_set():
            log.warning("The batch in hand was not landed, and will be read again: %s", told)
            return
        pause = random.uniform(0, min(0.1 * 2 ** min(failures, 10), _LONGEST_BACK_OFF))
        level = logging.INFO if isinstance(error, PositionsMoved) else logging.WARNING
        log.log(level, "Reading again from the stored positions in %.1f s: %s", pause, told)
        reader.unplace()
        reader.wait(pause, stop)
        self.committed = {p: offset for p, offset in self.committed.items() if p in reader.owned}
        self._held_up = isinstance(error, WriteConflict)
        self.turned_at = time.monotonic()

    def _say(self, reader: GroupReader, every: float) -> None:
        """The running totals, now and then while there is news."""
        now = time.monotonic()
        if now - self._said_at < every or self.report.batches == self._said:
            return
        self._said_at, self._said, lags = now, self.report.batches, reader.lags()
        log.info(
            "%s events landed and %s dead letters in %s batches since the start; lag %s over %d partitions.",
            f"{self.report.landed:,}",
            f"{self.report.dead:,}",
            f"{self.report.batches:,}",
            f"{sum(lags.values()):,}",
            len(lags),
        )
