"""The landing transaction: rows, dead letters, positions, gaps and the batch log, all or nothing.

The fence comes first (`fence.py`). Only then are the positions read again. Tests:
`caves_dagster_tests/ingest/test_landing.py`.
"""

from __future__ import annotations

import json
import logging
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from tenacity import Retrying, retry_if_exception_type, stop_after_delay, wait_random_exponential

from caves_dagster.errors import LandingRefused, PositionsMoved, WriteConflict
from caves_dagster.ingest.batch import Batch, write
from caves_dagster.ingest.fence import fenced
from caves_dagster.ingest.positions import Gap, Position
from caves_dagster.ingest.refused import letter_trial, refused, row_trial, storable
from caves_dagster.ingest.stage import Stage
from caves_dagster.kafka.client import TopicState
from caves_dagster.shop import SQL_ROOT, Shop
from caves_dagster.warehouse.connection import Warehouse
from caves_dagster.warehouse.scripts import render, statements

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Landing:
    """What a batch has to agree with and to record besides its rows.

    Attributes:
        expected: next offset per partition that KAFKA_OFFSETS must hold before the batch, None for no row.
    """

    state: TopicState
    expected: Mapping[int, int | None]
    gaps: Sequence[Gap]
    run_id: str


class Lander:
    """Lands batches of one shop through one warehouse session.

    Args:
        fence_seconds: how long a batch goes on asking for the fence while another writer has it. Snowflake
            waits by itself (LOCK_TIMEOUT), the local server does not.
    """

    def __init__(self, warehouse: Warehouse, shop: Shop, fence_seconds: float = 0.0) -> None:
        self._warehouse = warehouse
        self._shop = shop
        self._fence_seconds = fence_seconds
        self.stage = Stage(warehouse, shop)

    def positions(self, topic: str) -> list[Position]:
        """Every stored position of the topic, other clusters and topic ids included."""
        rows = self._warehouse.query(self._sql("ingest/read_positions.sql"), {"topic": topic})
        return [
            Position(
                cluster_id=row["CLUSTER_ID"],
                topic_id=row["TOPIC_ID"],
                partition=row["PARTITION_ID"],
                next_offset=row["NEXT_OFFSET"],
                last_record_offset=row["LAST_RECORD_OFFSET"],
                last_record_timestamp_ms=row["LAST_RECORD_TIMESTAMP_MS"],
                updated_at=row["UPDATED_AT"],
            )
            for row in rows
        ]

    def has_landed(self, batch_id: str) -> bool:
        """Whether a batch was committed: for one whose COMMIT was not answered."""
        return bool(self._warehouse.query(self._sql("ingest/read_batch.sql"), {"batch_id": batch_id}))

    def land(self, batch: Batch, landing: Landing) -> None:
        """Commit the batch, with what the warehouse refuses of it turned into what it takes.

        Raises:
            PositionsMoved: another writer was first; nothing was written.
            LandingRefused: the warehouse refused it, for another reason than some messages' data.
            RetryableError: the warehouse was away or locked. If it went away during COMMIT the batch may
                have landed: plan again from the stored positions, and ask `has_landed`.
        """
        try:
            self._commit(batch, landing)
        except LandingRefused as refusal:
            if not self._mend(batch, refusal):
                raise
            with tempfile.TemporaryDirectory(prefix="caves-") as folder:
                write(batch, batch.rows(), Path(folder))
                self._commit(batch, landing)

    def _commit(self, batch: Batch, landing: Landing) -> None:
        began = time.monotonic()
        with self.stage.holding(batch.row_file, batch.dead_file) as (row_file, dead_file):
            uploaded = time.monotonic()
            for attempt in Retrying(
                retry=retry_if_exception_type(WriteConflict),
                wait=wait_random_exponential(multiplier=0.02, max=0.5),
                stop=stop_after_delay(self._fence_seconds),
                reraise=True,
            ):
                with attempt, fenced(self._warehouse, self._shop):
                    self._require_positions(landing)
                    if row_file is not None:
                        self.stage.copy_rows(row_file, len(batch.messages))
                    if dead_file is not None:
                        self.stage.copy_dead_letters(dead_file, len(batch.dead))
                    self._record(batch, landing, uploaded - began, uploaded)

    def _require_positions(self, landing: Landing) -> None:
        """The stored positions are those that the batch begins at: read after the fence was taken."""
        state = landing.state
        stored = {
            row.partition: row.next_offset
            for row in self.positions(state.topic)
            if (row.cluster_id, row.topic_id) == (state.cluster_id, state.topic_id)
        }
        for partition, expected in landing.expected.items():
            if stored.get(partition) != expected:
                raise PositionsMoved(
                    f"Partition {partition} of {state.topic!r} stands at {stored.get(partition)}, "
                    f"not at {expected}: another writer was first.",
                    "Ingestion reads the positions again and goes on.",
                )

    def _mend(self, batch: Batch, refusal: LandingRefused) -> bool:
        """Turn what the warehouse refuses into what it takes; returns whether there was anything."""
        rows = list(batch.rows())
        dead = refused(row_trial(self._warehouse, self.stage, self._shop.contract), rows)
        batch.refuse(dead)
        cut = storable(letter_trial(self._warehouse, self.stage), batch.dead) if batch.dead else {}
        for index, letter in cut.items():
            batch.dead[index] = letter
        if dead:
            log.warning("The warehouse refused %d of %d rows: %s", len(dead), len(rows), refusal)
        if cut:
            log.warning("The warehouse does not take %d dead letters whole: %s", len(cut), refusal)
        return bool(dead or cut)

    def _record(self, batch: Batch, landing: Landing, upload_seconds: float, began: float) -> None:
        state = landing.state
        partitions = batch.partitions()
        names = {
            "cluster_id": state.cluster_id,
            "topic": state.topic,
            "topic_id": state.topic_id,
            "now": datetime.now(UTC).isoformat(),
        }
        if landing.gaps:
            gaps = [
                {
                    "partition": gap.partition,
                    "from": gap.offset_from,
                    "to": gap.offset_to,
                    "reason": gap.reason,
                }
                for gap in landing.gaps
            ]
            self._warehouse.execute(self._sql("ingest/write_gaps.sql"), names | {"gaps": json.dumps(gaps)})
        positions = names | {"partitions": json.dumps(partitions)}
        self._warehouse.execute(self._sql("ingest/write_positions.sql"), positions)
        batch.upload_seconds, batch.load_seconds = upload_seconds, time.monotonic() - began
        self._warehouse.execute(
            self._sql("ingest/write_batch.sql"),
            positions
            | {
                "batch_id": batch.batch_id,
                "run_id": landing.run_id,
                "consumed": len(batch.messages) + len(batch.dead),
                "landed": len(batch.messages),
                "dead": len(batch.dead),
                "skipped": batch.skipped,
                "bytes": batch.read.bytes,
                "read_seconds": round(batch.read.seconds, 4),
                "decode_seconds": round(batch.decode_seconds, 4),
                "upload_seconds": round(batch.upload_seconds, 4),
                "load_seconds": round(batch.load_seconds, 4),
            },
        )

    def _sql(self, name: str) -> str:
        (statement,) = statements(render(SQL_ROOT, name, raw=self._shop.raw))
        return statement
