"""`caves snowflake tasks`: the transformations as Snowflake's own tasks, and who drives: they or Dagster."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from datetime import datetime
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from caves_dagster.settings import load_settings
from caves_dagster.shop import Shop
from caves_dagster.shops import find_shop, shops

if TYPE_CHECKING:
    from caves_dagster.tasks.deploy import Change
    from caves_dagster.tasks.history import TaskRun
    from caves_dagster.warehouse.connection import Warehouse

app = typer.Typer(help="The transformations as Snowflake's own tasks (task mode).", no_args_is_help=True)

EveryShop = Annotated[str | None, typer.Option("--shop", help="Only this shop's; otherwise every shop's.")]
OneShop = Annotated[str | None, typer.Option("--shop", help="Whose tasks; the first shop's.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON and nothing else.")]

_COLOURS = {"SUCCEEDED": "green", "SKIPPED": "dim", "EXECUTING": "yellow", "SCHEDULED": "yellow"}
_ACTIONS = {"create": "created", "change": "changed", "drop": "dropped", "unchanged": "unchanged"}


@app.command()
def deploy(shop: EveryShop = None, as_json: AsJson = False) -> None:
    """Create the tasks, or change what of them differs from sql/. Who drives stays as it is."""
    from caves_dagster.declared_sql import check_sql
    from caves_dagster.tasks.deploy import deploy as deploy_tasks

    done = {}
    with _opened(shop) as (chosen, warehouse):
        for one in chosen:
            check_sql(one)
            done[one] = deploy_tasks(warehouse, one)
    if as_json:
        typer.echo(
            json.dumps({one.name: [asdict(change) for change in changes] for one, changes in done.items()})
        )
        return
    for one, changes in done.items():
        Console().print(_changes_table(one, changes))


@app.command()
def resume(shop: EveryShop = None) -> None:
    """Let Snowflake's tasks transform (task mode); Dagster lands, looks on and checks."""
    from caves_dagster.tasks.control import resume as resume_tasks

    with _opened(shop) as (chosen, warehouse):
        for one in chosen:
            was_off = resume_tasks(warehouse, one)
            _say(
                one, f"its tasks {'transform from now on' if was_off else 'transformed already'} (task mode)."
            )


@app.command()
def suspend(shop: EveryShop = None) -> None:
    """Let Dagster transform again. A run of the tasks that is under way goes on to its end."""
    from caves_dagster.tasks.control import suspend as suspend_tasks

    with _opened(shop) as (chosen, warehouse):
        for one in chosen:
            was_off = suspend_tasks(warehouse, one)
            _say(one, f"Dagster {'transforms from now on' if was_off else 'transformed already'}.")


@app.command()
def execute(
    shop: OneShop = None,
    timeout: Annotated[float, typer.Option(min=1, help="Seconds to wait for the end.")] = 600,
) -> None:
    """Run the tasks once, now, in either mode, and wait for them. Exit code 1 where one fails."""
    from caves_dagster.errors import CavesError
    from caves_dagster.tasks.control import execute as execute_tasks

    settings = load_settings()
    found = find_shop(settings, shop)
    console = Console(stderr=True)
    with _session() as warehouse, console.status(f"The tasks of {found.title} …") as status:

        def on_progress(runs: Mapping[str, TaskRun]) -> None:
            said = ", ".join(f"{run.task} {run.state.lower()}" for run in runs.values())
            status.update(escape(said or f"Waiting for the tasks of {found.title} to begin …"))

        runs = execute_tasks(warehouse, found, timeout, on_progress)
    Console().print(_runs_table(found, list(runs.values())))
    if failed := [run for run in runs.values() if run.failed]:
        raise CavesError(
            f"{failed[0].task} failed: {failed[0].error}",
            "Its stream keeps the rows: the next run takes them.",
        )


@app.command()
def history(
    shop: OneShop = None,
    hours: Annotated[
        float, typer.Option(min=0.01, max=168, help="How far back; Snowflake keeps a week.")
    ] = 24,
    limit: Annotated[int, typer.Option(min=1, max=10_000, help="At most so many, the newest first.")] = 20,
    as_json: AsJson = False,
) -> None:
    """Show what the tasks did, the newest first."""
    from caves_dagster.tasks.deployed import require_deployed, task_mode
    from caves_dagster.tasks.history import history as runs_of

    found = find_shop(load_settings(), shop)
    with _session() as warehouse:
        require_deployed(warehouse, found)
        mode = task_mode(warehouse, found)
        runs = runs_of(warehouse, found, round(hours * 3600), limit)
    if as_json:
        typer.echo(json.dumps({"mode": "tasks" if mode else "dagster", "runs": [_as_json(r) for r in runs]}))
        return
    Console().print(_runs_table(found, runs) if runs else f"No task of {found.title} ran in {hours:g} hours.")
    _say(found, mode or "Dagster transforms; the tasks are suspended.")


@contextmanager
def _session() -> Iterator[Warehouse]:
    from caves_dagster.warehouse.connection import Warehouse

    with Warehouse(load_settings().snowflake) as warehouse:
        yield warehouse


@contextmanager
def _opened(shop: str | None) -> Iterator[tuple[Sequence[Shop], Warehouse]]:
    settings = load_settings()
    chosen = [find_shop(settings, shop)] if shop else shops(settings)
    with _session() as warehouse:
        yield chosen, warehouse


def _say(shop: Shop, text: str) -> None:
    Console(soft_wrap=True, highlight=False).print(escape(f"{shop.title}: {text}"))


def _changes_table(shop: Shop, changes: Sequence[Change]) -> Table:
    table = Table(title=f"tasks of {shop.name}", title_justify="left", title_style="bold")
    for column in ("task", "what was done", "because of"):
        table.add_column(column)
    for change in changes:
        action = _ACTIONS[change.action]
        colour = "dim" if change.action == "unchanged" else "green"
        table.add_row(
            f"{shop.raw.schema}.{change.task}", f"[{colour}]{action}[/]", ", ".join(change.what) or "-"
        )
    return table


def _runs_table(shop: Shop, runs: Sequence[TaskRun]) -> Table:
    table = Table(title=f"tasks of {shop.name}", title_justify="left", title_style="bold")
    for column in ("scheduled (UTC)", "task", "state", "seconds", "said"):
        table.add_column(column, justify="right" if column == "seconds" else "left")
    for run in runs:
        seconds = "-" if run.seconds is None else f"{run.seconds:.1f}"
        state = f"[{_COLOURS.get(run.state, 'red')}]{run.state}[/]"
        table.add_row(
            f"{run.scheduled:%Y-%m-%d %H:%M:%S}", run.task, state, seconds, escape(run.error) or "-"
        )
    return table


def _as_json(run: TaskRun) -> dict[str, Any]:
    def text(moment: datetime | None) -> str | None:
        return moment.isoformat() if moment else None

    times = {name: text(getattr(run, name)) for name in ("scheduled", "started", "completed")}
    return asdict(run) | times | {"seconds": run.seconds}
