"""The analytics layer: views, which are always current; materialising one shows what it says now."""

from collections.abc import Sequence
from typing import Any

import dagster as dg
import sqlglot
from sqlglot import exp

from caves_dagster.assets.description import SAMPLE_ROWS, markdown_table, sample, table_spec
from caves_dagster.assets.plot import plot_markdown
from caves_dagster.shop import Shop, Table, View
from caves_dagster.warehouse.connection import Row, Warehouse
from caves_dagster.warehouse.scripts import render, statements


def analytics_assets(shop: Shop) -> list[dg.AssetsDefinition]:
    """One asset a view."""
    return [_view_asset(shop, view) for view in shop.views]


def _sources(shop: Shop, view: Table) -> list[list[str]]:
    """Asset keys of the tables that the view reads, from its own SQL."""
    (statement,) = statements(render(shop.sql, f"{shop.name}/analytics/{view.name.lower()}.sql"))
    tables = sqlglot.parse_one(statement, dialect="snowflake").find_all(exp.Table)
    names = {(table.db.upper(), table.name.upper()) for table in tables if table.db}
    return [Table(*name).key for name in sorted(names - {(view.schema, view.name)})]


def _view_asset(shop: Shop, view: View) -> dg.AssetsDefinition:
    @dg.multi_asset(
        name=f"{shop.name}_{view.name.lower()}",
        specs=[table_spec(shop, view, "analytics", _sources(shop, view))],
        required_resource_keys={"warehouse", "heartbeat"},
    )
    def look(context: dg.AssetExecutionContext) -> dg.MaterializeResult[Any]:
        return dg.MaterializeResult(metadata=look_at(context.resources.warehouse, shop, view))

    return look


def look_at(warehouse: Warehouse, shop: Shop, view: View) -> dict[str, Any]:
    """What a materialisation shows of a view: its rows, totals, a sample and a plot."""
    if view.summarised:
        name = f"{shop.name}/analytics/summary/{view.name.lower()}.sql"
        (statement,) = statements(render(shop.sql, name))
        rows = warehouse.query(statement)
        count = sum(int(row["ROW_COUNT"]) for row in rows)
        shown = sample(warehouse, view, view.order)
    else:
        rows = warehouse.query(f"SELECT * FROM {view.full_name}")
        count = len(rows)
        shown = dg.MetadataValue.md(markdown_table(rows[:SAMPLE_ROWS]))
    return {
        "dagster/row_count": count,
        "plot": dg.MetadataValue.md(plot_markdown(view.plot, rows)),
        "totals": dg.MetadataValue.md(markdown_table(_totals(view, rows))),
        "sample": shown,
    }


def _totals(view: View, rows: Sequence[Row]) -> list[dict[str, Any]]:
    """The sums of what adds up: one row, and before it one for each series of the plot."""
    series = view.plot.series
    parts = sorted({row[series] for row in rows}) if series else []
    return [_sums(view, [row for row in rows if row[series] == part]) | {series: part} for part in parts] + [
        _sums(view, rows) | ({series: "all"} if series else {})
    ]


def _sums(view: View, rows: Sequence[Row]) -> dict[str, Any]:
    return {column: sum(row[column] or 0 for row in rows) for column in view.totals}
