"""What runs say of their jobs. A run's own log is opened where it failed, or covered a part of its job."""

from __future__ import annotations

from collections.abc import Iterable

import dagster as dg
from dagster._core.events import JobFailureData
from dagster_shared.error import SerializableErrorInfo

from caves_dagster import errors
from caves_dagster.alerts.events import events_after
from caves_dagster.alerts.incidents import Fact, Report
from caves_dagster.alerts.messages import shortened
from caves_dagster.runs import CHECK_FAILED, is_of

_HISTORY = 20
_STARTING = "starting"
"""Part of a job that failed before its first step, and is well once any step has begun."""
_ENDS = [dg.DagsterRunStatus.SUCCESS, dg.DagsterRunStatus.FAILURE]


class Runs:
    """Runs of these jobs. What was cancelled says nothing."""

    def __init__(self, jobs: Iterable[str]) -> None:
        self.jobs = frozenset(jobs)

    def known(self, key: str) -> bool:
        return key in self.jobs

    def failing(self, instance: dg.DagsterInstance) -> list[Fact]:
        facts = []
        for job in sorted(self.jobs):
            filters = dg.RunsFilter(job_name=job, statuses=_ENDS)
            records = instance.get_run_records(filters, limit=_HISTORY)
            facts += [_run_fact(instance, record) for record in reversed(records)]
        return facts

    def after(self, instance: dg.DagsterInstance, position: int) -> tuple[list[Fact], int]:
        types = (dg.DagsterEventType.RUN_FAILURE, dg.DagsterEventType.RUN_SUCCESS)
        events, position = events_after(instance, position, types)
        run_ids = [entry.run_id for _, entry in events]
        found = instance.get_run_records(dg.RunsFilter(run_ids=run_ids)) if run_ids else []
        records = {record.dagster_run.run_id: record for record in found}
        ended = (records[run_id] for run_id in run_ids if run_id in records)
        return [_run_fact(instance, one) for one in ended if one.dagster_run.job_name in self.jobs], position


def _run_fact(instance: dg.DagsterInstance, record: dg.RunRecord) -> Fact:
    run = record.dagster_run
    at = record.end_time or record.update_timestamp.timestamp()
    report = Report(run.job_name, path=f"/runs/{run.run_id}")
    whole = run.asset_selection is None and run.step_keys_to_execute is None
    if run.status is dg.DagsterRunStatus.SUCCESS and whole:
        return Fact(run.job_name, at, report)
    steps = _Steps(instance, run.run_id)
    if run.status is dg.DagsterRunStatus.SUCCESS or steps.stopped_by_check:
        return Fact(run.job_name, at, report, mended=steps.well)
    report = Report(run.job_name, shortened(steps.details), report.path)
    return Fact(run.job_name, at, report, broken=steps.broken, mended=steps.well)


class _Steps:
    """What a run's log says of its steps."""

    def __init__(self, instance: dg.DagsterInstance, run_id: str) -> None:
        kinds = dg.DagsterEventType
        log = instance.all_logs(
            run_id, {kinds.STEP_START, kinds.STEP_SUCCESS, kinds.STEP_FAILURE, kinds.RUN_FAILURE}
        )
        steps: dict[dg.DagsterEventType, set[str]] = {kind: set() for kind in kinds}
        said: list[str] = []
        stopped: set[str] = set()
        for entry in log:
            event = entry.dagster_event
            if event is None:
                continue
            steps[event.event_type].add(event.step_key or "")
            if event.event_type is kinds.STEP_FAILURE and is_of(event.step_failure_data.error, CHECK_FAILED):
                stopped.add(event.step_key or "")
            elif event.event_type is kinds.STEP_FAILURE:
                error = explanation(event.step_failure_data.error)
                said.append(f"step {event.step_key}: {error or event.message}")
            elif event.event_type is kinds.RUN_FAILURE and not said:
                data = event.event_specific_data
                error = explanation(data.error) if isinstance(data, JobFailureData) else ""
                said.append(error or event.message or "The run failed.")
        # That a check failed is told by whoever looks at checks.
        self.stopped_by_check = bool(stopped) and stopped == steps[kinds.STEP_FAILURE]
        started = steps[kinds.STEP_START] | steps[kinds.STEP_FAILURE]
        self.well = frozenset(steps[kinds.STEP_SUCCESS] | ({_STARTING} if started else set()))
        unfinished = frozenset(started - steps[kinds.STEP_SUCCESS])
        self.broken = unfinished or frozenset() if started else frozenset({_STARTING})
        if not steps[kinds.STEP_FAILURE] and unfinished:
            said.append(f"It was in step {', '.join(sorted(unfinished))}.")
        self.details = tuple(said)


def explanation(error: SerializableErrorInfo | None) -> str:
    """What this project raised, which has the remedy; else the innermost cause. Dagster wraps both."""
    own = f"{errors.__name__}."
    while error is not None and not error.message.startswith(own) and error.cause is not None:
        error = error.cause
    return "" if error is None else error.message.strip().removeprefix(own)
