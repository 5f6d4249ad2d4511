"""A batch on its way to RAW: rows and dead letters as columns, written to Parquet.

Memory decides the shape. A row takes some four times the memory of the message it is made of, so rows exist a
group at a time, on their way into the file; what a batch keeps is its messages. Where rows are needed once
more, as the warehouse refused some, they are decoded again.
"""

from __future__ import annotations

import base64
import json
import time
import uuid
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

from caves_dagster.ingest.decode import decode
from caves_dagster.ingest.reader import KafkaMessage, Read
from caves_dagster.shop import Contract, InvalidEvent

# Years 1970 to 2199: a producer may stamp a record with any number.
_MAX_TIMESTAMP_MS = 7_258_118_400_000
_CLASS_LENGTH = 50
_REASON_LENGTH = 2000
_PATH_LENGTH = 1000
_TYPE = "EVENT_TYPE"
# Most that is in columns at once, a row group of the file.
_GROUP_ROWS = 5000
_GROUP_BYTES = 4 * 2**20

Item = TypeVar("Item")


class Origin(NamedTuple):
    """Where a row comes from: the message, and the batch that read it."""

    message: KafkaMessage
    batch_id: str


Row = tuple[tuple[Any, ...], Origin]
"""The values of a row, in the order of the contract's columns, and where it comes from."""


@dataclass(frozen=True)
class DeadLetter:
    """A message that is not an event, and why."""

    message: KafkaMessage
    failure_class: str
    reason: str
    path: str


@dataclass
class Batch:
    """One landing transaction's worth: what was read, split into messages that became rows and dead letters.

    The files hold both, None where there is nothing; their names are new with every writing, as PUT and COPY
    both remember names.
    """

    read: Read
    contract: Contract
    max_event_bytes: int
    messages: list[KafkaMessage] = field(default_factory=list)
    dead: list[DeadLetter] = field(default_factory=list)
    batch_id: str = field(default_factory=lambda: str(uuid.uuid4()))
    ingested_at: datetime = field(default_factory=lambda: datetime.now(UTC))
    decode_seconds: float = 0.0
    upload_seconds: float = 0.0
    load_seconds: float = 0.0
    types: Counter[tuple[int, str]] = field(default_factory=Counter)
    """Rows by partition and event type."""
    row_file: Path | None = None
    dead_file: Path | None = None

    @property
    def offsets(self) -> int:
        """Offsets the batch moves over, records or not."""
        return sum(moved.end - moved.start for moved in self.read.progress.values())

    @property
    def skipped(self) -> int:
        """Offsets without a record."""
        return self.offsets - len(self.messages) - len(self.dead)

    def rows(self) -> Iterator[Row]:
        """The row of each message, decoded again."""
        for message in self.messages:
            yield decode(message, self.contract, self.max_event_bytes), Origin(message, self.batch_id)

    def refuse(self, reasons: Mapping[int, str]) -> None:
        """Turn rows that the warehouse will not load into dead letters of class LANDING.

        Args:
            reasons: index of each such row, and why it was refused.
        """
        for index, reason in sorted(reasons.items()):
            self.dead.append(DeadLetter(self.messages[index], "LANDING", reason, "$"))
        self.messages = [message for index, message in enumerate(self.messages) if index not in reasons]

    def partitions(self) -> list[dict[str, Any]]:
        """Per partition, what INGEST_BATCHES.PARTITIONS and the positions say of it."""
        found: dict[int, dict[str, Any]] = {
            partition: {
                "partition": partition,
                "from": moved.start,
                "to": moved.end,
                "landed": 0,
                "dead": 0,
                "types": {},
                "classes": {},
                "last_record_offset": moved.last_record_offset,
                "last_record_timestamp_ms": moved.last_record_timestamp_ms,
            }
            for partition, moved in sorted(self.read.progress.items())
        }
        for message in self.messages:
            found[message.partition]["landed"] += 1
        for (partition, name), count in sorted(self.types.items()):
            found[partition]["types"][name] = count
        for letter in self.dead:
            entry, name = found[letter.message.partition], letter.failure_class
            entry["dead"] += 1
            entry["classes"][name] = entry["classes"].get(name, 0) + 1
        return list(found.values())


def build(read: Read, contract: Contract, max_event_bytes: int, folder: Path) -> Batch:
    """Decode and validate what was read: every message ends as a row or a dead letter, in a file."""
    began = time.monotonic()
    batch = Batch(read, contract, max_event_bytes)
    write(batch, _sorted(batch), folder)
    batch.decode_seconds = time.monotonic() - began
    return batch


def _sorted(batch: Batch) -> Iterator[Row]:
    """The rows of what was read; notes each message as one of a row or as a dead letter."""
    for message in batch.read.messages:
        try:
            values = decode(message, batch.contract, batch.max_event_bytes)
        except InvalidEvent as invalid:
            batch.dead.append(DeadLetter(message, invalid.failure_class, invalid.reason, invalid.path))
        else:
            batch.messages.append(message)
            yield values, Origin(message, batch.batch_id)


def write(batch: Batch, rows: Iterable[Row], folder: Path) -> None:
    """Write the batch's files, its rows first."""
    stem = f"{batch.batch_id}-{time.time_ns()}"
    path = folder / f"{stem}.parquet"
    batch.types.clear()
    written = write_rows(batch.contract, _typed(batch, rows), batch.ingested_at, path)
    batch.row_file = path if written else None
    batch.dead_file = None
    if batch.dead:
        batch.dead_file = folder / f"{stem}-dead.parquet"
        write_dead_letters(batch.dead, batch.batch_id, batch.ingested_at, batch.dead_file)


def _typed(batch: Batch, rows: Iterable[Row]) -> Iterator[Row]:
    """The rows; notes each one's event type, where the contract has a column of that name."""
    column = next((index for index, name in enumerate(batch.contract.columns) if name == _TYPE), None)
    for row in rows:
        name = None if column is None else row[0][column]
        text = name.decode("utf-8", "replace") if isinstance(name, bytes) else name or ""
        batch.types[row[1].message.partition, text] += 1
        yield row


def write_rows(contract: Contract, rows: Iterable[Row], ingested_at: datetime, path: Path) -> int:
    """Write rows of the contract as a Parquet file; returns how many."""
    import pyarrow as pa

    kinds = {name: getattr(pa, kind)() for name, kind in contract.columns.items()}

    def columns(group: Sequence[Row]) -> dict[str, Any]:
        values = zip(*(row[0] for row in group), strict=True) if group else ((),) * len(kinds)
        of_contract = {
            name: pa.array(column, kind) for (name, kind), column in zip(kinds.items(), values, strict=True)
        }
        return of_contract | _origin_columns([row[1] for row in group], ingested_at)

    return _write(rows, lambda row: len(row[1].message.value or b""), columns, path)


def write_dead_letters(
    letters: Iterable[DeadLetter], batch_id: str, ingested_at: datetime, path: Path
) -> None:
    """Write dead letters as a Parquet file, bytes in hex: TO_BINARY takes nothing else without being told,
    and COPY does not let every function be told a format."""
    import pyarrow as pa

    def columns(group: Sequence[DeadLetter]) -> dict[str, Any]:
        return {
            "DEAD_LETTER_ID": pa.array([str(uuid.uuid4()) for _ in group], pa.string()),
            "VALUE": pa.array([_hex(letter.message.value) for letter in group], pa.large_string()),
            "MESSAGE_KEY": pa.array([_hex(letter.message.key) for letter in group], pa.large_string()),
            "HEADERS": pa.array([_headers(letter.message) for letter in group], pa.large_string()),
            **failure_columns(group),
            "ATTEMPTS": pa.array([1] * len(group), pa.int64()),
            **_origin_columns([Origin(letter.message, batch_id) for letter in group], ingested_at),
        }

    _write(letters, lambda letter: letter.message.size, columns, path)


def failure_columns(letters: Sequence[DeadLetter | None]) -> dict[str, Any]:
    """Why each of them is dead, cut to the columns' lengths, as Arrow arrays by column; None for None."""
    import pyarrow as pa

    columns = {
        "FAILURE_CLASS": [one and _text(one.failure_class, _CLASS_LENGTH) for one in letters],
        "FAILURE_REASON": [one and _text(one.reason, _REASON_LENGTH) for one in letters],
        "FAILURE_PATH": [one and _text(one.path, _PATH_LENGTH) for one in letters],
    }
    return {name: pa.array(values, pa.string()) for name, values in columns.items()}


def _origin_columns(origins: Sequence[Origin], ingested_at: datetime) -> dict[str, Any]:
    """Where records came from, and when they were ingested."""
    import pyarrow as pa

    messages = [origin.message for origin in origins]
    return {
        "INGESTION_TIME": pa.array([ingested_at.isoformat()] * len(origins), pa.string()),
        "KAFKA_TOPIC": pa.array([message.topic for message in messages], pa.string()),
        "KAFKA_PARTITION": pa.array([message.partition for message in messages], pa.int64()),
        "KAFKA_OFFSET": pa.array([message.offset for message in messages], pa.int64()),
        "KAFKA_TIMESTAMP": _timestamps([message.timestamp_ms for message in messages]),
        "BATCH_ID": pa.array([origin.batch_id for origin in origins], pa.string()),
    }


def _write(
    items: Iterable[Item],
    size: Callable[[Item], int],
    columns: Callable[[Sequence[Item]], dict[str, Any]],
    path: Path,
) -> int:
    """Write items to a Parquet file, group by group; returns how many."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    count = 0
    with pq.ParquetWriter(path, pa.table(columns([])).schema) as file:
        for group in _groups(items, size):
            file.write_table(pa.table(columns(group)))
            count += len(group)
    return count


def _groups(items: Iterable[Item], size: Callable[[Item], int]) -> Iterator[list[Item]]:
    """The items in lists of at most _GROUP_ROWS, each closed once it has _GROUP_BYTES."""
    group: list[Item] = []
    held = 0
    for item in items:
        group.append(item)
        held += size(item)
        if len(group) >= _GROUP_ROWS or held >= _GROUP_BYTES:
            yield group
            group, held = [], 0
    if group:
        yield group


def _timestamps(milliseconds: list[int | None]) -> Any:
    """Text, which both platforms cast alike; None where the number is no date of ours."""
    import pyarrow as pa
    import pyarrow.compute as pc

    valid = [ms if ms is not None and 0 <= ms < _MAX_TIMESTAMP_MS else None for ms in milliseconds]
    return pc.strftime(pa.array(valid, pa.timestamp("ms")), format="%Y-%m-%dT%H:%M:%S+00:00")


def _hex(value: bytes | None) -> str | None:
    return None if value is None else value.hex()


def _base64(value: bytes | None) -> str | None:
    return None if value is None else base64.b64encode(value).decode()


def _text(text: str, length: int) -> str:
    return text[:length].encode("utf-8", "replace").decode()


def _headers(message: KafkaMessage) -> str:
    return json.dumps([{"name": name, "value": _base64(value)} for name, value in message.headers])
