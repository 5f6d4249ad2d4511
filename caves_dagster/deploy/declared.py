"""What a shop's setup statements create: one object each, in the order in which they have to be there."""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

from caves_dagster.shop import SQL_ROOT, Shop
from caves_dagster.warehouse.scripts import render, setup_sql, statements

if TYPE_CHECKING:
    from caves_dagster.warehouse.ddl import Column

_CREATE = re.compile(
    r"CREATE (?:OR REPLACE )?(SCHEMA|TABLE|VIEW|STREAM|STAGE)(?: IF NOT EXISTS)? ([\w.$]+)", re.IGNORECASE
)
_ROW = re.compile(r"INSERT INTO ([\w.$]+)", re.IGNORECASE)
_ON_TABLE = re.compile(r"ON TABLE ([\w.$]+)", re.IGNORECASE)


@dataclass(frozen=True)
class Declared:
    """One setup statement.

    Attributes:
        kind: "schema", "table", "view", "stream" or "stage"; "row" for the INSERT of a table's only row;
            "statement" for what this project cannot compare, and runs each time.
        name: `SCHEMA.NAME` in upper case; of a schema its name.
        sql: the statement.
        columns: of a table.
        comment: of a table or view.
        on: the table under a stream.
        query: of a view, as `view_query` writes it.
        fills: by column, the statement that gives rows from before the column a value.
    """

    kind: str
    name: str
    sql: str
    columns: tuple[Column, ...] = ()
    comment: str = ""
    on: str = ""
    query: str = ""
    fills: tuple[tuple[str, str], ...] = ()


def declared(shop: Shop) -> tuple[Declared, ...]:
    """What the setup statements are about, in their order: kind, name, statement and a stream's table."""
    return tuple(_declared(text) for text in setup_sql(shop))


@cache
def declared_in_detail(shop: Shop) -> tuple[Declared, ...]:
    """The same with columns, comments, queries and fills. The parser costs a third of a second."""
    return tuple(_in_detail(shop, one) for one in declared(shop))


def sql_hash(shop: Shop) -> str:
    """SHA-256 of the setup statements, in hexadecimal: the same for the same SQL, whatever its comments."""
    return hashlib.sha256("\n;\n".join(setup_sql(shop)).encode()).hexdigest()


def view_query(text: str) -> str:
    """The query of a CREATE VIEW, or a query alone, in one spelling: names in capitals, without database."""
    import sqlglot
    from sqlglot import exp

    tree = sqlglot.parse_one(text, dialect="snowflake")
    query = tree.expression if isinstance(tree, exp.Create) else tree
    for table in query.find_all(exp.Table):
        table.set("catalog", None)
    for name in query.find_all(exp.Identifier):
        name.replace(exp.to_identifier(name.name if name.quoted else name.name.upper()))
    return query.sql(dialect="snowflake", comments=False)


def _declared(text: str) -> Declared:
    if match := _ROW.match(text):
        return Declared("row", match[1].upper(), text)
    match = _CREATE.match(text)
    if match is None:
        return Declared("statement", " ".join(text.split())[:60], text)
    on = _ON_TABLE.search(text) if match[1].upper() == "STREAM" else None
    return Declared(match[1].lower(), match[2].upper(), text, on=on[1].upper() if on else "")


def _in_detail(shop: Shop, one: Declared) -> Declared:
    from caves_dagster.warehouse.ddl import described

    if one.kind not in ("table", "view"):
        return one
    found = described(shop)[one.name]
    if one.kind == "view":
        return replace(one, comment=found.comment, query=view_query(one.sql))
    return replace(one, columns=found.columns, comment=found.comment, fills=_fills(shop, one.name))


def _fills(shop: Shop, table: str) -> tuple[tuple[str, str], ...]:
    """`fill/<table>.<column>.sql`, of the shop or of ingestion."""
    name = table.partition(".")[2].lower()
    folders: tuple[tuple[Path, str], ...] = ((SQL_ROOT, "ingest"), (shop.sql, shop.name))
    found = []
    for root, folder in folders:
        for path in sorted((root / folder / "fill").glob(f"{name}.*.sql")):
            (text,) = statements(render(root, f"{folder}/fill/{path.name}", raw=shop.raw))
            found.append((path.name.split(".")[1].upper(), text))
    return tuple(found)
