"""The main job on a platform of its own: a history is loaded, then events are published, and the daemon's
sensors do the rest.

Nothing here moves events but the producer: the code only watches, and at the end holds what it sent against
what arrived.
"""

from __future__ import annotations

import statistics
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from itertools import islice
from pathlib import Path

import dagster as dg

from caves_dagster.checks.catalogue import shop_checks
from caves_dagster.checks.check import Outcome, run_check
from caves_dagster.demo_history import Sold, history_problems, load_history, sales_by_source
from caves_dagster.errors import CavesError, PlatformError
from caves_dagster.kafka.producer import DeliveryReport, publish
from caves_dagster.local.dagster_services import dagster_home, dagster_services
from caves_dagster.local.platform import running_platform
from caves_dagster.settings import DeadLetterBudget, Settings, embedded_environment, embedded_settings
from caves_dagster.shop import Message, Shop
from caves_dagster.shops import find_shop
from caves_dagster.warehouse.connection import Warehouse
from caves_dagster.warehouse.scripts import set_up

_POLL_SECONDS = 0.5
_DAEMON_SECONDS = 60.0
_ORDERS = "PRODUCTION.ORDERS"


@dataclass
class Sent:
    """What was handed to the producer: the truth that the tables are held against."""

    event_ids: list[str] = field(default_factory=list)
    invalid: int = 0

    def record(self, messages: Iterator[Message]) -> Iterator[Message]:
        """Pass the messages on, and note each."""
        for message in messages:
            if message.event_id is None:
                self.invalid += 1
            else:
                self.event_ids.append(message.event_id)
            yield message


@dataclass(frozen=True)
class Progress:
    """How far it is; the last two count up to the number of messages."""

    stage: str
    published: int = 0
    landed: int = 0
    produced: int = 0


@dataclass
class DemoResult:
    """What the demo saw. `problems` is empty when every event is accounted for and every check passes."""

    published: int = 0
    invalid: int = 0
    seconds: float = 0.0
    rows: dict[str, int] = field(default_factory=dict)
    sales: dict[str, Sold] = field(default_factory=dict)
    dead_letters: Counter[str] = field(default_factory=Counter)
    outcomes: list[Outcome] = field(default_factory=list)
    runs: Counter[str] = field(default_factory=Counter)
    latencies: list[float] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)

    def latency(self, percent: int) -> float:
        """Seconds from an event's timestamp to its row in production, at a percentile."""
        if len(self.latencies) < 2:
            return float("nan")
        return statistics.quantiles(self.latencies, n=100, method="inclusive")[percent - 1]


def run_demo(
    home: Path,
    count: int,
    invalid_rate: float,
    rate: float,
    seed: int,
    show: Callable[[Progress], None],
    timeout_seconds: float = 300.0,
) -> DemoResult:
    """Run the demo in `home`, which holds its platform and Dagster's state afterwards, both stopped.

    Raises:
        CavesError: the platform or Dagster did not start, or the producer could not deliver.
    """
    show(Progress("starting the platform"))
    with running_platform(home):
        settings, environment = _within_budget(home, invalid_rate)
        shop = find_shop(settings, "caves")
        with Warehouse(settings.snowflake) as warehouse:
            set_up(warehouse, shop)
            show(Progress("starting Dagster's daemon"))
            with (
                dagster_services(home, environment),
                dg.DagsterInstance.from_config(str(dagster_home(home))) as instance,
            ):
                show(Progress("loading the history"))
                # While the daemon starts.
                load_history(settings, shop, instance)
                show(Progress("waiting for Dagster's daemon"))
                _await_sensors(instance, home)
                return _Watch(settings, shop, warehouse, instance, show).run(
                    count, invalid_rate, rate, seed, timeout_seconds
                )


def _within_budget(home: Path, invalid_rate: float) -> tuple[Settings, dict[str, str]]:
    """Settings and environment whose budget of dead letters holds what the demo spoils on purpose."""
    share = min(1.0, 2 * invalid_rate + 0.05)
    budget = DeadLetterBudget.model_construct(warn_share=share, fail_share=share)
    settings = embedded_settings(home).model_copy(update={"dead_letters": budget})
    limits = {"CAVES_DEAD_LETTER_WARN_SHARE": str(share), "CAVES_DEAD_LETTER_FAIL_SHARE": str(share)}
    return settings, embedded_environment(home) | limits


def _await_sensors(instance: dg.DagsterInstance, home: Path) -> None:
    """Wait until the daemon has ticked a sensor: from then on it does the work."""
    deadline = time.monotonic() + _DAEMON_SECONDS
    while not instance.all_instigator_state():
        if time.monotonic() > deadline:
            raise PlatformError(
                f"Dagster's daemon ticked no sensor within {_DAEMON_SECONDS:.0f} s.",
                f"See {home / 'log' / 'dagster-daemon.log'}.",
            )
        time.sleep(_POLL_SECONDS)


class _Watch:
    """Publishes, looks on until everything has arrived, and takes stock."""

    def __init__(
        self,
        settings: Settings,
        shop: Shop,
        warehouse: Warehouse,
        instance: dg.DagsterInstance,
        show: Callable[[Progress], None],
    ) -> None:
        self._settings = settings
        self._shop = shop
        self._warehouse = warehouse
        self._instance = instance
        self._show = show
        self._sent = Sent()

    def run(
        self, count: int, invalid_rate: float, rate: float, seed: int, timeout_seconds: float
    ) -> DemoResult:
        messages = self._sent.record(
            islice(self._shop.generate(seed, invalid_rate, lambda: datetime.now(UTC)), count)
        )
        report = DeliveryReport(self._shop.topic)
        failures: list[CavesError] = []

        def produce() -> None:
            nonlocal report

            def progressed(so_far: DeliveryReport) -> None:
                nonlocal report
                report = so_far

            try:
                report = publish(
                    self._settings.kafka, self._shop.topic, messages, rate=rate, on_progress=progressed
                )
                report.require_delivery()
            except CavesError as error:
                failures.append(error)

        began = time.monotonic()
        producer = threading.Thread(target=produce, name="producer", daemon=True)
        producer.start()
        while True:
            landed, produced, waiting = self._arrived()
            self._show(Progress("events on their way", report.delivered, landed, produced))
            if failures:
                raise failures[0]
            complete = not producer.is_alive() and landed >= count and not waiting
            if complete or time.monotonic() - began > timeout_seconds:
                break
            time.sleep(_POLL_SECONDS)
        seconds = time.monotonic() - began
        self._show(Progress("taking stock", report.delivered, landed, produced))
        self._await_runs()
        return self._take_stock(count, seconds, timeout_seconds)

    def _arrived(self) -> tuple[int, int, int]:
        """Messages in RAW or dead, messages in production or dead, rows still waiting in a stream."""
        raw = self._shop.raw
        names = [raw.full_name, f"{raw.schema}.DEAD_LETTER_EVENTS", _ORDERS, "PRODUCTION.INVENTORY_HISTORY"]
        streams = [step.stream.full_name for step in self._shop.transformations]
        counts = self._counts([*names, *streams])
        landed, dead, orders, movements = (counts[name] for name in names)
        return landed + dead, orders + movements + dead, sum(counts[name] for name in streams)

    def _counts(self, names: list[str]) -> dict[str, int]:
        columns = ", ".join(f"(SELECT COUNT(*) FROM {name}) AS C{index}" for index, name in enumerate(names))
        (row,) = self._warehouse.query(f"SELECT {columns}")
        return {name: int(row[f"C{index}"]) for index, name in enumerate(names)}

    def _await_runs(self) -> None:
        """Let the last run finish its checks."""
        under_way = [dg.DagsterRunStatus.QUEUED, dg.DagsterRunStatus.STARTING, dg.DagsterRunStatus.STARTED]
        deadline = time.monotonic() + 30
        while (
            self._instance.get_runs_count(dg.RunsFilter(statuses=under_way)) and time.monotonic() < deadline
        ):
            time.sleep(_POLL_SECONDS)

    def _take_stock(self, count: int, seconds: float, timeout_seconds: float) -> DemoResult:
        raw = self._shop.raw
        dead_letters = f"{raw.schema}.DEAD_LETTER_EVENTS"
        result = DemoResult(count, self._sent.invalid, seconds)
        batch = self._shop.batch.tables if self._shop.batch else ()
        tables = [*(one.table.full_name for one in batch), raw.full_name, dead_letters]
        result.rows = self._counts([*tables, *(table.full_name for table in self._shop.tables[1:])])
        result.sales = sales_by_source(self._warehouse)
        by_class = f"SELECT FAILURE_CLASS, COUNT(*) AS N FROM {dead_letters} GROUP BY FAILURE_CLASS"
        result.dead_letters = Counter(
            {r["FAILURE_CLASS"]: int(r["N"]) for r in self._warehouse.query(by_class)}
        )
        checks = shop_checks(self._settings, self._shop)
        result.outcomes = [run_check(self._warehouse, self._shop, one) for one in checks]
        delay = f"SELECT DATEDIFF('millisecond', EVENT_TIME, LOADED_AT) AS MS FROM {_ORDERS}"
        result.latencies = [int(row["MS"]) / 1000 for row in self._warehouse.query(delay)]
        result.runs = Counter(run.status.value for run in self._instance.get_runs())
        result.problems = self._problems(result, timeout_seconds)
        return result

    def _problems(self, result: DemoResult, timeout_seconds: float) -> list[str]:
        """Everything that does not add up."""
        problems = []
        stored = Counter(
            row["EVENT_ID"]
            for row in self._warehouse.query(f"SELECT EVENT_ID FROM {self._shop.raw.full_name}")
        )
        sent = Counter(self._sent.event_ids)
        lost, extra = sent - stored, stored - sent
        if lost or extra:
            problems.append(f"RAW lacks {lost.total()} events and holds {extra.total()} it should not.")
        if result.dead_letters.total() != result.invalid:
            problems.append(f"{result.invalid} invalid messages, {result.dead_letters.total()} dead letters.")
        produced = result.rows[_ORDERS] + result.rows["PRODUCTION.INVENTORY_HISTORY"]
        if produced != len(self._sent.event_ids):
            problems.append(
                f"{len(self._sent.event_ids)} events, but {produced} rows in production "
                f"after {timeout_seconds:.0f} s."
            )
        problems += history_problems(self._settings, self._warehouse, result.sales)
        problems += [f"Check {one.name}: {one.status}." for one in result.outcomes if one.status != "PASS"]
        failed = sum(count for status, count in result.runs.items() if status != "SUCCESS")
        if failed or not result.runs:
            problems.append(f"{failed} of {result.runs.total()} Dagster runs did not succeed.")
        return problems
