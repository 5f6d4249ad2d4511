"""`caves gaps`: offsets that were or may have been lost before ingestion could read them."""

from __future__ import annotations

import getpass
import json
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console
from rich.table import Table

from caves_dagster.errors import NotConfirmed
from caves_dagster.ingest.positions import GapReason
from caves_dagster.settings import load_settings
from caves_dagster.shop import Shop
from caves_dagster.shops import find_shop

if TYPE_CHECKING:
    from caves_dagster.warehouse.connection import Row

app = typer.Typer(help="Offsets lost before ingestion could read them.", no_args_is_help=True)

ShopName = Annotated[str | None, typer.Option("--shop", help="Whose gaps; the first shop's.")]


@app.command("list")
def list_gaps(shop: ShopName = None) -> None:
    """Show every recorded gap, and who acknowledged it."""
    from caves_dagster.warehouse.connection import Warehouse

    settings = load_settings()
    found = find_shop(settings, shop)
    with Warehouse(settings.snowflake) as warehouse:
        rows = warehouse.query(_statement(found, "ingest/read_gaps.sql"))
    _print(f"gaps of {found.name}", rows)


@app.command()
def acknowledge(
    reason: Annotated[GapReason, typer.Option(help="Only gaps of this reason.", case_sensitive=False)],
    by: Annotated[
        str | None, typer.Option(help="Who accepts the loss; your login name where not given.")
    ] = None,
    shop: ShopName = None,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
) -> None:
    """Accept the open gaps of one reason, so that `offsets_accounted_for` passes again.

    They are shown first, and no others are accepted, whatever ingestion comes upon meanwhile.
    """
    from caves_dagster.warehouse.connection import Warehouse

    who = by or getpass.getuser()
    settings = load_settings()
    found = find_shop(settings, shop)
    console = Console(highlight=False)
    with Warehouse(settings.snowflake) as warehouse:
        rows = warehouse.query(_statement(found, "ingest/read_gaps.sql"))
        rows = [row for row in rows if row["REASON"] == reason.value and row["ACKNOWLEDGED_AT"] is None]
        if not rows:
            console.print(f"There is no open gap of {found.name} for this reason: {reason}.")
            return
        _print(f"open gaps of {found.name}", rows)
        if not yes:
            if not sys.stdin.isatty():
                raise NotConfirmed("Nobody is there to be asked, and --yes is missing.", "Add --yes.")
            typer.confirm("Accept these gaps?", abort=True)
        gaps = json.dumps([row["GAP_ID"] for row in rows])
        statement = _statement(found, "ingest/acknowledge_gaps.sql")
        count = warehouse.execute(statement, {"by": who, "gaps": gaps})
    console.print(f"Gaps of {found.name} ({reason}) acknowledged by {who}: {count}.")


def _statement(shop: Shop, script: str) -> str:
    from caves_dagster.warehouse.scripts import render, statements

    (statement,) = statements(render(shop.sql, script, raw=shop.raw))
    return statement


def _print(title: str, rows: Sequence[Row]) -> None:
    table = Table(title=title, title_justify="left", title_style="bold")
    for column in ("topic", "partition", "from", "to", "reason", "found", "acknowledged"):
        table.add_column(column)
    for row in rows:
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
