"""`caves dead-letters`: what was not a valid event, looked at, taken out, and tried again."""

from __future__ import annotations

import getpass
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from caves_dagster.errors import CavesError
from caves_dagster.settings import Settings, load_settings
from caves_dagster.shop import Shop
from caves_dagster.shops import find_shop

if TYPE_CHECKING:
    from caves_dagster.ingest.dead_letters import Chosen
    from caves_dagster.ingest.replay import ReplayReport
    from caves_dagster.warehouse.connection import Warehouse

app = typer.Typer(
    help="Messages that were not valid events: look, take out, try again.", no_args_is_help=True
)

ShopName = Annotated[str | None, typer.Option("--shop", help="Whose dead letters; the first shop's.")]
Class = Annotated[str | None, typer.Option("--class", help="Failure class, such as CONTRACT.")]
Reason = Annotated[str | None, typer.Option(help="Text in the reason or the JSON path.")]
Type = Annotated[str | None, typer.Option("--type", help="Event type, where the bytes tell it.")]
Since = Annotated[
    str | None, typer.Option(help="First seen from then on: 2026-03-01, a time with zone, or 24h, 7d ago.")
]
Until = Annotated[str | None, typer.Option(help="First seen before then.")]
Id = Annotated[str | None, typer.Option("--id", help="How the id begins.")]
Partition = Annotated[int | None, typer.Option(min=0, help="Kafka partition.")]
Offset = Annotated[int | None, typer.Option(min=0, help="Offset in the partition.")]
Replayed = Annotated[bool, typer.Option("--replayed", help="Those that a replay has landed, too.")]
Limit = Annotated[int | None, typer.Option(min=1, help="At most so many, the oldest first.")]
Output = Annotated[Path | None, typer.Option("--output", "-o", help="A file instead of the standard output.")]


@app.command("list")
def list_letters(
    shop: ShopName = None,
    failure_class: Class = None,
    reason: Reason = None,
    event_type: Type = None,
    since: Since = None,
    until: Until = None,
    id: Id = None,
    partition: Partition = None,
    offset: Offset = None,
    replayed: Replayed = False,
    limit: Annotated[int, typer.Option(min=0, help="Letters to show, the newest first.")] = 20,
) -> None:
    """Count them by class, and show the newest."""
    from caves_dagster.cli.dead_letter_text import counts_table, letters_table
    from caves_dagster.ingest.dead_letters import DeadLetters

    chosen = _chosen(failure_class, reason, event_type, since, until, id, partition, offset, replayed)
    with _opened(shop) as (_, found, warehouse):
        letters = DeadLetters(warehouse, found)
        counts = letters.counts(chosen)
        rows = letters.newest(chosen, limit) if counts and limit else []
    console = Console()
    if not counts:
        console.print("No dead letter matches.")
        return
    console.print(counts_table(counts))
    if rows:
        console.print(letters_table(rows, sum(int(row["LETTERS"]) for row in counts)))


@app.command()
def show(
    id: Annotated[str, typer.Argument(help="The letter's id, or how it begins.")], shop: ShopName = None
) -> None:
    """Show one letter whole: why it is dead, where it stood, its headers, key and value."""
    from caves_dagster.cli.dead_letter_text import described
    from caves_dagster.ingest.dead_letters import DeadLetters

    with _opened(shop) as (_, found, warehouse):
        letters = DeadLetters(warehouse, found)
        stored = letters.one(id)
        replays = letters.replays(stored.dead_letter_id)
    for line in described(stored, replays):
        typer.echo(line)


@app.command()
def export(
    shop: ShopName = None,
    failure_class: Class = None,
    reason: Reason = None,
    event_type: Type = None,
    since: Since = None,
    until: Until = None,
    id: Id = None,
    partition: Partition = None,
    offset: Offset = None,
    replayed: Replayed = False,
    limit: Limit = None,
    output: Output = None,
    raw: Annotated[
        bool, typer.Option("--raw", help="The value's bytes alone, of the one letter --id.")
    ] = False,
) -> None:
    """Write them as JSON lines: text where the bytes are UTF-8, base64 where not, so nothing is lost."""
    from caves_dagster.cli.dead_letter_text import json_line
    from caves_dagster.ingest.dead_letters import DeadLetters

    chosen = _chosen(failure_class, reason, event_type, since, until, id, partition, offset, replayed)
    with _opened(shop) as (settings, found, warehouse), _written(output) as write:
        letters = DeadLetters(warehouse, found)
        if raw:
            if id is None:
                raise CavesError("--raw writes one letter's bytes.", "Name it with --id.")
            write(letters.one(id).letter.message.value or b"")
            return
        count = 0
        for page in letters.pages(chosen, settings.batch_max_events, settings.batch_max_bytes, limit):
            for stored in letters.read(chosen, page):
                write(json_line(stored))
                count += 1
    where = f" to {output}" if output else ""
    said = f"{count:,} dead letters written{where}." if count else "No dead letter matches."
    Console(stderr=True, highlight=False, soft_wrap=True).print(escape(said))


@app.command()
def replay(
    shop: ShopName = None,
    failure_class: Class = None,
    reason: Reason = None,
    event_type: Type = None,
    since: Since = None,
    until: Until = None,
    id: Id = None,
    partition: Partition = None,
    offset: Offset = None,
    limit: Limit = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Decide and print, change nothing.")] = False,
) -> None:
    """Try them again under today's contract: what has become valid lands, once, where it stood in Kafka.

    Letters that stay dead are no failure of the command. It may be stopped at any time and run again.
    """
    from caves_dagster.ingest.replay import Replay

    chosen = _chosen(failure_class, reason, event_type, since, until, id, partition, offset)
    console = Console(highlight=False, soft_wrap=True)
    with _opened(shop) as (settings, found, warehouse), _progress() as on_page:
        who = f"caves dead-letters replay by {getpass.getuser()}"[:100]
        report = Replay(settings, found, warehouse, who, on_page).run(chosen, limit, dry_run)
    if not report.matching:
        console.print("No dead letter matches.")
        return
    console.print(
        f"{report.tried:,} dead letters of {found.title} tried in {report.seconds:.1f} s: "
        f"{report.landed:,} {'would land' if dry_run else 'landed'}, {report.dead_by_class.total():,} "
        f"{'would stay' if dry_run else 'stay'} dead."
    )
    for name, count in report.dead_by_class.most_common():
        console.print(f"  {escape(name)}: {count:,}")


@contextmanager
def _opened(shop: str | None) -> Iterator[tuple[Settings, Shop, Warehouse]]:
    from caves_dagster.warehouse.connection import Warehouse

    settings = load_settings()
    with Warehouse(settings.snowflake) as warehouse:
        yield settings, find_shop(settings, shop), warehouse


def _chosen(
    failure_class: str | None,
    reason: str | None,
    event_type: str | None,
    since: str | None,
    until: str | None,
    id: str | None,
    partition: int | None,
    offset: int | None,
    replayed: bool = False,
) -> Chosen:
    from caves_dagster.ingest.dead_letters import Chosen, moment

    return Chosen(
        failure_class, reason, event_type, moment(since), moment(until), id, partition, offset, replayed
    )


@contextmanager
def _written(output: Path | None) -> Iterator[Callable[[bytes], Any]]:
    """A function that writes bytes to the file, or to the standard output."""
    if output is None:
        stream = typer.get_binary_stream("stdout")
        yield stream.write
        stream.flush()
        return
    try:
        with output.open("wb") as file:
            yield file.write
    except OSError as error:
        raise CavesError(f"{output} cannot be written ({error.strerror}).", "Name another file.") from error


@contextmanager
def _progress() -> Iterator[Callable[[ReplayReport], None]]:
    console = Console(stderr=True)
    columns = (TextColumn("replaying"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as bars:
        task = bars.add_task("", total=None)
        yield lambda report: bars.update(task, completed=report.tried, total=report.matching)
