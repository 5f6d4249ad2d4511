"""One run of a graph of tasks: its root, then what its predecessors allow, each in a session of its own."""

from __future__ import annotations

import logging
import threading
import uuid
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import replace
from datetime import UTC, datetime

from caves_dagster.local.warehouse import tasks
from caves_dagster.local.warehouse.catalog import Catalog
from caves_dagster.local.warehouse.errors import StatementError
from caves_dagster.local.warehouse.session import Session
from caves_dagster.local.warehouse.task_history import CANCELLED, SKIPPED, History, Run
from caves_dagster.local.warehouse.tasks import Task

log = logging.getLogger(__name__)

Opener = Callable[[Task], AbstractContextManager[Session]]


class GraphRun:
    """A run.

    Args:
        catalog: the databases.
        opener: opens a session for a task to run in.
        graph: the tasks, the root first, each after its predecessors.
        scheduled: when the root was due.
        source: SCHEDULE or EXECUTE TASK.
        key: the root's row in the history, where there is one already.
    """

    def __init__(
        self,
        catalog: Catalog,
        opener: Opener,
        graph: list[Task],
        scheduled: datetime,
        source: str,
        key: str | None,
    ) -> None:
        self._catalog, self._opener = catalog, opener
        self._graph, self._root = graph, graph[0]
        self._first = Run(
            self._root, self._root, scheduled, source, next_due=self._root.next_run(datetime.now(UTC))
        )
        if key is not None:
            self._first = replace(self._first, key=key)
        self._states: dict[str, str] = {}
        self._ready: dict[str, Run] = {}
        self._cancelled: StatementError | None = None
        self._session: Session | None = None
        self._lock = threading.Lock()

    def run(self) -> None:
        """Run the graph, and what failed of it again as often as the root says."""
        cursor = self._catalog.duck.cursor()
        try:
            history = History(cursor, self._root.name.database)
            self._make_ready(history, 1)
            while self._ready and self._cancelled is None:
                run = self._ready.pop(next(iter(self._ready)))
                if self._run_task(history, run) == "FAILED":
                    self._suspend_if_failing(history, run.task)
            for run in self._ready.values():
                history.forget(run.key)
            history.prune()
        finally:
            cursor.close()

    def cancel(self) -> None:
        """Stop the statement that runs and let nothing follow; the run is recorded as FAILED."""
        self._cancelled = StatementError("SQL execution canceled", CANCELLED, "57014")
        with self._lock:
            if self._session is not None:
                self._session.cancel(self._cancelled)

    def _make_ready(self, history: History, attempt: int) -> None:
        """Write down what may run now."""
        for task in self._graph:
            name = task.name.name
            if name in self._states or name in self._ready or not self._may_run(task):
                continue
            run = replace(self._first, task=task, attempt=attempt)
            if task is not self._root or attempt > 1:
                run = replace(run, key=str(uuid.uuid4()), next_due=None)
            self._ready[name] = run
            history.write(run, "SCHEDULED")

    def _may_run(self, task: Task) -> bool:
        """Suspended tasks are passed over; of the other predecessors there is one, and all succeeded."""
        if task is self._root:
            return True
        by_name = {other.name: other for other in self._graph}
        above = [by_name[name] for name in tasks.parents(task) if name in by_name]
        live = [other for other in above if other.started or other is self._root]
        succeeded = all(self._states.get(other.name.name) == "SUCCEEDED" for other in live)
        return task.started and bool(live) and succeeded

    def _run_task(self, history: History, run: Run) -> str:
        query_id, started = str(uuid.uuid4()), datetime.now(UTC)
        history.write(run, "EXECUTING", query_id=query_id, started=started)
        state = "SUCCEEDED"
        error: tuple[str, str] | None = None
        try:
            with self._opener(run.task) as session:
                if not self._execute(session, run.task, query_id):
                    state, error = "SKIPPED", SKIPPED
        except StatementError as failure:
            state, error = "FAILED", (f"{failure.errno:06d}", failure.message)
        except Exception:
            log.exception("Task %s failed inside the server.", run.task.name.dotted)
            state, error = "FAILED", ("300002", f"Processing aborted by error 300002, query id {query_id}.")
        if state == "FAILED" and error is not None:
            log.info(
                "Task %s failed with %s: %s", run.task.name.dotted, error[0], error[1].split("\n")[0][:200]
            )
        ran = state != "SKIPPED"
        with history.together():
            history.write(
                run,
                state,
                query_id=query_id if ran else None,
                started=started if ran else None,
                completed=datetime.now(UTC),
                error=error,
            )
            self._follow(history, run, state)
        return state

    def _follow(self, history: History, run: Run, state: str) -> None:
        """What comes after a run: its children, or, at the end of a failed attempt, the next one."""
        self._states[run.task.name.name] = state
        self._make_ready(history, run.attempt)
        if not self._ready and "FAILED" in self._states.values() and run.attempt <= self._root.retries:
            self._states = {name: state for name, state in self._states.items() if state != "FAILED"}
            self._make_ready(history, run.attempt + 1)

    def _execute(self, session: Session, task: Task, query_id: str) -> bool:
        """Run what a task is to run; False if its condition is not met."""
        with self._lock:
            self._session = session
            if self._cancelled is not None:
                raise self._cancelled
        seconds = task.timeout_ms / 1000
        late = StatementError(
            f"Statement reached its statement or warehouse timeout of {seconds:g} second(s) "
            "and was canceled.",
            630,
            "57014",
        )
        timer = threading.Timer(seconds, session.cancel, [late])
        timer.daemon = True
        if seconds:
            timer.start()
        try:
            if task.condition is not None and not self._is_met(session, task.condition):
                return False
            session.execute(task.definition, query_id)
            return True
        finally:
            timer.cancel()
            with self._lock:
                self._session = None

    @staticmethod
    def _is_met(session: Session, condition: str) -> bool:
        table = session.execute(f"SELECT {condition}").table
        return bool(table.column(0)[0].as_py())

    def _suspend_if_failing(self, history: History, task: Task) -> None:
        """Suspend the root once a task of its graph has failed too often in a row."""
        root = self._catalog.tasks.get(self._root.name)
        if root is None or not root.started or root.started_on is None or not root.suspend_after:
            return
        if history.failures_in_a_row(task, datetime.fromisoformat(root.started_on)) >= root.suspend_after:
            with self._opener(root) as session, session.ddl(root.name.database):
                tasks.write(session.cursor, root.suspend("SUSPENDED_DUE_TO_ERRORS"))
            log.warning("Task %s suspended: %s failed too often.", root.name.dotted, task.name.name)
