"""The same metrics for whoever lands: derived from INGEST_BATCHES, the positions and the topic's end.

So they cover Dagster's runs and every consumer, and survive restarts: counters begin with all that was ever
committed. An idle shop costs nothing: the warehouse is asked while the topic moves, or something waits.
"""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Mapping
from typing import Any

from caves_dagster.errors import CavesError
from caves_dagster.ingest.land import Lander
from caves_dagster.ingest.positions import current_positions, make_plan
from caves_dagster.kafka.client import KafkaClient, TopicState
from caves_dagster.monitoring.metrics import BatchFigures, Metrics
from caves_dagster.monitoring.staging import waiting_rows
from caves_dagster.settings import Settings
from caves_dagster.shop import SQL_ROOT, Shop
from caves_dagster.warehouse.connection import Warehouse
from caves_dagster.warehouse.scripts import render, statements

log = logging.getLogger(__name__)

LOOK_SECONDS = 10.0
_PAGE = 5000


class Observer:
    """Keeps the metrics of one shop up to date.

    Args:
        warehouse: a session nobody else uses meanwhile.
    """

    def __init__(self, settings: Settings, shop: Shop, warehouse: Warehouse, metrics: Metrics) -> None:
        self._shop = shop
        self._kafka = KafkaClient(settings.kafka)
        self._warehouse = warehouse
        self._lander = Lander(warehouse, shop)
        self._metrics = metrics
        self._epoch = -1
        self._lags: Mapping[int, int] = {}
        metrics.follow_lag(shop.topic, lambda: self._lags)
        self._settled: TopicState | None = None
        self._looked_at = time.monotonic()
        self.problem = "Nothing was looked at yet."
        """Why the last look failed; "" if it did not."""

    def unready(self) -> list[str]:
        """Why the metrics are not those of now."""
        age = time.monotonic() - self._looked_at
        late = [f"{self._shop.title}: last looked at {age:.0f} s ago."] if age > 3 * LOOK_SECONDS else []
        return [*([self.problem] if self.problem else []), *late]

    def look(self) -> None:
        """Once; what does not answer leaves the metrics as they were."""
        try:
            self._look()
            self.problem = ""
        except CavesError as error:
            if self.problem != str(error):
                log.warning("%s: %s", self._shop.title, error)
            self.problem = str(error)
        self._looked_at = time.monotonic()

    def _look(self) -> None:
        topic = self._shop.topic
        if self._kafka.inspect(topic) == self._settled:
            return
        self._settled = None
        # In this order: what is landed meanwhile must not look like a log that ends below its position.
        stored = self._lander.positions(topic)
        self._read_batches()
        self._metrics.begin(topic, self._shop.contract)
        state = self._kafka.inspect(topic)
        plan = make_plan(state, stored)
        current = current_positions(state, stored)
        begins = {p: current[p].next_offset if p in current else plan.start[p] for p in plan.start}
        self._lags = {p: max(0, state.ends[p] - begin) for p, begin in begins.items()}
        waiting = waiting_rows(self._warehouse, self._shop)
        self._metrics.set_waiting(self._shop.topic, waiting)
        if not plan.has_news and not waiting:
            self._settled = state

    def _read_batches(self) -> None:
        (sql,) = statements(render(SQL_ROOT, "ingest/read_batches.sql", raw=self._shop.raw))
        while True:
            wanted = {"topic": self._shop.topic, "epoch": self._epoch, "limit": _PAGE}
            rows = self._warehouse.query(sql, wanted)
            for row in rows:
                self._metrics.count(_figures(self._shop.topic, row))
                self._epoch = row["EPOCH"]
            if len(rows) < _PAGE:
                return


def _figures(topic: str, row: Mapping[str, Any]) -> BatchFigures:
    """A row of INGEST_BATCHES; of its messages' sizes only the mean is known."""
    insert = (row["UPLOAD_SECONDS"] or 0.0) + (row["LOAD_SECONDS"] or 0.0)
    return BatchFigures(
        topic=topic,
        partitions=json.loads(row["PARTITIONS"]),
        landed=row["LANDED"],
        dead=row["DEAD"],
        sizes={row["BYTES"] / row["CONSUMED"]: row["CONSUMED"]} if row["CONSUMED"] else {},
        insert_seconds=insert,
        processing_seconds=insert + (row["DECODE_SECONDS"] or 0.0),
    )
