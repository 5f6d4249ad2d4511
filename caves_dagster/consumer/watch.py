"""Whether the consumer does its work, asked every few seconds in a thread and by sessions of its own."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Mapping
from threading import Event, Thread

from caves_dagster.consumer.consume import Consumption
from caves_dagster.errors import CavesError
from caves_dagster.kafka.client import KafkaClient
from caves_dagster.monitoring.metrics import Metrics
from caves_dagster.monitoring.staging import waiting_rows
from caves_dagster.settings import Settings
from caves_dagster.shop import Shop
from caves_dagster.warehouse.connection import Warehouse
from caves_dagster.warehouse.streams import streams

log = logging.getLogger(__name__)

LOOK_SECONDS = 10.0
_BEHIND_SECONDS = 60.0
"""Something to read, and nothing landed for so long, is not ready."""


class Watch:
    """Looks at the broker, the warehouse and the loop; keeps the gauges that nobody else knows.

    Args:
        others_land: whether another consumer is known to land.
    """

    def __init__(
        self,
        settings: Settings,
        shop: Shop,
        consumption: Consumption,
        metrics: Metrics,
        others_land: Callable[[], bool],
    ) -> None:
        self._settings = settings
        self._shop = shop
        self._consumption = consumption
        self._metrics = metrics
        self._away: list[str] = ["Nothing was looked at yet."]
        self._looked_at = time.monotonic()
        self._seen_batches = -1
        self._waiting = 0
        self._others_land = others_land
        self._ends: Mapping[int, int] = {}
        metrics.follow_lag(shop.topic, self.lags)
        self._stop = Event()
        self._thread = Thread(target=self._run, name="watch", daemon=True)

    def start(self) -> None:
        """Begin."""
        self._thread.start()

    def stop(self) -> None:
        """End, without waiting for an answer."""
        self._stop.set()
        self._thread.join(0.5)

    def lags(self) -> dict[int, int]:
        """What the broker has and KAFKA_OFFSETS has not, of each partition of its own."""
        ends, committed = self._ends, self._consumption.committed
        return {p: max(0, ends[p] - offset) for p, offset in committed.items() if p in ends}

    def unhealthy(self) -> list[str]:
        """Why it should be started anew."""
        if self._consumption.is_alive():
            return []
        return [f"The loop has not come round for {time.monotonic() - self._consumption.turned_at:.0f} s."]

    def unready(self) -> list[str]:
        """Why events do not land within a second or two now."""
        now = time.monotonic()
        problems = [*self.unhealthy(), *self._away]
        if now - self._looked_at > 3 * LOOK_SECONDS:
            problems.append(f"Broker and warehouse were last asked {now - self._looked_at:.0f} s ago.")
        if not self._consumption.is_landing() and not self._others_land():
            problems.append("It lands nothing: no partition was given to it, or none works; see its log.")
        lag, landed = sum(self.lags().values()), self._consumption.landed_at
        if lag and now - landed > _BEHIND_SECONDS:
            problems.append(f"{lag:,} offsets wait, and the last batch landed {now - landed:.0f} s ago.")
        return problems

    def _run(self) -> None:
        kafka = KafkaClient(self._settings.kafka)
        with Warehouse(self._settings.snowflake) as warehouse:
            while not self._stop.is_set():
                self._away = self._look(kafka, warehouse)
                self._looked_at = time.monotonic()
                self._stop.wait(LOOK_SECONDS)

    def _look(self, kafka: KafkaClient, warehouse: Warehouse) -> list[str]:
        found = []
        try:
            self._ends = kafka.inspect(self._shop.topic).ends
        except CavesError as error:
            found.append(str(error))
        try:
            streams(warehouse)
            batches = self._consumption.report.batches
            # Counting keeps a virtual warehouse awake: only while something moves, or waits to.
            if batches != self._seen_batches or self._waiting:
                self._waiting = waiting_rows(warehouse, self._shop)
                self._metrics.set_waiting(self._shop.topic, self._waiting)
                self._seen_batches = batches
        except CavesError as error:
            found.append(str(error))
        return found
