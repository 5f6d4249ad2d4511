"""What runs by the clock: which days the daily batch loads, and when it skips; and such a run, end to end."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import dagster as dg
import pytest

from caves_dagster.batch.reading import Window
from caves_dagster.definitions import build_definitions
from caves_dagster.schedules import days_to_load
from caves_dagster.settings import Settings, embedded_settings
from caves_dagster_tests.batch.conftest import Batches, batches  # noqa: F401 - the fixture
from caves_dagster_tests.batch.sources import SALE

FIRST = date(2026, 1, 1)
TODAY = date(2026, 2, 1)


def january(*missing: int) -> set[str]:
    return {f"2026-01-{day:02d}" for day in range(1, 32) if day not in missing}


@pytest.mark.parametrize(
    ("loaded", "first"),
    [
        (set(), FIRST),
        (january(), date(2026, 1, 25)),
        (january(31), date(2026, 1, 25)),
        (january(30, 31), date(2026, 1, 25)),
        (january(25), date(2026, 1, 25)),
        (january(24), date(2026, 1, 24)),
        (january(3, 20), date(2026, 1, 3)),
        (january() | {"2025-12-31"}, date(2026, 1, 25)),
        ({"2026-01-31"}, FIRST),
    ],
)
def test_from_the_first_day_never_loaded_or_a_week_back_to_yesterday(loaded: set[str], first: date) -> None:
    assert days_to_load(loaded, FIRST, TODAY) == Window(first, date(2026, 1, 31))


def test_there_is_nothing_to_load_before_the_first_day_is_over() -> None:
    assert days_to_load(set(), FIRST, FIRST) is None
    assert days_to_load(set(), FIRST, FIRST - timedelta(days=9)) is None
    assert days_to_load(set(), FIRST, FIRST + timedelta(days=1)) == Window(FIRST, FIRST)


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    """Nothing behind them: a schedule's tick asks neither broker nor warehouse."""
    return embedded_settings(tmp_path)


@pytest.fixture
def instance(tmp_path: Path) -> Iterator[dg.DagsterInstance]:
    """On disk: a tick opens it anew."""
    (tmp_path / "dagster").mkdir()
    with dg.DagsterInstance.local_temp(str(tmp_path / "dagster")) as instance:
        yield instance


def tick(settings: Settings, instance: dg.DagsterInstance, day: date) -> dg.RunRequest | str:
    """What the daily batch does on a morning: the run it asks for, or why it skips."""
    repository = build_definitions(settings).get_repository_def()
    at = datetime(day.year, day.month, day.day, 5, tzinfo=UTC)
    context = dg.build_schedule_context(instance, scheduled_execution_time=at, repository_def=repository)
    evaluated = repository.get_schedule_def("caves_batch_daily").evaluate_tick(context)
    if evaluated.run_requests:
        (request,) = evaluated.run_requests
        return request
    return evaluated.skip_message or ""


def test_without_a_source_it_skips_and_says_how_to_get_one(
    settings: Settings, instance: dg.DagsterInstance
) -> None:
    said = tick(settings, instance, TODAY)
    assert isinstance(said, str)
    for words in (str(settings.db_path), "`caves seed`", "CAVES_BATCH_SOURCE"):
        assert words in said


def test_before_the_first_day_it_skips(settings: Settings, instance: dg.DagsterInstance) -> None:
    settings.db_path.touch()
    assert "No day since 2025-01-01 is over" in str(tick(settings, instance, date(2025, 1, 1)))


def test_it_asks_for_one_run_of_all_days_and_then_of_the_last_week(
    settings: Settings, instance: dg.DagsterInstance
) -> None:
    settings.db_path.touch()
    first = tick(settings, instance, TODAY)
    assert isinstance(first, dg.RunRequest)
    assert first.tags["dagster/asset_partition_range_start"] == "2025-01-01"
    assert first.tags["dagster/asset_partition_range_end"] == "2026-01-31"
    key = dg.AssetKey(["batch_data", "sales"])
    for days in range((TODAY - date(2025, 1, 1)).days):
        partition = (date(2025, 1, 1) + timedelta(days=days)).isoformat()
        instance.report_runless_asset_event(dg.AssetMaterialization(key, partition=partition))
    then = tick(settings, instance, TODAY)
    assert isinstance(then, dg.RunRequest)
    assert then.tags["dagster/asset_partition_range_start"] == "2026-01-25"


@pytest.mark.filterwarnings("default")  # of dagster's integrations, not ours
def test_the_run_it_asks_for_loads_the_three_tables(
    batches: Batches,  # noqa: F811
    instance: dg.DagsterInstance,
) -> None:
    batches = batches.reading(batch_first_day=date(2026, 6, 1))
    batches.write(sales=[(key, f"2026-06-{key:02d} 10:00:00", *SALE[2:]) for key in range(1, 31)])
    request = tick(batches.settings, instance, date(2026, 6, 21))
    assert isinstance(request, dg.RunRequest)

    job = build_definitions(batches.settings).resolve_job_def("caves_batch")
    result = job.execute_in_process(instance=instance, tags=dict(request.tags))

    assert result.success
    assert [row[0] for row in batches.rows("SALES")] == list(range(1, 21))
    assert (len(batches.rows("CUSTOMERS")), len(batches.rows("INVENTORY"))) == (1, 1)
    again = tick(batches.settings, instance, date(2026, 6, 22))
    assert isinstance(again, dg.RunRequest)
    assert again.tags["dagster/asset_partition_range_start"] == "2026-06-15"


def test_the_seeds_schedule_is_off_and_the_batch_s_is_on(settings: Settings) -> None:
    repository = build_definitions(settings).get_repository_def()
    statuses = {one.name: one.default_status for one in repository.schedule_defs}
    assert statuses["caves_batch_daily"] is dg.DefaultScheduleStatus.RUNNING
    assert statuses["caves_seed_daily"] is dg.DefaultScheduleStatus.STOPPED
