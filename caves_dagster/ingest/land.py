"""The landing transaction: rows, dead letters, positions, gaps and the batch log, all or nothing.

The fence comes first: updating its one row takes the lock of the shop's writers. Only then are the positions
read again, by a new statement, since under READ COMMITTED a statement that waited for a lock still sees what
was committed before it began. Tests: `caves_dagster_tests/ingest/test_landing.py`.
"""

from __future__ import annotations

import json
import logging
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from pathlib import Path

from caves_dagster.errors import (
    CavesError,
    LandingRefused,
    PositionsMoved,
    StatementFailed,
    WarehouseNotSetUp,
    WriteConflict,
)
from caves_dagster.ingest.batch import Batch, write, write_rows
from caves_dagster.ingest.positions import Gap, Position
from caves_dagster.kafka.client import TopicState
from caves_dagster.shop import SQL_ROOT, Shop
from caves_dagster.warehouse.abandoned import abort_abandoned
from caves_dagster.warehouse.connection import Warehouse
from caves_dagster.warehouse.scripts import render, statements

log = logging.getLogger(__name__)

# Rows tried one by one before a batch that was refused is bisected.
_SAMPLE = 20


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


@dataclass
class _Files:
    """Names on the stage: unique to the transaction, as PUT and COPY both remember names."""

    raw: str | None = None
    dead: str | None = None
    seconds: float = 0.0
    names: list[str] = field(default_factory=list)


class Lander:
    """Lands batches of one shop through one warehouse session."""

    def __init__(self, warehouse: Warehouse, shop: Shop) -> None:
        self._warehouse = warehouse
        self._shop = shop
        self._transaction_name = f"CAVES_LANDING_{shop.name.upper()}"

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

    def land(self, batch: Batch, landing: Landing) -> None:
        """Commit the batch, rows that the warehouse refuses turned into dead letters.

        Raises:
            PositionsMoved: another writer was first; nothing was written.
            RetryableError: the warehouse was away or locked. If it went away during COMMIT the batch may
                have landed: plan again from the stored positions.
        """
        try:
            self._commit(batch, landing)
        except LandingRefused as refusal:
            with tempfile.TemporaryDirectory(prefix="caves-") as folder:
                if self._is_systemic(batch, Path(folder)):
                    raise
                refused = self._bisect(batch, range(len(batch.rows)), Path(folder))
                if not refused:
                    raise
                log.warning("The warehouse refused %d of %d rows: %s", len(refused), len(batch.rows), refusal)
                batch.refuse(refused)
                write(batch, self._shop.contract, Path(folder))
                self._commit(batch, landing)

    def sweep(self, older_than: timedelta = timedelta(hours=1)) -> int:
        """Remove files that a killed writer left on the stage; returns how many."""
        removed = 0
        for row in self._warehouse.query(f"LIST @{self._shop.raw.schema}.LANDING"):
            modified = parsedate_to_datetime(str(row["LAST_MODIFIED"]))
            if datetime.now(UTC) - modified > older_than:
                self._remove(_Files(names=[str(row["NAME"]).rpartition("/")[2]]))
                removed += 1
        return removed

    def _commit(self, batch: Batch, landing: Landing) -> None:
        files = self._upload(batch)
        try:
            began = time.monotonic()
            with self._warehouse.transaction(self._transaction_name):
                self._take_fence(landing)
                self._load(batch, files)
                self._record(batch, landing, files.seconds, began)
        except WriteConflict:
            abort_abandoned(self._warehouse, self._transaction_name)
            raise
        finally:
            self._remove(files)

    def _upload(self, batch: Batch) -> _Files:
        files = _Files()
        began = time.monotonic()
        if batch.row_file is not None:
            files.raw = self._put(batch.row_file, files)
        if batch.dead_file is not None:
            files.dead = self._put(batch.dead_file, files)
        files.seconds = time.monotonic() - began
        return files

    def _put(self, path: Path, files: _Files) -> str:
        """Put a file on the stage, under its name; the local one is done with."""
        files.names.append(path.name)
        self._warehouse.query(
            f"PUT 'file://{path}' @{self._shop.raw.schema}.LANDING OVERWRITE=TRUE AUTO_COMPRESS=FALSE"
        )
        path.unlink()
        return path.name

    def _take_fence(self, landing: Landing) -> None:
        # Two set-ups at once may have left it two rows, as keys are not enforced: that locks just as well.
        if self._warehouse.execute(self._sql("ingest/take_fence.sql")) < 1:
            raise WarehouseNotSetUp(
                f"{self._shop.raw.schema}.INGEST_FENCE does not hold its row: nothing locks the writers.",
                "Run `caves setup`.",
            )
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

    def _load(self, batch: Batch, files: _Files) -> None:
        if files.raw is not None:
            self._copy_rows(files.raw, len(batch.rows))
        if files.dead is not None:
            sql = render(SQL_ROOT, "ingest/copy_dead_letters.sql", raw=self._shop.raw, file=files.dead)
            self._copy(sql, len(batch.dead))

    def _copy_rows(self, file: str, sent: int) -> None:
        """COPY a staged file into the raw table; raises as `_copy` does."""
        name = f"{self._shop.name}/raw/{self._shop.raw.name.lower()}.sql"
        self._copy(render(self._shop.sql, name, file=file), sent)

    def _copy(self, sql: str, sent: int) -> None:
        """COPY, and see that as many rows were loaded as were sent.

        Raises:
            LandingRefused: the warehouse refused the data.
            CavesError: it loaded another number of rows; no row can be blamed for that.
        """
        (statement,) = statements(sql)
        try:
            rows = self._warehouse.query(statement)
        except StatementFailed as error:
            raise LandingRefused(f"COPY failed: {error.problem}") from error
        loaded = sum(int(row.get("ROWS_LOADED") or 0) for row in rows)
        if loaded != sent:
            raise CavesError(
                f"COPY loaded {loaded} rows of {sent}: nothing was landed.",
                "Run it again; if it stays so, look at COPY_HISTORY of the table.",
            )

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
        self._warehouse.execute(
            self._sql("ingest/write_batch.sql"),
            positions
            | {
                "batch_id": batch.batch_id,
                "run_id": landing.run_id,
                "consumed": len(batch.rows) + len(batch.dead),
                "landed": len(batch.rows),
                "dead": len(batch.dead),
                "skipped": batch.skipped,
                "bytes": batch.read.bytes,
                "read_seconds": round(batch.read.seconds, 4),
                "decode_seconds": round(batch.decode_seconds, 4),
                "upload_seconds": round(upload_seconds, 4),
                "load_seconds": round(time.monotonic() - began, 4),
            },
        )

    def _is_systemic(self, batch: Batch, folder: Path) -> bool:
        """Whether the refusal has another reason than some rows' data.

        So it is where a COPY without a single row fails, or one of each of a sample of rows: a table that
        changed must not turn a whole topic into dead letters, nor cost two COPYs a row to find out.
        """
        if self._try(batch, [], folder) is not None:
            return True
        count = len(batch.rows)
        sample = range(0, count, -(-count // _SAMPLE)) if count > _SAMPLE else range(0)
        return bool(sample) and all(self._try(batch, [index], folder) is not None for index in sample)

    def _bisect(self, batch: Batch, indices: Sequence[int], folder: Path) -> dict[int, str]:
        """The rows that COPY refuses even alone, with the reason: tried by halves, each rolled back."""
        refused: dict[int, str] = {}
        stack = [list(indices)]
        while stack:
            part = stack.pop()
            reason = self._try(batch, part, folder)
            if reason is None:
                continue
            if len(part) == 1:
                refused[part[0]] = reason
            else:
                middle = len(part) // 2
                stack += [part[middle:], part[:middle]]
        return refused

    def _try(self, batch: Batch, indices: Sequence[int], folder: Path) -> str | None:
        """Load some rows and roll back; returns why that failed, or None."""
        files = _Files()
        try:
            path = folder / f"{batch.batch_id}-{time.time_ns()}.parquet"
            write_rows(batch, self._shop.contract, path, indices)
            files.raw = self._put(path, files)
            with self._warehouse.transaction():
                self._copy_rows(files.raw, len(indices))
                raise _RolledBack
        except _RolledBack:
            return None
        except LandingRefused as refusal:
            return refusal.problem
        finally:
            self._remove(files)

    def _remove(self, files: _Files) -> None:
        for name in files.names:
            try:
                self._warehouse.query(f"REMOVE @{self._shop.raw.schema}.LANDING/{name}")
            except CavesError as error:
                # The file stays on the stage until the next sweep; nothing loads it again.
                log.warning("Removing %s from the stage failed: %s", name, error)

    def _sql(self, name: str) -> str:
        (statement,) = statements(render(SQL_ROOT, name, raw=self._shop.raw))
        return statement


class _RolledBack(Exception):
    """Ends a trial transaction."""
