"""The analytics layer: views, which are always current; materialising one shows what it says now."""

from typing import Any

import dagster as dg
import sqlglot
from sqlglot import exp

from caves_dagster.assets.description import markdown_table, table_spec
from caves_dagster.shop import Shop, Table
from caves_dagster.warehouse.scripts import render, statements

_SHOWN_ROWS = 10


def analytics_assets(shop: Shop) -> list[dg.AssetsDefinition]:
    """One asset a view."""
    return [_view_asset(shop, view) for view in shop.views]


def _sources(shop: Shop, view: Table) -> list[list[str]]:
    """Asset keys of the tables that the view reads, from its own SQL."""
    (statement,) = statements(render(shop.sql, f"{shop.name}/analytics/{view.name.lower()}.sql"))
    tables = sqlglot.parse_one(statement, dialect="snowflake").find_all(exp.Table)
    names = {(table.db.upper(), table.name.upper()) for table in tables if table.db}
    return [Table(*name).key for name in sorted(names - {(view.schema, view.name)})]


def _view_asset(shop: Shop, view: Table) -> dg.AssetsDefinition:
    @dg.multi_asset(
        name=f"{shop.name}_{view.name.lower()}",
        specs=[table_spec(shop, view, "analytics", _sources(shop, view))],
        required_resource_keys={"warehouse", "heartbeat"},
    )
    def look(context: dg.AssetExecutionContext) -> dg.MaterializeResult[Any]:
        rows = context.resources.warehouse.query(f"SELECT * FROM {view.full_name}")
        shown = markdown_table(rows[:_SHOWN_ROWS])
        return dg.MaterializeResult(
            metadata={"dagster/row_count": len(rows), "now": dg.MetadataValue.md(shown)}
        )

    return look
