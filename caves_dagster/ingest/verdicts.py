"""What today's contract says of stored dead letters, and the files of that: no warehouse here."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from caves_dagster.ingest.batch import DeadLetter, Origin, Row, failure_columns
from caves_dagster.ingest.dead_letters import StoredLetter
from caves_dagster.ingest.decode import decode
from caves_dagster.ingest.refused import TRUNCATED
from caves_dagster.shop import Contract, InvalidEvent


@dataclass(frozen=True)
class Verdict:
    """A stored letter, tried again: valid, or dead for this reason.

    Without the row that a valid one becomes: rows exist a group at a time, on their way into the file.
    """

    stored: StoredLetter
    dead: DeadLetter | None = None


@dataclass(frozen=True)
class Judge:
    """Decides by a contract and a limit of bytes."""

    contract: Contract
    max_event_bytes: int

    def decide(self, letters: Sequence[StoredLetter]) -> list[Verdict]:
        """A verdict a letter. One whose bytes are not whole stays dead, whatever they look like."""
        return [Verdict(stored, self._failure(stored)) for stored in letters]

    def _failure(self, stored: StoredLetter) -> DeadLetter | None:
        letter = stored.letter
        if letter.failure_class == TRUNCATED:
            return letter
        try:
            self._row(stored)
        except InvalidEvent as invalid:
            return DeadLetter(letter.message, invalid.failure_class, invalid.reason, invalid.path)
        return None

    def rows(self, verdicts: Sequence[Verdict]) -> Iterator[Row]:
        """The rows of the valid ones, in their order, as of the batches that read them."""
        return (self._row(verdict.stored) for verdict in verdicts if verdict.dead is None)

    def _row(self, stored: StoredLetter) -> Row:
        message = stored.letter.message
        return decode(message, self.contract, self.max_event_bytes), Origin(message, stored.batch_id)


def write_verdicts(
    verdicts: Sequence[Verdict], replay_id: str, run_id: str, tried_at: datetime, path: Path
) -> None:
    """Write what DEAD_LETTER_REPLAYS holds of them as a Parquet file."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    count = len(verdicts)
    columns = {
        "REPLAY_ID": pa.array([replay_id] * count, pa.string()),
        "DEAD_LETTER_ID": pa.array([one.stored.dead_letter_id for one in verdicts], pa.string()),
        "RUN_ID": pa.array([run_id] * count, pa.string()),
        "LANDED": pa.array([one.dead is None for one in verdicts], pa.bool_()),
        **failure_columns([one.dead for one in verdicts]),
        "TRIED_AT": pa.array([tried_at.isoformat()] * count, pa.string()),
    }
    pq.write_table(pa.table(columns), path)
