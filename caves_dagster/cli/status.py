"""`caves status`: where the pipeline stands, for people and for programs."""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console
from rich.table import Table

from caves_dagster.errors import CavesError
from caves_dagster.settings import load_settings
from caves_dagster.shops import find_shop, shops

if TYPE_CHECKING:
    from caves_dagster.status import RunStatus, ShopStatus

_MODES = {"dagster": "Dagster transforms.", "tasks": "[yellow]Snowflake's tasks transform (task mode).[/]"}


def status(
    shop: Annotated[str | None, typer.Option(help="Only this shop.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON and nothing else.")] = False,
) -> None:
    """Show positions, watermarks and lag per partition, rows per table and stream, and the last runs.

    Exit code 1 where a shop cannot be looked at; the others are shown all the same.
    """
    from caves_dagster.status import last_runs, shop_status
    from caves_dagster.warehouse.connection import Warehouse

    settings = load_settings()
    chosen = [find_shop(settings, shop)] if shop else shops(settings)
    with Warehouse(settings.snowflake) as warehouse:
        found, problems = [], []
        for one in chosen:
            try:
                found.append(shop_status(settings, one, warehouse))
            except CavesError as error:
                problems.append(CavesError(f"{one.name}: {error.problem}", error.remedy))
    if not found and problems:
        raise problems[0]
    runs = last_runs(settings)
    if as_json:
        content = {"shops": [one.as_json() for one in found], "runs": [asdict(run) for run in runs]}
        typer.echo(json.dumps(content))
    else:
        _print(found, runs)
    if problems:
        raise problems[0]


def _print(found: list[ShopStatus], runs: list[RunStatus]) -> None:
    console = Console()
    for one in found:
        console.print(_partitions(one))
        console.print(_MODES[one.mode])
        console.print(_rows("rows per table", one.tables))
        console.print(_rows("rows waiting per stream", one.streams))
    console.print(_runs(runs) if runs else "No Dagster run yet.")


def _partitions(one: ShopStatus) -> Table:
    """Partitions that hold or held something; the total covers all."""
    table = _table(f"{one.topic} on cluster {one.cluster_id}", "partition", "position", "watermark", "lag")
    for partition in one.partitions:
        if partition.high_watermark or partition.position:
            position = "-" if partition.position is None else f"{partition.position:,}"
            lag = f"[yellow]{partition.lag:,}[/]" if partition.lag else "0"
            table.add_row(str(partition.partition), position, f"{partition.high_watermark:,}", lag)
    table.add_section()
    positions = sum(partition.position or 0 for partition in one.partitions)
    ends = sum(partition.high_watermark for partition in one.partitions)
    table.add_row(f"all {len(one.partitions)}", f"{positions:,}", f"{ends:,}", f"{one.lag:,}")
    return table


def _rows(title: str, counts: dict[str, int]) -> Table:
    table = _table(title, "name", "rows")
    for name, count in counts.items():
        table.add_row(name, f"{count:,}")
    return table


def _runs(runs: list[RunStatus]) -> Table:
    table = _table("last runs", "run", "job", "status", "started", "seconds")
    for run in runs:
        colour = {"SUCCESS": "green", "FAILURE": "red"}.get(run.status, "yellow")
        seconds = "-" if run.seconds is None else f"{run.seconds:.1f}"
        table.add_row(run.run_id[:8], run.job, f"[{colour}]{run.status}[/]", run.started or "-", seconds)
    return table


def _table(title: str, *columns: str) -> Table:
    table = Table(title=title, title_justify="left", title_style="bold")
    for column in columns:
        text = column in ("name", "run", "job", "status", "started")
        table.add_column(column, justify="left" if text else "right")
    return table
