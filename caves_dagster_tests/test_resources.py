"""What a run finds when the one before it was killed."""

from __future__ import annotations

from pathlib import Path

import dagster as dg
import pytest
from dagster._core.test_utils import create_run_for_test

from caves_dagster.errors import RetryableError
from caves_dagster.local.dagster_services import dagster_home
from caves_dagster.resources import end_transactions_of_killed_runs
from caves_dagster.run_tags import FAILURE_TAG, SHOP_TAG
from caves_dagster.warehouse.abandoned import landing_transaction, transform_transaction
from caves_dagster.warehouse.connection import Warehouse
from caves_dagster_tests.conftest import Caves

JOB = "caves_pipeline"
STATUS = dg.DagsterRunStatus
TAGS = {SHOP_TAG: "caves"}
KILLED = TAGS | {FAILURE_TAG: "killed"}


@pytest.fixture(autouse=True)
def at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """No transaction is too young."""
    monkeypatch.setattr("caves_dagster.resources.KILLED_BEFORE_SECONDS", 0.0)


def ended(caves: Caves, instance: dg.DagsterInstance, job: str = JOB) -> int:
    """How many transactions a new run of the job ends."""
    run = create_run_for_test(instance, job_name=job, status=STATUS.STARTED, tags=TAGS)
    return end_transactions_of_killed_runs(caves.warehouse, instance, run, caves.shop)


@pytest.mark.parametrize("name", [landing_transaction("caves"), transform_transaction("caves")])
def test_what_a_killed_run_left_open_is_ended_and_its_lock_is_free(
    caves: Caves, instance: dg.DagsterInstance, name: str
) -> None:
    create_run_for_test(instance, job_name=JOB, status=STATUS.FAILURE, tags=KILLED)
    fence = "UPDATE RAW_DATA.INGEST_FENCE SET EPOCH = EPOCH + 1"
    with Warehouse(caves.settings.snowflake) as dead:
        dead.execute(f"BEGIN TRANSACTION NAME {name}")
        dead.execute(fence)
        with pytest.raises(RetryableError):
            caves.warehouse.execute(fence)
        assert ended(caves, instance) == 1
        caves.warehouse.execute(fence)


@pytest.mark.parametrize(
    ("before", "expected"),
    [
        ([], 0),
        ([(STATUS.SUCCESS, TAGS)], 0),
        ([(STATUS.FAILURE, TAGS | {FAILURE_TAG: "own"})], 0),
        ([(STATUS.FAILURE, KILLED), (STATUS.SUCCESS, TAGS)], 0),
        # Nobody has looked at it yet: no step of it says why it failed.
        ([(STATUS.FAILURE, TAGS)], 1),
        ([(STATUS.SUCCESS, TAGS), (STATUS.FAILURE, KILLED)], 1),
        ([(STATUS.FAILURE, KILLED), (STATUS.FAILURE, TAGS | {FAILURE_TAG: "away"})], 1),
    ],
)
def test_transactions_are_looked_for_only_when_a_run_was_killed_since_the_last_success(
    caves: Caves,
    instance: dg.DagsterInstance,
    before: list[tuple[dg.DagsterRunStatus, dict[str, str]]],
    expected: int,
) -> None:
    for status, tags in before:
        create_run_for_test(instance, job_name=JOB, status=status, tags=tags)
    with Warehouse(caves.settings.snowflake) as alive:
        alive.execute(f"BEGIN TRANSACTION NAME {landing_transaction('caves')}")
        alive.execute("UPDATE RAW_DATA.INGEST_FENCE SET EPOCH = EPOCH + 1")
        assert ended(caves, instance) == expected


@pytest.mark.parametrize("job", ["caves_validation", "caves_rebuild_production", "dropship_pipeline"])
def test_what_runs_beside_the_pipeline_ends_none_of_its_transactions(
    caves: Caves, instance: dg.DagsterInstance, job: str
) -> None:
    create_run_for_test(instance, job_name=job, status=STATUS.FAILURE, tags=TAGS)
    with Warehouse(caves.settings.snowflake) as alive:
        alive.execute(f"BEGIN TRANSACTION NAME {landing_transaction('caves')}")
        alive.execute("UPDATE RAW_DATA.INGEST_FENCE SET EPOCH = EPOCH + 1")
        assert ended(caves, instance, job) == 0


def test_a_run_starts_although_its_warehouse_is_away(caves: Caves, instance: dg.DagsterInstance) -> None:
    create_run_for_test(instance, job_name=JOB, status=STATUS.FAILURE, tags=KILLED)
    run = create_run_for_test(instance, job_name=JOB, status=STATUS.STARTED, tags=TAGS)
    nowhere = caves.settings.snowflake.model_copy(
        update={"port": 1, "login_timeout": 1, "network_timeout": 1}
    )
    with Warehouse(nowhere) as away:
        assert end_transactions_of_killed_runs(away, instance, run, caves.shop) == 0


def test_a_run_that_hangs_while_its_heart_beats_is_ended_by_dagster(tmp_path: Path) -> None:
    with dg.DagsterInstance.from_config(str(dagster_home(tmp_path))) as home:
        assert home.run_monitoring_enabled
        assert 3600 <= home.run_monitoring_max_runtime_seconds <= 4 * 3600
