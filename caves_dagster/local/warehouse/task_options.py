"""The options of a task: what SET, UNSET and CREATE make of them."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from caves_dagster.local.warehouse import tasks
from caves_dagster.local.warehouse.errors import StatementError, unsupported
from caves_dagster.local.warehouse.tasks import Task

_NUMBERS = {
    "USER_TASK_TIMEOUT_MS": ("timeout_ms", 0, 604_800_000),
    "SUSPEND_TASK_AFTER_NUM_FAILURES": ("suspend_after", 0, 10_000),
    "TASK_AUTO_RETRY_ATTEMPTS": ("retries", 0, 30),
}
_MEANINGLESS = {"USER_TASK_MANAGED_INITIAL_WAREHOUSE_SIZE", "USER_TASK_MINIMUM_TRIGGER_INTERVAL_IN_SECONDS"}
_REFUSED = {"CONFIG", "FINALIZE", "ERROR_INTEGRATION", "SUCCESS_INTEGRATION", "TARGET_COMPLETION_INTERVAL"}


def read(options: dict[str, str]) -> tuple[dict[str, Any], str | None]:
    """The fields of a task that options set, and its comment; what is no option is a session parameter."""
    fields: dict[str, Any] = {}
    parameters: dict[str, str] = {}
    for key, value in options.items():
        if key in _REFUSED:
            raise unsupported(f"{key} of a task")
        if key in _NUMBERS:
            field, low, high = _NUMBERS[key]
            if not value.isdigit() or not low <= int(value) <= high:
                raise StatementError(
                    f"SQL compilation error:\ninvalid value [{value}] for parameter '{key}': it is a number "
                    f"from {low} to {high}.",
                    1008,
                    "22023",
                )
            fields[field] = int(value)
        elif key == "SCHEDULE":
            tasks.interval(value)
            fields["schedule"] = value
        elif key == "WAREHOUSE":
            fields["warehouse"] = value.upper()
        elif key == "ALLOW_OVERLAPPING_EXECUTION" or key == "OVERLAP_POLICY":
            if value.upper() not in ("FALSE", "NO_OVERLAP"):
                raise unsupported("overlapping runs of a task")
        elif key == "TIMEZONE" and value.upper() not in ("UTC", "ETC/UTC"):
            raise unsupported("a time zone other than UTC")
        elif key not in ("COMMENT", *_MEANINGLESS):
            parameters[key] = value.lower()
    if parameters:
        fields["parameters"] = parameters
    return fields, options.get("COMMENT")


def apply(task: Task, fields: dict[str, Any]) -> Task:
    """A task with these fields; session parameters are added to those it has."""
    parameters = {**task.parameters, **fields.get("parameters", {})}
    return replace(task, **{**fields, "parameters": parameters})


def unset(task: Task, keys: list[str]) -> tuple[Task, bool]:
    """A task without these options, and whether its comment is one of them."""
    plain = Task(task.name, "")
    names = {"SCHEDULE": "schedule", "WAREHOUSE": "warehouse"} | {k: v[0] for k, v in _NUMBERS.items()}
    parameters = {key: value for key, value in task.parameters.items() if key not in keys}
    fields = {names[key]: getattr(plain, names[key]) for key in keys if key in names}
    return replace(task, **fields, parameters=parameters), "COMMENT" in keys
