"""Dead letters as text: in tables, one whole, and as a line of JSON that loses nothing."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

from rich.markup import escape
from rich.table import Table

from caves_dagster.ingest.dead_letters import StoredLetter, event_type
from caves_dagster.warehouse.connection import Row


def counts_table(rows: list[Row]) -> Table:
    """Letters by class, as `DeadLetters.counts` gives them."""
    table = Table(title="dead letters by class", title_justify="left", title_style="bold")
    for column in ("class", "letters", "replayed", "oldest", "newest", "most attempts"):
        table.add_column(column, justify="left" if column in ("class", "oldest", "newest") else "right")
    for row in rows:
        times = (f"{row[name]:%Y-%m-%d %H:%M}" for name in ("OLDEST", "NEWEST"))
        figures = f"{int(row['LETTERS']):,}", f"{int(row['REPLAYED']):,}"
        table.add_row(escape(row["FAILURE_CLASS"]), *figures, *times, str(row["MOST_ATTEMPTS"]))
    return table


def letters_table(rows: list[Row], matching: int) -> Table:
    """A line a letter, as `DeadLetters.newest` gives them."""
    title = f"the newest {len(rows):,} of {matching:,}"
    table = Table(title=title, title_justify="left", title_style="bold")
    for column in ("id", "first seen", "where", "class", "type", "attempts", "path", "reason"):
        table.add_column(column, overflow="fold" if column in ("path", "reason") else "ellipsis")
    for row in rows:
        kind = event_type(bytes.fromhex(row["HEAD"] or "")) or "-"
        reason = row["FAILURE_REASON"]
        cells = (
            row["DEAD_LETTER_ID"][:8],
            f"{row['FIRST_SEEN']:%m-%d %H:%M:%S}",
            f"{row['KAFKA_PARTITION']}@{row['KAFKA_OFFSET']}",
            row["FAILURE_CLASS"],
            kind,
            f"{row['ATTEMPTS']}{', replayed' if row['REPLAYED_AT'] else ''}",
            row["FAILURE_PATH"],
            reason if len(reason) <= 120 else reason[:119] + "…",
        )
        table.add_row(*(escape(cell) for cell in cells))
    return table


def described(stored: StoredLetter, replays: list[Row]) -> Iterator[str]:
    """The letter line by line, its bytes last."""
    letter, message = stored.letter, stored.letter.message
    replayed = f"replayed {stored.replayed_at}" if stored.replayed_at else "not replayed"
    yield f"id          {stored.dead_letter_id}"
    yield f"class       {_plain(letter.failure_class)}"
    yield f"reason      {_plain(letter.reason)}"
    yield f"path        {_plain(letter.path)}"
    yield f"type        {_plain(event_type(message.value) or 'the bytes do not tell')}"
    yield f"topic       {message.topic}, partition {message.partition}, offset {message.offset}"
    yield f"timestamp   {_iso(message.timestamp_ms) or 'none'}"
    yield f"first seen  {stored.first_seen}, in batch {stored.batch_id}"
    yield f"attempts    {stored.attempts}, {replayed}"
    for row in replays:
        what = "landed" if row["LANDED"] else f"{row['FAILURE_CLASS']}: {row['FAILURE_REASON']}"
        yield f"  tried     {row['TRIED_AT']} by {_plain(row['RUN_ID'])}: {_plain(what)}"
    for name, value in message.headers:
        yield f"header      {_plain(name)}: {_readable(value)}"
    yield f"key         {_readable(message.key)}"
    yield f"value       {_size(message.value)}"
    yield _readable(message.value)


def json_line(stored: StoredLetter) -> bytes:
    """The letter as one line of JSON.

    Bytes that are UTF-8 stand as text under their name, others as base64 under `<name>_base64`; a value or
    key that the message did not have is null.
    """
    letter, message = stored.letter, stored.letter.message
    content = {
        "id": stored.dead_letter_id,
        "topic": message.topic,
        "partition": message.partition,
        "offset": message.offset,
        "timestamp": _iso(message.timestamp_ms),
        "event_type": event_type(message.value),
        "failure_class": letter.failure_class,
        "failure_reason": letter.reason,
        "failure_path": letter.path,
        "first_seen": stored.first_seen.isoformat(),
        "attempts": stored.attempts,
        "replayed_at": stored.replayed_at and stored.replayed_at.isoformat(),
        "batch_id": stored.batch_id,
        **_lossless("key", message.key),
        **_lossless("value", message.value),
        "headers": [{"name": name, **_lossless("value", value)} for name, value in message.headers],
    }
    return json.dumps(content, ensure_ascii=False).encode() + b"\n"


def _lossless(name: str, value: bytes | None) -> dict[str, Any]:
    if value is None:
        return {name: None}
    try:
        return {name: value.decode()}
    except UnicodeDecodeError:
        return {f"{name}_base64": base64.b64encode(value).decode()}


def _readable(value: bytes | None) -> str:
    """Bytes as text, or as hex where they are not UTF-8 or would move the cursor of a terminal."""
    if value is None:
        return "none"
    try:
        text = value.decode()
    except UnicodeDecodeError:
        return f"hex {value.hex()}"
    return text if _plain(text) == text else f"hex {value.hex()}"


def _plain(text: str) -> str:
    """Text without control characters, which a message may bring and a terminal would obey."""
    return "".join(
        letter if letter.isprintable() or letter in "\n\t" else "\N{REPLACEMENT CHARACTER}" for letter in text
    )


def _size(value: bytes | None) -> str:
    return "none" if value is None else f"{len(value):,} bytes"


def _iso(milliseconds: int | None) -> str | None:
    if milliseconds is None:
        return None
    return datetime.fromtimestamp(milliseconds / 1000, UTC).isoformat(timespec="milliseconds")
