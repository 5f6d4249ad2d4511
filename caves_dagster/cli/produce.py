"""`caves produce`: a shop's events published, made up or out of its history."""

from __future__ import annotations

import secrets
import signal
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from datetime import UTC, datetime
from enum import StrEnum
from itertools import islice
from pathlib import Path
from types import FrameType
from typing import Annotated

import typer
from rich.console import Console
from rich.markup import escape
from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

from caves_dagster.kafka.producer import DeliveryReport, publish
from caves_dagster.settings import Settings, load_settings
from caves_dagster.shop import Message, Shop
from caves_dagster.shops import find_shop


class Mode(StrEnum):
    """Where the messages come from."""

    STREAM = "stream"
    REPLAY = "replay"


def produce(
    shop: Annotated[str | None, typer.Option(help="Whose events; the first shop's.")] = None,
    mode: Annotated[
        Mode, typer.Option(help="stream: generated; replay: the history, or --file.")
    ] = Mode.STREAM,
    rate: Annotated[float, typer.Option(min=0, help="Events per second; 0 is as fast as it goes.")] = 1.0,
    count: Annotated[int | None, typer.Option(min=1, help="At most so many.")] = None,
    invalid_rate: Annotated[float, typer.Option(min=0, max=1, help="stream: share of invalid ones.")] = 0.0,
    seed: Annotated[int | None, typer.Option(help="stream: repeats all but the timestamps.")] = None,
    file: Annotated[Path | None, typer.Option(help="replay: JSON lines instead of the history.")] = None,
    as_is: Annotated[
        bool, typer.Option("--as-is", help="replay: publish lines that are no valid events too.")
    ] = False,
    topic: Annotated[str | None, typer.Option(help="Instead of the shop's topic.")] = None,
    ledger: Annotated[Path | None, typer.Option(help="Append each message's fate, as JSON lines.")] = None,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="Print errors only.")] = False,
) -> None:
    """Publish a shop's events. Exit code 1 when any of them was not delivered."""
    settings = load_settings()
    chosen = find_shop(settings, shop)
    console = Console(quiet=quiet, soft_wrap=True, highlight=False)
    if mode is Mode.REPLAY:
        if invalid_rate or seed is not None:
            raise typer.BadParameter("a replay makes nothing up: leave --seed and --invalid-rate out")
        messages, held = _replay(settings, chosen, file, as_is, console)
        count = min(held, count or held)
    else:
        if file or as_is:
            raise typer.BadParameter("needs --mode replay", param_hint="--file" if file else "--as-is")
        if seed is None:
            seed = secrets.randbelow(2**31)
            console.print(f"Seed {seed}; repeat with --seed {seed}.")
        messages = chosen.generate(seed, invalid_rate, lambda: datetime.now(UTC))
    with ExitStack() as stack:
        report = publish(
            settings.kafka,
            topic or chosen.topic,
            islice(messages, count),
            rate=rate,
            stop=stack.enter_context(_stopped_by_signals()),
            on_progress=None if quiet else stack.enter_context(_progress(count)),
            ledger=stack.enter_context(ledger.open("a", buffering=1, encoding="utf-8")) if ledger else None,
        )
    console.print(
        f"Sent {report.sent:,} events to {escape(report.topic)}: {report.delivered:,} delivered, "
        f"{report.failed:,} failed, in {report.seconds:.1f} s ({report.rate:,.1f} events/s)."
    )
    report.require_delivery()


def _replay(
    settings: Settings, shop: Shop, file: Path | None, as_is: bool, console: Console
) -> tuple[Iterator[Message], int]:
    """The messages of a replay, all found valid, and how many."""
    # pyarrow takes a while to import: not for the sake of live events.
    from caves_dagster.batch.replay import replay_file, replay_history

    if as_is and file is None:
        raise typer.BadParameter("needs --file: the history is valid or refused", param_hint="--as-is")
    if file is not None:
        replay = replay_file(shop, file, settings.max_event_bytes, as_is)
    else:
        replay = replay_history(shop, settings.max_event_bytes)
    console.print(f"Replaying {replay.count:,} events.")
    return replay.messages(), replay.count


@contextmanager
def _stopped_by_signals() -> Iterator[threading.Event]:
    """An event that SIGINT and SIGTERM set; a second SIGINT ends the command at once."""
    stop = threading.Event()

    def on_signal(number: int, frame: FrameType | None) -> None:
        stop.set()
        signal.signal(signal.SIGINT, signal.default_int_handler)

    before = {number: signal.signal(number, on_signal) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield stop
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


@contextmanager
def _progress(count: int | None) -> Iterator[_Show]:
    """A line on stderr that is redrawn, where stderr is a terminal."""
    console = Console(stderr=True)
    columns = (SpinnerColumn(), TextColumn("{task.description}"), TimeElapsedColumn())
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as progress:
        yield _Show(progress, count)


class _Show:
    """Shows a report as one line."""

    def __init__(self, progress: Progress, count: int | None) -> None:
        self._progress = progress
        self._of = f" of {count:,}" if count else ""
        self._task = progress.add_task("connecting", total=None)

    def __call__(self, report: DeliveryReport) -> None:
        self._progress.update(
            self._task,
            description=f"{report.sent:,}{self._of} sent, {report.delivered:,} delivered, "
            f"{report.failed:,} failed, {report.rate:,.1f} events/s",
        )
