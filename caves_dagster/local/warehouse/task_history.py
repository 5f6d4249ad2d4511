"""The runs of tasks: written as they go, bounded, shown by INFORMATION_SCHEMA.TASK_HISTORY.

A run's row is SCHEDULED, EXECUTING, then SUCCEEDED, FAILED or SKIPPED. SCHEDULED are roots that EXECUTE TASK
named and tasks whose predecessors are over: their rows come with the end of the last predecessor's, so that a
graph that runs always has a row that says so. A task that did not run because of its predecessors has no row.
The rows are in the database of the task.
"""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import duckdb
import sqlglot
from sqlglot import exp

from caves_dagster.local.warehouse.errors import StatementError, syntax_error, unsupported
from caves_dagster.local.warehouse.names import HIDDEN, Name, folded, literal, quote
from caves_dagster.local.warehouse.tasks import Task

if TYPE_CHECKING:
    from caves_dagster.local.warehouse.session import Session

SKIPPED = ("0040003", "Conditional expression for task evaluated to false.")
CANCELLED = 604
_KEPT_DAYS, _KEPT_ROWS = 7, 10_000
_MOST_ROWS = 10_000
_ARGUMENTS = {
    "SCHEDULED_TIME_RANGE_START": "SCHEDULED_TIME >= ?",
    "SCHEDULED_TIME_RANGE_END": "SCHEDULED_TIME <= ?",
    "TASK_NAME": "NAME ILIKE ?",
    "ROOT_TASK_ID": "ROOT_TASK_ID = ?",
}


@dataclass(frozen=True)
class Run:
    """One run of a task. `scheduled` is when the root of its graph was due, `next_due` when it is again."""

    task: Task
    root: Task
    scheduled: datetime
    scheduled_from: str
    attempt: int = 1
    next_due: datetime | None = None
    key: str = field(default_factory=lambda: str(uuid.uuid4()))


class History:
    """Writes the runs of one database's tasks, each write a transaction of its own.

    Args:
        cursor: a cursor nobody else uses.
        database: the database.
    """

    def __init__(self, cursor: duckdb.DuckDBPyConnection, database: str) -> None:
        self._cursor = cursor
        self._table = f"{quote(database)}.{HIDDEN}.task_runs"

    def write(
        self,
        run: Run,
        state: str,
        *,
        query_id: str | None = None,
        started: datetime | None = None,
        completed: datetime | None = None,
        error: tuple[str, str] | None = None,
    ) -> None:
        """Write a run's row as it now is, in place of the one it had."""
        code, message = error or (None, None)
        task, root = run.task, run.root
        values = [
            run.key, query_id, task.name.schema, task.name.name, task.id, task.definition, task.condition,
            state, code, message, run.scheduled, started, run.next_due, completed, root.id, root.changed,
            int(run.scheduled.timestamp() * 1000), run.scheduled_from, run.attempt,
        ]  # fmt: skip
        marks = ", ".join("?" * len(values))
        self._cursor.execute(f"INSERT OR REPLACE INTO {self._table} VALUES ({marks})", values)

    @contextmanager
    def together(self) -> Iterator[None]:
        """Writes that are seen all at once."""
        self._cursor.execute("BEGIN")
        try:
            yield
            self._cursor.execute("COMMIT")
        except BaseException:
            with suppress(duckdb.Error):  # DuckDB may have dropped it already
                self._cursor.execute("ROLLBACK")
            raise

    def failures_in_a_row(self, task: Task, since: datetime) -> int:
        """How often a task failed since it last succeeded or `since`; cancelled runs don't count."""
        rows = self._cursor.execute(
            f"""SELECT count(*) FILTER (state = 'FAILED' AND error_code <> '{CANCELLED:06d}')
            FROM {self._table} WHERE task_id = $id AND query_start_time > coalesce((
                SELECT max(query_start_time) FROM {self._table} WHERE task_id = $id AND state = 'SUCCEEDED'
            ), '-infinity'::TIMESTAMPTZ) AND query_start_time >= $since""",
            {"id": task.id, "since": since},
        ).fetchall()
        return int(rows[0][0])

    def recover(self) -> list[tuple[Name, datetime, str]]:
        """After a restart: fail what was executing, forget what would have come after it.

        Returns:
            The root, time and key of the runs that EXECUTE TASK asked for and that still wait.
        """
        self._cursor.execute(
            f"UPDATE {self._table} SET state = 'FAILED', completed_time = now(), "
            f"error_code = '{CANCELLED:06d}', error_message = 'The server ended while the task ran.' "
            "WHERE state = 'EXECUTING'"
        )
        self._cursor.execute(
            f"DELETE FROM {self._table} WHERE state = 'SCHEDULED' AND task_id <> root_task_id"
        )
        rows = self._cursor.execute(
            f"SELECT schema_name, name, epoch_us(scheduled_time), key FROM {self._table} "
            "WHERE state = 'SCHEDULED' ORDER BY scheduled_time"
        ).fetchall()
        database = self._table.split(".")[0].strip('"')
        return [
            (Name(database, schema, name), datetime.fromtimestamp(micros / 1e6, UTC), str(key))
            for schema, name, micros, key in rows
        ]

    def forget(self, key: str) -> None:
        """A run that was SCHEDULED will not come."""
        self._cursor.execute(f"DELETE FROM {self._table} WHERE key = ? AND state = 'SCHEDULED'", [key])

    def prune(self) -> None:
        """Delete what is older than 7 days, and all but the latest 10,000 runs."""
        self._cursor.execute(
            f"DELETE FROM {self._table} WHERE scheduled_time < now() - INTERVAL {_KEPT_DAYS} DAY OR key IN "
            f"(SELECT key FROM {self._table} ORDER BY scheduled_time DESC OFFSET {_KEPT_ROWS})"
        )


def table_function(session: Session, tree: exp.Expr) -> exp.Expr:
    """Put the runs in the place of TABLE([db.]INFORMATION_SCHEMA.TASK_HISTORY(…)).

    Raises:
        StatementError: an argument is unknown, or RESULT_LIMIT is not from 1 to 10,000.
    """
    for node in list(tree.find_all(exp.TableFromRows)):
        parts = list(node.this.flatten()) if isinstance(node.this, exp.Dot) else [node.this]
        call = parts[-1]
        if not (isinstance(call, exp.Anonymous) and str(call.this).upper() == "TASK_HISTORY"):
            continue
        if len(parts) > 3 or (len(parts) > 1 and parts[-2].name.upper() != "INFORMATION_SCHEMA"):
            raise unsupported(f"the function {node.this.sql(dialect='snowflake').split('(')[0]}")
        database = folded(parts[0]) if len(parts) == 3 else session.database
        if database is None:
            raise StatementError(
                "Cannot perform SELECT. This session does not have a current database.", 90105
            )
        session.require_database(database)
        alias = node.args.get("alias") or exp.TableAlias(this=exp.to_identifier("TASK_HISTORY", quoted=True))
        node.replace(exp.Subquery(this=_filtered(session, database, call.expressions), alias=alias))
    return tree


def _filtered(session: Session, database: str, arguments: list[exp.Expr]) -> exp.Expr:
    query = sqlglot.parse_one(f"SELECT * FROM ({_rows_sql(session, database)}) AS r", read="duckdb")
    assert isinstance(query, exp.Select)
    limit = 100
    for argument in arguments:
        if not isinstance(argument, exp.Kwarg):
            raise syntax_error("the arguments of TASK_HISTORY are named: NAME => value.")
        key, value = argument.this.name.upper(), argument.expression
        if key == "RESULT_LIMIT":
            limit = int(value.name) if value.name.isdigit() else 0
            if not 1 <= limit <= _MOST_ROWS:
                raise syntax_error(f"RESULT_LIMIT is a number from 1 to {_MOST_ROWS}.")
        elif key == "ERROR_ONLY":
            if isinstance(value, exp.Boolean) and value.this:
                query = query.where("STATE IN ('FAILED', 'CANCELLED')", dialect="duckdb")
        elif key in _ARGUMENTS:
            condition = sqlglot.parse_one(_ARGUMENTS[key], read="duckdb")
            condition.set("expression", value.copy())
            query = query.where(condition)
        else:
            raise syntax_error(f"invalid argument {key} of TASK_HISTORY.")
    return query.order_by("SCHEDULED_TIME DESC", "QUERY_START_TIME DESC", dialect="duckdb").limit(limit)


def _rows_sql(session: Session, database: str) -> str:
    """Runs that were and are, and the next one of each root that is started."""
    sql = f"""SELECT query_id AS QUERY_ID, name AS NAME, {literal(database)} AS DATABASE_NAME,
        schema_name AS SCHEMA_NAME, query_text AS QUERY_TEXT, condition_text AS CONDITION_TEXT,
        state AS STATE,
        error_code AS ERROR_CODE, error_message AS ERROR_MESSAGE, scheduled_time AS SCHEDULED_TIME,
        query_start_time AS QUERY_START_TIME, next_scheduled_time AS NEXT_SCHEDULED_TIME,
        completed_time AS COMPLETED_TIME, root_task_id AS ROOT_TASK_ID, graph_version AS GRAPH_VERSION,
        run_id AS RUN_ID, NULL::VARCHAR AS RETURN_VALUE, scheduled_from AS SCHEDULED_FROM,
        attempt_number AS ATTEMPT_NUMBER, NULL::VARCHAR AS CONFIG
        FROM {quote(database)}.{HIDDEN}.task_runs"""
    now = datetime.now(UTC)
    for task in sorted(session.catalog.tasks.values(), key=lambda task: task.name):
        if task.name.database != database or (due := task.next_run(now)) is None:
            continue
        values = [task.name.name, database, task.name.schema, task.definition, task.condition, "SCHEDULED"]
        texts = ", ".join(literal(value) for value in values)
        sql += f""" UNION ALL SELECT NULL, {texts}, NULL, NULL, TIMESTAMPTZ {literal(due.isoformat())},
            NULL, NULL, NULL, {literal(task.id)}, {task.changed}, {int(due.timestamp() * 1000)}, NULL,
            'SCHEDULE', 1, NULL"""
    return sql
