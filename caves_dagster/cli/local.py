"""`caves local`: the embedded platform, started, looked at, stopped and emptied."""

from __future__ import annotations

import json
import logging
import os
from datetime import timedelta
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from caves_dagster.errors import SettingsError
from caves_dagster.local.platform import Platform, PlatformStatus
from caves_dagster.local.process import Outcome
from caves_dagster.local.server import HOST, State
from caves_dagster.settings import embedded_settings, load_settings
from caves_dagster.shops import shops, topics

app = typer.Typer(help="The embedded Kafka broker and Snowflake-compatible server.", no_args_is_help=True)

Home = Annotated[
    Path | None,
    typer.Option(help="Folder of the platform's state, instead of CAVES_HOME.", show_default=False),
]
_OUTCOMES: dict[Outcome, str] = {
    "gone": "was not running",
    "terminated": "stopped",
    "killed": "did not end in time and was killed",
}
_COLOURS = {State.RUNNING: "green", State.STOPPED: "dim", State.STARTING: "yellow"}


@app.command()
def start(home: Home = None) -> None:
    """Start the broker and the warehouse server, or whichever of them is not running."""
    # Here, because the connector takes half a second that `status` and `stop` need not wait.
    from caves_dagster.deploy.carry_out import set_up
    from caves_dagster.warehouse.connection import Warehouse

    platform = _platform(home)
    console = Console(soft_wrap=True, highlight=False)
    for note in platform.start():
        console.print(escape(note))
    settings = embedded_settings(platform.home)
    with Warehouse(settings.snowflake) as warehouse:
        for shop in shops(load_settings(home)):
            set_up(warehouse, shop)
    endpoints = platform.endpoints
    console.print(f"Kafka      {endpoints.kafka.bootstrap_servers}")
    snowflake = endpoints.snowflake
    console.print(
        f"Snowflake  {snowflake.protocol}://{snowflake.host}:{snowflake.port} ({snowflake.database})"
    )


@app.command()
def stop(home: Home = None) -> None:
    """Stop both; the warehouse's data and the ports are kept, the broker's messages are not."""
    outcomes = _platform(home).stop()
    console = Console(soft_wrap=True, highlight=False)
    for name, outcome in outcomes.items():
        console.print(f"The {name} {_OUTCOMES[outcome]}.")


@app.command()
def status(
    home: Home = None,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print the addresses as JSON and nothing else.")
    ] = False,
) -> None:
    """Show what runs and where. Exit code 1 when the platform is not running."""
    seen = _platform(home).status()
    if as_json:
        if not seen.running:
            raise seen.problem()
        typer.echo(json.dumps(seen.endpoints.model_dump()))
        return
    Console().print(_table(seen))
    if not seen.running:
        raise seen.problem()


@app.command()
def reset(
    home: Home = None, yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False
) -> None:
    """Stop both and remove their state: databases, stages, logs, recorded ports."""
    platform = _platform(home)
    if not yes:
        typer.confirm(f"Remove all data of the platform in {platform.home}?", abort=True)
    left = platform.reset()
    console = Console(soft_wrap=True, highlight=False)
    console.print(f"The platform in {escape(str(platform.home))} is empty.")
    for folder in left:
        console.print(f"{escape(str(folder))} was not made by the platform and was left alone.")


@app.command()
def warehouse(
    home: Home = None,
    host: Annotated[str, typer.Option(help="Address to listen on.")] = HOST,
    port: Annotated[int, typer.Option(min=1, max=65535, help="Port to listen on.")] = 19094,
) -> None:
    """Run the warehouse server alone, in the foreground, until it is told to stop: for a container.

    Beyond loopback it listens only with a password of its own, CAVES_LOCAL_WAREHOUSE_PASSWORD.
    """
    from caves_dagster.local.warehouse.__main__ import main

    settings = load_settings(home)
    password = settings.snowflake.local_password
    if host != HOST and password is None:
        raise SettingsError(
            f"The warehouse server listens on {host} only with a password of its own.",
            "Set CAVES_LOCAL_WAREHOUSE_PASSWORD.",
        )
    arguments = ["--home", str(settings.home), "--host", host, "--port", str(port)]
    # Not on a command line, where other users of the machine would see it.
    arguments += ["--password", password.get_secret_value()] if password else []
    code = main(arguments)
    logging.shutdown()
    # As the server's own module ends: DuckDB reports leaks when the interpreter is torn down.
    os._exit(code)


def _platform(home: Path | None) -> Platform:
    settings = load_settings(home)
    return Platform(settings.home, topics=topics(settings))


def _table(seen: PlatformStatus) -> Table:
    table = Table(title=escape(f"Embedded platform in {seen.home}"), title_justify="left")
    for column in ("server", "state", "pid", "uptime", "port", "on disk"):
        table.add_column(column, justify="left" if column in ("server", "state") else "right")
    for server in seen.servers:
        uptime = server.uptime_seconds
        table.add_row(
            server.name,
            f"[{_COLOURS.get(server.state, 'red')}]{server.state}[/]",
            str(server.pid or "-"),
            "-" if uptime is None else str(timedelta(seconds=int(uptime))),
            str(server.port or "-"),
            f"{server.size_bytes / 1e6:.1f} MB",
        )
    return table
