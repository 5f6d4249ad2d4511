"""Append-only streams on DuckDB: a trigger on the table fills a hidden queue a stream, a view shows it.

Every insert into the table also appends to the queue, in the same transaction; DML that reads the view
deletes, just before COMMIT, the rows it saw. Repeatable reads, rollback, rows in flight and several streams
on a table follow from DuckDB's snapshots, and two consumers at once from its conflict on the deletes: the
second one's COMMIT fails with 625.

A row carries the mark of the transaction that wrote it. The view hides a transaction's own rows from it, so
they are not consumed unseen: they stay in the stream for the next consumer.

Where this differs from Snowflake:
- Every stream is append-only, whatever it was declared as; METADATA$ACTION is always INSERT. One that is
  declared otherwise, or on a view, is refused.
- METADATA$ROW_ID is unique but differs between the streams of one table.
- A stream does not go stale with time; STALE_AFTER is always 14 days ahead. It goes stale when its table is
  dropped or replaced, and then cannot be read.
- The offset is a set of rows, not a point in time: no AT | BEFORE, no clones.
- A stream read through a view is not consumed; name it in the statement.
- SYSTEM$STREAM_HAS_DATA is exact (Snowflake's may say true of an empty stream).
"""

from __future__ import annotations

import itertools
import time
from typing import TYPE_CHECKING

import duckdb
from sqlglot import exp

from caves_dagster.local.warehouse import results
from caves_dagster.local.warehouse.catalog import Stream
from caves_dagster.local.warehouse.commands import CreateStream, DescribeStream, DropStream
from caves_dagster.local.warehouse.errors import StatementError, already_exists, not_found, unsupported
from caves_dagster.local.warehouse.names import HIDDEN, Name, literal, quote, resolve, resolve_table
from caves_dagster.local.warehouse.words import Words

if TYPE_CHECKING:
    from caves_dagster.local.warehouse.session import Session

_MARK = "_caves_mark"
_UNSEEN_BY_ITSELF = f"({_MARK} IS NULL OR {_MARK} IS DISTINCT FROM getvariable('{_MARK}'))"
_serial = itertools.count(int(time.time() * 1000))


def create(session: Session, command: CreateStream) -> results.Result:
    """CREATE STREAM … ON TABLE."""
    name = resolve(command.name, session.database, session.schema)
    table = resolve(command.table, session.database, session.schema)
    options = command.options
    if options.get("APPEND_ONLY", "TRUE").upper() != "TRUE":
        raise unsupported("streams other than APPEND_ONLY = TRUE")
    cursor = session.cursor
    known = session.catalog.options(cursor, "STREAM", name)
    if known is not None and command.exists:
        return results.status(f"{name.name} already exists, statement succeeded.")
    if known is not None and not command.replace:
        raise already_exists(name.name)
    if name.database != table.database:
        raise unsupported("a stream in another database than its table")
    if not columns_of(cursor, table):
        raise not_found("Table", table.dotted)
    if session.exists(name) and known is None:
        raise already_exists(name.name)
    with session.ddl(name.database):
        if known is not None:
            _drop(session, name, known)
        queue = f"queue_{next(_serial)}"
        session.catalog.record(
            cursor,
            "STREAM",
            name,
            comment=options.get("COMMENT"),
            options={"queue": queue, "table": [table.schema, table.name]},
        )
        stream = Stream(queue, table)
        _make_queue(cursor, stream)
        attach(cursor, name, stream)
        if options.get("SHOW_INITIAL_ROWS", "FALSE").upper() == "TRUE":
            names = ", ".join(quote(column) for column, _ in columns_of(cursor, table))
            cursor.execute(f"INSERT INTO {_queue(stream)} SELECT {names}, uuid(), NULL FROM {table.sql}")
    return results.status(f"Stream {name.name} successfully created.")


def drop(session: Session, command: DropStream) -> results.Result:
    """DROP STREAM."""
    name = resolve(command.name, session.database, session.schema)
    known = session.catalog.options(session.cursor, "STREAM", name)
    if known is None:
        if command.exists:
            return results.status("Drop statement executed successfully.")
        raise not_found("Stream", name.dotted)
    with session.ddl(name.database):
        _drop(session, name, known)
    return results.status(f"{name.name} successfully dropped.")


def describe(session: Session, command: DescribeStream) -> results.Result:
    """DESCRIBE STREAM: the same row as SHOW STREAMS."""
    name = resolve(command.name, session.database, session.schema)
    shown = show_sql(session, {name.database})
    where = f'WHERE "schema_name" = {literal(name.schema)} AND "name" = {literal(name.name)}'
    found = results.fetch(session.cursor, f"SELECT * FROM ({shown}) {where}", results.DESCRIBE)
    if found.table.num_rows == 0:
        raise not_found("Stream", name.dotted)
    return found


def show_sql(session: Session, databases: set[str]) -> str:
    """The rows of SHOW STREAMS, as DuckDB SQL."""
    parts = []
    for database in sorted(databases):
        table = f"{literal(database)} || '.' || array_to_string((options -> 'table')::VARCHAR[], '.')"
        parts.append(
            f"""SELECT created_on AS "created_on", name AS "name", {literal(database)} AS "database_name",
                schema_name AS "schema_name", 'SYSADMIN' AS "owner", coalesce(comment, '') AS "comment",
                {table} AS "table_name", 'Table' AS "source_type", {table} AS "base_tables",
                'DELTA' AS "type",
                coalesce(options ->> 'stale', 'false') AS "stale", 'APPEND_ONLY' AS "mode",
                now() + INTERVAL 14 DAY AS "stale_after", 'N/A' AS "invalid_reason",
                'ROLE' AS "owner_role_type"
            FROM {quote(database)}.{HIDDEN}.objects WHERE kind = 'STREAM'"""
        )
    return " UNION ALL ".join(parts)


def has_data(session: Session, text: str) -> bool:
    """SYSTEM$STREAM_HAS_DATA."""
    name = resolve(Words(text).name(), session.database, session.schema)
    if (stream := session.catalog.streams.get(name)) is None:
        raise not_found("Stream", name.dotted)
    row = session.cursor.execute(
        f"SELECT EXISTS (SELECT 1 FROM {_queue(stream)} WHERE {_UNSEEN_BY_ITSELF})"
    ).fetchall()
    return bool(row and row[0][0])


def read_by(session: Session, tree: exp.Expr) -> set[Name]:
    """The streams a statement reads, its target apart."""
    if not session.catalog.streams:
        return set()
    target = tree.this.this if isinstance(tree.this, exp.Schema) else tree.this
    found = set()
    for table in tree.find_all(exp.Table):
        if table is target or not isinstance(table.this, exp.Identifier):
            continue
        try:
            name = resolve_table(table, session.database, session.schema)
        except StatementError:
            continue
        if name in session.catalog.streams:
            found.add(name)
    return found


def consume(session: Session, names: set[Name]) -> None:
    """Take from each queue the rows the open transaction saw."""
    for name in sorted(names):
        if stream := session.catalog.streams.get(name):
            session.cursor.execute(f"DELETE FROM {_queue(stream)} WHERE {_UNSEEN_BY_ITSELF}")


def attach(cursor: duckdb.DuckDBPyConnection, name: Name, stream: Stream) -> None:
    """Create the trigger that feeds a stream and the view that shows it."""
    names = ", ".join(quote(column) for column, _ in columns_of(cursor, stream.table))
    cursor.execute(
        f"CREATE TRIGGER {quote(stream.queue)} AFTER INSERT ON {stream.table.sql} "
        "REFERENCING NEW TABLE AS inserted FOR EACH STATEMENT "
        f"INSERT INTO {_queue(stream)} ({names}, _caves_row, {_MARK}) "
        f"SELECT {names}, uuid(), getvariable('{_MARK}') FROM inserted"
    )
    cursor.execute(
        f"CREATE OR REPLACE VIEW {name.sql} AS SELECT {names}, 'INSERT' AS \"METADATA$ACTION\", "
        "false AS \"METADATA$ISUPDATE\", replace(_caves_row::VARCHAR, '-', '') AS \"METADATA$ROW_ID\" "
        f"FROM {_queue(stream)} WHERE {_UNSEEN_BY_ITSELF}"
    )


def detach(cursor: duckdb.DuckDBPyConnection, stream: Stream) -> None:
    """Drop a stream's trigger; its queue and view stay."""
    cursor.execute(f"DROP TRIGGER IF EXISTS {quote(stream.queue)} ON {stream.table.sql}")


def strand(session: Session, table: Name) -> None:
    """The table of these streams is going: they can no longer be read."""
    for name, stream in session.catalog.streams_on(table).items():
        detach(session.cursor, stream)
        session.cursor.execute(f"DROP VIEW IF EXISTS {name.sql}")
        session.cursor.execute(f"DROP TABLE IF EXISTS {_queue(stream)}")
        session.catalog.record(
            session.cursor,
            "STREAM",
            name,
            options={"queue": stream.queue, "table": [table.schema, table.name], "stale": "true"},
        )


def queue_name(stream: Stream) -> Name:
    """The hidden table behind a stream."""
    return Name(stream.table.database, HIDDEN, stream.queue)


def columns_of(cursor: duckdb.DuckDBPyConnection, table: Name) -> list[tuple[str, str]]:
    """Names and DuckDB types of a table's columns; empty if there is no such table."""
    rows = cursor.execute(
        "SELECT c.column_name, c.data_type FROM duckdb_columns() c "
        "JOIN duckdb_tables() t ON t.table_oid = c.table_oid AND t.database_name = c.database_name "
        "WHERE c.database_name = ? AND c.schema_name = ? AND c.table_name = ? ORDER BY c.column_index",
        list(table),
    ).fetchall()
    return [(str(name), str(kind)) for name, kind in rows]


def _make_queue(cursor: duckdb.DuckDBPyConnection, stream: Stream) -> None:
    columns = ", ".join(f"{quote(column)} {kind}" for column, kind in columns_of(cursor, stream.table))
    cursor.execute(f"CREATE TABLE {_queue(stream)} ({columns}, _caves_row UUID, {_MARK} BIGINT)")


def _drop(session: Session, name: Name, options: dict[str, object]) -> None:
    cursor = session.cursor
    if stream := session.catalog.streams.get(name):
        if "stale" not in options:
            detach(cursor, stream)
        cursor.execute(f"DROP VIEW IF EXISTS {name.sql}")
        cursor.execute(f"DROP TABLE IF EXISTS {_queue(stream)}")
    session.catalog.forget(cursor, "STREAM", name)


def _queue(stream: Stream) -> str:
    return queue_name(stream).sql
