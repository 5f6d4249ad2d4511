"""What a shop declares. The machinery knows shops only through these types.

One event's way: `topic` → `contract` (a row or a dead letter) → the `raw` table → each `Transformation`,
which consumes one stream in one transaction → `views`. SQL lies under `sql`, one file a table, named after
it; see `Shop` for where.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

from caves_dagster.settings import PROJECT_ROOT

SQL_ROOT = PROJECT_ROOT / "sql"


class InvalidEvent(ValueError):
    """A message that is not a valid event; it becomes a dead letter.

    Args:
        failure_class: a short constant in capitals, for counting.
        reason: one sentence for people.
        path: JSON path of what failed, `$` for the whole message.
    """

    def __init__(self, failure_class: str, reason: str, path: str = "$") -> None:
        super().__init__(f"{failure_class} at {path}: {reason}")
        self.failure_class = failure_class
        self.reason = reason
        self.path = path


@dataclass(frozen=True)
class Message:
    """One Kafka message as the producer sends it; `event_id` is None where the value carries none."""

    key: bytes | None
    value: bytes | None
    event_id: str | None = None


@dataclass(frozen=True)
class Table:
    """A table or view, by the names it has in the warehouse."""

    schema: str
    name: str

    @property
    def full_name(self) -> str:
        """`SCHEMA.NAME`."""
        return f"{self.schema}.{self.name}"

    @property
    def key(self) -> list[str]:
        """Dagster's asset key: `[schema, name]` in lower case."""
        return [self.schema.lower(), self.name.lower()]


@dataclass(frozen=True, eq=False)
class Contract:
    """What a valid event is, and which row of the raw table it becomes.

    Attributes:
        columns: the raw table's columns that come out of the message, name to Arrow type
            ("string" or "int64"); Kafka's position and the ingestion time are added by the machinery.
        event: the msgspec struct (or union of tagged structs) of a valid event. Fields it does not name are
            accepted.
        row: the typed event and the message's bytes to a row in the order of `columns`; raises
            `InvalidEvent` for what a type cannot tell.
    """

    columns: Mapping[str, str]
    event: Any
    row: Callable[[Any, bytes], tuple[Any, ...]]


@dataclass(frozen=True)
class Transformation:
    """A consumer of one stream: all its SQL files run in one transaction, in the order of `writes`.

    Attributes:
        stream: the stream it consumes; no other transformation may.
        source: the table under that stream, which takes its place in a rebuild.
        writes: the tables it writes, each by `<layer>/<table>.sql`, where `{{ source }}` is the stream.
        layer: folder of the SQL files, and group of the assets.
    """

    stream: Table
    source: Table
    writes: tuple[Table, ...]
    layer: str


@dataclass(frozen=True, eq=False)
class Shop:
    """One shop on the machinery.

    SQL is read from `sql/<name>/`: `setup/*.sql` (schemas, tables, streams; run in the order of their names),
    `raw/<raw table>.sql` (the COPY), `<layer>/<table>.sql`, `analytics/<view>.sql`, `checks/<check>.sql`.

    Attributes:
        name: folder, prefix of jobs and sensors, `--shop` on the command line.
        title: name for people.
        topic: Kafka topic of its events.
        raw: the table that events land in.
        contract: what a valid event is.
        transformations: from raw to production, upstream first.
        views: the analytics views.
        generate: an endless stream of messages from a seed, a share of invalid ones and a clock.
        owner: who answers for its data; an e-mail address or `team:name`.
    """

    name: str
    title: str
    topic: str
    raw: Table
    contract: Contract
    transformations: tuple[Transformation, ...]
    views: tuple[Table, ...]
    generate: Callable[[int, float, Callable[[], datetime]], Iterator[Message]]
    owner: str
    sql: Path = field(default=SQL_ROOT)

    @property
    def folder(self) -> Path:
        """Folder of the shop's SQL."""
        return self.sql / self.name

    @property
    def tables(self) -> tuple[Table, ...]:
        """Every table the stream half writes, upstream first."""
        return (self.raw, *(table for step in self.transformations for table in step.writes))
