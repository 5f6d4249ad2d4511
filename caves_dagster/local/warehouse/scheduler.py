"""When tasks run: a thread that waits for the next one, and a thread for each graph that is running.

    resumed root ── its schedule ──▶ due ─┐
    any root ──── EXECUTE TASK ──▶ waits ─┴─▶ running ──▶ none      one run of a graph at a time

A root that is due while its graph still runs is passed over; EXECUTE TASK waits for the end of the run. The
thread sleeps until the next moment of any schedule, for good where no task is resumed.
"""

from __future__ import annotations

import logging
import threading
from datetime import UTC, datetime
from typing import NamedTuple

from caves_dagster.local.warehouse import tasks
from caves_dagster.local.warehouse.catalog import Catalog
from caves_dagster.local.warehouse.errors import StatementError, not_found
from caves_dagster.local.warehouse.names import Name
from caves_dagster.local.warehouse.task_history import History, Run
from caves_dagster.local.warehouse.task_run import GraphRun, Opener
from caves_dagster.local.warehouse.tasks import Task

log = logging.getLogger(__name__)


class _Waiting(NamedTuple):
    """A run that was asked for by EXECUTE TASK; `key` is its row in the history."""

    root: Name
    since: datetime
    key: str


class Scheduler:
    """Runs the tasks of a catalogue.

    Args:
        catalog: the databases.
        opener: opens a session for a task to run in.
    """

    def __init__(self, catalog: Catalog, opener: Opener) -> None:
        self._catalog = catalog
        self._opener = opener
        self._wake = threading.Condition()
        self._waiting: list[_Waiting] = []
        self._running: dict[Name, tuple[GraphRun, threading.Thread]] = {}
        self._due: dict[Name, tuple[str | None, datetime]] = {}
        self._stopping = False
        self._thread = threading.Thread(target=self._watch, name="scheduler", daemon=True)

    def start(self) -> None:
        """Take up what an earlier server left, and begin."""
        for database in self._catalog.names():
            cursor = self._catalog.duck.cursor()
            self._waiting += [_Waiting(*left) for left in History(cursor, database).recover()]
            cursor.close()
        self._catalog.on_tasks_changed = self._changed
        self._thread.start()

    def execute(self, name: Name) -> None:
        """EXECUTE TASK: run a graph once, now or after the run it is in. The history shows it from here on.

        Raises:
            StatementError: there is no such task, or it runs after others.
        """
        task = self._catalog.tasks.get(name)
        if task is None:
            raise not_found("Task", name.dotted)
        if not task.is_root:
            raise StatementError(
                f"Cannot execute task {name.dotted}: it is not a root task, it runs after its predecessors.",
                91089,
                "22000",
            )
        run = Run(task, task, datetime.now(UTC), "EXECUTE TASK")
        cursor = self._catalog.duck.cursor()
        try:
            History(cursor, name.database).write(run, "SCHEDULED")
        finally:
            cursor.close()
        with self._wake:
            self._waiting.append(_Waiting(name, run.scheduled, run.key))
            self._wake.notify()

    def stop(self) -> None:
        """Cancel what is running and end; what waits is in the history."""
        self._catalog.on_tasks_changed = lambda: None
        with self._wake:
            self._stopping = True
            running = list(self._running.values())
            self._wake.notify()
        self._thread.join()
        for run, thread in running:
            while thread.is_alive():  # an interrupt that comes between two statements is lost
                run.cancel()
                thread.join(0.1)

    def _changed(self) -> None:
        with self._wake:
            self._wake.notify()

    def _watch(self) -> None:
        with self._wake:
            while not self._stopping:
                now = datetime.now(UTC)
                try:
                    self._begin_waiting()
                    self._begin_due(now)
                except Exception:  # a defect here must not end all the tasks there are
                    log.exception("The scheduler failed to begin a task.")
                moments = [due for _, due in self._due.values()]
                seconds = (min(moments) - datetime.now(UTC)).total_seconds() if moments else None
                self._wake.wait(None if seconds is None else max(0.0, seconds))

    def _begin_waiting(self) -> None:
        left: list[_Waiting] = []
        for waiting in self._waiting:
            task = self._catalog.tasks.get(waiting.root)
            if task is None:
                self._forget(waiting)  # dropped since
            elif waiting.root in self._running:
                left.append(waiting)
            else:
                self._begin(task, waiting.since, "EXECUTE TASK", waiting.key)
        self._waiting = left

    def _forget(self, waiting: _Waiting) -> None:
        if waiting.root.database in self._catalog.names():
            cursor = self._catalog.duck.cursor()
            History(cursor, waiting.root.database).forget(waiting.key)
            cursor.close()

    def _begin_due(self, now: datetime) -> None:
        coming: dict[Name, tuple[str | None, datetime]] = {}
        for task in self._catalog.tasks.values():
            if not task.is_root or (following := task.next_run(now)) is None:
                continue
            since, due = self._due.get(task.name, (None, following))
            if since == task.started_on and due <= now:
                if task.name not in self._running:
                    self._begin(task, due, "SCHEDULE")
                due = following
            elif since != task.started_on:
                due = following
            coming[task.name] = (task.started_on, due)
        self._due = coming

    def _begin(self, root: Task, scheduled: datetime, source: str, key: str | None = None) -> None:
        found = tasks.graph(self._catalog.tasks, root)
        run = GraphRun(self._catalog, self._opener, found, scheduled, source, key)
        thread = threading.Thread(
            target=self._run, args=(root.name, run), name=f"task {root.name.dotted}", daemon=True
        )
        self._running[root.name] = (run, thread)
        thread.start()

    def _run(self, name: Name, run: GraphRun) -> None:
        try:
            run.run()
        except Exception:  # its database may have been dropped under it
            log.exception("The run of task %s failed inside the server.", name.dotted)
        finally:
            with self._wake:
                del self._running[name]
                self._wake.notify()
