"""Dead letters tried again under today's contract: what has become valid lands, exactly once.

    a page of letters → decode → the fence → verdicts, letters, rows → COMMIT

A row keeps the topic, partition, offset, timestamp and batch of the message it was; a letter that landed gets
its REPLAYED_AT in the same transaction, and only letters without one are tried. So neither two replays at
once nor one that is killed can land a letter twice. Tests: `caves_dagster_tests/ingest/test_replay.py`.
"""

from __future__ import annotations

import logging
import tempfile
import time
import uuid
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from tenacity import Retrying, before_sleep_log, retry_if_exception_type, wait_random_exponential

from caves_dagster.errors import LandingRefused, PositionsMoved, RetryableError
from caves_dagster.ingest.batch import DeadLetter, Origin, Row, failure_columns, write_rows
from caves_dagster.ingest.dead_letters import Chosen, DeadLetters, Page, StoredLetter
from caves_dagster.ingest.decode import decode
from caves_dagster.ingest.fence import fenced
from caves_dagster.ingest.refused import TRUNCATED, refused, row_trial
from caves_dagster.ingest.stage import Stage
from caves_dagster.settings import Settings
from caves_dagster.shop import SQL_ROOT, InvalidEvent, Shop
from caves_dagster.warehouse.connection import Warehouse
from caves_dagster.warehouse.scripts import render, statements

log = logging.getLogger(__name__)

# Letters of class LANDING are often replayed together, and all refused again: that alone is no table's fault.
_TRIED_SINGLY = 200


@dataclass
class ReplayReport:
    """What one replay did, or would do.

    Attributes:
        matching: letters that were chosen when it began.
        dead_by_class: those that stay dead, by their failure class of today.
    """

    dry_run: bool
    matching: int = 0
    landed: int = 0
    dead_by_class: Counter[str] = field(default_factory=Counter)
    seconds: float = 0.0

    @property
    def tried(self) -> int:
        """Letters tried so far."""
        return self.landed + self.dead_by_class.total()


@dataclass(frozen=True)
class Verdict:
    """A stored letter, tried again: a row of the raw table, or dead for this reason."""

    stored: StoredLetter
    row: tuple[Any, ...] | None
    dead: DeadLetter | None


class Replay:
    """Tries a shop's dead letters again.

    Args:
        settings: the limits of a page are those of a batch.
        warehouse: a session nobody else uses while this runs.
        run_id: stands in DEAD_LETTER_REPLAYS.
        on_page: called after each page, with the report so far.
    """

    def __init__(
        self,
        settings: Settings,
        shop: Shop,
        warehouse: Warehouse,
        run_id: str,
        on_page: Callable[[ReplayReport], None] = lambda report: None,
    ) -> None:
        self._settings = settings
        self._shop = shop
        self._warehouse = warehouse
        self._run_id = run_id
        self._on_page = on_page
        self._letters = DeadLetters(warehouse, shop)
        self._stage = Stage(warehouse, shop)

    def run(
        self,
        chosen: Chosen,
        limit: int | None = None,
        dry_run: bool = False,
        patience_seconds: float = 120.0,
    ) -> ReplayReport:
        """Try the chosen letters that are still dead, each once, the oldest first.

        Args:
            limit: at most so many.
            dry_run: decide, and change nothing.
            patience_seconds: how long to try a page again while the warehouse is away or busy.

        Raises:
            CavesError: what stopped it; pages that were committed stay.
        """
        began = time.monotonic()
        now = datetime.now(UTC)
        chosen = replace(chosen, replayed=False, until=min(chosen.until or now, now))
        matching = sum(int(row["LETTERS"]) for row in self._letters.counts(chosen))
        report = ReplayReport(dry_run, matching if limit is None else min(matching, limit))
        most, most_bytes = self._settings.batch_max_events, self._settings.batch_max_bytes
        for page in self._letters.pages(chosen, most, most_bytes, limit):
            if dry_run:
                verdicts = self._decide(self._letters.read(chosen, page))
            else:
                verdicts = self._carry_out(chosen, page, patience_seconds)
            dead = [verdict.dead for verdict in verdicts if verdict.dead is not None]
            report.landed += len(verdicts) - len(dead)
            report.dead_by_class.update(letter.failure_class for letter in dead)
            report.seconds = time.monotonic() - began
            self._on_page(report)
        return report

    def _carry_out(self, chosen: Chosen, page: Page, patience_seconds: float) -> list[Verdict]:
        """Decide on a page and commit it, again while something passing stands in the way."""
        began = time.monotonic()
        replay_id = str(uuid.uuid4())
        verdicts: list[Verdict] = []
        for attempt in Retrying(
            retry=retry_if_exception_type(RetryableError),
            wait=wait_random_exponential(multiplier=0.1, max=5),
            stop=lambda _: time.monotonic() - began > patience_seconds,
            before_sleep=before_sleep_log(log, logging.INFO),
            reraise=True,
        ):
            with attempt:
                # The answer to a COMMIT may have been lost.
                if attempt.retry_state.attempt_number > 1 and self._has_committed(replay_id):
                    break
                verdicts = self._decide(self._letters.read(chosen, page))
                if verdicts:
                    self._land(replay_id, verdicts)
        return verdicts

    def _decide(self, letters: Sequence[StoredLetter]) -> list[Verdict]:
        verdicts = []
        for stored in letters:
            letter = stored.letter
            if letter.failure_class == TRUNCATED:
                verdicts.append(Verdict(stored, None, letter))
                continue
            try:
                row = decode(letter.message, self._shop.contract, self._settings.max_event_bytes)
            except InvalidEvent as invalid:
                dead = DeadLetter(letter.message, invalid.failure_class, invalid.reason, invalid.path)
                verdicts.append(Verdict(stored, None, dead))
            else:
                verdicts.append(Verdict(stored, row, None))
        return verdicts

    def _land(self, replay_id: str, verdicts: list[Verdict]) -> None:
        """Commit the verdicts; one whose row the warehouse refuses is changed: its letter stays dead."""
        try:
            self._commit(replay_id, verdicts)
        except LandingRefused as refusal:
            rows = [(index, _row(one)) for index, one in enumerate(verdicts) if one.row is not None]
            trial = row_trial(self._warehouse, self._stage, self._shop.contract)
            reasons = refused(trial, [row for _, row in rows], _TRIED_SINGLY)
            if not reasons:
                raise
            log.warning("The warehouse refused %d of %d rows: %s", len(reasons), len(rows), refusal)
            for place, reason in reasons.items():
                stored = verdicts[rows[place][0]].stored
                dead = DeadLetter(stored.letter.message, "LANDING", reason, "$")
                verdicts[rows[place][0]] = Verdict(stored, None, dead)
            self._commit(replay_id, verdicts)

    def _commit(self, replay_id: str, verdicts: Sequence[Verdict]) -> None:
        rows = [_row(verdict) for verdict in verdicts if verdict.row is not None]
        now = datetime.now(UTC)
        with tempfile.TemporaryDirectory(prefix="caves-") as folder:
            verdict_file = Path(folder) / f"{uuid.uuid4()}-replay.parquet"
            self._write_verdicts(replay_id, verdicts, now, verdict_file)
            row_file = None
            if rows:
                row_file = Path(folder) / f"{uuid.uuid4()}.parquet"
                write_rows(self._shop.contract, rows, now, row_file)
            with self._stage.holding(verdict_file, row_file) as (verdicts_name, rows_name):
                assert verdicts_name is not None
                with fenced(self._warehouse, self._shop):
                    self._stage.copy_replays(verdicts_name, len(verdicts))
                    self._update(replay_id, len(verdicts))
                    if rows_name is not None:
                        self._stage.copy_rows(rows_name, len(rows))

    def _update(self, replay_id: str, tried: int) -> None:
        """Give the letters their verdicts, all or none."""
        updated = self._warehouse.execute(self._sql("ingest/update_replayed.sql"), {"replay_id": replay_id})
        if updated != tried:
            raise PositionsMoved(
                f"{tried - updated} of {tried} dead letters were replayed by somebody else meanwhile.",
                "The replay reads them again and goes on.",
            )

    def _write_verdicts(self, replay_id: str, verdicts: Sequence[Verdict], now: datetime, path: Path) -> None:
        import pyarrow as pa
        import pyarrow.parquet as pq

        count = len(verdicts)
        columns = {
            "REPLAY_ID": pa.array([replay_id] * count, pa.string()),
            "DEAD_LETTER_ID": pa.array([one.stored.dead_letter_id for one in verdicts], pa.string()),
            "RUN_ID": pa.array([self._run_id] * count, pa.string()),
            "LANDED": pa.array([one.row is not None for one in verdicts], pa.bool_()),
            **failure_columns([one.dead for one in verdicts]),
            "TRIED_AT": pa.array([now.isoformat()] * count, pa.string()),
        }
        pq.write_table(pa.table(columns), path)

    def _has_committed(self, replay_id: str) -> bool:
        return bool(
            self._warehouse.query(self._sql("ingest/read_replays.sql"), {"id": None, "replay_id": replay_id})
        )

    def _sql(self, name: str) -> str:
        (statement,) = statements(render(SQL_ROOT, name, raw=self._shop.raw))
        return statement


def _row(verdict: Verdict) -> Row:
    """A row of the raw table, at the place in Kafka where the letter stood and in the batch that read it."""
    assert verdict.row is not None
    return verdict.row, Origin(verdict.stored.letter.message, verdict.stored.batch_id)
