"""`caves validate`: every check at once, as a table, a report and an exit code."""

from __future__ import annotations

from contextlib import nullcontext
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console
from rich.markup import escape
from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn
from rich.table import Table

from caves_dagster.errors import CavesError
from caves_dagster.settings import Settings, load_settings
from caves_dagster.shop import Shop
from caves_dagster.shops import find_shop, shops

if TYPE_CHECKING:
    from caves_dagster.checks.report import Report

_COLOURS = {"PASS": "green", "WARN": "yellow", "FAIL": "red"}


def validate(
    shop: Annotated[str | None, typer.Option(help="Only this shop.")] = None,
    since: Annotated[
        datetime | None,
        typer.Option(
            formats=["%Y-%m-%d", "%Y-%m-%dT%H:%M:%S"],
            help="Leave out what was landed before, UTC, where a check can; everything otherwise.",
        ),
    ] = None,
    check: Annotated[
        list[str] | None, typer.Option(help="Only this check, or group of checks (data_quality); repeatable.")
    ] = None,
) -> None:
    """Hold RAW against PRODUCTION and each table against its rules; write a report; exit 1 on FAIL."""
    from caves_dagster.checks.report import write

    settings = load_settings()
    chosen = [find_shop(settings, shop)] if shop else shops(settings)
    _require_checks(settings, chosen, check or [])
    console = Console(highlight=False, soft_wrap=True)
    failed = False
    for one in chosen:
        report = _validated(settings, one, since.replace(tzinfo=UTC) if since else None, check or [])
        written = write(report, settings.reports)
        console.print(_table(report))
        colour = _COLOURS[report.status]
        console.print(f"[{colour} bold]{report.status}[/] {escape(str(written.json))} and .html beside it")
        failed |= report.status == "FAIL"
    raise typer.Exit(int(failed))


def _require_checks(settings: Settings, chosen: tuple[Shop, ...] | list[Shop], names: list[str]) -> None:
    from caves_dagster.checks.catalogue import require_known, shop_checks

    require_known(settings, shops(settings))
    known = {name for one in chosen for had in shop_checks(settings, one) for name in (had.name, had.group)}
    if unknown := sorted(set(names) - known):
        raise CavesError(
            f"There is no check {', '.join(map(repr, unknown))}.",
            f"There are: {', '.join(sorted(known - {''}))}.",
        )


def _validated(settings: Settings, shop: Shop, since: datetime | None, names: list[str]) -> Report:
    from caves_dagster.checks.report import validate
    from caves_dagster.warehouse.connection import Warehouse

    console = Console(stderr=True)
    columns = (SpinnerColumn(), TextColumn("{task.description}"), TimeElapsedColumn())
    with (
        Progress(*columns, console=console, transient=True) as bar,
        Warehouse(settings.snowflake) as warehouse,
    ):
        task = bar.add_task(shop.name)
        with _instance(settings) as instance:
            return validate(
                settings,
                shop,
                warehouse,
                instance,
                since,
                names,
                lambda name: bar.update(task, description=f"{shop.name}: {name}"),
            )


def _instance(settings: Settings) -> Any:
    """Dagster's state, where it has some."""
    if not settings.dagster_state:
        return nullcontext()
    import dagster as dg

    try:
        return dg.DagsterInstance.from_config(str(settings.dagster_state))
    except Exception as error:  # noqa: BLE001 - whatever its storage raises, the warehouse can be validated
        where = settings.dagster_state
        Console(stderr=True).print(f"Dagster's state under {where} cannot be read ({type(error).__name__}).")
        return nullcontext()


def _table(report: Report) -> Table:
    table = Table(title=f"{report.shop.title}: validation", title_justify="left", title_style="bold")
    table.add_column("check", no_wrap=True)
    table.add_column("status")
    table.add_column("looked at", justify="right")
    table.add_column("offending", justify="right")
    table.add_column("what")
    for check, one in report.found:
        status = f"[{_COLOURS[one.status]}]{one.status}[/]"
        table.add_row(check.name, status, f"{one.checked:,}", f"{one.offending:,}", escape(one.said[:300]))
    return table
