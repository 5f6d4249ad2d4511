"""What the UI says of a table: its schema from the DDL, and after a run a sample and totals."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import date, datetime
from typing import Any

import dagster as dg

from caves_dagster.shop import Shop, Table
from caves_dagster.warehouse.connection import Row, Warehouse
from caves_dagster.warehouse.ddl import described

SAMPLE_ROWS = 5
_CELL = 60


def table_spec(shop: Shop, table: Table, group: str, deps: Sequence[Any]) -> dg.AssetSpec:
    """The asset of a warehouse table or view, described by its DDL."""
    found = described(shop)[table.full_name]
    metadata: dict[str, Any] = {"dagster/table_name": table.full_name}
    if found.columns:
        metadata["dagster/column_schema"] = dg.TableSchema(
            [
                dg.TableColumn(
                    column.name,
                    column.type,
                    column.comment,
                    constraints=dg.TableColumnConstraints(nullable=column.nullable),
                )
                for column in found.columns
            ]
        )
    return dg.AssetSpec(
        table.key,
        deps=deps,
        group_name=group,
        description=found.comment,
        kinds={"snowflake"},
        metadata=metadata,
    )


def sample(warehouse: Warehouse, table: Table, order_by: str = "") -> dg.MarkdownMetadataValue:
    """A few rows of the table, for people."""
    order = f" ORDER BY {order_by}" if order_by else ""
    rows = warehouse.query(f"SELECT * FROM {table.full_name}{order} LIMIT {SAMPLE_ROWS}")
    return dg.MetadataValue.md(markdown_table(rows))


def markdown_table(rows: Sequence[Mapping[str, Any]]) -> str:
    """Rows as a Markdown table; long cells are cut, pipes escaped."""
    if not rows:
        return "*(no rows)*"
    names = list(rows[0])
    lines = [f"| {' | '.join(names)} |", f"|{'---|' * len(names)}"]
    lines += [f"| {' | '.join(_cell(row[name]) for name in names)} |" for row in rows]
    return "\n".join(lines)


def _cell(value: Any) -> str:
    if value is None:
        return ""
    text = value.isoformat(sep=" ") if isinstance(value, datetime) else str(value)
    if isinstance(value, date) and not isinstance(value, datetime):
        text = value.isoformat()
    text = " ".join(text.split()).replace("|", "\\|")
    return text if len(text) <= _CELL else text[: _CELL - 1] + "…"


def one(warehouse: Warehouse, sql: str) -> Row:
    """The only row of a query."""
    (row,) = warehouse.query(sql)
    return row
