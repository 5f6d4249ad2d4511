"""CREATE, DROP and COMMENT: what DuckDB has no word for goes to the hidden metadata."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sqlglot import exp

from caves_dagster.local.warehouse import results, streams
from caves_dagster.local.warehouse.columns import read_columns
from caves_dagster.local.warehouse.errors import StatementError, already_exists, not_found, unsupported
from caves_dagster.local.warehouse.names import HIDDEN, Name, folded, literal, quote, resolve_table
from caves_dagster.local.warehouse.translate import to_duckdb

if TYPE_CHECKING:
    from caves_dagster.local.warehouse.session import Session


def create_table(session: Session, tree: exp.Create) -> results.Result:
    """CREATE [OR REPLACE] [TRANSIENT | TEMPORARY] TABLE, also AS SELECT, LIKE and CLONE."""
    schema = tree.this if isinstance(tree.this, exp.Schema) else None
    table = resolve_table(schema.this if schema else tree.this, session.database, session.schema)
    session.require_schema(table)
    known = session.exists(table)
    if known and tree.args.get("exists"):
        return results.status(f"{table.name} already exists, statement succeeded.")
    if known and not tree.args.get("replace"):
        raise already_exists(table.name)
    properties = _properties(tree)
    columns = read_columns(schema.expressions if schema else [])
    query = tree.expression
    like = next((p.this for p in properties if isinstance(p, exp.LikeProperty)), None)
    if clone := tree.args.get("clone"):
        query = exp.select("*").from_(clone.this)
    elif like is not None:
        query = exp.select("*").from_(like).limit(0)
    typed = all(isinstance(c, exp.ColumnDef) and c.kind for c in columns.definitions)
    temporary = any(isinstance(p, exp.TemporaryProperty) for p in properties)
    read = streams.read_by(session, tree)
    with session.ddl(table.database):
        text = to_duckdb(query, session.context()) if query is not None else ""
        if known:
            if text:  # the query may read the table that it replaces
                session.cursor.execute(f"CREATE OR REPLACE TEMP TABLE _caves_replacing AS {text}")
                text = "SELECT * FROM temp.main._caves_replacing"
            streams.strand(session, table)
            session.cursor.execute(f"DROP TABLE {table.sql}")
        if columns.definitions and typed:
            made = exp.Create(
                this=exp.Schema(this=table.table(), expressions=columns.definitions), kind="TABLE"
            )
            session.cursor.execute(to_duckdb(made, session.context()))
            if query is not None:
                names = ", ".join(quote(column[0]) for column in columns.declared)
                session.cursor.execute(f"INSERT INTO {table.sql} ({names}) {text}")
        elif query is not None:
            names = ", ".join(quote(c.name) for c in columns.definitions)
            session.cursor.execute(f"CREATE TABLE {table.sql} {f'({names})' if names else ''} AS {text}")
        else:
            raise StatementError("SQL compilation error:\nA table needs columns.", 1003)
        owner = session.id if temporary else None
        session.catalog.record(session.cursor, "TABLE", table, comment=_comment(properties), session=owner)
        if sql := columns.insert_sql(table):
            session.cursor.execute(sql)
        session.consumed.update(read)
        session.cursor.execute("DROP TABLE IF EXISTS temp.main._caves_replacing")
    return results.status(f"Table {table.name} successfully created.")


def create_view(session: Session, tree: exp.Create) -> results.Result:
    """CREATE [OR REPLACE] VIEW [IF NOT EXISTS]."""
    schema = tree.this if isinstance(tree.this, exp.Schema) else None
    view = resolve_table(schema.this if schema else tree.this, session.database, session.schema)
    session.require_schema(view)
    known = session.exists(view)
    if known and tree.args.get("exists"):
        return results.status(f"{view.name} already exists, statement succeeded.")
    if known and not tree.args.get("replace"):
        raise already_exists(view.name)
    columns = read_columns(schema.expressions if schema else [])
    definition = tree.sql(dialect="snowflake")
    query = _qualified(tree.expression, session)
    text = to_duckdb(query, session.context())
    names = [column[0] for column in columns.declared]
    listed = f"({', '.join(quote(name) for name in names)})" if names else ""
    with session.ddl(view.database):
        session.cursor.execute(f"CREATE OR REPLACE VIEW {view.sql} {listed} AS {text}")
        options: dict[str, object] = {"definition": definition}
        session.catalog.record(
            session.cursor, "VIEW", view, comment=_comment(_properties(tree)), options=options
        )
        if sql := columns.insert_sql(view):
            session.cursor.execute(sql)
    return results.status(f"View {view.name} successfully created.")


def create_schema(session: Session, tree: exp.Create) -> results.Result:
    """CREATE SCHEMA, which also becomes the current one."""
    database = folded(tree.this.args.get("catalog")) or session.database
    schema = folded(tree.this.args.get("db")) or tree.this.name
    if database is None:
        raise StatementError(
            "Cannot perform CREATE SCHEMA. This session does not have a current database.", 90105
        )
    session.require_database(database)
    if session.catalog.has_schema(session.cursor, database, schema):
        if tree.args.get("exists"):
            return results.status(f"{schema} already exists, statement succeeded.")
        raise already_exists(schema)
    with session.ddl(database):
        session.cursor.execute(f"CREATE SCHEMA {quote(database)}.{quote(schema)}")
        comment = _comment(_properties(tree))
        session.catalog.record(session.cursor, "SCHEMA", Name(database, "", schema), comment=comment)
    session.use(database, schema)
    return results.status(f"Schema {schema} successfully created.")


def drop(session: Session, tree: exp.Drop) -> results.Result:
    """DROP TABLE | VIEW | SCHEMA | DATABASE | STAGE | FILE FORMAT."""
    from caves_dagster.local.warehouse import stages

    kind = str(tree.args.get("kind", "")).upper()
    node = (tree.args.get("tables") or [tree.this])[0]
    exists = bool(tree.args.get("exists"))
    nothing = results.status("Drop statement executed successfully.")
    if kind == "DATABASE":
        session.transactions.commit()
        session.catalog.drop_database(node.name, missing_ok=exists)
        session.forget_database(node.name)
        return results.status(f"{node.name} successfully dropped.")
    if kind == "SCHEMA":
        return _drop_schema(session, node, exists)
    name = resolve_table(node, session.database, session.schema)
    if kind == "STAGE":
        return stages.drop(session, name, exists=exists)
    if kind in ("FILE FORMAT", "SEQUENCE"):
        with session.ddl(name.database):
            session.catalog.forget(session.cursor, kind, name)
        return nothing
    if kind not in ("TABLE", "VIEW"):
        raise unsupported(f"DROP {kind}")
    if not session.exists(name, kind):
        if exists:
            return nothing
        raise not_found(kind.capitalize(), name.dotted)
    with session.ddl(name.database):
        if kind == "TABLE":
            streams.strand(session, name)
        session.cursor.execute(f"DROP {kind} {name.sql}")
        session.catalog.forget(session.cursor, kind, name)
    return results.status(f"{name.name} successfully dropped.")


def comment(session: Session, tree: exp.Comment) -> results.Result:
    """COMMENT ON TABLE | VIEW | SCHEMA | COLUMN."""
    text = tree.expression.name
    kind = str(tree.args["kind"]).upper()
    if kind == "COLUMN":
        node = tree.this
        table = exp.table_(node.table, db=node.db, catalog=node.catalog or None, quoted=True)
        name = resolve_table(table, session.database, session.schema)
        with session.ddl(name.database):
            comment_column(session, name, node.name, text)
        return results.status()
    name = resolve_table(tree.this, session.database, session.schema)
    if kind == "SCHEMA":
        name = Name(folded(tree.this.args.get("db")) or str(session.database), "", name.name)
    elif not session.exists(name):
        raise not_found(kind.capitalize(), name.dotted)
    with session.ddl(name.database):
        comment_object(session, kind, name, text)
    return results.status()


def comment_object(session: Session, kind: str, name: Name, text: str) -> None:
    """Change an object's comment, leaving the rest of its row."""
    hidden = f"{quote(name.database)}.{HIDDEN}.objects"
    where = "WHERE kind = ? AND schema_name = ? AND name = ?"
    session.cursor.execute(f"UPDATE {hidden} SET comment = ? {where}", [text, kind, name.schema, name.name])


def comment_column(session: Session, table: Name, column: str, text: str) -> None:
    """Change a column's comment."""
    hidden = f"{quote(table.database)}.{HIDDEN}.columns"
    where = [table.schema, table.name, column]
    condition = "WHERE schema_name = ? AND table_name = ? AND column_name = ?"
    if session.cursor.execute(f"SELECT 1 FROM {hidden} {condition}", where).fetchall():
        session.cursor.execute(f"UPDATE {hidden} SET comment = ? {condition}", [text, *where])
    else:
        session.cursor.execute(f"INSERT INTO {hidden} VALUES (?, ?, ?, NULL, ?, false)", [*where, text])


def _drop_schema(session: Session, node: exp.Expr, exists: bool) -> results.Result:
    database = folded(node.args.get("catalog")) or session.database or ""
    schema = folded(node.args.get("db")) or node.name
    if schema.upper() == HIDDEN.upper() or not session.catalog.has_schema(session.cursor, database, schema):
        if exists:
            return results.status("Drop statement executed successfully.")
        raise not_found("Schema", f"{database}.{schema}")
    with session.ddl(database):
        for name, stream in list(session.catalog.streams.items()):
            if name.database == database and schema in (name.schema, stream.table.schema):
                streams.strand(session, stream.table)
        session.cursor.execute(f"DROP SCHEMA {quote(database)}.{quote(schema)} CASCADE")
        hidden = f"{quote(database)}.{HIDDEN}"
        where = f"WHERE schema_name = {literal(schema)}"
        session.cursor.execute(f"DELETE FROM {hidden}.objects {where}")
        session.cursor.execute(f"DELETE FROM {hidden}.columns {where}")
        session.cursor.execute(f"DELETE FROM {hidden}.loads {where}")
        session.cursor.execute(f"DELETE FROM {hidden}.task_runs {where}")
        session.catalog.forget(session.cursor, "SCHEMA", Name(database, "", schema))
    if (session.database, session.schema) == (database, schema):
        session.use(database, None)
    return results.status(f"{schema} successfully dropped.")


def _properties(tree: exp.Create) -> list[exp.Expr]:
    return list(tree.args["properties"].expressions) if tree.args.get("properties") else []


def _comment(properties: list[exp.Expr]) -> str | None:
    return next((p.this.name for p in properties if isinstance(p, exp.SchemaCommentProperty)), None)


def _qualified(query: exp.Expr, session: Session) -> exp.Expr:
    """A view's query with every table named in full: it is read under other sessions' current schemas."""
    ctes = {cte.alias_or_name for cte in query.find_all(exp.CTE)}
    for table in list(query.find_all(exp.Table)):
        bare = not table.args.get("db") and table.name in ctes
        if isinstance(table.this, exp.Identifier) and not bare and table.args.get("db", None) != HIDDEN:
            name = resolve_table(table, session.database, session.schema)
            table.set(
                "alias",
                table.args.get("alias") or exp.TableAlias(this=exp.to_identifier(name.name, quoted=True)),
            )
            table.set("db", exp.to_identifier(name.schema, quoted=True))
            table.set("catalog", exp.to_identifier(name.database, quoted=True))
    return query
