"""`caves gaps`: offsets that were or may have been lost before ingestion could read them."""

from __future__ import annotations

import getpass
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.table import Table

from caves_dagster.ingest.positions import GapReason
from caves_dagster.settings import Settings, load_settings
from caves_dagster.shop import Shop
from caves_dagster.shops import find_shop

app = typer.Typer(help="Offsets lost before ingestion could read them.", no_args_is_help=True)

ShopName = Annotated[str | None, typer.Option("--shop", help="Whose gaps; the first shop's.")]


@app.command("list")
def list_gaps(shop: ShopName = None) -> None:
    """Show every recorded gap, and who acknowledged it."""
    settings = load_settings()
    found = find_shop(settings, shop)
    table = Table(title=f"gaps of {found.name}", title_justify="left", title_style="bold")
    for column in ("topic", "partition", "from", "to", "reason", "found", "acknowledged"):
        table.add_column(column)
    for row in _run(settings, found, "ingest/read_gaps.sql"):
        end = "unknown" if row["OFFSET_TO"] is None else str(row["OFFSET_TO"])
        by = (
            f"{row['ACKNOWLEDGED_AT']:%Y-%m-%d %H:%M} by {row['ACKNOWLEDGED_BY']}"
            if row["ACKNOWLEDGED_AT"]
            else "-"
        )
        seen = f"{row['FOUND_AT']:%Y-%m-%d %H:%M}"
        partition, start = str(row["PARTITION_ID"]), str(row["OFFSET_FROM"])
        table.add_row(row["TOPIC"], partition, start, end, row["REASON"], seen, by)
    Console().print(table)


@app.command()
def acknowledge(
    reason: Annotated[GapReason, typer.Option(help="Only gaps of this reason.", case_sensitive=False)],
    by: Annotated[
        str | None, typer.Option(help="Who accepts the loss; your login name where not given.")
    ] = None,
    shop: ShopName = None,
) -> None:
    """Accept the open gaps of one reason, so that `offsets_accounted_for` passes again."""
    who = by or getpass.getuser()
    settings = load_settings()
    found = find_shop(settings, shop)
    (row,) = _run(settings, found, "ingest/acknowledge_gaps.sql", by=who, reason=reason.value)
    count = next(iter(row.values()))
    Console(highlight=False).print(f"{count} gaps of {found.name} ({reason}) acknowledged by {who}.")


def _run(settings: Settings, shop: Shop, script: str, **values: str) -> list[dict[str, Any]]:
    from caves_dagster.warehouse.connection import Warehouse
    from caves_dagster.warehouse.scripts import render, statements

    (statement,) = statements(render(shop.sql, script, raw=shop.raw))
    with Warehouse(settings.snowflake) as warehouse:
        return warehouse.query(statement, values or None)
