"""ALTER TABLE. DuckDB alters no table that has triggers: streams are taken off it and put back afterwards."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import sqlglot
from sqlglot import exp

from caves_dagster.local.warehouse import ddl, results, streams
from caves_dagster.local.warehouse.columns import declared_type, read_columns
from caves_dagster.local.warehouse.errors import (
    already_exists,
    cannot_change_type,
    not_found,
    unsupported,
)
from caves_dagster.local.warehouse.names import HIDDEN, Name, quote, resolve_table
from caves_dagster.local.warehouse.translate import duckdb_tree

if TYPE_CHECKING:
    from caves_dagster.local.warehouse.session import Session


def run(session: Session, tree: exp.Alter) -> results.Result:
    """ALTER TABLE | VIEW."""
    kind = str(tree.args.get("kind", "TABLE")).upper()
    name = resolve_table(tree.this, session.database, session.schema)
    if kind not in ("TABLE", "VIEW"):
        raise unsupported(f"ALTER {kind}")
    if not session.exists(name):
        if tree.args.get("exists"):
            return results.status()
        raise not_found(kind.capitalize(), name.dotted)
    with session.ddl(name.database):
        attached = session.catalog.streams_on(name)
        for stream in attached.values():
            streams.detach(session.cursor, stream)
        for action in tree.args.get("actions") or []:
            name = _action(session, name, kind, action, [streams.queue_name(s) for s in attached.values()])
        for stream_name, stream in attached.items():
            moved = stream._replace(table=name)
            if name != stream.table:
                options: dict[str, object] = {"queue": stream.queue, "table": [name.schema, name.name]}
                session.catalog.record(session.cursor, "STREAM", stream_name, options=options)
            streams.attach(session.cursor, stream_name, moved)
    return results.status()


def _action(session: Session, table: Name, kind: str, action: exp.Expr, queues: list[Name]) -> Name:
    """Carry out one action; the table's name after it."""
    cursor = session.cursor
    if isinstance(action, exp.ColumnDef):
        _add_column(session, table, action, queues)
    elif isinstance(action, exp.AlterRename):
        return _rename(session, table, kind, action)
    elif isinstance(action, exp.Drop):
        columns = [c.name for c in (action.args.get("tables") or action.expressions or [action.this])]
        for column in columns:
            for each in (table, *queues):
                _rebuild(session, each, drop=column)
            cursor.execute(
                f"DELETE FROM {quote(table.database)}.{HIDDEN}.columns "
                "WHERE schema_name = ? AND table_name = ? AND column_name = ?",
                [table.schema, table.name, column],
            )
    elif isinstance(action, exp.RenameColumn):
        old, new = action.this.name, action.args["to"].name
        for each in (table, *queues):
            cursor.execute(f"ALTER TABLE {each.sql} RENAME COLUMN {quote(old)} TO {quote(new)}")
        cursor.execute(
            f"UPDATE {quote(table.database)}.{HIDDEN}.columns SET column_name = ? "
            "WHERE schema_name = ? AND table_name = ? AND column_name = ?",
            [new, table.schema, table.name, old],
        )
    elif isinstance(action, exp.AlterColumn):
        _alter_column(session, table, action, queues)
    elif isinstance(action, exp.AlterSet):
        if found := action.find(exp.SchemaCommentProperty):
            ddl.comment_object(session, kind, table, found.this.name)
    elif not isinstance(action, exp.Cluster | exp.ClusterProperty):
        raise unsupported(f"ALTER TABLE … {action.sql(dialect='snowflake')}")
    return table


def _add_column(session: Session, table: Name, action: exp.ColumnDef, queues: list[Name]) -> None:
    known = {name for name, _ in streams.columns_of(session.cursor, table)}
    if action.name in known:
        if action.args.get("exists"):
            return
        raise already_exists(action.name)
    columns = read_columns([action])
    made = exp.Schema(this=table.table(), expressions=columns.definitions)
    definition = duckdb_tree(made, session.context()).expressions[0].sql(dialect="duckdb", identify=True)
    # DuckDB adds no column with a constraint.
    if "CHECK" in definition or "NOT NULL" in definition:
        _rebuild(session, table, add=definition)
    else:
        session.cursor.execute(f"ALTER TABLE {table.sql} ADD COLUMN {definition}")
    kind = dict(streams.columns_of(session.cursor, table))[action.name]
    # What waits in a stream has the value that its table's rows have.
    given = action.find(exp.DefaultColumnConstraint)
    default = f" DEFAULT {given.this.sql(dialect='duckdb')}" if given is not None else ""
    for queue in queues:
        session.cursor.execute(f"ALTER TABLE {queue.sql} ADD COLUMN {quote(action.name)} {kind}{default}")
    if sql := columns.insert_sql(table):
        session.cursor.execute(sql)


def _alter_column(session: Session, table: Name, action: exp.AlterColumn, queues: list[Name]) -> None:
    if text := action.args.get("comment"):
        ddl.comment_column(session, table, action.name, text.name)
    elif action.args.get("dtype"):
        _widen(session, table, action, queues)
    else:
        verb = "DROP" if action.args.get("drop") else "SET"
        session.cursor.execute(f"ALTER TABLE {table.sql} ALTER COLUMN {quote(action.name)} {verb} NOT NULL")


def _widen(session: Session, table: Name, action: exp.AlterColumn, queues: list[Name]) -> None:
    """SET DATA TYPE: a longer VARCHAR, or a NUMBER with more digits; Snowflake refuses most of the rest."""
    hidden = f"{quote(table.database)}.{HIDDEN}.columns"
    where = "WHERE schema_name = ? AND table_name = ? AND column_name = ?"
    key = [table.schema, table.name, action.name]
    (row,) = session.cursor.execute(f"SELECT declared FROM {hidden} {where}", key).fetchall() or [("",)]
    before, after = str(row[0]), declared_type(action.args["dtype"])
    kinds = {text.partition("(")[0] for text in (before, after)}
    sizes = [[int(n) for n in re.findall(r"\d+", text)] for text in (before, after)]
    if len(kinds) != 1 or not kinds <= {"TEXT", "NUMBER"} or sizes[0][1:] != sizes[1][1:]:
        raise cannot_change_type(action.name, before, after)
    if sizes[1][0] < sizes[0][0]:
        raise cannot_change_type(action.name, before, after)
    definition = exp.ColumnDef(this=exp.to_identifier(action.name, quoted=True), kind=action.args["dtype"])
    (made,) = read_columns([definition]).definitions
    text = duckdb_tree(exp.Schema(this=table.table(), expressions=[made]), session.context())
    _rebuild(session, table, retype=(action.name, text.expressions[0].sql(dialect="duckdb", identify=True)))
    kind = dict(streams.columns_of(session.cursor, table))[action.name]
    for queue in queues:
        session.cursor.execute(f"ALTER TABLE {queue.sql} ALTER COLUMN {quote(action.name)} TYPE {kind}")
    session.cursor.execute(f"UPDATE {hidden} SET declared = ? {where}", [after, *key])


def _rename(session: Session, table: Name, kind: str, action: exp.AlterRename) -> Name:
    target = action.this
    renamed = Name(table.database, target.db or table.schema, target.name)
    if renamed.schema != table.schema:
        raise unsupported("moving a table to another schema")
    if session.exists(renamed):
        raise already_exists(renamed.name)
    session.cursor.execute(f"ALTER {kind} {table.sql} RENAME TO {quote(renamed.name)}")
    hidden = f"{quote(table.database)}.{HIDDEN}"
    values = [renamed.name, table.schema, table.name]
    session.cursor.execute(f"UPDATE {hidden}.objects SET name = ? WHERE schema_name = ? AND name = ?", values)
    for kept in ("columns", "loads"):
        where = "WHERE schema_name = ? AND table_name = ?"
        session.cursor.execute(f"UPDATE {hidden}.{kept} SET table_name = ? {where}", values)
    return renamed


def _rebuild(
    session: Session,
    table: Name,
    *,
    add: str | None = None,
    drop: str | None = None,
    retype: tuple[str, str] | None = None,
) -> None:
    """Copy a table into a new one with a column more, less or redefined: DuckDB alters none under a CHECK."""
    cursor = session.cursor
    row = cursor.execute(
        "SELECT sql FROM duckdb_tables() WHERE database_name = ? AND schema_name = ? AND table_name = ?",
        list(table),
    ).fetchall()
    made = sqlglot.parse_one(row[0][0], read="duckdb")
    kept = [name for name, _ in streams.columns_of(cursor, table) if name != drop]
    parts = [
        node
        for node in made.this.expressions
        if not (drop and (node.name == drop or any(c.name == drop for c in node.find_all(exp.Column))))
    ]
    if add:
        parts.append(_part(add))
    if retype:
        column, definition_of = retype
        parts = [_retyped(part, column, definition_of) for part in parts if not _checks(part, column)]
    fresh = table._replace(name=f"{table.name}_caves_new")
    definition = exp.Schema(this=fresh.table(), expressions=[part.copy() for part in parts])
    cursor.execute(exp.Create(this=definition, kind="TABLE").sql(dialect="duckdb", identify=True))
    names = ", ".join(quote(name) for name in kept)
    cursor.execute(f"INSERT INTO {fresh.sql} ({names}) SELECT {names} FROM {table.sql}")
    cursor.execute(f"DROP TABLE {table.sql}")
    cursor.execute(f"ALTER TABLE {fresh.sql} RENAME TO {quote(table.name)}")


def _part(definition: str) -> exp.Expr:
    part: exp.Expr = sqlglot.parse_one(f"CREATE TABLE t ({definition})", read="duckdb").this.expressions[0]
    return part


def _checks(part: exp.Expr, column: str) -> bool:
    """Whether it is the CHECK of a column's length; DuckDB lists those after the columns."""
    return not isinstance(part, exp.ColumnDef) and any(c.name == column for c in part.find_all(exp.Column))


def _retyped(part: exp.Expr, column: str, definition: str) -> exp.Expr:
    """A column's definition with another type, and the CHECK of its length."""
    if not isinstance(part, exp.ColumnDef) or part.name != column:
        return part
    made = _part(definition)
    made.set("constraints", [*made.args.get("constraints", []), *(c.copy() for c in part.constraints)])
    return made
