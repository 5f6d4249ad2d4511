"""Which part of the server runs which statement."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sqlglot import exp

from caves_dagster.local.warehouse import (
    alter,
    commands,
    copy,
    ddl,
    infer,
    merge,
    results,
    scripting,
    show,
    stages,
    streams,
    task_ddl,
    task_history,
    task_syntax,
)
from caves_dagster.local.warehouse.errors import StatementError, unsupported
from caves_dagster.local.warehouse.names import folded, resolve, resolve_table
from caves_dagster.local.warehouse.translate import check_current, normalise, to_duckdb

if TYPE_CHECKING:
    from caves_dagster.local.warehouse.session import Session


def command(session: Session, found: commands.Command) -> results.Result:
    """Run a statement that sqlglot does not know."""
    if isinstance(found, commands.Begin):
        session.transactions.begin(found.name)
        return results.status(statement_type=results.TCL)
    session.transactions.check()
    if isinstance(found, commands.CreateStream):
        return streams.create(session, found)
    if isinstance(found, commands.DropStream):
        return streams.drop(session, found)
    if isinstance(found, commands.DescribeStream):
        return streams.describe(session, found)
    if isinstance(found, task_syntax.TaskCommand):
        return _task(session, found)
    if isinstance(found, scripting.Block):
        return scripting.run(session, found)
    if isinstance(found, commands.Show):
        return show.run(session, found)
    if isinstance(found, commands.Remove):
        return stages.remove(session, found)
    if isinstance(found, commands.AlterSession):
        _alter_session(session, found)
    return results.status(statement_type=results.SCL)


def _task(session: Session, found: task_syntax.TaskCommand) -> results.Result:
    if isinstance(found, task_syntax.CreateTask):
        return task_ddl.create(session, found)
    if isinstance(found, task_syntax.AlterTask):
        return task_ddl.alter(session, found)
    if isinstance(found, task_syntax.DropTask):
        return task_ddl.drop(session, found)
    if isinstance(found, task_syntax.DescribeTask):
        return task_ddl.describe(session, found)
    name = resolve(found.name, session.database, session.schema)
    session.execute_task(name)
    return results.status(f"Task {name.name} is scheduled to run immediately.")


def run(session: Session, tree: exp.Expr) -> results.Result:
    """Run a parsed statement."""
    if isinstance(tree, exp.Commit):
        session.transactions.commit()
        return results.status(statement_type=results.TCL)
    if isinstance(tree, exp.Rollback):
        session.transactions.rollback()
        return results.status(statement_type=results.TCL)
    session.transactions.check()
    tree = normalise(tree, session.context())
    if isinstance(tree, exp.Use):
        return _use(session, tree)
    if isinstance(tree, exp.Put):
        return stages.put(session, tree)
    if isinstance(tree, exp.ListStage):
        return stages.listing(session, tree)
    if isinstance(tree, exp.Create):
        return _create(session, tree)
    if isinstance(tree, exp.Drop):
        return ddl.drop(session, tree)
    if isinstance(tree, exp.Alter):
        return alter.run(session, tree)
    if isinstance(tree, exp.Comment):
        return ddl.comment(session, tree)
    if isinstance(tree, exp.Describe):
        return show.describe_table(session, tree)
    check_current(tree, session.context())
    if isinstance(tree, exp.Insert | exp.Update | exp.Delete | exp.Merge | exp.Copy | exp.TruncateTable):
        return _write(session, tree)
    if isinstance(tree, exp.Query):
        return _query(session, tree)
    raise unsupported(tree.sql(dialect="snowflake")[:80])


def describe(session: Session, tree: exp.Expr) -> results.Result:
    """The columns a query would give, without its rows; nothing is run."""
    if not isinstance(tree, exp.Query):
        return results.status()
    tree = normalise(tree, session.context())
    check_current(tree, session.context())
    for call in list(tree.find_all(exp.Anonymous)):
        if str(call.this).upper().startswith("SYSTEM$"):
            call.replace(exp.Null())
    tree = task_history.table_function(session, tree)
    for mark in list(tree.find_all(exp.Placeholder)):
        mark.replace(exp.Null())
    _name_columns(tree)
    return results.fetch(session.cursor, f"SELECT * FROM ({to_duckdb(tree, session.context())}) LIMIT 0")


def _query(session: Session, tree: exp.Expr) -> results.Result:
    tree = _system_functions(session, tree)
    if isinstance(found := infer.result_scan(session, tree), results.Result):
        return found
    tree = task_history.table_function(session, infer.infer_schema(session, tree))
    _name_columns(tree)
    return results.fetch(session.cursor, to_duckdb(tree, session.context()))


def _write(session: Session, tree: exp.Expr) -> results.Result:
    if not session.autocommit:
        session.transactions.begin(implicit=True)
    read = streams.read_by(session, tree)
    if isinstance(tree, exp.Merge):
        with session.transactions.atomic():
            session.consumed.update(read)
            return merge.run(session, tree)
    if isinstance(tree, exp.Copy):
        return copy.run(session, tree)
    with session.transactions.atomic():
        session.consumed.update(read)
        return _change(session, tree)


def _change(session: Session, tree: exp.Expr) -> results.Result:
    context = session.context()
    if isinstance(tree, exp.TruncateTable):
        table = resolve_table(tree.expressions[0], session.database, session.schema)
        if not tree.args.get("exists") or session.exists(table):
            session.cursor.execute(f"DELETE FROM {table.sql}")
        return results.status()
    if isinstance(tree, exp.Insert) and tree.args.get("overwrite"):
        target = tree.this.this if isinstance(tree.this, exp.Schema) else tree.this
        session.cursor.execute(f"DELETE FROM {resolve_table(target, session.database, session.schema).sql}")
        tree.set("overwrite", None)
    if isinstance(tree, exp.Update):
        for item in tree.expressions:  # DuckDB takes no qualified column on the left of SET
            if isinstance(item, exp.EQ) and isinstance(item.this, exp.Column):
                item.this.set("table", None)
    row = session.cursor.execute(to_duckdb(tree, context)).fetchall()
    count = int(row[0][0]) if row else 0
    if isinstance(tree, exp.Insert):
        return results.counts(results.INSERT, rows_inserted=count)
    if isinstance(tree, exp.Update):
        found = results.counts(results.UPDATE, rows_updated=count)
        extra = results.rows({"number of multi-joined rows updated": "BIGINT"}, [(0,)])
        found.table = found.table.append_column("number of multi-joined rows updated", extra.table.column(0))
        found.kinds.append("BIGINT")
        return found
    return results.counts(results.DELETE, rows_deleted=count)


def _create(session: Session, tree: exp.Create) -> results.Result:
    kind = str(tree.args.get("kind", "")).upper()
    if kind == "DATABASE":
        name = tree.this.name
        session.transactions.commit()
        properties = tree.args["properties"].expressions if tree.args.get("properties") else []
        comment = next((p.this.name for p in properties if isinstance(p, exp.SchemaCommentProperty)), None)
        made = session.catalog.ensure_database(name, comment=comment, exist_ok=bool(tree.args.get("exists")))
        if not made:
            return results.status(f"{name} already exists, statement succeeded.")
        session.use(name, None)
        return results.status(f"Database {name} successfully created.")
    if kind == "SCHEMA":
        return ddl.create_schema(session, tree)
    if kind == "TABLE":
        return ddl.create_table(session, tree)
    if kind == "VIEW":
        return ddl.create_view(session, tree)
    if kind == "STAGE":
        return stages.create(session, tree)
    if kind == "FILE FORMAT":
        return infer.create_file_format(session, tree)
    if kind in ("WAREHOUSE", "ROLE"):
        return results.status()
    raise unsupported(f"CREATE {kind}")


def _use(session: Session, tree: exp.Use) -> results.Result:
    node = tree.args.get("kind")
    kind = (node.name if isinstance(node, exp.Expr) else str(node or "")).upper()
    target = tree.this
    if kind == "WAREHOUSE":
        session.warehouse = target.name
    elif kind == "ROLE":
        session.role = target.name
    elif kind == "DATABASE":
        session.use(target.name, None)
    elif kind == "SCHEMA" or (not kind and target.args.get("db")):
        session.use(folded(target.args.get("db")) or session.database, target.name)
    elif not kind:
        session.use(target.name, None)
    return results.status(statement_type=results.SCL + 0x300)


def _alter_session(session: Session, found: commands.AlterSession) -> None:
    from caves_dagster.local.warehouse.session import DEFAULTS

    for key, value in found.parameters.items():
        if key == "AUTOCOMMIT":
            session.transactions.commit()
        if key == "TIMEZONE" and value is not None and value.upper() not in ("UTC", "ETC/UTC"):
            raise unsupported("a time zone other than UTC")
        if value is None and key not in DEFAULTS:
            session.parameters.pop(key, None)
        else:
            session.parameters[key] = DEFAULTS[key] if value is None else value.lower()


def _system_functions(session: Session, tree: exp.Expr) -> exp.Expr:
    """SYSTEM$… calls are made now, and their result put in their place."""
    for call in list(tree.find_all(exp.Anonymous)):
        name = str(call.this).upper()
        if not name.startswith("SYSTEM$"):
            continue
        argument = call.expressions[0].name if call.expressions else ""
        if name == "SYSTEM$STREAM_HAS_DATA":
            made: exp.Expr = exp.Boolean(this=streams.has_data(session, argument))
        elif name == "SYSTEM$ABORT_TRANSACTION":
            made = exp.Literal.string(session.abort_transaction(argument))
        elif name == "SYSTEM$TASK_DEPENDENTS_ENABLE":
            made = exp.Literal.string(task_ddl.enable_dependents(session, argument))
        else:
            raise StatementError(f"SQL compilation error:\nUnknown function {name}", 2140, "42601")
        if isinstance(call.parent, exp.Select) and call.arg_key == "expressions":
            made = exp.alias_(made, call.sql(dialect="snowflake"), quoted=True)
        call.replace(made)
    return tree


def _name_columns(tree: exp.Expr) -> None:
    """Snowflake names an unnamed column after its text in upper case; DuckDB after its own rewriting."""
    query = tree
    while isinstance(query, exp.SetOperation | exp.Subquery):
        query = query.this
    if not isinstance(query, exp.Select):
        return
    for column in list(query.expressions):
        if isinstance(column, exp.Column | exp.Alias | exp.Star) or column.is_star:
            continue
        if any(isinstance(inner, exp.Explode) for inner in column.walk()):
            continue
        column.replace(exp.alias_(column.copy(), column.sql(dialect="snowflake").upper(), quoted=True))
