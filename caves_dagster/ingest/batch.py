"""A batch on its way to RAW: rows and dead letters as columns, written to Parquet."""

from __future__ import annotations

import base64
import json
import time
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NamedTuple

from caves_dagster.ingest.decode import decode
from caves_dagster.ingest.reader import KafkaMessage, Read
from caves_dagster.shop import Contract, InvalidEvent

# Years 1970 to 2199: a producer may stamp a record with any number.
_MAX_TIMESTAMP_MS = 7_258_118_400_000
_CLASS_LENGTH = 50
_REASON_LENGTH = 2000
_PATH_LENGTH = 1000


class Origin(NamedTuple):
    """Where a row comes from: the message, and the batch that read it."""

    message: KafkaMessage
    batch_id: str


@dataclass(frozen=True)
class DeadLetter:
    """A message that is not an event, and why."""

    message: KafkaMessage
    failure_class: str
    reason: str
    path: str


@dataclass
class Batch:
    """One landing transaction's worth: what was read, split into rows and dead letters.

    `rows[i]` is the contract's row of `messages[i]`. The files hold both, None where there is nothing; their
    names are new with every writing, as PUT and COPY both remember names.
    """

    read: Read
    messages: list[KafkaMessage]
    rows: list[tuple[Any, ...]]
    dead: list[DeadLetter]
    batch_id: str = field(default_factory=lambda: str(uuid.uuid4()))
    ingested_at: datetime = field(default_factory=lambda: datetime.now(UTC))
    decode_seconds: float = 0.0
    row_file: Path | None = None
    dead_file: Path | None = None

    @property
    def offsets(self) -> int:
        """Offsets the batch moves over, records or not."""
        return sum(moved.end - moved.start for moved in self.read.progress.values())

    @property
    def skipped(self) -> int:
        """Offsets without a record."""
        return self.offsets - len(self.rows) - len(self.dead)

    @property
    def origins(self) -> list[Origin]:
        """Where each row comes from."""
        return [Origin(message, self.batch_id) for message in self.messages]

    def refuse(self, reasons: Mapping[int, str]) -> None:
        """Turn rows that the warehouse will not load into dead letters of class LANDING.

        Args:
            reasons: index of each such row, and why it was refused.
        """
        for index, reason in sorted(reasons.items()):
            self.dead.append(DeadLetter(self.messages[index], "LANDING", reason, "$"))
        keep = [index for index in range(len(self.rows)) if index not in reasons]
        self.messages = [self.messages[index] for index in keep]
        self.rows = [self.rows[index] for index in keep]

    def partitions(self) -> list[dict[str, Any]]:
        """Per partition, what INGEST_BATCHES.PARTITIONS and the positions say of it."""
        found = {
            partition: {
                "partition": partition,
                "from": moved.start,
                "to": moved.end,
                "landed": 0,
                "dead": 0,
                "last_record_offset": moved.last_record_offset,
                "last_record_timestamp_ms": moved.last_record_timestamp_ms,
            }
            for partition, moved in sorted(self.read.progress.items())
        }
        for message in self.messages:
            found[message.partition]["landed"] += 1  # type: ignore[operator]
        for letter in self.dead:
            found[letter.message.partition]["dead"] += 1  # type: ignore[operator]
        return list(found.values())


def build(read: Read, contract: Contract, max_event_bytes: int, folder: Path) -> Batch:
    """Decode and validate what was read: every message ends as a row or a dead letter, in a file."""
    began = time.monotonic()
    batch = Batch(read, [], [], [])
    for message in read.messages:
        try:
            row = decode(message, contract, max_event_bytes)
        except InvalidEvent as invalid:
            batch.dead.append(DeadLetter(message, invalid.failure_class, invalid.reason, invalid.path))
        else:
            batch.rows.append(row)
            batch.messages.append(message)
    write(batch, contract, folder)
    batch.decode_seconds = time.monotonic() - began
    return batch


def write(batch: Batch, contract: Contract, folder: Path) -> None:
    """Write the batch's files."""
    stem = f"{batch.batch_id}-{time.time_ns()}"
    batch.row_file = batch.dead_file = None
    if batch.rows:
        batch.row_file = folder / f"{stem}.parquet"
        write_rows(contract, batch.rows, batch.origins, batch.ingested_at, batch.row_file)
    if batch.dead:
        batch.dead_file = folder / f"{stem}-dead.parquet"
        write_dead_letters(batch.dead, batch.batch_id, batch.ingested_at, batch.dead_file)


def write_rows(
    contract: Contract,
    rows: Sequence[tuple[Any, ...]],
    origins: Sequence[Origin],
    ingested_at: datetime,
    path: Path,
) -> None:
    """Write rows of the contract, `rows[i]` made of `origins[i]`, as a Parquet file."""
    import pyarrow as pa

    values = zip(*rows, strict=True) if rows else ((),) * len(contract.columns)
    columns = {
        name: pa.array(column, getattr(pa, kind)())
        for (name, kind), column in zip(contract.columns.items(), values, strict=True)
    }
    _write(columns, origins, ingested_at, path)


def write_dead_letters(
    letters: Sequence[DeadLetter], batch_id: str, ingested_at: datetime, path: Path
) -> None:
    """Write dead letters as a Parquet file, bytes in base64."""
    import pyarrow as pa

    columns = {
        "DEAD_LETTER_ID": pa.array([str(uuid.uuid4()) for _ in letters], pa.string()),
        "VALUE": pa.array([_base64(letter.message.value) for letter in letters], pa.large_string()),
        "MESSAGE_KEY": pa.array([_base64(letter.message.key) for letter in letters], pa.large_string()),
        "HEADERS": pa.array([_headers(letter.message) for letter in letters], pa.string()),
        **failure_columns(letters),
        "ATTEMPTS": pa.array([1] * len(letters), pa.int64()),
    }
    _write(columns, [Origin(letter.message, batch_id) for letter in letters], ingested_at, path)


def failure_columns(letters: Sequence[DeadLetter | None]) -> dict[str, Any]:
    """Why each of them is dead, cut to the columns' lengths, as Arrow arrays by column; None for None."""
    import pyarrow as pa

    columns = {
        "FAILURE_CLASS": [one and _text(one.failure_class, _CLASS_LENGTH) for one in letters],
        "FAILURE_REASON": [one and _text(one.reason, _REASON_LENGTH) for one in letters],
        "FAILURE_PATH": [one and _text(one.path, _PATH_LENGTH) for one in letters],
    }
    return {name: pa.array(values, pa.string()) for name, values in columns.items()}


def _write(columns: dict[str, Any], origins: Sequence[Origin], ingested_at: datetime, path: Path) -> None:
    """Add where the records came from, and write the file."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    messages = [origin.message for origin in origins]
    columns |= {
        "INGESTION_TIME": pa.array([ingested_at.isoformat()] * len(origins), pa.string()),
        "KAFKA_TOPIC": pa.array([message.topic for message in messages], pa.string()),
        "KAFKA_PARTITION": pa.array([message.partition for message in messages], pa.int64()),
        "KAFKA_OFFSET": pa.array([message.offset for message in messages], pa.int64()),
        "KAFKA_TIMESTAMP": _timestamps([message.timestamp_ms for message in messages]),
        "BATCH_ID": pa.array([origin.batch_id for origin in origins], pa.string()),
    }
    pq.write_table(pa.table(columns), path)


def _timestamps(milliseconds: list[int | None]) -> Any:
    """Text, which both platforms cast alike; None where the number is no date of ours."""
    import pyarrow as pa
    import pyarrow.compute as pc

    valid = [ms if ms is not None and 0 <= ms < _MAX_TIMESTAMP_MS else None for ms in milliseconds]
    return pc.strftime(pa.array(valid, pa.timestamp("ms")), format="%Y-%m-%dT%H:%M:%S+00:00")


def _base64(value: bytes | None) -> str | None:
    return None if value is None else base64.b64encode(value).decode()


def _text(text: str, length: int) -> str:
    return text[:length].encode("utf-8", "replace").decode()


def _headers(message: KafkaMessage) -> str:
    return json.dumps([{"name": name, "value": _base64(value)} for name, value in message.headers])
