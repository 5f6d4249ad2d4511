"""What a database has of a shop's objects, read by half a dozen metadata statements."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from caves_dagster.deploy.declared import Declared, view_query
from caves_dagster.shop import SQL_ROOT
from caves_dagster.warehouse.connection import Row, Warehouse
from caves_dagster.warehouse.scripts import render, statements
from caves_dagster.warehouse.stored import type_of


@dataclass(frozen=True)
class FoundColumn:
    """A column as INFORMATION_SCHEMA describes it; `type` as `stored_type` spells it."""

    type: str
    nullable: bool
    comment: str = ""
    has_default: bool = False


@dataclass(frozen=True)
class FoundTable:
    """A table; `rows` may be an estimate, but is 0 only for an empty one."""

    rows: int
    comment: str
    columns: dict[str, FoundColumn]


@dataclass(frozen=True)
class FoundView:
    """A view; its query in one spelling, None where the role may not see it."""

    query: str | None
    comment: str


@dataclass(frozen=True)
class FoundStream:
    """A stream: the table under it, what it hands on, and until when it can be read."""

    on: str
    mode: str
    stale: bool
    stale_after: datetime | None = None


@dataclass(frozen=True)
class Found:
    """Everything by `SCHEMA.NAME`; `one_row` counts the rows of the tables that hold one."""

    schemas: frozenset[str] = frozenset()
    tables: dict[str, FoundTable] = field(default_factory=dict)
    views: dict[str, FoundView] = field(default_factory=dict)
    streams: dict[str, FoundStream] = field(default_factory=dict)
    stages: frozenset[str] = frozenset()
    one_row: dict[str, int] = field(default_factory=dict)


NOTHING = Found()
"""What an empty database has."""


def read_found(warehouse: Warehouse, declared: Iterable[Declared]) -> Found:
    """What the session's current database has of these objects. Changes nothing.

    Raises:
        WarehouseUnreachable, SignInRefused, StatementFailed: as any statement.
    """
    declared = tuple(declared)
    wanted = sorted({one.name.partition(".")[0] for one in declared if one.kind != "statement"})
    schemas = frozenset(row["SCHEMA_NAME"] for row in _rows(warehouse, "read_schemas", schemas=wanted))
    if not schemas:
        return NOTHING
    columns: dict[str, dict[str, FoundColumn]] = {}
    for row in _rows(warehouse, "read_columns", schemas=wanted):
        columns.setdefault(_table(row), {})[row["COLUMN_NAME"]] = _column(row)
    tables = {
        _table(row): FoundTable(
            int(row["ROW_COUNT"] or 0), row["COMMENT"] or "", columns.get(_table(row), {})
        )
        for row in _rows(warehouse, "read_tables", schemas=wanted)
    }
    views = {
        _table(row): FoundView(
            view_query(row["VIEW_DEFINITION"]) if row["VIEW_DEFINITION"] else None, row["COMMENT"] or ""
        )
        for row in _rows(warehouse, "read_views", schemas=wanted)
    }
    counted = [one.name for one in declared if one.kind == "row" and one.name in tables]
    one_row = _rows(warehouse, "count_rows", tables=counted) if counted else []
    return Found(
        schemas=schemas,
        tables=tables,
        views=views,
        streams={_shown(row): _stream(row) for row in warehouse.query("SHOW STREAMS IN DATABASE")},
        stages=frozenset(_shown(row) for row in warehouse.query("SHOW STAGES IN DATABASE")),
        one_row={row["NAME"]: int(row["N"]) for row in one_row},
    )


def _rows(warehouse: Warehouse, name: str, **names: Any) -> list[Row]:
    (statement,) = statements(render(SQL_ROOT, f"deploy/{name}.sql", **names))
    return warehouse.query(statement)


def _table(row: Row) -> str:
    return f"{row['TABLE_SCHEMA']}.{row['TABLE_NAME']}"


def _shown(row: Row) -> str:
    return f"{row['SCHEMA_NAME']}.{row['NAME']}"


def _column(row: Row) -> FoundColumn:
    return FoundColumn(
        type_of(row),
        row["IS_NULLABLE"] == "YES",
        row["COMMENT"] or "",
        row["COLUMN_DEFAULT"] is not None,
    )


def _stream(row: Row) -> FoundStream:
    # The table is given with its database, and may be gone.
    on = ".".join(str(row["TABLE_NAME"]).split(".")[-2:])
    return FoundStream(on, str(row["MODE"]), str(row["STALE"]).lower() == "true", row.get("STALE_AFTER"))
