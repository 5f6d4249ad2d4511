"""`caves kafka`: a real Apache Kafka without Docker, started, looked at and stopped."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.markup import escape

from caves_dagster.errors import PlatformError
from caves_dagster.local.apache_kafka.artifacts import is_resolved, missing, version
from caves_dagster.local.apache_kafka.node import MOST_PARTITIONS, ApacheKafka
from caves_dagster.local.process import Outcome
from caves_dagster.local.server import State
from caves_dagster.settings import load_settings
from caves_dagster.shops import topics

app = typer.Typer(
    help="A real Apache Kafka on this machine, for development and tests.", no_args_is_help=True
)

Home = Annotated[
    Path | None, typer.Option(help="Folder of its state, instead of CAVES_HOME.", show_default=False)
]
_OUTCOMES: dict[Outcome, str] = {
    "gone": "was not running",
    "terminated": "stopped; its data is kept",
    "killed": "did not end in time and was killed; its data is kept",
}


@app.command()
def start(home: Home = None) -> None:
    """Start it, wait until it answers, make the shops' topics, and print its address."""
    console = Console(soft_wrap=True, highlight=False)
    node = _node(home)
    if not missing(node.cache) and not is_resolved(node.cache):
        console.print(f"Resolving Apache Kafka {version()} with Maven; this is done once.")
    for note in node.start():
        console.print(escape(note))
    console.print(
        f"Apache Kafka {version()} listens on {node.bootstrap_servers}; data in {escape(str(node.data))}."
    )
    console.print("To use it, put this line into .env:")
    console.print(f"KAFKA_BOOTSTRAP_SERVERS={node.bootstrap_servers}")


@app.command()
def stop(home: Home = None) -> None:
    """Stop it; its data and its port are kept."""
    Console(soft_wrap=True, highlight=False).print(f"Kafka {_OUTCOMES[_node(home).stop()]}.")


@app.command()
def status(home: Home = None) -> None:
    """Show whether it runs and where. Exit code 1 when it does not."""
    seen = _node(home).status()
    if seen.state is not State.RUNNING:
        detail = seen.detail or f"Kafka is not running ({seen.state})."
        raise PlatformError(detail, seen.remedy or "Start it with `caves kafka start`.")
    uptime = timedelta(seconds=int(seen.uptime_seconds or 0))
    Console(soft_wrap=True, highlight=False).print(
        f"Kafka runs on {_node(home).bootstrap_servers} (process {seen.pid}, up {uptime}, "
        f"{seen.size_bytes / 1e6:.1f} MB on disk)."
    )


def _node(home: Path | None) -> ApacheKafka:
    settings = load_settings(home)
    return ApacheKafka(settings.home, topics=topics(settings, MOST_PARTITIONS))
