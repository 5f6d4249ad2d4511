"""`task_status`: whether what should be at work is: sensors, runs, streams, tasks in task mode."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from caves_dagster.checks.check import Evidence
from caves_dagster.checks.snowflake_tasks import snowflake_rows, status_row
from caves_dagster.jobs import pipeline_name, rebuild_name
from caves_dagster.run_tags import LANDING_ONLY_TAG
from caves_dagster.runs import failure_of
from caves_dagster.settings import CheckSettings
from caves_dagster.shop import Shop
from caves_dagster.tasks.deployed import task_mode
from caves_dagster.warehouse.connection import Row
from caves_dagster.warehouse.streams import streams

if TYPE_CHECKING:
    import dagster as dg

_WAITING = """
    SELECT
        '{0}' AS NAME,
        COUNT(*) AS WAITING,
        MIN({1})::TIMESTAMP_LTZ AS SINCE,
        COALESCE(DATEDIFF('second', MIN({1})::TIMESTAMP_LTZ, CURRENT_TIMESTAMP()), 0) AS AGE
    FROM {0}
"""
_RUNS_LOOKED_AT = 20
_START = "start it with `caves up` or `dagster dev`"


def task_rows(settings: CheckSettings, evidence: Evidence) -> Sequence[Row]:
    """A row a sensor, one for the last run of the job, one a stream; in task mode one a task."""
    mode = task_mode(evidence.warehouse, evidence.shop)
    found = list(_stream_rows(settings, evidence))
    if mode:
        found += snowflake_rows(settings, evidence)
    if evidence.instance is None:
        return [status_row("Dagster", f"has no state here: {_START}", "WARN"), *found]
    shop, instance = evidence.shop, evidence.instance
    try:
        ticking = [
            _sensor_row(settings, instance, f"{shop.name}_{kind}_sensor") for kind in ("kafka", "stream")
        ]
        return [*ticking, _run_row(instance, shop, bool(mode)), *found]
    except Exception as error:  # noqa: BLE001 - whatever its storage raises, the streams can be told of
        return [status_row("Dagster", f"its state cannot be read ({type(error).__name__})"), *found]


def _sensor_row(settings: CheckSettings, instance: dg.DagsterInstance, name: str) -> Row:
    """Whether the sensor ticks, of whichever code location it was seen last."""
    from dagster._core.scheduler.instigation import InstigatorStatus, TickStatus

    states = [state for state in instance.all_instigator_state() if state.instigator_name == name]
    ticks = [
        (tick, state)
        for state in states
        for tick in instance.get_ticks(state.instigator_origin_id, state.selector_id, limit=1)
    ]
    if not ticks:
        return status_row(f"sensor {name}", f"has never ticked: {_START}", "WARN")
    tick, state = max(ticks, key=lambda one: one[0].timestamp)
    at = datetime.fromtimestamp(tick.end_timestamp or tick.timestamp, UTC)
    if state.status is InstigatorStatus.STOPPED:
        return status_row(f"sensor {name}", "is switched off", "WARN", since=at)
    if datetime.now(UTC) - at > timedelta(minutes=settings.stalled_minutes):
        return status_row(f"sensor {name}", f"last ticked at {at:%Y-%m-%d %H:%M:%S} UTC: {_START}", since=at)
    if tick.status is TickStatus.FAILURE:
        error = tick.error.message.strip().splitlines()[0][:200] if tick.error else "no reason given"
        return status_row(f"sensor {name}", f"its last tick failed: {error}", since=at)
    return status_row(f"sensor {name}", since=at)


def _run_row(instance: dg.DagsterInstance, shop: Shop, landing_counts: bool) -> Row:
    """How the last run that ended did; one that a check stopped did its work."""
    import dagster as dg

    name = pipeline_name(shop)
    ended = [dg.DagsterRunStatus.SUCCESS, dg.DagsterRunStatus.FAILURE]
    latest = instance.get_run_records(dg.RunsFilter(job_name=name, statuses=ended), limit=_RUNS_LOOKED_AT)
    # Landing goes on alone where the rest of the job fails; in task mode it always does.
    records = [one for one in latest if landing_counts or LANDING_ONLY_TAG not in one.dagster_run.tags]
    if not records:
        first = instance.get_run_records(dg.RunsFilter(job_name=name), limit=1)
        return status_row(f"job {name}", "" if first else "has never run", "WARN")
    run, ended_at = records[0].dagster_run, records[0].end_time
    since = datetime.fromtimestamp(ended_at, UTC) if ended_at else None
    failed = run.status is dg.DagsterRunStatus.FAILURE and failure_of(instance, run) != "check"
    return status_row(f"job {name}", f"run {run.run_id[:8]} failed" if failed else "", since=since)


def _is_at_work(evidence: Evidence) -> bool:
    """Whether a run or a rebuild is under way that will take what waits, however long it takes over it."""
    import dagster as dg

    if evidence.instance is None:
        return False
    jobs = (pipeline_name(evidence.shop), rebuild_name(evidence.shop))
    statuses = [dg.DagsterRunStatus.STARTING, dg.DagsterRunStatus.STARTED]
    return any(
        evidence.instance.get_runs_count(dg.RunsFilter(job_name=job, statuses=statuses)) for job in jobs
    )


def _stream_rows(settings: CheckSettings, evidence: Evidence) -> list[Row]:
    """Whether each stream can be read, and how long its oldest row has been waiting."""
    busy = _is_at_work(evidence)
    stale = streams(evidence.warehouse)
    steps = [(step, stale.get(step.stream.full_name)) for step in evidence.shop.transformations]
    readable = [step for step, is_stale in steps if is_stale is False]
    waiting = {}
    if readable:
        # Reading a stream outside of DML does not consume it.
        sql = " UNION ALL ".join(
            _WAITING.format(step.stream.full_name, step.waits_since) for step in readable
        )
        waiting = {row["NAME"]: row for row in evidence.warehouse.query(sql)}
    found = []
    for step, is_stale in steps:
        name = step.stream.full_name
        if is_stale is None:
            found.append(status_row(f"stream {name}", "is not there: run `caves setup`"))
        elif is_stale:
            found.append(status_row(f"stream {name}", "is stale: run `caves rebuild`"))
        else:
            row = waiting[name]
            late = row["AGE"] > settings.stalled_minutes * 60 and not busy
            wrong = (
                f"{row['WAITING']} rows wait, the oldest for {row['AGE'] / 60:.0f} minutes" if late else ""
            )
            found.append(status_row(f"stream {name}", wrong, since=row["SINCE"], waiting=row["WAITING"]))
    return found
