"""Dead letters tried again under today's contract: what has become valid lands, exactly once.

    a page of letters → verdicts → the fence → verdicts, letters, rows → COMMIT

in `dead_letters.py`, `verdicts.py`, `fence.py`.

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

from tenacity import Retrying, before_sleep_log, retry_if_exception_type, wait_random_exponential

from caves_dagster.errors import LandingRefused, PositionsMoved, RetryableError
from caves_dagster.ingest.batch import DeadLetter, write_rows
from caves_dagster.ingest.dead_letters import Chosen, DeadLetters, Page
from caves_dagster.ingest.fence import fenced
from caves_dagster.ingest.refused import refused, row_trial
from caves_dagster.ingest.stage import Stage
from caves_dagster.ingest.verdicts import Judge, Verdict, write_verdicts
from caves_dagster.settings import Settings
from caves_dagster.shop import SQL_ROOT, Shop
from caves_dagster.warehouse.connection import Warehouse
from caves_dagster.warehouse.scripts import render, statements

log = logging.getLogger(__name__)

# Letters of class LANDING are often replayed together, and all refused again: that alone is no table's fault.
_TRIED_SINGLY = 200
# What is read back takes some ten times the memory that its bytes do.
_PAGE_LETTERS = 10_000


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
        self._judge = Judge(shop.contract, settings.max_event_bytes)

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
        most = min(self._settings.batch_max_events, _PAGE_LETTERS)
        most_bytes = self._settings.batch_max_bytes
        for page in self._letters.pages(chosen, most, most_bytes, limit):
            if dry_run:
                verdicts = self._judge.decide(self._letters.read(chosen, page))
            else:
                verdicts = self._carry_out(chosen, page, patience_seconds)
            dead = [verdict.dead for verdict in verdicts if verdict.dead is not None]
            report.landed += len(verdicts) - len(dead)
            report.dead_by_class.update(letter.failure_class for letter in dead)
            report.seconds = time.monotonic() - began
            # Else they would be in memory while the next page is read.
            del verdicts, dead
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
                verdicts = self._judge.decide(self._letters.read(chosen, page))
                if verdicts:
                    self._land(replay_id, verdicts)
        return verdicts

    def _land(self, replay_id: str, verdicts: list[Verdict]) -> None:
        """Commit the verdicts; one whose row the warehouse refuses is changed: its letter stays dead."""
        try:
            self._commit(replay_id, verdicts)
        except LandingRefused as refusal:
            valid = [index for index, verdict in enumerate(verdicts) if verdict.dead is None]
            trial = row_trial(self._warehouse, self._stage, self._shop.contract)
            reasons = refused(trial, list(self._judge.rows(verdicts)), _TRIED_SINGLY)
            if not reasons:
                raise
            log.warning("The warehouse refused %d of %d rows: %s", len(reasons), len(valid), refusal)
            for place, reason in reasons.items():
                stored = verdicts[valid[place]].stored
                dead = DeadLetter(stored.letter.message, "LANDING", reason, "$")
                verdicts[valid[place]] = Verdict(stored, dead)
            self._commit(replay_id, verdicts)

    def _commit(self, replay_id: str, verdicts: Sequence[Verdict]) -> None:
        now = datetime.now(UTC)
        with tempfile.TemporaryDirectory(prefix="caves-") as folder:
            verdict_file = Path(folder) / f"{uuid.uuid4()}-replay.parquet"
            write_verdicts(verdicts, replay_id, self._run_id, now, verdict_file)
            path = Path(folder) / f"{uuid.uuid4()}.parquet"
            count = write_rows(self._shop.contract, self._judge.rows(verdicts), now, path)
            row_file = path if count else None
            with self._stage.holding(verdict_file, row_file) as (verdicts_name, rows_name):
                assert verdicts_name is not None
                with fenced(self._warehouse, self._shop):
                    self._stage.copy_replays(verdicts_name, len(verdicts))
                    self._update(replay_id, len(verdicts))
                    if rows_name is not None:
                        self._stage.copy_rows(rows_name, count)

    def _update(self, replay_id: str, tried: int) -> None:
        """Give the letters their verdicts, all or none."""
        updated = self._warehouse.execute(self._sql("ingest/update_replayed.sql"), {"replay_id": replay_id})
        if updated != tried:
            raise PositionsMoved(
                f"{tried - updated} of {tried} dead letters were replayed by somebody else meanwhile.",
                "The replay reads them again and goes on.",
            )

    def _has_committed(self, replay_id: str) -> bool:
        return bool(
            self._warehouse.query(self._sql("ingest/read_replays.sql"), {"id": None, "replay_id": replay_id})
        )

    def _sql(self, name: str) -> str:
        (statement,) = statements(render(SQL_ROOT, name, raw=self._shop.raw))
        return statement
