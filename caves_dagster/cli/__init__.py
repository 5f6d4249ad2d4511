"""The `caves` command: one module per family of subcommands, put together here."""

from __future__ import annotations

import sys

import typer
from rich.console import Console
from rich.markup import escape

from caves_dagster.cli import (
    alerts,
    consume,
    dashboard,
    dead_letters,
    demo,
    gaps,
    kafka,
    local,
    metrics,
    new_shop,
    produce,
    rebuild,
    seed,
    setup,
    snowflake,
    status,
    up,
    validate,
)
from caves_dagster.errors import CavesError

app = typer.Typer(
    name="caves",
    help="Shops' events from Kafka, and their batch files, into Snowflake with Dagster.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    add_completion=False,
)
app.add_typer(local.app, name="local")
app.add_typer(gaps.app, name="gaps")
app.add_typer(dead_letters.app, name="dead-letters")
app.add_typer(alerts.app, name="alerts")
app.add_typer(kafka.app, name="kafka")
app.add_typer(snowflake.app, name="snowflake")
for command in (
    demo.demo,
    up.up,
    setup.setup,
    seed.seed,
    produce.produce,
    consume.consume,
    metrics.metrics,
    dashboard.dashboard,
    status.status,
    rebuild.rebuild,
    new_shop.new_shop,
    validate.validate,
):
    app.command()(command)


def main() -> None:
    """Entry point: an expected failure is one line on stderr and exit code 1, never a traceback."""
    try:
        app()
    except CavesError as error:
        Console(stderr=True).print(
            f"[bold red]error:[/] {escape(str(error))}", highlight=False, soft_wrap=True
        )
        sys.exit(1)
