"""Where the pipeline stands: positions and lag, rows per table, rows waiting, last runs. Read-only."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from typing import Any

from caves_dagster.ingest.land import Lander
from caves_dagster.ingest.positions import Position, current_positions
from caves_dagster.kafka.client import KafkaClient, TopicState
from caves_dagster.settings import Settings
from caves_dagster.shop import Shop
from caves_dagster.tasks.deployed import task_mode
from caves_dagster.warehouse.connection import Warehouse


@dataclass(frozen=True)
class PartitionStatus:
    """One partition. `position` is None where nothing was ingested yet; `lag` counts offsets."""

    partition: int
    position: int | None
    low_watermark: int
    high_watermark: int
    lag: int


@dataclass(frozen=True)
class ShopStatus:
    """One shop, at one moment for each table; `mode` says who transforms: "dagster" or "tasks"."""

    shop: str
    topic: str
    cluster_id: str
    mode: str
    partitions: tuple[PartitionStatus, ...]
    tables: dict[str, int]
    streams: dict[str, int]

    @property
    def lag(self) -> int:
        """Offsets between the positions and the ends."""
        return sum(partition.lag for partition in self.partitions)

    def as_json(self) -> dict[str, Any]:
        """For programs."""
        return asdict(self) | {"lag": self.lag}


@dataclass(frozen=True)
class RunStatus:
    """One Dagster run; times are ISO 8601 in UTC."""

    run_id: str
    job: str
    status: str
    started: str | None
    seconds: float | None


def shop_status(settings: Settings, shop: Shop, warehouse: Warehouse) -> ShopStatus:
    """Ask the broker and the warehouse.

    Raises:
        CavesError: one of them is away or not set up.
    """
    state = KafkaClient(settings.kafka).inspect(shop.topic)
    partitions = partition_statuses(state, Lander(warehouse, shop).positions(shop.topic))
    own = [f"{shop.raw.schema}.DEAD_LETTER_EVENTS", f"{shop.raw.schema}.INGEST_BATCHES"]
    tables = [shop.raw.full_name, *own, *(table.full_name for table in shop.tables[1:])]
    return ShopStatus(
        shop=shop.name,
        topic=shop.topic,
        cluster_id=state.cluster_id,
        mode="tasks" if task_mode(warehouse, shop) else "dagster",
        partitions=partitions,
        tables=_count(warehouse, tables),
        streams=_count(warehouse, [step.stream.full_name for step in shop.transformations]),
    )


def partition_statuses(state: TopicState, stored: Iterable[Position]) -> tuple[PartitionStatus, ...]:
    """Each partition that the topic has now, held against the stored positions."""
    positions = current_positions(state, stored)
    found = []
    for number, marks in state.partitions.items():
        row = positions.get(number)
        position = None if row is None else row.next_offset
        lag = max(0, marks.end - max(marks.low, position or 0))
        found.append(PartitionStatus(number, position, marks.low, marks.end, lag))
    return tuple(found)


def last_runs(settings: Settings, limit: int = 5) -> list[RunStatus]:
    """The latest Dagster runs, newest first; none where Dagster has no state yet."""
    if not settings.dagster_state:
        return []
    import dagster as dg

    with dg.DagsterInstance.from_config(str(settings.dagster_state)) as instance:
        records = instance.get_run_records(limit=limit)
    return [
        RunStatus(
            run_id=record.dagster_run.run_id,
            job=record.dagster_run.job_name,
            status=record.dagster_run.status.value,
            started=_time(record.start_time),
            seconds=record.end_time - record.start_time if record.start_time and record.end_time else None,
        )
        for record in records
    ]


def _count(warehouse: Warehouse, names: list[str]) -> dict[str, int]:
    """Rows of each table or stream, in one statement."""
    sql = " UNION ALL ".join(f"SELECT '{name}' AS NAME, COUNT(*) AS N FROM {name}" for name in names)
    found = {row["NAME"]: int(row["N"]) for row in warehouse.query(sql)}
    return {name: found[name] for name in names}


def _time(seconds: float | None) -> str | None:
    return None if seconds is None else datetime.fromtimestamp(seconds, UTC).isoformat(timespec="seconds")
