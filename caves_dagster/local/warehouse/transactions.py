"""A session's transaction: begun, committed, rolled back, ended by somebody else.

    none ── BEGIN ──▶ open ── COMMIT / ROLLBACK ──▶ none
                       └── reaped, aborted, or a statement failed ──▶ ended ── ROLLBACK / COMMIT ──▶ none

DuckDB drops a transaction on any error, so a failed statement ends it whatever TRANSACTION_ABORT_ON_ERROR
says. In state `ended` every statement fails with 625 until the client closes the transaction; COMMIT fails
too, so that nobody believes in rows that are not there.
"""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime

import duckdb

from caves_dagster.local.warehouse import errors

_ids = itertools.count(int(time.time() * 1000) * 1000)


@dataclass
class Transaction:
    """An open transaction; `mark` tells the rows it wrote itself from those of others in stream queues."""

    name: str
    implicit: bool = False
    mark: int = field(default_factory=lambda: next(_ids))
    started_on: datetime = field(default_factory=lambda: datetime.now(UTC))

    @property
    def id(self) -> str:
        """As CURRENT_TRANSACTION() and SHOW TRANSACTIONS give it."""
        return str(self.mark)


class Transactions:
    """The transaction state of one session.

    Args:
        cursor: the session's own DuckDB cursor.
        before_commit: called in the transaction just before it commits.
        after: called after it ended, with whether it was committed.
    """

    def __init__(
        self,
        cursor: duckdb.DuckDBPyConnection,
        before_commit: Callable[[Transaction], None],
        after: Callable[[bool], None],
    ) -> None:
        self._cursor = cursor
        self._before_commit = before_commit
        self._after = after
        self.open: Transaction | None = None
        self.ended: str | None = None
        """Why the last transaction ended without the client; None in the other states."""

    def begin(self, name: str | None = None, *, implicit: bool = False) -> Transaction:
        """Begin a transaction; within an open one nothing happens, as in Snowflake."""
        self.ended = None
        if self.open is None:
            transaction = Transaction(name or "", implicit)
            if not name:
                transaction.name = f"tx_{transaction.id}"
            self._cursor.execute("BEGIN")
            self._execute_to_the_end(f"SET VARIABLE _caves_mark = {transaction.mark}")
            self.open = transaction
        return self.open

    def commit(self) -> None:
        """Commit; without an open transaction nothing happens.

        Raises:
            StatementError: 625, if somebody else's write came first or the transaction had been ended.
        """
        try:
            self.check()
        finally:
            self.ended = None
        if self.open is None:
            return
        try:
            self._before_commit(self.open)
            self._cursor.execute("COMMIT")
        except duckdb.Error as error:
            self._finish(committed=False)
            raise errors.from_duckdb(error) from error
        self._finish(committed=True)

    def rollback(self) -> None:
        """Roll back; without an open transaction nothing happens."""
        self.ended = None
        if self.open is not None:
            self._finish(committed=False)

    def end(self, reason: str) -> None:
        """Roll back on somebody else's behalf; the client learns of it at its next statement."""
        if self.open is not None:
            self._finish(committed=False)
            self.ended = reason

    def check(self) -> None:
        """Raise if the transaction the client believes in has been ended."""
        if self.ended is not None:
            raise errors.conflict(f"the transaction was rolled back: {self.ended}")

    @contextmanager
    def atomic(self) -> Iterator[Transaction]:
        """The open transaction, or one just for this statement."""
        if self.open is not None:
            yield self.open
            return
        transaction = self.begin()
        try:
            yield transaction
        except BaseException:
            self._finish(committed=False)
            raise
        self.commit()

    def _finish(self, *, committed: bool) -> None:
        if not committed:
            with suppress(duckdb.Error):  # DuckDB may have dropped it already
                self._execute_to_the_end("ROLLBACK")
        self._execute_to_the_end("RESET VARIABLE _caves_mark")
        self.open = None
        self._after(committed)

    def _execute_to_the_end(self, sql: str) -> None:
        """Run it again while an interrupt hits it that was meant for the statement before.

        A ROLLBACK that was interrupted would leave the transaction to nobody, and its rows locked.
        """
        while True:
            try:
                self._cursor.execute(sql)
            except duckdb.InterruptException:
                continue
            return
