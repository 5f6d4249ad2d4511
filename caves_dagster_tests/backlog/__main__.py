"""`python -m caves_dagster_tests.backlog 500000 5000000`: drains each and prints the table."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

from caves_dagster.local.apache_kafka.node import running_kafka
from caves_dagster.local.platform import WAREHOUSE, running_platform
from caves_dagster.settings import PROJECT_ROOT
from caves_dagster_tests.backlog.measure import GROWTH_LIMIT, MEGABYTE, PEAK_LIMIT, Backlog, measure, problems


def main(
    events: Annotated[list[int] | None, typer.Argument(help="Sizes of the backlogs.", min=1)] = None,
    event_bytes: Annotated[int, typer.Option(min=0, help="Bytes of each message; 0: as they are.")] = 0,
    option: Annotated[
        list[str] | None, typer.Option("--set", metavar="NAME=VALUE", help="Setting of the runs.")
    ] = None,
) -> None:
    """Drain backlogs, one run each; exit code 1 where an event is missing or memory beyond the limits."""
    console = Console(soft_wrap=True)
    options = dict(text.split("=", 1) for text in option or [])
    found: list[Backlog] = []
    with (
        tempfile.TemporaryDirectory(prefix="caves-backlog-") as folder,
        running_platform(Path(folder), servers=(WAREHOUSE,)) as platform,
        running_kafka(Path(folder) / "kafka", cache=PROJECT_ROOT / ".caves" / "cache") as node,
    ):
        for count in events or [500_000, 5_000_000]:
            console.print(f"{count:,} events …")
            found.append(measure(platform.home, node.bootstrap_servers, count, event_bytes, options))
    console.print(_table(found))
    wrong = problems(found)
    for problem in wrong:
        console.print(problem, style="red")
    if wrong:
        raise typer.Exit(1)
    console.print(
        f"Every event once, in at most {PEAK_LIMIT / MEGABYTE:.0f} MB, "
        f"and at most {GROWTH_LIMIT:.2f} times what the smallest took."
    )


def _table(backlogs: list[Backlog]) -> Table:
    table = Table(title="Backlog drained by one run", title_justify="left")
    for name in ("events", "MB of values", "batches", "seconds", "events/s", "peak memory, MB"):
        table.add_column(name, justify="right")
    for one in backlogs:
        table.add_row(
            f"{one.events:,}",
            f"{one.bytes / MEGABYTE:,.0f}",
            f"{one.batches:,}",
            f"{one.drain.seconds:.1f}",
            f"{one.rate:,.0f}",
            f"{one.drain.peak_bytes / MEGABYTE:.0f}",
        )
    return table


if __name__ == "__main__":
    typer.run(main)
