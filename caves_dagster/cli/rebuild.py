"""`caves rebuild`: STAGING and PRODUCTION anew from RAW."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console
from rich.table import Table

from caves_dagster.settings import load_settings
from caves_dagster.shops import find_shop

if TYPE_CHECKING:
    from caves_dagster.rebuild import RebuildReport


def rebuild(
    shop: Annotated[str | None, typer.Option(help="Which shop; the first one.")] = None,
    confirm: Annotated[
        str | None, typer.Option(help="The words `rebuild <shop>`, instead of being asked for them.")
    ] = None,
) -> None:
    """Delete and refill STAGING and PRODUCTION from RAW, in one transaction; landing goes on."""
    from caves_dagster import rebuild as rebuilding
    from caves_dagster.checks.catalogue import integrity_checks
    from caves_dagster.checks.check import run_check
    from caves_dagster.warehouse.connection import Warehouse

    settings = load_settings()
    found = find_shop(settings, shop)
    if confirm is None:
        question = f"This deletes and refills STAGING and PRODUCTION. Type '{rebuilding.confirmation(found)}'"
        confirm = typer.prompt(question, default="", show_default=False)
    rebuilding.require_confirmation(found, confirm)
    console = Console(highlight=False, soft_wrap=True)
    with Warehouse(settings.snowflake) as warehouse:
        report = rebuilding.rebuild(warehouse, found, console.print)
        console.print(_rows(report))
        failed = False
        for check in integrity_checks(found):
            outcome = run_check(warehouse, found, check)
            failed |= outcome.status == "FAIL"
            console.print(f"{check.name}: {outcome.status} {outcome.said}")
    raise typer.Exit(int(failed))


def _rows(report: RebuildReport) -> Table:
    table = Table(title=f"rebuilt in {report.seconds:.1f} s", title_justify="left", title_style="bold")
    table.add_column("table")
    for column in ("rows before", "rows after", "changed by streams"):
        table.add_column(column, justify="right")
    for name, after in report.after.items():
        figures = (report.before[name], after, report.came_back[name])
        table.add_row(name, *(f"{figure:,}" for figure in figures))
    return table
