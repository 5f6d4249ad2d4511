"""What ended well or not, from Dagster's own event log: runs, checks, freshness.

A watch gives what fails now (for a first look), and what has happened after a position in the log. Both read
the log's index of runs and assets only; a run's own log is opened for runs that failed or covered a part of
their job.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Protocol

import dagster as dg
from dagster._core.definitions.asset_checks.asset_check_evaluation import AssetCheckEvaluation
from dagster._core.definitions.freshness import FreshnessState
from dagster._core.events import JobFailureData
from dagster._core.storage.asset_check_execution_record import (
    COMPLETED_ASSET_CHECK_EXECUTION_RECORD_STATUSES,
    AssetCheckExecutionRecord,
    AssetCheckExecutionRecordStatus,
)
from dagster_shared.error import SerializableErrorInfo

from caves_dagster import errors
from caves_dagster.alerts.incidents import Fact, Level, Report
from caves_dagster.shop import Shop

_MOST_EVENTS = 500
_HISTORY = 20
_STARTING = "starting"
"""Part of a job that failed before its first step, and is well once any step has begun."""
_ENDS = [dg.DagsterRunStatus.SUCCESS, dg.DagsterRunStatus.FAILURE]
_Events = list[tuple[int, dg.EventLogEntry]]


class Watch(Protocol):
    """What one alert sensor looks at."""

    def known(self, key: str) -> bool:
        """Whether an incident of this key can still become well."""

    def failing(self, instance: dg.DagsterInstance) -> list[Fact]:
        """The latest facts of everything, in order, so that what fails now can be told from them."""

    def after(self, instance: dg.DagsterInstance, position: int) -> tuple[list[Fact], int]:
        """The facts after a position in the event log, in order, and the position behind them."""


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
        events, position = _events(instance, position, types)
        run_ids = [entry.run_id for _, entry in events]
        found = instance.get_run_records(dg.RunsFilter(run_ids=run_ids)) if run_ids else []
        records = {record.dagster_run.run_id: record for record in found}
        ended = (records[run_id] for run_id in run_ids if run_id in records)
        return [_run_fact(instance, one) for one in ended if one.dagster_run.job_name in self.jobs], position


class Checks:
    """These checks, and the freshness of the shops' tables.

    Args:
        least: failures of a lower severity count as well.
    """

    def __init__(self, checks: Iterable[dg.AssetCheckKey], shops: Sequence[Shop], least: Level) -> None:
        self.checks = {_check_subject(key): key for key in checks}
        self.shop_of = {dg.AssetKey(table.key): shop for shop in shops for table in shop.tables}
        self.least = least

    def known(self, key: str) -> bool:
        return key in self.checks or key in {_freshness_key(shop) for shop in self.shop_of.values()}

    def failing(self, instance: dg.DagsterInstance) -> list[Fact]:
        storage = instance.event_log_storage
        done = COMPLETED_ASSET_CHECK_EXECUTION_RECORD_STATUSES
        facts = []
        for key in self.checks.values():
            history = storage.get_asset_check_execution_history(key, limit=1, status=done)
            if history and history[0].status is AssetCheckExecutionRecordStatus.FAILED:
                history = storage.get_asset_check_execution_history(key, limit=_HISTORY, status=done)
            facts += [fact for record in reversed(history) if (fact := self._of_record(record))]
        for asset, record in storage.get_freshness_state_records(list(self.shop_of)).items():
            facts.append(self._freshness(asset, record.freshness_state, record.updated_at.timestamp()))
        return facts

    def after(self, instance: dg.DagsterInstance, position: int) -> tuple[list[Fact], int]:
        types = (dg.DagsterEventType.ASSET_CHECK_EVALUATION, dg.DagsterEventType.FRESHNESS_STATE_CHANGE)
        events, position = _events(instance, position, types)
        found = []
        for _, entry in events:
            event = entry.dagster_event
            if event is None:
                continue
            if event.event_type is dg.DagsterEventType.FRESHNESS_STATE_CHANGE:
                change = event.asset_freshness_state_change_data
                if change.key in self.shop_of:
                    found.append(self._freshness(change.key, change.new_state, change.state_change_timestamp))
            else:
                evaluation = event.asset_check_evaluation_data
                if _check_subject(evaluation.asset_check_key) in self.checks:
                    found.append(self._check(evaluation, entry.timestamp))
        return found, position

    def _of_record(self, record: AssetCheckExecutionRecord) -> Fact | None:
        if record.evaluation is None or record.event is None:
            return None
        return self._check(record.evaluation, record.event.timestamp)

    def _check(self, evaluation: AssetCheckEvaluation, at: float) -> Fact:
        key = evaluation.asset_check_key
        subject = _check_subject(key)
        page = f"/assets/{'/'.join(key.asset_key.path)}?view=checks&checkDetail={key.name}"
        level: Level = "WARN" if evaluation.severity is dg.AssetCheckSeverity.WARN else "ERROR"
        if evaluation.passed or not self._counts(level):
            return Fact(subject, at, Report(subject, path=page))
        report = Report(subject, _figures(evaluation), page)
        return Fact(subject, at, report, broken=frozenset({key.name}), level=level)

    def _freshness(self, asset: dg.AssetKey, state: FreshnessState, at: float) -> Fact:
        shop, page = self.shop_of[asset], f"/assets/{'/'.join(asset.path)}"
        key, table = _freshness_key(shop), asset.to_user_string()
        level: Level = "WARN" if state is FreshnessState.WARN else "ERROR"
        subject = f"freshness of {shop.title}"
        if state not in (FreshnessState.WARN, FreshnessState.FAIL) or not self._counts(level):
            return Fact(key, at, Report(subject, path=page), mended=frozenset({table}))
        details = (f"{table} is stale: nothing has come, and nobody has seen that there is nothing to come.",)
        return Fact(
            key,
            at,
            Report(subject, details, page),
            broken=frozenset({table}),
            mended=frozenset(),
            level=level,
        )

    def _counts(self, level: Level) -> bool:
        return level == "ERROR" or self.least == "WARN"


def _events(
    instance: dg.DagsterInstance, position: int, types: Sequence[dg.DagsterEventType]
) -> tuple[_Events, int]:
    """Events of these types after a position, in order; a part of them where there are very many."""
    storage = instance.event_log_storage
    last = storage.get_maximum_record_id() or 0
    # Below the position only after somebody has deleted the newest runs: SQLite gives their numbers again.
    position = min(position, last)
    found: _Events = []
    for kind in types:
        page = storage.get_logs_for_all_runs_by_log_id(position, kind, _MOST_EVENTS)
        if len(page) == _MOST_EVENTS:
            last = min(last, max(page))
        found += page.items()
    events = sorted((one for one in found if one[0] <= last), key=lambda one: one[0])
    return events, max(last, position)


def _run_fact(instance: dg.DagsterInstance, record: dg.RunRecord) -> Fact:
    run = record.dagster_run
    at = record.end_time or record.update_timestamp.timestamp()
    report = Report(run.job_name, path=f"/runs/{run.run_id}")
    whole = run.asset_selection is None and run.step_keys_to_execute is None
    if run.status is dg.DagsterRunStatus.SUCCESS and whole:
        return Fact(run.job_name, at, report)
    steps = _Steps(instance, run.run_id)
    if run.status is dg.DagsterRunStatus.SUCCESS:
        return Fact(run.job_name, at, report, mended=steps.well)
    report = Report(run.job_name, steps.details, report.path)
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
        for entry in log:
            event = entry.dagster_event
            if event is None:
                continue
            steps[event.event_type].add(event.step_key or "")
            if event.event_type is kinds.STEP_FAILURE:
                error = _explanation(event.step_failure_data.error)
                said.append(f"step {event.step_key}: {error or event.message}")
            elif event.event_type is kinds.RUN_FAILURE and not said:
                data = event.event_specific_data
                error = _explanation(data.error) if isinstance(data, JobFailureData) else ""
                said.append(error or event.message or "The run failed.")
        started = steps[kinds.STEP_START] | steps[kinds.STEP_FAILURE]
        self.well = frozenset(steps[kinds.STEP_SUCCESS] | ({_STARTING} if started else set()))
        unfinished = frozenset(started - steps[kinds.STEP_SUCCESS])
        self.broken = unfinished or frozenset() if started else frozenset({_STARTING})
        if not steps[kinds.STEP_FAILURE] and unfinished:
            said.append(f"It was in step {', '.join(sorted(unfinished))}.")
        self.details = tuple(said)


def _explanation(error: SerializableErrorInfo | None) -> str:
    """What this project raised, which has the remedy; else the innermost cause. Dagster wraps both."""
    own = f"{errors.__name__}."
    while error is not None and not error.message.startswith(own) and error.cause is not None:
        error = error.cause
    return "" if error is None else error.message.strip().removeprefix(own)


def _figures(evaluation: AssetCheckEvaluation) -> tuple[str, ...]:
    """A check's figures and offending keys, whatever names its metadata has."""
    values = {name: value.value for name, value in evaluation.metadata.items()}
    keys = values.pop("offending_keys", None) or evaluation.description
    short = [f"{name}: {value:,}" for name, value in values.items() if isinstance(value, int | float)]
    long = [f"{name}:\n{value}" for name, value in values.items() if isinstance(value, str)]
    return tuple([*short, *([f"offending keys:\n{keys}"] if keys else []), *long])


def _check_subject(key: dg.AssetCheckKey) -> str:
    return f"{key.name} on {key.asset_key.to_user_string()}"


def _freshness_key(shop: Shop) -> str:
    return f"freshness of {shop.name}"
