"""Tasks: what is kept of one, the graphs they form, and when a root is next due.

A task is a row of its database's `objects`, so it changes in transactions and travels with the file. The
catalogue holds all of them in memory, read again whenever DDL is committed. `task_ddl` changes them,
`scheduler` runs them, `task_history` remembers the runs.

Where tasks differ from Snowflake's:
- The tasks of a graph run one after the other, parents first; graphs run beside each other.
- SCHEDULE in seconds, minutes or hours, from 10 seconds to 8 days; no cron, no stream-triggered tasks.
- No overlapping runs, finalizers, CONFIG, integrations, tags, return values, CLONE, RETRY LAST.
- A failure that suspends the graph is FAILED in the history, not FAILED_AND_AUTO_SUSPENDED.
- A run that the server's end cut short is FAILED with error 000604, even if its COMMIT had come through. Its
  graph goes on at the next schedule. EXECUTE TASK that waited runs after the restart.
- INFORMATION_SCHEMA.TASK_HISTORY knows the tasks of its own database, 7 days and 10,000 runs of them; they
  go with their schema and database. SCHEDULED rows are shown for roots only.
"""

from __future__ import annotations

import json
import math
import uuid
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from datetime import UTC, datetime, timedelta
from graphlib import TopologicalSorter

import duckdb

from caves_dagster.local.warehouse.errors import StatementError
from caves_dagster.local.warehouse.names import HIDDEN, Name, literal, quote

_SECONDS = {"SECOND": 1, "S": 1, "MINUTE": 60, "M": 60, "HOUR": 3600, "H": 3600}
_SHORTEST, _LONGEST = 10, 8 * 24 * 3600


@dataclass(frozen=True)
class Task:
    """A task as it was last committed. Moments are ISO 8601 in UTC.

    `predecessors` are names in the task's own schema. `changed` counts the changes of a root's graph.
    """

    name: Name
    definition: str
    condition: str | None = None
    schedule: str | None = None
    warehouse: str | None = None
    predecessors: tuple[str, ...] = ()
    parameters: Mapping[str, str] = field(default_factory=dict)
    timeout_ms: int = 3_600_000
    suspend_after: int = 10
    retries: int = 0
    started: bool = False
    started_on: str | None = None
    suspended_on: str | None = None
    suspended_reason: str | None = None
    changed: int = 1
    id: str = field(default_factory=lambda: str(uuid.uuid4()))

    @property
    def is_root(self) -> bool:
        """Whether it runs by a schedule, not after others."""
        return not self.predecessors

    def options(self) -> dict[str, object]:
        """What is written of it."""
        found = asdict(self)
        del found["name"]
        return found

    def start(self) -> Task:
        """Itself, resumed now."""
        return replace(self, started=True, started_on=datetime.now(UTC).isoformat())

    def suspend(self, reason: str) -> Task:
        """Itself, suspended now."""
        now = datetime.now(UTC).isoformat()
        return replace(self, started=False, suspended_on=now, suspended_reason=reason)

    def next_run(self, after: datetime) -> datetime | None:
        """The first moment of its schedule later than `after`; None if it is suspended or has none."""
        if not self.started or self.started_on is None or self.schedule is None:
            return None
        begun, step = datetime.fromisoformat(self.started_on), interval(self.schedule)
        times = max(1, math.floor((after - begun) / step) + 1)
        return begun + times * step


def interval(schedule: str) -> timedelta:
    """How often a schedule comes round.

    Raises:
        StatementError: it is a cron expression, or not `<n> SECONDS | MINUTES | HOURS` within the bounds.
    """
    if schedule.strip().upper().startswith("USING CRON"):
        raise StatementError("Unsupported feature on the embedded warehouse: cron schedules.", 2, "0A000")
    number, _, unit = schedule.strip().upper().partition(" ")
    unit = unit.strip()
    scale = _SECONDS.get(unit) or _SECONDS.get(unit.removesuffix("S"))
    seconds = int(number) * scale if number.isdigit() and scale else 0
    if not _SHORTEST <= seconds <= _LONGEST:
        raise StatementError(
            f"SQL compilation error:\ninvalid value ['{schedule}'] for parameter 'SCHEDULE': it is a number "
            f"of SECONDS, MINUTES or HOURS, from {_SHORTEST} seconds to 8 days.",
            1008,
            "22023",
        )
    return timedelta(seconds=seconds)


def load(cursor: duckdb.DuckDBPyConnection, database: str) -> dict[Name, Task]:
    """The tasks of a database, as the cursor's transaction sees them."""
    rows = cursor.execute(
        f"SELECT schema_name, name, options FROM {quote(database)}.{HIDDEN}.objects WHERE kind = 'TASK'"
    ).fetchall()
    found = {}
    for schema, name, text in rows:
        options = json.loads(text)
        options["predecessors"] = tuple(options["predecessors"])
        found[Name(database, schema, name)] = Task(Name(database, schema, name), **options)
    return found


def write(cursor: duckdb.DuckDBPyConnection, task: Task) -> None:
    """Replace what is kept of a task, leaving its comment and creation time."""
    cursor.execute(
        f"UPDATE {quote(task.name.database)}.{HIDDEN}.objects SET options = ? "
        "WHERE kind = 'TASK' AND schema_name = ? AND name = ?",
        [json.dumps(task.options()), task.name.schema, task.name.name],
    )


def parents(task: Task) -> list[Name]:
    """The predecessors of a task."""
    return [Name(task.name.database, task.name.schema, name) for name in task.predecessors]


def roots(tasks: Mapping[Name, Task], task: Task) -> set[Name]:
    """The roots of the graph a task is in: itself, or the tasks without predecessors above it."""
    if task.is_root:
        return {task.name}
    return {name for name in ancestors(tasks, task) if tasks[name].is_root}


def ancestors(tasks: Mapping[Name, Task], task: Task) -> set[Name]:
    """Every task above one; itself among them if the graph goes in a circle."""
    found, waiting = set[Name](), [task]
    while waiting:
        for name in parents(waiting.pop()):
            if name in tasks and name not in found:
                found.add(name)
                waiting.append(tasks[name])
    return found


def children(tasks: Mapping[Name, Task], name: Name) -> list[Task]:
    """The tasks that name this one as a predecessor."""
    return [task for task in tasks.values() if name in parents(task)]


def graph(tasks: Mapping[Name, Task], root: Task) -> list[Task]:
    """A root and everything below it, each after all of its predecessors."""
    below, waiting = {root.name: root}, [root]
    while waiting:
        for child in children(tasks, waiting.pop().name):
            if child.name not in below:
                below[child.name] = child
                waiting.append(child)
    sorter = TopologicalSorter(
        {name: [above for above in parents(task) if above in below] for name, task in sorted(below.items())}
    )
    return [below[name] for name in sorter.static_order()]


def show_sql(databases: set[str]) -> str:
    """The rows of SHOW TASKS, as DuckDB SQL."""
    parts = []
    for database in sorted(databases):
        full = f"list_transform((options -> 'predecessors')::VARCHAR[], lambda p: {literal(database)} || '.' "
        above = f"to_json({full} || schema_name || '.' || p))::VARCHAR"
        parts.append(
            f"""SELECT created_on AS "created_on", name AS "name", options ->> 'id' AS "id",
                {literal(database)} AS "database_name", schema_name AS "schema_name",
                'SYSADMIN' AS "owner", coalesce(comment, '') AS "comment",
                options ->> 'warehouse' AS "warehouse", options ->> 'schedule' AS "schedule",
                {above} AS "predecessors",
                CASE WHEN (options ->> 'started')::BOOLEAN THEN 'started' ELSE 'suspended' END AS "state",
                options ->> 'definition' AS "definition", options ->> 'condition' AS "condition",
                'false' AS "allow_overlapping_execution", 'null' AS "error_integration",
                (options ->> 'started_on')::TIMESTAMPTZ AS "last_committed_on",
                (options ->> 'suspended_on')::TIMESTAMPTZ AS "last_suspended_on",
                'ROLE' AS "owner_role_type", NULL::VARCHAR AS "config", NULL::VARCHAR AS "budget",
                '{{"Predecessors":' || {above} || '}}' AS "task_relations",
                options ->> 'suspended_reason' AS "last_suspended_reason"
            FROM {quote(database)}.{HIDDEN}.objects WHERE kind = 'TASK'"""
        )
    return " UNION ALL ".join(parts)
