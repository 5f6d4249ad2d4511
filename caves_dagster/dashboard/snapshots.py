"""What the page shows, asked for once however many browsers are open, and no oftener than there is news.

While events come, the warehouse is asked every `refresh_seconds`; once none have come for a while, every
`idle_seconds`. What comes is seen in Kafka, whose watermarks cost nothing; with no browser open nobody asks.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from datetime import datetime

from caves_dagster.dashboard.figures import Figures, read_figures
from caves_dagster.dashboard.period import Period
from caves_dagster.dashboard.trust import last_event
from caves_dagster.errors import CavesError
from caves_dagster.ingest.land import Lander
from caves_dagster.kafka.client import KafkaClient, TopicState
from caves_dagster.settings import DashboardSettings, KafkaSettings, Settings, SnowflakeSettings
from caves_dagster.shop import Shop
from caves_dagster.status import partition_statuses
from caves_dagster.warehouse.connection import Warehouse

SETTLING_SECONDS = 120.0
"""After the last event: until then what was landed is on its way to production."""
_KAFKA_SECONDS = 3.0
"""A broker that takes longer is away, as far as the page is concerned."""
_KEPT = 64
"""Selections of shop and period that are remembered."""


@dataclass(frozen=True)
class Snapshot:
    """A shop and a period as the warehouse had them last, and what kept it from having them now.

    Attributes:
        figures: None where there were none yet.
        lag: messages in Kafka that ingestion has not read; None where the broker does not answer.
        last_event: Kafka's time of the newest record read.
        warehouse_error: why the figures are not newer.
        kafka_error: why the lag is unknown.
    """

    figures: Figures | None = None
    lag: int | None = None
    last_event: datetime | None = None
    warehouse_error: CavesError | None = None
    kafka_error: CavesError | None = None


@dataclass
class _Entry:
    """A selection. Moments are of a clock that only goes forward, in seconds."""

    lock: threading.Lock = field(default_factory=threading.Lock)
    snapshot: Snapshot = field(default_factory=Snapshot)
    asked: float | None = None
    """When the warehouse was asked last."""
    ends: dict[int, int] | None = None
    """End of each partition then; None where the broker did not answer."""
    moved: float = 0.0
    """When an end was seen to move last."""


def due(age: float, since_moved: float, settings: DashboardSettings) -> bool:
    """Whether the warehouse is to be asked again.

    Args:
        age: seconds since it was asked last.
        since_moved: seconds since an event was last seen to come; 0 where nobody knows.
    """
    idle = since_moved > SETTLING_SECONDS
    return age >= (settings.idle_seconds if idle else settings.refresh_seconds)


class Snapshots:
    """The snapshots of one process, for all its sessions.

    Args:
        settings: where warehouse and broker are, and how often to ask them.
        clock: seconds that only go forward.
    """

    def __init__(self, settings: Settings, clock: Callable[[], float] = time.monotonic) -> None:
        self.settings = settings
        self._clock = clock
        self._warehouse = Warehouse(_reading(settings.snowflake, settings.dashboard))
        self._kafka = KafkaClient(_patient(settings.kafka, settings.dashboard))
        self._asking = threading.Lock()
        self._entries: dict[tuple[str, Period], _Entry] = {}
        self._finding = threading.Lock()

    def close(self) -> None:
        """End the session of the warehouse."""
        with self._asking:
            self._warehouse.close()

    def get(self, shop: Shop, period: Period) -> Snapshot:
        """What there is to show. Whoever comes first asks; the others wait for the answer."""
        entry = self._entry(shop, period)
        with entry.lock:
            now = self._clock()
            # Half a second early: browsers come as often as the warehouse may be asked, but not to the tick.
            age = float("inf") if entry.asked is None else now - entry.asked + 0.5
            if age < self.settings.dashboard.refresh_seconds:
                return entry.snapshot
            state, kafka_error = self._topic(shop)
            ends = None if state is None else state.ends
            if ends is None or ends != entry.ends or entry.snapshot.lag:
                entry.moved = now
            failed = entry.snapshot.warehouse_error is not None
            if failed or due(age, now - entry.moved, self.settings.dashboard):
                entry.snapshot = self._read(shop, period, state, entry.snapshot)
                entry.asked, entry.ends = self._clock(), ends
            entry.snapshot = replace(entry.snapshot, kafka_error=kafka_error)
            return entry.snapshot

    def _entry(self, shop: Shop, period: Period) -> _Entry:
        """The entry of a selection, the one used last at the end."""
        with self._finding:
            key = (shop.name, period)
            entry = self._entries.pop(key, None) or _Entry()
            self._entries[key] = entry
            while len(self._entries) > _KEPT:
                del self._entries[next(iter(self._entries))]
            return entry

    def _topic(self, shop: Shop) -> tuple[TopicState | None, CavesError | None]:
        try:
            return self._kafka.inspect(shop.topic), None
        except CavesError as error:
            return None, error

    def _read(self, shop: Shop, period: Period, state: TopicState | None, before: Snapshot) -> Snapshot:
        """Ask the warehouse; what there was before, and the error, where it does not answer."""
        try:
            with self._asking:
                positions = Lander(self._warehouse, shop).positions(shop.topic)
                figures = read_figures(self._warehouse, shop, period)
        except CavesError as error:
            return replace(before, warehouse_error=error)
        lag = None if state is None else sum(one.lag for one in partition_statuses(state, positions))
        return Snapshot(figures, lag, last_event(positions))


def _reading(snowflake: SnowflakeSettings, dashboard: DashboardSettings) -> SnowflakeSettings:
    """The warehouse with the page's own role, and no more patience than a reader has."""
    seconds = dashboard.timeout_seconds
    changes: dict[str, object] = {"network_timeout": seconds, "login_timeout": seconds}
    return snowflake.model_copy(update=changes | ({"role": dashboard.role} if dashboard.role else {}))


def _patient(kafka: KafkaSettings, dashboard: DashboardSettings) -> KafkaSettings:
    """The broker, waited for no longer than the warehouse."""
    patience = min(kafka.timeout_seconds, float(dashboard.timeout_seconds), _KAFKA_SECONDS)
    return kafka.model_copy(update={"timeout_seconds": patience})
