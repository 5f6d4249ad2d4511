"""One ingestion: from the stored positions to the end of the topic as it was at the start.

    inspect the topic → plan → read → decode → land

in `positions.py`, `reader.py`, `batch.py` and `land.py`.

The next batch is read and decoded while the last one is being landed.
"""

from __future__ import annotations

import logging
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import groupby
from pathlib import Path

from confluent_kafka import KafkaException, TopicPartition
from tenacity import RetryCallState, Retrying, retry_if_exception, wait_random_exponential

from caves_dagster.errors import CavesError, KafkaUnreachable, PositionsMoved, RetryableError
from caves_dagster.ingest.batch import Batch, build
from caves_dagster.ingest.land import Lander, Landing
from caves_dagster.ingest.memory import return_large_blocks
from caves_dagster.ingest.positions import Gap, Plan, make_plan, to_verify
from caves_dagster.ingest.reader import Read, read_batches
from caves_dagster.kafka.client import KafkaClient
from caves_dagster.settings import Settings
from caves_dagster.shop import Shop
from caves_dagster.warehouse.connection import Warehouse

log = logging.getLogger(__name__)


@dataclass
class IngestReport:
    """What one ingestion did.

    Attributes:
        lag_before, lag_after: offsets between position and end, before the first batch and after the last
            one (against the end as it was at the start).
        dead_by_class: dead letters by failure class.
    """

    topic: str
    landed: int = 0
    dead: int = 0
    skipped: int = 0
    batches: int = 0
    bytes: int = 0
    seconds: float = 0.0
    lag_before: int = 0
    lag_after: int = 0
    gaps: list[Gap] = field(default_factory=list)
    dead_by_class: Counter[str] = field(default_factory=Counter)
    positions: dict[int, int] = field(default_factory=dict)

    @property
    def events_per_second(self) -> float:
        """Messages consumed per second, start-up of the consumer included."""
        return (self.landed + self.dead) / self.seconds if self.seconds else 0.0


class Ingestion:
    """Carries one shop's topic to its RAW table.

    Args:
        settings: limits of a batch, and the consumer group for lag tools.
        shop: whose topic, contract and table.
        kafka: the broker.
        warehouse: a session nobody else uses while this runs.
        run_id: stands in INGEST_BATCHES.
        on_batch: called after each commit, with the report so far.
    """

    def __init__(
        self,
        settings: Settings,
        shop: Shop,
        kafka: KafkaClient,
        warehouse: Warehouse,
        run_id: str,
        on_batch: Callable[[IngestReport], None] = lambda report: None,
    ) -> None:
        self._settings = settings
        self._shop = shop
        self._kafka = kafka
        self._lander = Lander(warehouse, shop)
        self._run_id = run_id
        self._on_batch = on_batch
        self._progressed = time.monotonic()
        self._unanswered: Batch | None = None

    def run(self, patience_seconds: float = 120.0) -> IngestReport:
        """Land everything up to the topic's present end.

        Args:
            patience_seconds: how long to try again, without a batch landed, when the warehouse is away or
                another writer is first.

        Raises:
            CavesError: what stopped it; whatever was committed stays, and the next run goes on there.
        """
        return_large_blocks()
        report = IngestReport(self._shop.topic)
        began = self._progressed = time.monotonic()
        for attempt in Retrying(
            retry=retry_if_exception(_worth_trying_again),
            wait=wait_random_exponential(multiplier=0.1, max=5),
            stop=lambda _: time.monotonic() - self._progressed > patience_seconds,
            before_sleep=_log_retry,
            reraise=True,
        ):
            with attempt:
                plan = self.plan()
                self._settle(report, began)
                if not report.batches:
                    report.lag_before = plan.lag
                self._carry_out(plan, report, began)
        report.seconds = time.monotonic() - began
        self._sweep()
        self._commit_group(report)
        return report

    def plan(self) -> Plan:
        """Inspect the topic and plan from the stored positions."""
        state = self._kafka.inspect(self._shop.topic)
        stored = self._lander.positions(self._shop.topic)
        suspects = to_verify(state, stored)
        offsets = {
            p: row.last_record_offset for p, row in suspects.items() if row.last_record_offset is not None
        }
        found = self._kafka.record_timestamps(self._shop.topic, offsets)
        recreated = any(
            timestamp is not None and timestamp != suspects[partition].last_record_timestamp_ms
            for partition, timestamp in found.items()
        )
        return make_plan(state, stored, recreated)

    def _carry_out(self, plan: Plan, report: IngestReport, began: float) -> None:
        for reason, gaps_of in groupby(sorted(plan.gaps, key=_reason), key=_reason):
            ranges = ", ".join(
                f"{gap.partition}: {gap.offset_from} to {gap.offset_to or '?'}" for gap in gaps_of
            )
            log.warning("Gaps in %s (%s), by partition: %s.", plan.state.topic, reason, ranges)
        expected = dict(plan.expected)
        gaps = plan.gaps
        with (
            _quick_switching(),
            tempfile.TemporaryDirectory(prefix="caves-") as folder,
            ThreadPoolExecutor(1, thread_name_prefix="landing") as landing_thread,
        ):
            under_way: Future[Batch] | None = None
            try:
                for batch in self._batches(plan, Path(folder)):
                    if under_way is not None:
                        landed, under_way = under_way, None
                        self._done(landed.result(), report, began)
                        # Else it would be in memory while the next one but one is read.
                        del landed
                    landing = Landing(plan.state, dict(expected), gaps, self._run_id)
                    under_way = landing_thread.submit(self._land, batch, landing)
                    expected |= {partition: moved.end for partition, moved in batch.read.progress.items()}
                    gaps = ()
            finally:
                # Also when reading failed: the batch before it is being landed, and counts.
                if under_way is not None:
                    self._done(under_way.result(), report, began)
        report.gaps += plan.gaps
        report.positions = dict(plan.goal)
        report.lag_after = 0

    def _batches(self, plan: Plan, folder: Path) -> Iterator[Batch]:
        reads: Iterator[Read] = read_batches(
            self._kafka, plan, self._settings.batch_max_events, self._settings.batch_max_bytes
        )
        for read in reads:
            self._require_same_topic(plan)
            yield build(read, self._shop.contract, self._settings.max_event_bytes, folder)

    def _require_same_topic(self, plan: Plan) -> None:
        """What was read so far came from the planned topic, as that was still there afterwards.

        A consumer that stands inside the log of another topic under the same name reads on there without a
        word; those records would land under offsets of the old topic, and once more under their own.
        """
        topic = plan.state.topic
        if plan.state.topic_id and self._kafka.topic_id(topic) != plan.state.topic_id:
            raise PositionsMoved(
                f"Another topic took the name {topic!r} while it was read.",
                "Ingestion plans again and records the gap.",
            )

    def _land(self, batch: Batch, landing: Landing) -> Batch:
        self._unanswered = batch
        self._lander.land(batch, landing)
        self._unanswered = None
        return batch

    def _settle(self, report: IngestReport, began: float) -> None:
        """Count the batch whose COMMIT took place although its answer was lost."""
        batch = self._unanswered
        if batch is not None and self._lander.has_landed(batch.batch_id):
            self._done(batch, report, began)
        self._unanswered = None

    def _done(self, batch: Batch, report: IngestReport, began: float) -> None:
        self._progressed = time.monotonic()
        report.landed += len(batch.messages)
        report.dead += len(batch.dead)
        report.skipped += batch.skipped
        report.bytes += batch.read.bytes
        report.batches += 1
        report.seconds = time.monotonic() - began
        report.lag_after = max(0, report.lag_before - report.landed - report.dead - report.skipped)
        report.dead_by_class.update(letter.failure_class for letter in batch.dead)
        log.info(
            "Landed %d rows and %d dead letters of %s in batch %s (%.0f events/s so far, lag %d).",
            len(batch.messages),
            len(batch.dead),
            batch.read.messages[0].topic if batch.read.messages else self._shop.topic,
            batch.batch_id,
            report.events_per_second,
            report.lag_after,
        )
        self._on_batch(report)

    def _sweep(self) -> None:
        """Tidy the stage; what has landed has landed, whatever becomes of that."""
        try:
            self._lander.stage.sweep()
        except CavesError as error:
            log.warning("Sweeping the stage failed: %s", error)

    def _commit_group(self, report: IngestReport) -> None:
        """Commit to a consumer group, for lag tools only: nothing reads it back."""
        if not report.batches:
            return
        offsets = [TopicPartition(report.topic, p, offset) for p, offset in report.positions.items()]
        consumer = self._kafka.reader(report.topic, {}, f"{self._settings.group_id}-dagster")
        try:
            consumer.commit(offsets=offsets, asynchronous=False)
        except KafkaException as error:
            log.warning("Committing offsets for lag tools failed: %s", error.args[0].str())
        finally:
            consumer.close()


@contextmanager
def _quick_switching() -> Iterator[None]:
    """Let threads take turns every half millisecond instead of every five.

    While one batch is decoded, the PUT of the last one waits its turn at each of its many small steps: seen
    to cost a fifth of the throughput.
    """
    before = sys.getswitchinterval()
    sys.setswitchinterval(0.0005)
    try:
        yield
    finally:
        sys.setswitchinterval(before)


def _reason(gap: Gap) -> str:
    return gap.reason.value


def _worth_trying_again(error: BaseException) -> bool:
    """The warehouse's troubles pass; without a broker the sensor waits better than a run does."""
    return isinstance(error, RetryableError) and not isinstance(error, KafkaUnreachable)


def _log_retry(state: RetryCallState) -> None:
    error = state.outcome.exception() if state.outcome else None
    level = logging.INFO if isinstance(error, PositionsMoved) else logging.WARNING
    log.log(level, "Trying again: %s", error)
