"""One ingestion: from the stored positions to the end of the topic as it was when it was planned.

    inspect the topic → plan → read → decode → land

by the steps of `steps.py`, which the consumer goes too, and in `positions.py`, `reader.py`, `batch.py` and
`land.py`.

The next batch is read and decoded while the last one is being landed.
"""

from __future__ import annotations

import logging
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

from confluent_kafka import KafkaException, TopicPartition
from tenacity import RetryCallState, Retrying, retry_if_exception_type, wait_random_exponential

from caves_dagster.errors import KafkaUnreachable, PositionsMoved, RetryableError
from caves_dagster.ingest.batch import Batch
from caves_dagster.ingest.land import Landing
from caves_dagster.ingest.memory import return_large_blocks
from caves_dagster.ingest.positions import Gap, Plan
from caves_dagster.ingest.reader import Read, read_batches
from caves_dagster.ingest.report import IngestReport
from caves_dagster.ingest.steps import IngestSteps
from caves_dagster.kafka.client import KafkaClient
from caves_dagster.settings import Settings
from caves_dagster.shop import Shop
from caves_dagster.warehouse.connection import Warehouse

log = logging.getLogger(__name__)

_BROKER_TIMEOUTS = 2
"""How long a run waits for a broker that it has found away, in the client's time-outs: one that is started
again answers by then. For longer the sensor waits better than a run does."""
_LONG_SECONDS = 2.0
"""A run that landed, or waited for the broker, for longer lands what came meanwhile too. The next one has to
wait for this one's transformations, and to start: ten seconds and more."""
_MORE_PATIENCE_SECONDS = 10.0
"""How long it tries that again, as what has landed waits for it."""
_PRODUCERS_SECONDS = 3.0
"""How much later than a run its producers find a broker that came back: each tries once a second or so, and
has to ask for the leaders first."""


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
        self._steps = IngestSteps(settings, shop, kafka, warehouse)
        self._run_id = run_id
        self._on_batch = on_batch
        self._progressed = time.monotonic()
        self._away_since: float | None = None
        self._back_since: float | None = None
        self._gaps: dict[str, Sequence[Gap]] = {}

    def run(self, patience_seconds: float = 120.0) -> IngestReport:
        """Land everything up to the topic's present end; and, where that took long, up to its end then.

        Args:
            patience_seconds: how long to try again, without a batch landed, when the warehouse is away or
                another writer is first. A broker that is away is waited for less long.

        Raises:
            CavesError: what stopped it; whatever was committed stays, and the next run goes on there.
        """
        return_large_blocks()
        report = IngestReport(self._shop.topic)
        began = self._progressed = time.monotonic()
        self._land(report, began, patience_seconds, _BROKER_TIMEOUTS * self._kafka.settings.timeout_seconds)
        if self._back_since is not None:
            time.sleep(max(0.0, self._back_since + _PRODUCERS_SECONDS - time.monotonic()))
        if time.monotonic() - began <= _LONG_SECONDS or self._lands_more(report, began, patience_seconds):
            self._commit_group(report)
        report.seconds = time.monotonic() - began
        self._steps.sweep()
        return report

    def _lands_more(self, report: IngestReport, began: float, patience_seconds: float) -> bool:
        """Land what came meanwhile, once, as the tables behind wait; False where that can't be done now."""
        try:
            self._land(report, began, min(patience_seconds, _MORE_PATIENCE_SECONDS), 0)
        except RetryableError as error:
            self._settle(report, began)
            log.warning("What came while it landed is left to the next run: %s", error)
            return False
        return True

    def _land(
        self, report: IngestReport, began: float, patience_seconds: float, broker_seconds: float
    ) -> None:
        """Up to the topic's present end."""
        for attempt in Retrying(
            retry=retry_if_exception_type(RetryableError),
            wait=wait_random_exponential(multiplier=0.1, max=5),
            stop=lambda state: self._waited_enough(state, patience_seconds, broker_seconds),
            before_sleep=_log_retry,
            reraise=True,
        ):
            with attempt:
                self._settle(report, began)
                plan = self._steps.plan()
                if self._away_since is not None and self._back_since is None:
                    self._back_since = time.monotonic()
                report.lag_before = report.consumed + plan.lag
                self._carry_out(plan, report, began)

    def _waited_enough(self, state: RetryCallState, patience_seconds: float, broker_seconds: float) -> bool:
        now = time.monotonic()
        if state.outcome is None or not isinstance(state.outcome.exception(), KafkaUnreachable):
            self._away_since = None
            return now - self._progressed > patience_seconds
        if self._away_since is None:
            self._away_since = now
        return now - self._away_since >= min(broker_seconds, patience_seconds)

    def _carry_out(self, plan: Plan, report: IngestReport, began: float) -> None:
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
                    self._gaps[batch.batch_id] = gaps
                    under_way = landing_thread.submit(self._steps.land, batch, landing)
                    expected |= {partition: moved.end for partition, moved in batch.read.progress.items()}
                    gaps = ()
            finally:
                # Also when reading failed: the batch before it is being landed, and counts.
                if under_way is not None:
                    self._done(under_way.result(), report, began)
        report.positions = dict(plan.goal)
        report.lag_after = 0

    def _batches(self, plan: Plan, folder: Path) -> Iterator[Batch]:
        reads: Iterator[Read] = read_batches(
            self._kafka, plan, self._settings.batch_max_events, self._settings.batch_max_bytes
        )
        for read in reads:
            yield self._steps.decode(read, plan.state, folder)

    def _settle(self, report: IngestReport, began: float) -> None:
        """Count the batch whose COMMIT took place although its answer was lost."""
        batch = self._steps.settle()
        if batch is not None:
            self._done(batch, report, began)

    def _done(self, batch: Batch, report: IngestReport, began: float) -> None:
        self._progressed = time.monotonic()
        self._away_since = None
        report.count(batch)
        report.gaps += self._gaps.pop(batch.batch_id)
        report.seconds = time.monotonic() - began
        report.lag_after = max(0, report.lag_before - report.consumed)
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


def _log_retry(state: RetryCallState) -> None:
    error = state.outcome.exception() if state.outcome else None
    level = logging.INFO if isinstance(error, PositionsMoved) else logging.WARNING
    log.log(level, "Trying again: %s", error)
