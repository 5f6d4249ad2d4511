"""What `caves produce --mode replay` publishes: a shop's history, or a file of JSON lines.

All of it is held to the shop's contract before the first message is handed over, so that a broken line is
said by its number instead of becoming one dead letter among many.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from caves_dagster.batch.reading import read_table
from caves_dagster.errors import CavesError, SourceRefused
from caves_dagster.ingest.decode import decode
from caves_dagster.ingest.reader import KafkaMessage
from caves_dagster.shop import InvalidEvent, Message, Shop

_SHOWN = 5


@dataclass(frozen=True)
class Replay:
    """Messages to publish, and how many."""

    count: int
    messages: Callable[[], Iterator[Message]]


def replay_history(shop: Shop, max_event_bytes: int) -> Replay:
    """The rows of the batch source as messages.

    Raises:
        SourceRefused: there is no source, it holds what the batch tables do not take, or a row is no valid
            event.
    """
    batch, history = shop.batch, shop.history
    if batch is None or history is None:
        raise CavesError(f"The shop {shop.name!r} declares no history.", "Replay a file with --file.")
    tables = {one.source_name: read_table(shop, batch, one, None).rows for one in batch.in_source}
    told = ((name, message.value or b"") for name, message in history(tables))
    count = _require_valid(shop, str(batch.source), told, max_event_bytes)
    return Replay(count, lambda: (message for _, message in history(tables)))


def replay_file(shop: Shop, path: Path, max_event_bytes: int, as_is: bool = False) -> Replay:
    """The lines of a file as messages, each keyed as the shop's own; empty lines are passed over.

    Args:
        as_is: publish what is no valid event too, without a key.

    Raises:
        SourceRefused: the file cannot be read, or a line is no valid event.
    """
    try:
        if as_is:
            count = sum(1 for _ in _lines(path))
        else:
            told = ((f"line {number}", line) for number, line in _lines(path))
            count = _require_valid(shop, str(path), told, max_event_bytes)
    except OSError as error:
        raise SourceRefused(
            f"{path} cannot be read ({error.strerror}).", "Name a file of JSON lines."
        ) from None
    return Replay(count, lambda: (_message(shop, line, max_event_bytes) for _, line in _lines(path)))


def _lines(path: Path) -> Iterator[tuple[int, bytes]]:
    """Number, from 1, and bytes of each line that is not empty."""
    with path.open("rb") as file:
        for number, line in enumerate(file, 1):
            if text := line.strip(b" \t\r\n"):
                yield number, text


def _require_valid(shop: Shop, source: str, told: Iterable[tuple[str, bytes]], max_event_bytes: int) -> int:
    """How many there are.

    Raises:
        SourceRefused: at least one is no valid event.
    """
    count, broken = 0, 0
    shown: list[str] = []
    for name, value in told:
        count += 1
        try:
            _decoded(shop, value, max_event_bytes)
        except InvalidEvent as error:
            broken += 1
            if len(shown) < _SHOWN:
                shown.append(f"{name}: {error}")
    if broken:
        more = f"; and {broken - len(shown):,} more" if broken > len(shown) else ""
        raise SourceRefused(
            f"{broken:,} of {count:,} events of {source} are not valid. {'; '.join(shown)}{more}.",
            "Nothing was published. Correct them; a file can be published as it is with --as-is.",
        )
    return count


def _message(shop: Shop, value: bytes, max_event_bytes: int) -> Message:
    """A line as it is published: keyed where it is a valid event."""
    try:
        row = _decoded(shop, value, max_event_bytes)
    except InvalidEvent:
        return Message(None, value)
    fields = dict(zip(shop.contract.columns, row, strict=True))
    event_id = str(fields["EVENT_ID"])
    key = str(fields[shop.keyed_by]).encode() if shop.keyed_by else None
    return Message(key, value, event_id)


def _decoded(shop: Shop, value: bytes, max_event_bytes: int) -> tuple[object, ...]:
    return decode(KafkaMessage(shop.topic, 0, 0, None, None, value, ()), shop.contract, max_event_bytes)
