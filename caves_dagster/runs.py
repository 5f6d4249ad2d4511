"""A job's latest runs as facts for `decision.py`, and what follows for runs whose process is gone."""

from __future__ import annotations

import json
from typing import cast, get_args

import dagster as dg
from dagster._core.errors import DagsterAssetCheckFailedError
from dagster._core.storage.tags import GRPC_INFO_TAG
from dagster_shared.error import SerializableErrorInfo

from caves_dagster.decision import START_GRACE, Failure, Gate, RunFacts, gate
from caves_dagster.errors import KafkaUnreachable, WarehouseUnreachable
from caves_dagster.run_process import is_gone
from caves_dagster.run_tags import FAILURE_TAG, HEARTBEAT_TAG, LANDED_TAG, LANDING_ONLY_TAG, PROCESS_TAG

_RUNS_LOOKED_AT = 10
_ASK_SECONDS = 5
_AWAY = {KafkaUnreachable.__name__, WarehouseUnreachable.__name__}
CHECK_FAILED = {DagsterAssetCheckFailedError.__name__}
_STARTS = {dg.DagsterRunStatus.STARTING, dg.DagsterRunStatus.STARTED}


def look_at_runs(instance: dg.DagsterInstance, job_name: str, now: float) -> Gate:
    """What the job's latest runs say; those whose process is gone are reported failed."""
    records = instance.get_run_records(dg.RunsFilter(job_name=job_name), limit=_RUNS_LOOKED_AT)
    verdict = gate([_facts(instance, record, now) for record in records], now)
    for run_id in verdict.dead:
        run = instance.get_run_by_id(run_id)
        if run is not None and not run.is_finished:
            gone = is_gone(run.tags.get(PROCESS_TAG))
            how = "it ended without a word" if gone else "its heartbeat stopped"
            instance.report_run_failed(run, f"The run's process is gone: {how}.")
    return verdict


def _facts(instance: dg.DagsterInstance, record: dg.RunRecord, now: float) -> RunFacts:
    run, changed_at = record.dagster_run, record.end_time or record.update_timestamp.timestamp()
    heartbeat = run.tags.get(HEARTBEAT_TAG)
    # Only what is under way is looked for, and what should have begun to beat long ago.
    gone = not run.is_finished and is_gone(run.tags.get(PROCESS_TAG))
    if run.status in _STARTS and heartbeat is None and now - changed_at > START_GRACE:
        gone = _never_began(instance, run)
    return RunFacts(
        run_id=run.run_id,
        status=run.status.value,
        changed_at=changed_at,
        heartbeat=float(heartbeat) if heartbeat else None,
        landed=LANDED_TAG in run.tags,
        landing_only=LANDING_ONLY_TAG in run.tags,
        gone=gone,
        failure=failure_of(instance, run) if run.status is dg.DagsterRunStatus.FAILURE else "own",
    )


def _never_began(instance: dg.DagsterInstance, run: dg.DagsterRun) -> bool:
    """Whether the code server that should have started the run's process is gone, or knows nothing of it.

    So it is when the daemon was killed between noting that it launches a run and launching it. Killed even
    before it noted which code server was to do so, it leaves a run that nobody starts; other launchers than
    the one that asks a code server never note one.
    """
    where = json.loads(run.tags.get(GRPC_INFO_TAG) or "{}")
    if not where:
        # By its name: other launchers need not be installed here.
        launcher = instance.get_ref().run_launcher_data
        asks_code_server = launcher is not None and launcher.class_name == "DefaultRunLauncher"
        return asks_code_server and run.status is dg.DagsterRunStatus.STARTING
    from dagster._core.errors import DagsterUserCodeUnreachableError
    from dagster._grpc.client import DagsterGrpcClient
    from dagster._grpc.types import CanCancelExecutionRequest, CanCancelExecutionResult
    from dagster._serdes import deserialize_value

    client = DagsterGrpcClient(
        port=where.get("port"),
        socket=where.get("socket"),
        host=where.get("host") or "localhost",
        use_ssl=bool(where.get("use_ssl")),
    )
    try:
        answer = client.can_cancel_execution(CanCancelExecutionRequest(run_id=run.run_id), _ASK_SECONDS)
    except DagsterUserCodeUnreachableError:
        return True
    return not deserialize_value(answer, CanCancelExecutionResult).can_cancel


def failure_of(instance: dg.DagsterInstance, run: dg.DagsterRun) -> Failure:
    """Why a failed run failed; looked up once, and then its tag, which the UI shows too."""
    known = run.tags.get(FAILURE_TAG)
    if known in get_args(Failure):
        return cast(Failure, known)
    found = _failure_of_steps(instance, run.run_id)
    instance.add_run_tags(run.run_id, {FAILURE_TAG: found})
    return found


def _failure_of_steps(instance: dg.DagsterInstance, run_id: str) -> Failure:
    """A run that was killed has no step that says why it failed."""
    errors = [
        event.dagster_event.step_failure_data.error
        for event in instance.all_logs(run_id, of_type=dg.DagsterEventType.STEP_FAILURE)
        if event.dagster_event is not None
    ]
    if not errors:
        return "killed"
    if all(is_of(error, CHECK_FAILED) for error in errors):
        return "check"
    return "away" if all(is_of(error, _AWAY) for error in errors) else "own"


def is_of(error: SerializableErrorInfo | None, classes: set[str]) -> bool:
    """Whether somewhere in the chain of causes there is one of these."""
    while error is not None:
        if error.cls_name in classes:
            return True
        error = error.cause
    return False
