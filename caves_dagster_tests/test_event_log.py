"""Dagster's storage does not grow for ever."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import dagster as dg
import pytest
from dagster._core.storage.event_log.schema import (
    AssetCheckExecutionsTable,
    SqlEventLogStorageTable,
)
from dagster._core.storage.event_log.sql_event_log import SqlEventLogStorage
from sqlalchemy import func, select

from caves_dagster.event_log import delete_old_events
from caves_dagster.jobs import clean_up_job
from caves_dagster.settings import Settings
from caves_dagster_tests.conftest import dagster_instance

TABLES = (SqlEventLogStorageTable, AssetCheckExecutionsTable)


@pytest.fixture
def instance() -> Iterator[dg.DagsterInstance]:
    with dagster_instance() as instance:
        yield instance


@dg.asset
def sales() -> None:
    """An asset."""


@dg.asset_check(asset=sales)
def sold() -> dg.AssetCheckResult:
    """Its check."""
    return dg.AssetCheckResult(passed=True)


JOB = dg.Definitions(
    [sales],
    asset_checks=[sold],
    jobs=[dg.define_asset_job("sold", dg.AssetSelection.checks_for_assets(sales))],
).resolve_job_def("sold")


def write(instance: dg.DagsterInstance, times: int) -> None:
    """So many reports of the asset by nobody's run, and runs of its check that are deleted afterwards."""
    for number in range(times):
        instance.report_runless_asset_event(
            dg.AssetMaterialization("sales", metadata={"number": number}, tags={"number": str(number)})
        )
        instance.report_runless_asset_event(dg.AssetObservation("sales", metadata={"number": number}))
        run = JOB.execute_in_process(instance=instance)
        instance.delete_run(run.run_id)


def rows(instance: dg.DagsterInstance) -> list[int]:
    """How many there are of each kind."""
    storage = instance.event_log_storage
    assert isinstance(storage, SqlEventLogStorage)
    with storage.index_connection() as connection:
        return [connection.execute(select(func.count()).select_from(table)).scalar_one() for table in TABLES]


def test_what_no_run_wrote_and_what_checks_said_goes_but_for_the_latest(instance: dg.DagsterInstance) -> None:
    write(instance, 3)
    before = rows(instance)
    assert min(before) >= 3, "deleting the runs left them"
    yesterday = datetime.now(UTC) - timedelta(days=1)
    assert delete_old_events(instance, yesterday) == 0
    assert rows(instance) == before

    tomorrow = datetime.now(UTC) + timedelta(days=1)
    assert delete_old_events(instance, tomorrow) == 2 * 2 + 2

    assert rows(instance) == [2, 1]
    event = instance.get_latest_materialization_event(dg.AssetKey("sales"))
    assert event is not None
    assert event.asset_materialization is not None
    assert event.asset_materialization.metadata["number"].value == 2
    key = dg.AssetCheckKey(dg.AssetKey("sales"), "sold")
    assert len(instance.event_log_storage.get_asset_check_execution_history(key, limit=9)) == 1


def test_the_clean_up_leaves_no_file_of_a_run(instance: dg.DagsterInstance) -> None:
    run = JOB.execute_in_process(instance=instance)

    def files() -> list[Path]:
        return list(Path(instance.root_directory).rglob(f"{run.run_id}*"))

    assert files()
    write(instance, 2)
    job, _ = clean_up_job(Settings(run_retention_days=1e-9))
    assert job.execute_in_process(instance=instance).success
    assert rows(instance)[1] == 1
    assert instance.get_run_by_id(run.run_id) is None
    assert files() == []
