"""What write_pandas asks besides COPY: file formats, INFER_SCHEMA; and RESULT_SCAN."""

from __future__ import annotations

from typing import TYPE_CHECKING

import sqlglot
from sqlglot import exp

from caves_dagster.local.warehouse import results, stages
from caves_dagster.local.warehouse.errors import StatementError, already_exists
from caves_dagster.local.warehouse.names import literal, resolve_table

if TYPE_CHECKING:
    from caves_dagster.local.warehouse.session import Session

_TYPES = {
    "BOOLEAN": "BOOLEAN", "VARCHAR": "TEXT", "DOUBLE": "REAL", "FLOAT": "REAL", "DATE": "DATE",
    "TIME": "TIME", "BLOB": "BINARY",
}  # fmt: skip


def create_file_format(session: Session, tree: exp.Create) -> results.Result:
    """CREATE FILE FORMAT, for Parquet: there is nothing to keep but its name."""
    name = resolve_table(tree.this, session.database, session.schema)
    if session.catalog.options(session.cursor, "FILE FORMAT", name) is not None and not tree.args.get(
        "replace"
    ):
        if tree.args.get("exists"):
            return results.status(f"{name.name} already exists, statement succeeded.")
        raise already_exists(name.name)
    properties = tree.args["properties"].expressions if tree.args.get("properties") else []
    temporary = any(isinstance(p, exp.TemporaryProperty) for p in properties)
    with session.ddl(name.database):
        session.require_schema(name)
        owner = session.id if temporary else None
        session.catalog.record(session.cursor, "FILE FORMAT", name, session=owner)
    return results.status(f"File format {name.name} successfully created.")


def infer_schema(session: Session, tree: exp.Expr) -> exp.Expr:
    """Put the columns of staged Parquet files in the place of TABLE(INFER_SCHEMA(…))."""
    for node in list(tree.find_all(exp.TableFromRows)):
        call = node.this
        if not (isinstance(call, exp.Anonymous) and str(call.this).upper() == "INFER_SCHEMA"):
            continue
        arguments = {
            a.this.name.upper(): a.expression.name for a in call.expressions if isinstance(a, exp.Kwarg)
        }
        location = stages.locate(session, arguments.get("LOCATION", ""))
        found: dict[str, str] = {}
        for file in location.files():
            rows = session.cursor.execute(
                f"DESCRIBE SELECT * FROM read_parquet({literal(str(file))})"
            ).fetchall()
            for row in rows:
                found.setdefault(row[0], _snowflake_type(row[1]))
        values = ", ".join(
            f"({literal(name)}, {literal(kind)}, true, {index})"
            for index, (name, kind) in enumerate(found.items())
        )
        names = "COLUMN_NAME, TYPE, NULLABLE, ORDER_ID"
        query = f"SELECT * FROM (VALUES {values}) AS i({names})" if found else "SELECT 1 WHERE false"
        node.replace(exp.Subquery(this=sqlglot.parse_one(query, read="duckdb"), alias="_infer_schema"))
    return tree


def result_scan(session: Session, tree: exp.Expr) -> results.Result | None:
    """SELECT * FROM TABLE(RESULT_SCAN(id)), with nothing else in it."""
    calls = [c for c in tree.find_all(exp.Anonymous) if str(c.this).upper() == "RESULT_SCAN"]
    if not calls:
        return None
    argument = calls[0].expressions[0]
    query_id = argument.name if argument.is_string else session.last_query_id
    plain = isinstance(tree, exp.Select) and tree.is_star and not tree.args.get("where")
    if not plain:
        raise StatementError(
            "RESULT_SCAN is supported as SELECT * FROM TABLE(RESULT_SCAN(id)) only.", 2, "0A000"
        )
    if (found := session.recent.find(query_id)) is None:
        raise StatementError(f"Statement {query_id} not found", 709, "02000")
    return results.Result(found.table, found.kinds)


def _snowflake_type(kind: str) -> str:
    if kind.startswith("DECIMAL"):
        return kind.replace("DECIMAL", "NUMBER")
    if kind.startswith("TIMESTAMP"):
        return "TIMESTAMP_LTZ" if "TZ" in kind or "TIME ZONE" in kind else "TIMESTAMP_NTZ"
    if kind in _TYPES:
        return _TYPES[kind]
    return "NUMBER(38, 0)" if kind.lstrip("U").endswith("INT") or "INTEGER" in kind else "VARIANT"
