"""Whether a shop's SQL does what its declaration says: tables, streams, the columns each file produces."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence

import sqlglot
from sqlglot import exp

from caves_dagster.declaration import refusal
from caves_dagster.errors import DeclarationError
from caves_dagster.shop import DASHBOARD_COLUMNS, Shop, View
from caves_dagster.warehouse.ddl import Column, described
from caves_dagster.warehouse.scripts import render, setup_sql, statements, transformation_sql

_OF_INGESTION = (
    "INGESTION_TIME",
    "KAFKA_TOPIC",
    "KAFKA_PARTITION",
    "KAFKA_OFFSET",
    "KAFKA_TIMESTAMP",
    "BATCH_ID",
)
"""Columns of every raw table that ingestion fills by itself."""
_STREAM = re.compile(r"CREATE STREAM IF NOT EXISTS (\S+)\s+ON TABLE (\S+)", re.IGNORECASE)


def check_sql(shop: Shop) -> None:
    """Hold a shop's SQL files against its declaration. Connects to nothing; takes some 50 ms.

    Raises:
        DeclarationError: the first fault, with shop, field and file.
    """
    tables = {name: one.columns for name, one in described(shop).items()}
    _check_created(shop, tables)
    _check_raw(shop, tables)
    _check_streams(shop)
    for index, step in enumerate(shop.transformations):
        for table in step.writes:
            field = f"transformations[{index}].writes"
            file = f"{shop.name}/{step.layer}/{table.name.lower()}.sql"
            script = transformation_sql(shop, step.layer, table, step.stream)
            produced = _produced(shop, field, file, script, table.full_name)
            _require_columns(shop, field, file, table.full_name, produced, tables[table.full_name])
    _check_batch(shop, tables)
    for view in shop.views:
        _check_view(shop, view)
    for part in shop.dashboard.parts:
        _check_dashboard(shop, part)


def _check_created(shop: Shop, tables: Mapping[str, Sequence[Column]]) -> None:
    for index, step in enumerate(shop.transformations):
        for table in step.writes:
            if table.full_name not in tables:
                raise _not_created(shop, f"transformations[{index}].writes", table.full_name)
    batch = shop.batch.in_source if shop.batch else ()
    for field, table in (("raw", shop.raw), *(("batch.tables", one.table) for one in batch)):
        if table.full_name not in tables:
            raise _not_created(shop, field, table.full_name)


def _not_created(shop: Shop, field: str, name: str) -> DeclarationError:
    return refusal(shop, field, f"no statement of {shop.folder / 'setup'} creates {name}.", "Write its DDL.")


def _check_raw(shop: Shop, tables: Mapping[str, Sequence[Column]]) -> None:
    """The COPY takes all that the contract and ingestion give, and nothing else, into columns there are."""
    file = f"{shop.name}/raw/{shop.raw.name.lower()}.sql"
    columns = [column.name for column in tables[shop.raw.full_name]]
    given = {*shop.contract.columns, *_OF_INGESTION}
    for name in sorted(given):
        if name not in columns:
            raise refusal(
                shop,
                "contract.columns" if name in shop.contract.columns else "raw",
                f"{shop.raw.full_name} has no column {name}.",
                "Add it to the DDL.",
            )
    (copy,) = statements(render(shop.sql, file, file="file.parquet"))
    read = re.findall(r"\$1:(\w+)", copy)
    for name in dict.fromkeys((*sorted(given), *read)):
        if (name in given) != (name in read):
            verb = "does not read" if name in given else "reads"
            ending = "" if name in given else ", which neither the contract nor ingestion gives"
            raise refusal(shop, "contract.columns", f"{file} {verb} {name}{ending}.", "Correct the COPY.")
    tree = _parsed(shop, "raw", file, copy)
    into = tree.find(exp.Schema)
    names = [column.name.upper() for column in into.expressions] if into is not None else []
    _require_columns(shop, "raw", file, shop.raw.full_name, names, tables[shop.raw.full_name])


def _check_streams(shop: Shop) -> None:
    found = {m[1].upper(): m[2].upper() for text in setup_sql(shop) if (m := _STREAM.match(text))}
    for index, step in enumerate(shop.transformations):
        stream, source = step.stream.full_name, step.source.full_name
        if found.get(stream) != source:
            on = f"is on {found[stream]}, not on {source}" if stream in found else "is not created"
            raise refusal(
                shop,
                f"transformations[{index}].stream",
                f"{stream} {on}.",
                f"Write CREATE STREAM IF NOT EXISTS {stream} ON TABLE {source} in {shop.folder / 'setup'}.",
            )


def _produced(shop: Shop, field: str, file: str, script: Sequence[str], table: str) -> list[str]:
    """The columns of `table` that the script's INSERT or MERGE fills in a new row."""
    for statement in script:
        tree = _parsed(shop, field, file, statement)
        if isinstance(tree, exp.Merge):
            target = tree.this
            inserts = [one.args["then"].this for one in tree.find_all(exp.When) if not one.args["matched"]]
            columns = [column.name for insert in inserts for column in insert.expressions]
        elif isinstance(tree, exp.Insert):
            target = tree.this.this if isinstance(tree.this, exp.Schema) else tree.this
            columns = [column.name for column in getattr(tree.this, "expressions", [])]
        else:
            continue
        if f"{target.db}.{target.name}".upper() == table:
            return [column.upper() for column in columns]
    raise refusal(
        shop,
        field,
        f"{file} has no INSERT or MERGE into {table}.",
        "A file is named after the table it writes.",
    )


def _require_columns(
    shop: Shop, field: str, file: str, table: str, produced: Sequence[str], columns: Iterable[Column]
) -> None:
    """A file produces columns that there are, and every one that may not be NULL."""
    there = {column.name: column for column in columns}
    if unknown := [name for name in produced if name not in there]:
        raise refusal(
            shop, field, f"{file} writes {unknown[0]}, which {table} has not.", f"It has: {', '.join(there)}."
        )
    lacking = [name for name, column in there.items() if not column.nullable and name not in produced]
    if lacking:
        raise refusal(
            shop,
            field,
            f"{file} does not produce {lacking[0]} of {table}, which is NOT NULL.",
            "Add it there.",
        )


def _check_batch(shop: Shop, tables: Mapping[str, Sequence[Column]]) -> None:
    for index, one in enumerate(shop.batch.in_source if shop.batch else ()):
        there = [column.name for column in tables[one.table.full_name]]
        day = (one.day,) if one.day else ()
        for name in (one.key, *day, *one.at_least, *one.totals, *one.columns):
            if name not in there:
                raise refusal(
                    shop,
                    f"batch.tables[{index}]",
                    f"{one.table.full_name} has no column {name!r}.",
                    f"It has: {', '.join(there)}.",
                )


def _check_view(shop: Shop, view: View) -> None:
    """The view is there, and its plot and totals are of columns that it, or its summary, has."""
    file = f"{shop.name}/analytics/{view.name.lower()}.sql"
    tree = _parsed(shop, "views", file, *statements(render(shop.sql, file)))
    created = tree.find(exp.Table)
    if created is None or f"{created.db}.{created.name}".upper() != view.full_name:
        raise refusal(
            shop, "views", f"{file} does not create {view.full_name}.", "Write CREATE OR REPLACE VIEW."
        )
    query = tree.expression
    if view.summarised:
        file = f"{shop.name}/analytics/summary/{view.name.lower()}.sql"
        query = _parsed(shop, "views", file, *statements(render(shop.sql, file)))
    selected = [name.upper() for name in query.named_selects]
    counted = ("ROW_COUNT",) if view.summarised else ()
    series = (view.plot.series,) if view.plot.series else ()
    for name in (view.plot.x, view.plot.y, *series, *view.totals, *counted):
        if name not in selected:
            raise refusal(
                shop,
                "views",
                f"{view.full_name}: {file} produces no column {name}.",
                f"It produces: {', '.join(selected)}.",
            )


def _check_dashboard(shop: Shop, part: str) -> None:
    """A part of the dashboard is one SELECT of the columns that it takes, in their order."""
    file = f"{shop.name}/dashboard/{part}.sql"
    text = render(shop.sql, file)
    tree = _parsed(shop, "dashboard", file, *statements(text))
    if not isinstance(tree, exp.Query) or text.rstrip().endswith(";"):
        raise refusal(
            shop, "dashboard", f"{file} is no SELECT without a semicolon.", "It is put into another."
        )
    selected, wanted = [name.upper() for name in tree.named_selects], list(DASHBOARD_COLUMNS[part])
    if selected != wanted:
        raise refusal(
            shop, "dashboard", f"{file} produces {', '.join(selected)}.", f"Select {', '.join(wanted)}."
        )


def _parsed(shop: Shop, field: str, file: str, *texts: str) -> exp.Expr:
    """The only statement of a file."""
    if len(texts) != 1:
        raise refusal(shop, field, f"{file} has {len(texts)} statements.", "One is expected.")
    try:
        return sqlglot.parse_one(texts[0], dialect="snowflake")
    except sqlglot.errors.ParseError as error:
        raise refusal(shop, field, f"{file} is not SQL: {error}", "Correct it.") from None
