"""`task_status` in task mode: whether Snowflake's tasks are at work."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta

from caves_dagster.checks.check import Evidence, Severity
from caves_dagster.settings import CheckSettings
from caves_dagster.shop import Shop, Transformation
from caves_dagster.tasks.deployed import Deployed, deployed
from caves_dagster.tasks.graph import root_of
from caves_dagster.tasks.history import TaskRun, history
from caves_dagster.warehouse.connection import Row

_HISTORY_SECONDS = 3600


def status_row(subject: str, wrong: str = "", severity: Severity = "ERROR", **figures: object) -> Row:
    common = {"SUBJECT": subject, "CHECKED": 1, "SEVERITY": severity, "OFFENDING": int(bool(wrong))}
    said = {"OFFENDING_KEYS": wrong, "SINCE": None, "WAITING": None}
    return common | said | {name.upper(): value for name, value in figures.items()}


def snowflake_rows(settings: CheckSettings, evidence: Evidence) -> list[Row]:
    """A row a task: whether it is started, did its work the last time it ran, and is not overdue."""
    shop, warehouse = evidence.shop, evidence.warehouse
    there = deployed(warehouse, shop)
    limit = timedelta(minutes=settings.stalled_minutes)
    (now,) = warehouse.query("SELECT CURRENT_TIMESTAMP() AS NOW")
    runs = history(warehouse, shop, max(_HISTORY_SECONDS, round(2 * limit.total_seconds())))
    found = []
    for step in shop.transformations:
        own = [run for run in runs if run.task == step.task_name]
        ended = [run for run in own if run.is_over]
        # A task that had nothing to do is skipped: how it did last is told by the run before.
        last = next((run for run in ended if run.state != "SKIPPED"), None)
        wrong = _wrong(shop, step, there.get(step.task_name), last)
        severity: Severity = "ERROR"
        if not wrong and step.task_name == root_of(shop).name:
            wrong = _overdue(own, now["NOW"], limit)
            # One that has only just been started may not have had its turn.
            severity = "ERROR" if ended else "WARN"
        name = f"task {shop.raw.schema}.{step.task_name}"
        found.append(status_row(name, wrong, severity, since=last.completed if last else None))
    return found


def _wrong(shop: Shop, step: Transformation, there: Deployed | None, last: TaskRun | None) -> str:
    if there is None:
        return f"is not deployed: run `caves snowflake tasks deploy --shop {shop.name}`"
    if not there.started:
        return f"is suspended: run `caves snowflake tasks resume --shop {shop.name}`"
    if last is not None and last.failed:
        return f"its last run ended {last.state}: {last.error[:200]}"
    return ""


def _overdue(root_runs: Sequence[TaskRun], now: datetime, limit: timedelta) -> str:
    """The root is run every minute, or skipped. The runs come newest first."""
    if not root_runs:
        return "has not been run yet"
    newest = root_runs[0]
    late = now - (newest.completed or newest.scheduled)
    if late <= limit or newest.state == "EXECUTING":
        return ""
    return f"is overdue: it was last run, skipped or due {late.total_seconds() / 60:.0f} minutes ago"
