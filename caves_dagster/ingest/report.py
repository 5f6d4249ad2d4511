"""What an ingestion has done so far: counted batch by batch, as each is committed."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field

from caves_dagster.ingest.batch import Batch
from caves_dagster.ingest.positions import Gap


@dataclass
class IngestReport:
    """What one ingestion did.

    Attributes:
        lag_before, lag_after: offsets between position and end, before the first batch and after the last
            one (against the end as it was when it was planned last).
        dead_by_class: dead letters by failure class.
    """

    topic: str
    landed: int = 0
    dead: int = 0
    skipped: int = 0
    batches: int = 0
    bytes: int = 0
    seconds: float = 0.0
    lag_before: int = 0
    lag_after: int = 0
    gaps: list[Gap] = field(default_factory=list)
    dead_by_class: Counter[str] = field(default_factory=Counter)
    positions: dict[int, int] = field(default_factory=dict)

    @property
    def consumed(self) -> int:
        """Offsets that it moved over."""
        return self.landed + self.dead + self.skipped

    @property
    def events_per_second(self) -> float:
        """Messages consumed per second, start-up of the consumer included."""
        return (self.landed + self.dead) / self.seconds if self.seconds else 0.0

    def count(self, batch: Batch) -> None:
        """Add a batch that was committed."""
        self.landed += len(batch.messages)
        self.dead += len(batch.dead)
        self.skipped += batch.skipped
        self.bytes += batch.read.bytes
        self.batches += 1
        self.dead_by_class.update(letter.failure_class for letter in batch.dead)
        self.positions |= {partition: moved.end for partition, moved in batch.read.progress.items()}
