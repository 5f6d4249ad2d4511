"""`task_status`: sensors that do not tick, runs that failed, streams that stand still or are missing."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import dagster as dg
import pytest
from dagster._core.definitions.run_request import InstigatorType
from dagster._core.definitions.sensor_definition import SensorType
from dagster._core.remote_origin import (
    InProcessCodeLocationOrigin,
    RemoteInstigatorOrigin,
    RemoteRepositoryOrigin,
)
from dagster._core.scheduler.instigation import (
    InstigatorState,
    InstigatorStatus,
    SensorInstigatorData,
    TickData,
    TickStatus,
)
from dagster._core.test_utils import create_run_for_test
from dagster._core.types.loadable_target_origin import LoadableTargetOrigin
from dagster_shared.error import SerializableErrorInfo

from caves_dagster.assets.transformation import transform
from caves_dagster.checks.catalogue import shop_checks
from caves_dagster.checks.check import Outcome, run_check
from caves_dagster.jobs import pipeline_name
from caves_dagster.run_tags import FAILURE_TAG, LANDING_ONLY_TAG
from caves_dagster.warehouse.connection import Row
from caves_dagster_tests.conftest import Caves
from caves_dagster_tests.raw_rows import Feed, consume_all, insert_raw

_SENSORS = ("caves_kafka_sensor", "caves_stream_sensor")


def _status(caves: Caves, instance: dg.DagsterInstance | None = None) -> Outcome:
    (check,) = (one for one in shop_checks(caves.settings, caves.shop) if one.name == "task_status")
    return run_check(caves.warehouse, caves.shop, check, instance=instance)


def _row(outcome: Outcome, subject: str) -> Row:
    (row,) = [row for row in outcome.rows if row["SUBJECT"] == subject]
    return row


def _tick(
    instance: dg.DagsterInstance,
    name: str,
    ago: float = 1.0,
    status: TickStatus = TickStatus.SKIPPED,
    sensor: InstigatorStatus = InstigatorStatus.DECLARED_IN_CODE,
    **more: Any,
) -> None:
    """A tick of a sensor, some seconds ago, as the daemon writes it down."""
    origin = RemoteInstigatorOrigin(
        RemoteRepositoryOrigin(
            InProcessCodeLocationOrigin(LoadableTargetOrigin(executable_path="python")), "repository"
        ),
        name,
    )
    state = InstigatorState(
        origin, InstigatorType.SENSOR, sensor, SensorInstigatorData(sensor_type=SensorType.STANDARD)
    )
    instance.add_instigator_state(state)
    at = (datetime.now(UTC) - timedelta(seconds=ago)).timestamp()
    instance.create_tick(
        TickData(
            state.instigator_origin_id,
            name,
            InstigatorType.SENSOR,
            status,
            at,
            selector_id=state.selector_id,
            end_timestamp=at,
            **more,
        )
    )


def _ran(caves: Caves, instance: dg.DagsterInstance, status: dg.DagsterRunStatus, **tags: str) -> str:
    return str(create_run_for_test(instance, pipeline_name(caves.shop), status=status, tags=tags).run_id)


@pytest.fixture
def at_work(caves: Caves, instance: dg.DagsterInstance) -> dg.DagsterInstance:
    """A Dagster whose sensors tick and whose last run succeeded."""
    for name in _SENSORS:
        _tick(instance, name)
    _ran(caves, instance, dg.DagsterRunStatus.SUCCESS)
    return instance


def test_all_at_work_passes(caves: Caves, at_work: dg.DagsterInstance) -> None:
    outcome = _status(caves, at_work)

    assert (outcome.status, outcome.said) == ("PASS", "")
    assert {row["SUBJECT"] for row in outcome.rows} == {
        *(f"sensor {name}" for name in _SENSORS),
        "job caves_pipeline",
        *(f"stream {step.stream.full_name}" for step in caves.shop.transformations),
    }


def test_without_dagster_there_is_a_warning_that_says_how_to_start_it(caves: Caves) -> None:
    outcome = _status(caves)

    assert outcome.status == "WARN"
    assert "start it with `caves up` or `dagster dev`" in outcome.said


def test_what_never_ran_is_a_warning(caves: Caves, instance: dg.DagsterInstance) -> None:
    outcome = _status(caves, instance)

    assert outcome.status == "WARN"
    assert outcome.offending == 3
    assert "has never ticked" in outcome.said
    assert "has never run" in outcome.said
    _ran(caves, instance, dg.DagsterRunStatus.STARTED)
    assert "has never run" not in _status(caves, instance).said, "its first is under way"


@pytest.mark.parametrize(
    ("tick", "status", "said"),
    [
        ({"ago": 600.0}, "FAIL", "last ticked at "),
        ({"sensor": InstigatorStatus.STOPPED}, "WARN", "is switched off"),
        (
            {
                "status": TickStatus.FAILURE,
                "error": SerializableErrorInfo("CavesError: no such thing\n", [], "CavesError"),
            },
            "FAIL",
            "its last tick failed: CavesError: no such thing",
        ),
    ],
)
def test_a_sensor_that_is_not_well(
    caves: Caves, instance: dg.DagsterInstance, tick: dict[str, Any], status: str, said: str
) -> None:
    _ran(caves, instance, dg.DagsterRunStatus.SUCCESS)
    _tick(instance, _SENSORS[0], **tick)
    _tick(instance, _SENSORS[1])

    outcome = _status(caves, instance)

    assert outcome.status == status
    assert said in _row(outcome, f"sensor {_SENSORS[0]}")["OFFENDING_KEYS"]
    assert outcome.offending == 1


def test_a_last_run_that_failed_fails_unless_a_check_stopped_it(
    caves: Caves, at_work: dg.DagsterInstance
) -> None:
    run_id = _ran(caves, at_work, dg.DagsterRunStatus.FAILURE)
    outcome = _status(caves, at_work)
    assert outcome.status == "FAIL"
    assert outcome.offending_keys == [f"job caves_pipeline: run {run_id[:8]} failed"]

    _ran(caves, at_work, dg.DagsterRunStatus.SUCCESS, **{LANDING_ONLY_TAG: "true"})
    assert _status(caves, at_work).status == "FAIL", "landing alone does not make it good"
    at_work.add_run_tags(run_id, {FAILURE_TAG: "check"})
    assert _status(caves, at_work).status == "PASS"


def test_a_stream_that_stands_still_fails(caves: Caves, at_work: dg.DagsterInstance) -> None:
    feed = Feed()
    insert_raw(caves.warehouse, [feed.order(1), feed.order(2)])
    name = "RAW_DATA.STREAM_RAW_EVENTS"
    caves.warehouse.execute("UPDATE RAW_DATA.RAW_EVENTS_STREAM SET INGESTION_TIME = CURRENT_TIMESTAMP()")

    def waiting() -> tuple[str, int, list[str]]:
        outcome = _status(caves, at_work)
        return outcome.status, _row(outcome, f"stream {name}")["WAITING"], outcome.offending_keys

    consume_all(caves.warehouse, caves.shop)
    assert waiting() == ("PASS", 0, [])
    # The feed's rows are of July.
    insert_raw(caves.warehouse, [feed.order(3)])
    assert waiting()[0] == "FAIL"
    assert waiting()[2][0].startswith(f"stream {name}: 1 rows wait, the oldest for ")
    run_id = _ran(caves, at_work, dg.DagsterRunStatus.STARTED)
    assert waiting()[0] == "PASS", "somebody is at it"
    at_work.delete_run(run_id)
    transform(caves.warehouse, caves.shop, caves.shop.transformations[0])
    outcome = _status(caves, at_work)
    assert (outcome.status, _row(outcome, "stream STAGING.STREAM_STG_ORDERS")["WAITING"]) == ("PASS", 1)


def test_a_stream_that_is_missing_fails(caves: Caves, at_work: dg.DagsterInstance) -> None:
    caves.warehouse.execute("DROP STREAM STAGING.STREAM_STG_ORDERS")

    outcome = _status(caves, at_work)

    assert outcome.status == "FAIL"
    assert outcome.offending_keys == ["stream STAGING.STREAM_STG_ORDERS: is not there: run `caves setup`"]
