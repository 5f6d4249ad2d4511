"""The main job on a platform of its own: histories are loaded, then every shop's events are published, and
the daemon's sensors do the rest.

Nothing here moves events but the producers: the code only watches, and at the end holds what it sent against
what arrived (`demo_shop.py`, `demo_history.py`).
"""

from __future__ import annotations

import statistics
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import dagster as dg

from caves_dagster.demo_history import Sold, history_problems, load_history, sales_by_source
from caves_dagster.demo_shop import Seen, ShopResult, ShopWatch
from caves_dagster.deploy.carry_out import set_up
from caves_dagster.errors import PlatformError
from caves_dagster.local.dagster_services import dagster_home, dagster_services
from caves_dagster.local.platform import running_platform
from caves_dagster.settings import DeadLetterBudget, Settings, embedded_environment, embedded_settings
from caves_dagster.shop import Shop
from caves_dagster.shops import shops, topics
from caves_dagster.warehouse.connection import Warehouse

_POLL_SECONDS = 0.5
_DAEMON_SECONDS = 60.0
_SHARE_OF_OTHERS = 0.2
"""Of the events, for each shop but the first."""


@dataclass(frozen=True)
class Progress:
    """How far it is; the last two count up to the number of messages."""

    stage: str
    published: int = 0
    landed: int = 0
    produced: int = 0


@dataclass
class DemoResult:
    """What the demo saw. `problems` is empty when every event is accounted for and no check fails."""

    seconds: float = 0.0
    shops: list[ShopResult] = field(default_factory=list)
    sales: dict[str, Sold] = field(default_factory=dict)
    runs: Counter[str] = field(default_factory=Counter)
    problems: list[str] = field(default_factory=list)

    def latency(self, percent: int) -> float:
        """Seconds from an event's timestamp to its row in production, at a percentile."""
        latencies = [seconds for one in self.shops for seconds in one.latencies]
        if len(latencies) < 2:
            return float("nan")
        return statistics.quantiles(latencies, n=100, method="inclusive")[percent - 1]


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

    Args:
        count: events to publish, over all shops.
        rate: events a second, over all shops; 0 is as fast as it goes.

    Raises:
        CavesError: the platform or Dagster did not start, or a producer could not deliver.
    """
    show(Progress("starting the platform"))
    with running_platform(home, topics=topics(embedded_settings(home))):
        settings, environment = _within_budget(home, invalid_rate)
        declared = [shop for shop in shops(settings) if shop.generates and shop.facts]
        with Warehouse(settings.snowflake) as warehouse:
            for shop in declared:
                set_up(warehouse, shop)
            show(Progress("starting Dagster's daemon"))
            with (
                dagster_services(home, environment),
                dg.DagsterInstance.from_config(str(dagster_home(home))) as instance,
            ):
                show(Progress("loading the histories"))
                # While the daemon starts.
                for shop in declared:
                    load_history(settings, shop, instance)
                show(Progress("waiting for Dagster's daemon"))
                _await_sensors(instance, home)
                watches = [
                    ShopWatch(settings, shop, warehouse, share, invalid_rate, rate * share / count, seed)
                    for shop, share in _shares(declared, count)
                ]
                result = _watch(watches, instance, show, timeout_seconds)
                _hold_against(result, settings, declared, warehouse, instance)
                return result


def _shares(declared: Sequence[Shop], count: int) -> list[tuple[Shop, int]]:
    """How many of the events each shop publishes: the first one most of them."""
    others = int(count * _SHARE_OF_OTHERS)
    shares = [(shop, others) for shop in declared[1:]]
    return [(declared[0], count - others * len(shares)), *shares]


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


def _watch(
    watches: Sequence[ShopWatch],
    instance: dg.DagsterInstance,
    show: Callable[[Progress], None],
    timeout_seconds: float,
) -> DemoResult:
    """Publish, look on until everything has arrived, and take stock."""
    began = time.monotonic()
    for watch in watches:
        watch.publish()
    while True:
        seen = [watch.look() for watch in watches]
        show(_progress("events on their way", seen))
        if all(one.complete for one in seen) or time.monotonic() - began > timeout_seconds:
            break
        time.sleep(_POLL_SECONDS)
    result = DemoResult(seconds=time.monotonic() - began)
    show(_progress("taking stock", seen))
    _await_runs(instance)
    result.shops = [watch.take_stock(instance, timeout_seconds) for watch in watches]
    return result


def _progress(stage: str, seen: Sequence[Seen]) -> Progress:
    figures = zip(*((one.published, one.landed, one.produced) for one in seen), strict=True)
    return Progress(stage, *(sum(figure) for figure in figures))


def _await_runs(instance: dg.DagsterInstance) -> None:
    """Let the last runs finish their checks."""
    under_way = [dg.DagsterRunStatus.QUEUED, dg.DagsterRunStatus.STARTING, dg.DagsterRunStatus.STARTED]
    deadline = time.monotonic() + 30
    while instance.get_runs_count(dg.RunsFilter(statuses=under_way)) and time.monotonic() < deadline:
        time.sleep(_POLL_SECONDS)


def _hold_against(
    result: DemoResult,
    settings: Settings,
    declared: Sequence[Shop],
    warehouse: Warehouse,
    instance: dg.DagsterInstance,
) -> None:
    """What does not add up, beside what each shop's part found."""
    result.problems = [problem for one in result.shops for problem in one.problems]
    if any(view.full_name == "ANALYTICS.CONSOLIDATED_SALES" for shop in declared for view in shop.views):
        result.sales = sales_by_source(warehouse)
        result.problems += history_problems(settings, warehouse, result.sales)
    result.runs = Counter(run.status.value for run in instance.get_runs())
    failed = sum(count for status, count in result.runs.items() if status != "SUCCESS")
    if failed or not result.runs:
        result.problems.append(f"{failed} of {result.runs.total()} Dagster runs did not succeed.")
