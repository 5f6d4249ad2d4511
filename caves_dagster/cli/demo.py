"""`caves demo`: the main job, from publishing to the figures, on a platform of its own."""

from __future__ import annotations

import secrets
import shutil
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich import progress
from rich.console import Console
from rich.table import Table

from caves_dagster.errors import CavesError

if TYPE_CHECKING:
    from caves_dagster.demo_history import Sold
    from caves_dagster.demo_shop import ShopResult


def demo(
    count: Annotated[int, typer.Option(min=1, help="Events to publish, over all shops.")] = 20_000,
    invalid_rate: Annotated[float, typer.Option(min=0, max=1, help="Share of them that is invalid.")] = 0.01,
    rate: Annotated[float, typer.Option(min=0, help="Events a second; 0 is as fast as it goes.")] = 1000,
    seed: Annotated[int | None, typer.Option(help="Repeat the events of an earlier demo.")] = None,
    keep: Annotated[bool, typer.Option(help="Keep the platform's folder, and print where it is.")] = False,
) -> None:
    """Load histories, publish events, watch the sensors carry them, and hold both against the tables."""
    from caves_dagster.demo import Progress, run_demo

    console = Console()
    chosen = secrets.randbelow(2**31) if seed is None else seed
    console.print(f"{count:,} events, {invalid_rate:.1%} invalid, seed {chosen}.")
    home = Path(tempfile.mkdtemp(prefix="caves-demo-"))
    bars = progress.Progress(
        progress.TextColumn("{task.description:<12}"),
        progress.BarColumn(),
        progress.MofNCompleteColumn(),
        progress.TimeElapsedColumn(),
        progress.TextColumn("{task.fields[note]}"),
        console=console,
    )
    passed = False
    try:
        with bars:
            tasks = {
                name: bars.add_task(name, total=count, note="")
                for name in ("published", "landed", "production")
            }

            def show(seen: Progress) -> None:
                bars.update(tasks["published"], completed=seen.published, note=f"[dim]{seen.stage}[/]")
                bars.update(tasks["landed"], completed=seen.landed)
                bars.update(tasks["production"], completed=seen.produced)

            result = run_demo(home, count, invalid_rate, rate, chosen, show)
        for one in result.shops:
            console.print(_counts(f"{one.shop}: rows per table", "table", one.rows))
            letters = dict(one.dead_letters.most_common())
            console.print(_counts(f"{one.shop}: dead letters by reason", "class", letters))
            console.print(_checks(one))
        if result.sales:
            console.print(_sales(result.sales))
        console.print(
            f"{count / result.seconds:,.0f} events/s from the first published to the last in production "
            f"({result.seconds:.1f} s, published at {rate:,.0f}/s), in {result.runs.total()} Dagster runs."
        )
        console.print(
            f"From an event's timestamp to its row in production: p50 {result.latency(50):.1f} s, "
            f"p95 {result.latency(95):.1f} s."
        )
        if result.problems:
            raise CavesError(" ".join(result.problems), f"The platform's folder is kept: {home}.")
        console.print(f"[bold green]Every one of {count:,} messages is accounted for, and no check fails.[/]")
        passed = True
    finally:
        if passed and not keep:
            shutil.rmtree(home)
        else:
            console.print(f"Logs and data are in {home}.", soft_wrap=True)


def _sales(sales: dict[str, Sold]) -> Table:
    """CONSOLIDATED_SALES: both halves, and their sum."""
    table = Table(title="CONSOLIDATED_SALES", title_justify="left", title_style="bold")
    table.add_column("source")
    table.add_column("sales", justify="right")
    table.add_column("euros", justify="right")
    for source, sold in sales.items():
        table.add_row(source, f"{sold.rows:,}", f"{sold.euros:,.2f}")
    table.add_section()
    total = sum(sold.euros for sold in sales.values())
    table.add_row("both", f"{sum(sold.rows for sold in sales.values()):,}", f"{total:,.2f}")
    return table


def _counts(title: str, name: str, counts: dict[str, int]) -> Table:
    table = Table(title=title, title_justify="left", title_style="bold")
    table.add_column(name)
    table.add_column("rows", justify="right")
    for label, count in counts.items():
        table.add_row(label, f"{count:,}")
    return table


def _checks(one: ShopResult) -> Table:
    table = Table(title=f"{one.shop}: checks", title_justify="left", title_style="bold")
    for column in ("check", "status", "offending"):
        table.add_column(column)
    for outcome in one.outcomes:
        colour = {"PASS": "green", "WARN": "yellow", "FAIL": "red"}[outcome.status]
        table.add_row(
            outcome.name, f"[{colour}]{outcome.status}[/]", "; ".join(outcome.offending_keys) or "none"
        )
    return table
