"""`caves snowflake`: what is deployed, what would be, and what an administrator has to run before."""

from __future__ import annotations

import json
import sys
from datetime import datetime
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from caves_dagster.cli import snowflake_tasks
from caves_dagster.errors import NotConfirmed
from caves_dagster.settings import Settings, load_settings
from caves_dagster.shop import Shop
from caves_dagster.shops import find_shop, shops

if TYPE_CHECKING:
    from caves_dagster.deploy.carry_out import Deployment, State
    from caves_dagster.deploy.plan import Plan

app = typer.Typer(
    help="The schemas, tables, streams, views and tasks in the warehouse: plan, deploy, status.",
    no_args_is_help=True,
)
app.add_typer(snowflake_tasks.app, name="tasks")

ShopName = Annotated[str | None, typer.Option("--shop", help="Only this shop.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON and nothing else.")]
_COLOURS = {"unchanged": "dim", "kept as it is": "yellow", "decide by hand": "red"}


@app.command()
def plan(shop: ShopName = None, as_json: AsJson = False) -> None:
    """Show, statement by statement, what a deployment would create or change. Changes nothing."""
    settings = load_settings()
    states = _states(settings, shop)
    if as_json:
        typer.echo(json.dumps([_plan_json(one, state.plan) for one, state in states], indent=2))
        return
    console = Console(highlight=False, soft_wrap=True)
    for one, state in states:
        _print_plan(console, settings, one, state.plan)


@app.command()
def deploy(
    shop: ShopName = None,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
) -> None:
    """Show the plan, ask, and carry it out. No stream is replaced, no row and no column is dropped.

    Where something that is there differs in a way only a person can decide, nothing is done.
    """
    from caves_dagster.deploy.carry_out import carry_out
    from caves_dagster.warehouse.connection import Warehouse

    settings = load_settings()
    console = Console(highlight=False, soft_wrap=True)
    states = _states(settings, shop)
    for one, state in states:
        _print_plan(console, settings, one, state.plan)
    # All of them first: a shop that cannot be deployed stops the others too.
    for _, state in states:
        state.plan.require_safe()
    if not yes and any(state.plan.changes for _, state in states):
        if not sys.stdin.isatty():
            raise NotConfirmed("Nobody is there to be asked, and --yes is missing.", "Deploy with --yes.")
        typer.confirm("Carry this out?", abort=True)
    with Warehouse(settings.snowflake) as warehouse:
        for one, state in states:
            done = carry_out(warehouse, one, state)
            console.print(f"{one.title}: {done} statements run in {settings.snowflake.database}.")


@app.command()
def status(shop: ShopName = None, as_json: AsJson = False) -> None:
    """Show the deployed version against this one, what differs, the streams and the tables."""
    settings = load_settings()
    states = _states(settings, shop)
    if as_json:
        typer.echo(json.dumps([_status_json(one, state) for one, state in states], indent=2, default=str))
        return
    console = Console(highlight=False, soft_wrap=True)
    for one, state in states:
        _print_status(console, one, state)


@app.command("account-sql")
def account_sql(
    database: Annotated[str | None, typer.Option(help="Database; else the setting.")] = None,
    warehouse: Annotated[str | None, typer.Option(help="Virtual warehouse; else the setting.")] = None,
    user: Annotated[str, typer.Option(help="User that the pipeline signs in as.")] = "CAVES_SERVICE",
    credits: Annotated[int, typer.Option(min=1, help="Credits the warehouse may use in a month.")] = 50,
    reader: Annotated[
        bool, typer.Option("--reader", help="The grants of CAVES_READER, for after the first deployment.")
    ] = False,
) -> None:
    """Print the roles, warehouse, resource monitor and grants that an account's administrator runs."""
    from caves_dagster.deploy.account import AccountNames
    from caves_dagster.deploy.account import account_sql as rendered

    settings = load_settings()
    names = AccountNames(
        database or settings.snowflake.database, warehouse or settings.snowflake.warehouse, user, credits
    )
    typer.echo(rendered(shops(settings), names, reader=reader))


def _states(settings: Settings, shop: str | None) -> list[tuple[Shop, State]]:
    """Each chosen shop, and what its database looks like."""
    from caves_dagster.declared_sql import check_sql
    from caves_dagster.deploy.carry_out import read_state
    from caves_dagster.warehouse.connection import Warehouse

    chosen = [find_shop(settings, shop)] if shop else list(shops(settings))
    with Warehouse(settings.snowflake) as warehouse:
        for one in chosen:
            check_sql(one)
        return [(one, read_state(warehouse, one)) for one in chosen]


def _print_plan(console: Console, settings: Settings, shop: Shop, plan: Plan) -> None:
    table = Table(
        title=f"{shop.title} in {settings.snowflake.database}", title_justify="left", title_style="bold"
    )
    for column in ("object", "kind", "action", "what"):
        table.add_column(column, overflow="fold")
    for step in plan.steps:
        colour = _COLOURS.get(step.action.value, "green")
        action = f"[{colour}]{step.action}[/]"
        table.add_row(escape(step.name), step.kind, action, escape(step.detail))
    console.print(table)
    kept = len(plan.drift) - len(plan.changes) - len(plan.decisions)
    console.print(
        f"{len(plan.changes)} to do, {len(plan.decisions)} to be decided by hand, {kept} kept as they are, "
        f"{sum(step.action.value == 'unchanged' for step in plan.steps)} unchanged."
    )
    for step in plan.decisions:
        console.print(f"[red]{escape(step.name)}[/]: {escape(step.detail)}. {escape(step.remedy)}")


def _print_status(console: Console, shop: Shop, state: State) -> None:
    from caves_dagster.deploy.carry_out import this_version

    this = this_version(shop)
    console.print(f"[bold]{escape(shop.title)}[/]")
    console.print(f"this       {this.version} {this.sql_hash[:12]}")
    console.print(f"deployed   {_said(state.deployed)}")
    if state.plan.drift:
        console.print(f"[yellow]differs    {len(state.plan.drift)} objects, see `caves snowflake plan`[/]")
    streams = Table("stream", "on", "mode", "readable until")
    for name, stream in state.found.streams.items():
        if name in {step.name for step in state.plan.steps}:
            until = "[red]stale[/]" if stream.stale else _moment(stream.stale_after)
            streams.add_row(name, stream.on, stream.mode, until)
    tables = Table("table", "rows", "columns")
    for name, table in state.found.tables.items():
        tables.add_row(name, f"{table.rows:,}", str(len(table.columns)))
    console.print(streams, tables)


def _said(deployed: Deployment | None) -> str:
    if deployed is None:
        return "never by a version that records it"
    at = _moment(deployed.deployed_at)
    return f"{deployed.version} {deployed.sql_hash[:12]} at {at} by {deployed.deployed_by}"


def _moment(at: datetime | None) -> str:
    return f"{at:%Y-%m-%d %H:%M} UTC" if at else "-"


def _plan_json(shop: Shop, plan: Plan) -> dict[str, Any]:
    steps = [
        {
            "object": step.name,
            "kind": step.kind,
            "action": step.action.value,
            "detail": step.detail,
            "remedy": step.remedy,
            "statements": list(step.statements),
        }
        for step in plan.steps
    ]
    return {"shop": shop.name, "deployable": not plan.decisions, "changes": len(plan.changes), "steps": steps}


def _status_json(shop: Shop, state: State) -> dict[str, Any]:
    from dataclasses import asdict

    from caves_dagster.deploy.carry_out import this_version

    names = {step.name for step in state.plan.steps}
    return {
        "shop": shop.name,
        "this": asdict(this_version(shop)),
        "deployed": asdict(state.deployed) if state.deployed else None,
        "drift": [{"object": step.name, "action": step.action.value} for step in state.plan.drift],
        "streams": {name: asdict(one) for name, one in state.found.streams.items() if name in names},
        "tables": {
            name: {"rows": one.rows, "columns": len(one.columns)} for name, one in state.found.tables.items()
        },
    }
