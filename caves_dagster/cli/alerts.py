"""`caves alerts`: whether an alert would reach somebody."""

from __future__ import annotations

import logging

import typer
from rich.console import Console
from rich.markup import escape

from caves_dagster.settings import load_settings

app = typer.Typer(help="Messages when something fails, and when it is over.", no_args_is_help=True)


@app.callback()
def alerts() -> None:
    """Messages when something fails, and when it is over."""


@app.command()
def test() -> None:
    """Send a test message through every configured channel, and say what became of it."""
    from caves_dagster.alerts.channels import Log, channels, deliver
    from caves_dagster.alerts.messages import Message

    settings = load_settings().alerts
    console = Console(highlight=False, soft_wrap=True)
    ways = [way for way in channels(settings, logging.getLogger(__name__)) if not isinstance(way, Log)]
    if not ways:
        console.print(
            "No channel is configured: alerts stand in the log of the sensors' ticks alone. "
            "Set CAVES_ALERT_WEBHOOK_URL, or CAVES_ALERT_EMAIL_TO and the mail server."
        )
        return
    lines = ("Nothing has failed. Alerts look like this, with what failed, since when, and figures.",)
    message = Message("Test of alerts", lines, settings.dagster_url)
    told, problems = deliver({way.name: [(way.name, message)] for way in ways}, ways)
    for name in told:
        console.print(f"[green]delivered[/] by {name}")
    for problem in problems:
        console.print(f"[red]not delivered[/] {escape(problem)}")
    if problems:
        raise typer.Exit(1)
