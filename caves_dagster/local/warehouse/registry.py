"""The sessions there are: logged in, found by token, listed, ended."""

from __future__ import annotations

import logging
import secrets
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime

from caves_dagster.local.warehouse import results
from caves_dagster.local.warehouse.catalog import Catalog
from caves_dagster.local.warehouse.errors import StatementError
from caves_dagster.local.warehouse.names import Name
from caves_dagster.local.warehouse.scheduler import Scheduler
from caves_dagster.local.warehouse.session import Session
from caves_dagster.local.warehouse.tasks import Task

log = logging.getLogger(__name__)

SESSION_IDLE_SECONDS = 4 * 3600
"""A session nobody used for so long is closed, as Snowflake does."""


class Registry:
    """Every session of the server.

    Args:
        catalog: the databases.
        transaction_idle_seconds: an open transaction whose client is silent for longer is rolled back.
    """

    def __init__(self, catalog: Catalog, transaction_idle_seconds: float) -> None:
        self.catalog = catalog
        self.recent = results.Recent()
        self._idle = transaction_idle_seconds
        self._by_token: dict[str, Session] = {}
        self._lock = threading.Lock()
        self._stop = threading.Event()
        self._reaper = threading.Thread(target=self._reap, name="reaper", daemon=True)
        self._reaper.start()
        self.scheduler = Scheduler(catalog, self._open_for)
        self.scheduler.start()

    def open(self, user: str, parameters: dict[str, str]) -> tuple[str, Session]:
        """A new session and the token its requests carry."""
        session = _Known(self, user, parameters)
        token = secrets.token_urlsafe(32)
        with self._lock:
            self._by_token[token] = session
        return token, session

    def find(self, token: str) -> Session | None:
        """The session of a token."""
        return self._by_token.get(token)

    def close(self, token: str) -> None:
        """End a session: its transaction is rolled back, what it had temporary is dropped."""
        with self._lock:
            session = self._by_token.pop(token, None)
        if session is not None:
            if session.running:
                session.cursor.interrupt()
            with session.lock:
                session.close()

    @contextmanager
    def _open_for(self, task: Task) -> Iterator[Session]:
        """A session for a task to run in, in the task's schema; it is held until the run is over."""
        token, session = self.open("SYSTEM", dict(task.parameters))
        try:
            with session.lock:
                session.use(task.name.database, task.name.schema)
                session.warehouse = task.warehouse
                yield session
        finally:
            self.close(token)

    def sessions(self) -> list[Session]:
        """All of them."""
        with self._lock:
            return list(self._by_token.values())

    def abort(self, transaction_id: str, by: Session) -> str:
        """SYSTEM$ABORT_TRANSACTION: end another session's transaction, or one's own.

        Raises:
            StatementError: there is no such transaction.
        """
        for session in self.sessions():
            transaction = session.transactions.open
            if transaction is None or transaction.id != transaction_id:
                continue
            if session is by:
                session.transactions.end("SYSTEM$ABORT_TRANSACTION was called")
            else:
                if session.running:
                    session.cursor.interrupt()
                with session.lock:
                    if session.transactions.open is transaction:
                        session.transactions.end("SYSTEM$ABORT_TRANSACTION was called")
            return "Transaction id [" + transaction_id + "] has been aborted."
        raise StatementError(f"Transaction {transaction_id} does not exist.", 90232, "02000")

    def stop(self) -> None:
        """End the tasks, every session and the reaper."""
        self.scheduler.stop()
        self._stop.set()
        self._reaper.join()
        for token in list(self._by_token):
            self.close(token)

    def _reap(self) -> None:
        """Roll back transactions whose client has gone: a killed client never says so."""
        while not self._stop.wait(min(0.5, self._idle / 4)):
            now = time.monotonic()
            for token, session in list(self._by_token.items()):
                if not session.lock.acquire(blocking=False):
                    continue
                try:
                    idle = now - session.last_used
                    if session.transactions.open is not None and idle > self._idle:
                        log.warning(
                            "Transaction of session %s rolled back: idle for %.0f s.", session.id, idle
                        )
                        session.transactions.end(f"it was idle for more than {self._idle:g} s")
                finally:
                    session.lock.release()
                if now - max(session.last_used, session.last_heard) > SESSION_IDLE_SECONDS:
                    self.close(token)


class _Known(Session):
    """A session that can see the others."""

    def __init__(self, registry: Registry, user: str, parameters: dict[str, str]) -> None:
        super().__init__(registry.catalog, user, parameters, registry.recent)
        self._registry = registry

    def show_transactions(self) -> results.Result:
        """SHOW TRANSACTIONS, over all sessions."""
        rows: list[tuple[str, str, str, str, datetime, str]] = []
        for session in self._registry.sessions():
            if (row := session.describe_transaction()) is not None:
                rows.append(row)
        kinds = dict.fromkeys(("id", "user", "session", "name"), "VARCHAR")
        return results.rows({**kinds, "started_on": "TIMESTAMP WITH TIME ZONE", "state": "VARCHAR"}, rows)

    def abort_transaction(self, transaction_id: str) -> str:
        """SYSTEM$ABORT_TRANSACTION."""
        return self._registry.abort(transaction_id, self)

    def execute_task(self, name: Name) -> None:
        """EXECUTE TASK."""
        self._registry.scheduler.execute(name)
