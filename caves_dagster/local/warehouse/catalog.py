"""The databases of one home folder: attached, created, dropped, and what they hold that every session needs.

<home>/warehouse/databases/<NAME>.db     one DuckDB file a database
<home>/warehouse/stages/<DB>/<SCHEMA>/…  the files of internal stages
"""

from __future__ import annotations

import json
import shutil
import threading
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import duckdb

from caves_dagster.local.warehouse import functions, metadata, tasks, variant
from caves_dagster.local.warehouse.errors import StatementError, already_exists, not_found
from caves_dagster.local.warehouse.names import HIDDEN, Name, literal, quote


class Stream(NamedTuple):
    """A stream: the hidden table that holds what it has not yet handed over, and the table it is on."""

    queue: str
    table: Name


class Catalog:
    """Owns DuckDB and its files.

    Args:
        home: the folder that holds them all; made if absent.
        memory_limit: DuckDB's, e.g. "2GB".
        threads: DuckDB's worker threads.
    """

    def __init__(self, home: Path, memory_limit: str = "2GB", threads: int = 4) -> None:
        self.folder = home / "databases"
        self.stages = home / "stages"
        for folder in (self.folder, self.stages, home / "spill"):
            folder.mkdir(parents=True, exist_ok=True)
        config: dict[str, str | bool | int | float | list[str]] = {
            # fakesnow's macros and sqlglot's DuckDB dialect still write arrow lambdas
            "lambda_syntax": "ENABLE_SINGLE_ARROW",
            "memory_limit": memory_limit,
            "threads": threads,
            "temp_directory": str(home / "spill"),
        }
        self.duck = duckdb.connect(":memory:", config=config)
        self.duck.execute("SET GLOBAL TimeZone = 'UTC'; SET GLOBAL python_enable_replacements = false")
        variant.register(self.duck)
        functions.create(self.duck, "memory")
        self.streams: dict[Name, Stream] = {}
        self.tasks: dict[Name, tasks.Task] = {}
        self.on_tasks_changed: Callable[[], None] = lambda: None
        self._lock = threading.RLock()
        for file in sorted(self.folder.glob("*.db")):
            self._attach(file.stem)
            self._drop_temporary(file.stem)

    def names(self) -> set[str]:
        """The databases there are."""
        return {file.stem for file in self.folder.glob("*.db")}

    def ensure_database(self, name: str, *, comment: str | None = None, exist_ok: bool = True) -> bool:
        """Create a database with its PUBLIC schema; True if it was not there."""
        with self._lock:
            if name in self.names():
                if not exist_ok:
                    raise already_exists(name)
                return False
            if not name.replace("_", "").replace("$", "").isalnum():
                raise StatementError(f"SQL compilation error:\nInvalid database name '{name}'.", 1003)
            self._attach(name)
            cursor = self.duck.cursor()
            cursor.execute(f"CREATE SCHEMA IF NOT EXISTS {quote(name)}.PUBLIC")
            self.record(cursor, "DATABASE", Name(name, "", name), comment=comment)
            self.record(cursor, "SCHEMA", Name(name, "", "PUBLIC"))
            cursor.close()
            return True

    def drop_database(self, name: str, *, missing_ok: bool = False) -> None:
        """Drop a database, its file and the files of its stages."""
        with self._lock:
            if name not in self.names():
                if missing_ok:
                    return
                raise not_found("Database", name)
            cursor = self.duck.cursor()
            cursor.execute(f"DETACH {quote(name)}")
            cursor.close()
            for suffix in (".db", ".db.wal"):
                (self.folder / f"{name}{suffix}").unlink(missing_ok=True)
            shutil.rmtree(self.stages / name, ignore_errors=True)
            self.streams = {key: value for key, value in self.streams.items() if key.database != name}
            self.tasks = {key: value for key, value in self.tasks.items() if key.database != name}

    def has_schema(self, cursor: duckdb.DuckDBPyConnection, database: str, schema: str) -> bool:
        """Whether a schema is there, as the cursor's transaction sees it."""
        sql = "SELECT 1 FROM duckdb_schemas() WHERE database_name = ? AND schema_name = ?"
        return cursor.execute(sql, [database, schema]).fetchall() != []

    def record(
        self,
        cursor: duckdb.DuckDBPyConnection,
        kind: str,
        name: Name,
        *,
        comment: str | None = None,
        options: dict[str, object] | None = None,
        session: str | None = None,
    ) -> None:
        """Write an object's row, in the cursor's transaction, replacing what it had."""
        self.forget(cursor, kind, name)
        values = [kind, name.schema, name.name, comment, json.dumps(options or {}), session]
        cursor.execute(
            f"INSERT INTO {quote(name.database)}.{HIDDEN}.objects VALUES (?, ?, ?, ?, now(), ?, ?)", values
        )

    def forget(self, cursor: duckdb.DuckDBPyConnection, kind: str, name: Name) -> None:
        """Delete an object's row and, of a table or view, what is kept about its columns and loads."""
        hidden = f"{quote(name.database)}.{HIDDEN}"
        where = [name.schema, name.name]
        cursor.execute(
            f"DELETE FROM {hidden}.objects WHERE kind = ? AND schema_name = ? AND name = ?", [kind, *where]
        )
        if kind in ("TABLE", "VIEW"):
            cursor.execute(f"DELETE FROM {hidden}.columns WHERE schema_name = ? AND table_name = ?", where)
        if kind == "TABLE":
            cursor.execute(f"DELETE FROM {hidden}.loads WHERE schema_name = ? AND table_name = ?", where)

    def options(self, cursor: duckdb.DuckDBPyConnection, kind: str, name: Name) -> dict[str, object] | None:
        """The options of a stage, stream or file format; None if there is none of that name."""
        if name.database not in self.names():
            return None
        row = cursor.execute(
            f"SELECT options FROM {quote(name.database)}.{HIDDEN}.objects "
            "WHERE kind = ? AND schema_name = ? AND name = ?",
            [kind, name.schema, name.name],
        ).fetchall()
        return dict(json.loads(row[0][0])) if row else None

    def load_streams(self, cursor: duckdb.DuckDBPyConnection, database: str) -> None:
        """Read again which streams a database has; called once their DDL is committed."""
        rows = cursor.execute(
            f"SELECT schema_name, name, options FROM {quote(database)}.{HIDDEN}.objects WHERE kind = 'STREAM'"
        ).fetchall()
        found = {key: value for key, value in self.streams.items() if key.database != database}
        for schema, name, text in rows:
            options = json.loads(text)
            found[Name(database, schema, name)] = Stream(options["queue"], Name(database, *options["table"]))
        self.streams = found

    def load_tasks(self, cursor: duckdb.DuckDBPyConnection, database: str) -> None:
        """Read again which tasks a database has, and tell the scheduler; called once DDL is committed."""
        with self._lock:  # read and kept in one go: of two sessions the later one has seen both's changes
            found = {key: value for key, value in self.tasks.items() if key.database != database}
            self.tasks = {**found, **tasks.load(cursor, database)}
        self.on_tasks_changed()

    def streams_on(self, table: Name) -> dict[Name, Stream]:
        """The streams on one table."""
        return {name: stream for name, stream in self.streams.items() if stream.table == table}

    def close(self) -> None:
        """Write everything to the files and let go of them."""
        cursor = self.duck.cursor()
        for name in self.names():
            cursor.execute(f"FORCE CHECKPOINT {quote(name)}")
        cursor.close()
        self.duck.close()

    def _attach(self, name: str) -> None:
        cursor = self.duck.cursor()
        file = self.folder / f"{name}.db"
        cursor.execute(f"ATTACH {literal(str(file))} AS {quote(name)}")
        functions.create(cursor, name)
        cursor.execute(f"USE {quote(name)}.main")  # the views' own use of the macros is bound here
        cursor.execute(metadata.creation_sql(name))
        self.load_streams(cursor, name)
        self.load_tasks(cursor, name)
        cursor.close()

    def _drop_temporary(self, name: str) -> None:
        """Drop what sessions of an earlier server left behind; they are over."""
        cursor = self.duck.cursor()
        hidden = f"{quote(name)}.{HIDDEN}"
        rows = cursor.execute(
            f"SELECT kind, schema_name, name FROM {hidden}.objects WHERE session IS NOT NULL"
        ).fetchall()
        for kind, schema, object_name in rows:
            self.drop_temporary(cursor, kind, Name(name, schema, object_name))
        cursor.close()

    def drop_temporary(self, cursor: duckdb.DuckDBPyConnection, kind: str, name: Name) -> None:
        """Drop one temporary object of a session that is over."""
        if kind == "TABLE":
            cursor.execute(f"DROP TABLE IF EXISTS {name.sql}")
        if kind == "STAGE":
            shutil.rmtree(self.stage_folder(name), ignore_errors=True)
        self.forget(cursor, kind, name)

    def stage_folder(self, stage: Name) -> Path:
        """Where the files of an internal stage are."""
        return self.stages / stage.database / stage.schema / stage.name
