"""The steps that every ingestion is made of, whoever reads the topic: a run up to its end, or the consumer.

plan → (read) → decode → land → settle
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from itertools import groupby
from pathlib import Path

from caves_dagster.errors import CavesError, PositionsMoved
from caves_dagster.ingest.batch import Batch, build
from caves_dagster.ingest.land import Lander, Landing
from caves_dagster.ingest.positions import Gap, Plan, make_plan, to_verify
from caves_dagster.ingest.reader import Read
from caves_dagster.kafka.client import KafkaClient, TopicState
from caves_dagster.settings import Settings
from caves_dagster.shop import Shop
from caves_dagster.warehouse.connection import Warehouse

log = logging.getLogger(__name__)


class IngestSteps:
    """One shop's topic on its way to the RAW table, a step at a time.

    Args:
        settings: limits of an event.
        shop: whose topic, contract and table.
        kafka: the broker.
        warehouse: a session nobody else uses meanwhile.
        fence_seconds: how long a batch may wait for another writer's transaction.
    """

    def __init__(
        self,
        settings: Settings,
        shop: Shop,
        kafka: KafkaClient,
        warehouse: Warehouse,
        fence_seconds: float = 0.0,
    ) -> None:
        self._settings = settings
        self._shop = shop
        self._kafka = kafka
        self._lander = Lander(warehouse, shop, fence_seconds)
        self._unanswered: Batch | None = None

    def plan(self) -> Plan:
        """Plan from the stored positions and the topic.

        In that order: a position that another writer moves on between the two would otherwise stand beyond
        the end of the topic, and be taken for one of a log that was truncated.
        """
        stored = self._lander.positions(self._shop.topic)
        state = self._kafka.inspect(self._shop.topic)
        suspects = to_verify(state, stored)
        offsets = {
            p: row.last_record_offset for p, row in suspects.items() if row.last_record_offset is not None
        }
        found = self._kafka.record_timestamps(self._shop.topic, offsets)
        recreated = any(
            timestamp is not None and timestamp != suspects[partition].last_record_timestamp_ms
            for partition, timestamp in found.items()
        )
        plan = make_plan(state, stored, recreated)
        _log_gaps(plan.gaps, state.topic)
        return plan

    def decode(self, read: Read, state: TopicState, folder: Path) -> Batch:
        """What was read as a batch, its files in `folder`.

        What was read so far came from the planned topic, as that was still there afterwards: a consumer that
        stands inside the log of another topic under the same name, or of another cluster at the same address,
        reads on there without a word; those records would land under offsets of the old topic, and once more
        under their own.

        Raises:
            PositionsMoved: another topic or cluster is there now.
        """
        if self._kafka.identity(state.topic) != (state.cluster_id, state.topic_id):
            raise PositionsMoved(
                f"Another topic took the name {state.topic!r}, or another cluster its address, while it was "
                "read.",
                "Ingestion plans again and records the gap.",
            )
        return build(read, self._shop.contract, self._settings.max_event_bytes, folder)

    def land(self, batch: Batch, landing: Landing) -> Batch:
        """Commit a batch, remembered for `settle` until that is answered; raises as `Lander.land` does."""
        self._unanswered = batch
        self._lander.land(batch, landing)
        self._unanswered = None
        return batch

    def settle(self) -> Batch | None:
        """The batch whose COMMIT took place although its answer was lost, if there is one; to be counted."""
        batch = self._unanswered
        landed = batch is not None and self._lander.has_landed(batch.batch_id)
        self._unanswered = None
        return batch if landed else None

    def sweep(self) -> None:
        """Tidy the stage; what has landed has landed, whatever becomes of that."""
        try:
            self._lander.stage.sweep()
        except CavesError as error:
            log.warning("Sweeping the stage failed: %s", error)


def _log_gaps(gaps: Sequence[Gap], topic: str) -> None:
    for reason, gaps_of in groupby(sorted(gaps, key=_reason), key=_reason):
        ranges = ", ".join(f"{gap.partition}: {gap.offset_from} to {gap.offset_to or '?'}" for gap in gaps_of)
        log.warning("Gaps in %s (%s), by partition: %s.", topic, reason, ranges)


def _reason(gap: Gap) -> str:
    return gap.reason.value
