"""One client's session: its current database and schema, its parameters, its transaction, its statements."""

from __future__ import annotations

import itertools
import threading
import time
import uuid
from collections import OrderedDict
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import datetime

import duckdb
import sqlglot
from sqlglot import exp
from sqlglot.errors import SqlglotError

from caves_dagster.local.warehouse import commands, errors, results, statements, streams
from caves_dagster.local.warehouse.catalog import Catalog
from caves_dagster.local.warehouse.errors import StatementError, not_found
from caves_dagster.local.warehouse.names import HIDDEN, Name, literal, quote
from caves_dagster.local.warehouse.transactions import Transaction, Transactions
from caves_dagster.local.warehouse.translate import Context

_session_ids = itertools.count(int(time.time() * 1000))

DEFAULTS = {
    "AUTOCOMMIT": "true",
    "LOCK_TIMEOUT": "43200",
    "TRANSACTION_ABORT_ON_ERROR": "false",
    "TIMEZONE": "UTC",
}
"""Session parameters there are from the start; any other may be set and is kept."""


class Session:
    """A session. `lock` is held while one of its statements runs: they run one at a time.

    Args:
        catalog: the databases.
        user: who logged in.
        parameters: session parameters given at login.
        recent: where results are kept for RESULT_SCAN.
    """

    def __init__(
        self, catalog: Catalog, user: str, parameters: dict[str, str], recent: results.Recent
    ) -> None:
        self.id = str(next(_session_ids))
        self.catalog = catalog
        self.user = user
        self.lock = threading.Lock()
        self.cursor = catalog.duck.cursor()
        self.database: str | None = None
        self.schema: str | None = None
        self.warehouse: str | None = None
        self.role: str | None = None
        self.parameters = {**DEFAULTS, **parameters}
        self.recent = recent
        self.consumed: set[Name] = set()
        self.answers: OrderedDict[str, bytes] = OrderedDict()
        self.last_used = self.last_heard = time.monotonic()
        self.running = False
        self.closed = False
        self.last_query_id = ""
        self.transactions = Transactions(self.cursor, self._before_commit, self._after_transaction)
        self._altered: set[str] = set()
        self._cancelled: StatementError | None = None

    @property
    def autocommit(self) -> bool:
        """Whether a statement outside BEGIN commits by itself."""
        return self.parameters["AUTOCOMMIT"].lower() == "true"

    def execute(
        self, sql: str, query_id: str | None = None, *, describe_only: bool = False
    ) -> results.Result:
        """Run one statement, or only say which columns it would give; the caller holds `lock`.

        Raises:
            StatementError: as the client is to see it. An open transaction has then been rolled back.
        """
        self.running, self.last_used = True, time.monotonic()
        try:
            if self._cancelled is not None:
                raise self._cancelled
            result = self._run(sql, describe_only)
        except StatementError as error:
            self._failed()
            if self._cancelled is not None and error is not self._cancelled:
                raise self._cancelled from error
            raise
        except SqlglotError as error:
            self._failed()
            raise errors.syntax_error(_plain(error)) from error
        except duckdb.Error as error:
            self._failed()
            raise (self._cancelled or errors.from_duckdb(error)) from error
        except BaseException:
            self._failed()
            raise
        finally:
            self.running, self.last_used = False, time.monotonic()
        result.query_id = self.last_query_id = query_id or str(uuid.uuid4())
        self.recent.keep(result)
        return result

    def context(self) -> Context:
        """What statements are read against."""
        transaction = self.transactions.open
        values: dict[str, str | None] = {
            "CURRENT_SESSION": self.id,
            "CURRENT_TRANSACTION": transaction.id if transaction else None,
            "CURRENT_USER": self.user.upper(),
            "CURRENT_DATABASE": self.database,
            "CURRENT_SCHEMA": self.schema,
            "CURRENT_ROLE": self.role or "SYSADMIN",
            "CURRENT_WAREHOUSE": self.warehouse,
            "CURRENT_ACCOUNT": "CAVES_LOCAL",
            "LAST_QUERY_ID": self.last_query_id,
        }
        return Context(self.database, self.schema, values)

    @contextmanager
    def ddl(self, database: str) -> Iterator[None]:
        """DDL: commits what is open, then runs as a transaction of its own."""
        self.transactions.commit()
        self._altered.add(database)
        with self.transactions.atomic():
            yield

    def use(self, database: str | None, schema: str | None, *, public: bool = True) -> None:
        """Make a database and schema the current ones; without a schema, PUBLIC where there is one."""
        if database is None:
            return
        self.require_database(database)
        if schema is None and public and self.catalog.has_schema(self.cursor, database, "PUBLIC"):
            schema = "PUBLIC"
        if schema and schema != "INFORMATION_SCHEMA":
            self.require_schema(Name(database, schema, ""))
        inner = schema if schema and schema != "INFORMATION_SCHEMA" else "main"
        self.cursor.execute(f"USE {quote(database)}.{quote(inner)}")
        self.database, self.schema = database, schema

    def forget_database(self, database: str) -> None:
        """A database is gone; it is no longer the current one."""
        if self.database == database:
            self.database = self.schema = None

    def exists(self, name: Name, kind: str | None = None) -> bool:
        """Whether there is a table or view of this name."""
        sql = """SELECT 1 FROM (
            SELECT 'TABLE' AS kind, database_name, schema_name, table_name AS name FROM duckdb_tables()
            UNION ALL SELECT 'VIEW', database_name, schema_name, view_name FROM duckdb_views())
            WHERE database_name = ? AND schema_name = ? AND name = ? AND kind LIKE ?"""
        return self.cursor.execute(sql, [*name, kind or "%"]).fetchall() != []

    def require_database(self, database: str) -> None:
        """Raise 2003 unless the database is there."""
        if database not in self.catalog.names():
            raise not_found("Database", database)

    def require_schema(self, name: Name) -> None:
        """Raise 2003 unless the schema of a name is there."""
        self.require_database(name.database)
        hidden = name.schema.upper() == HIDDEN.upper()
        if hidden or not self.catalog.has_schema(self.cursor, name.database, name.schema):
            raise not_found("Schema", f"{name.database}.{name.schema}")

    def show_transactions(self) -> results.Result:
        """SHOW TRANSACTIONS; the registry of sessions gives every session's."""
        raise NotImplementedError  # set by the registry, which knows the other sessions

    def abort_transaction(self, transaction_id: str) -> str:
        """SYSTEM$ABORT_TRANSACTION; set by the registry."""
        raise NotImplementedError

    def execute_task(self, name: Name) -> None:
        """EXECUTE TASK; set by the registry, which knows the scheduler."""
        raise NotImplementedError

    def describe_transaction(self) -> tuple[str, str, str, str, datetime, str] | None:
        """The row of SHOW TRANSACTIONS for this session: id, user, session, name, started_on, state."""
        transaction = self.transactions.open
        if transaction is None:
            return None
        state = "running"
        return (transaction.id, self.user.upper(), self.id, transaction.name, transaction.started_on, state)

    def cancel(self, reason: StatementError) -> None:
        """Stop what runs and let no statement follow; each fails with this error, in a handler too."""
        self._cancelled = reason
        self.cursor.interrupt()

    def heard(self) -> None:
        """The client is alive. An idle transaction stays idle: only statements count for it."""
        self.last_heard = time.monotonic()

    def close(self) -> None:
        """Roll back, drop temporary objects, let go of the cursor."""
        self.closed = True
        self.transactions.rollback()
        for database in self.catalog.names():
            with suppress(duckdb.Error):
                owned = self.cursor.execute(
                    f"SELECT kind, schema_name, name FROM {quote(database)}.{HIDDEN}.objects "
                    f"WHERE session = {literal(self.id)}"
                ).fetchall()
                for kind, schema, name in owned:
                    self.catalog.drop_temporary(self.cursor, kind, Name(database, schema, name))
        self.cursor.close()

    def _run(self, sql: str, describe_only: bool) -> results.Result:
        command = commands.read(sql)
        if command is not None:
            if describe_only:
                return results.status()
            return statements.command(self, command)
        trees = [tree for tree in sqlglot.parse(sql, read="snowflake") if tree is not None]
        trees = [tree for tree in trees if not isinstance(tree, exp.Semicolon)]
        if not trees:
            raise StatementError("SQL compilation error:\nEmpty SQL statement.", 900, "42601")
        if len(trees) > 1:
            raise StatementError(
                f"Actual statement count {len(trees)} did not match the desired statement count 1.",
                8,
                "0A000",
            )
        return (statements.describe if describe_only else statements.run)(self, trees[0])

    def _failed(self) -> None:
        if self.transactions.open is not None:
            self.transactions.end("one of its statements failed")

    def _before_commit(self, transaction: Transaction) -> None:
        streams.consume(self, self.consumed)

    def _after_transaction(self, committed: bool) -> None:
        self.consumed.clear()
        altered, self._altered = self._altered, set()
        if committed:
            for database in altered:
                self.catalog.load_streams(self.cursor, database)
                self.catalog.load_tasks(self.cursor, database)


def _plain(error: SqlglotError) -> str:
    """sqlglot's message without its terminal underlining."""
    return str(error).replace("\x1b[4m", "").replace("\x1b[0m", "")
