"""What all sensors share: the broker, the warehouse, and who of a shop's two may launch a run."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from threading import Lock, RLock

from caves_dagster.errors import WarehouseUnreachable
from caves_dagster.kafka.client import KafkaClient
from caves_dagster.settings import Settings
from caves_dagster.shop import Shop
from caves_dagster.tasks.deployed import task_mode
from caves_dagster.warehouse.connection import Warehouse

PATIENCE_SECONDS = 20
"""How long a tick waits for a statement, and before that for the other ticks. Both, and a sign-in, have to be
less than the minute after which Dagster gives a tick up, and the daemon the code server."""
_LAUNCH_SECONDS = 10.0
_TURN_SECONDS = 20.0
_AWAITED_SECONDS = 15.0


@dataclass
class Clients:
    """The broker and the warehouse as the sensors use them: kept from tick to tick, one tick at a time."""

    kafka: KafkaClient
    warehouse: Warehouse
    _in_use: RLock = field(default_factory=RLock)
    _noting: Lock = field(default_factory=Lock)
    _launching: dict[str, tuple[str, float]] = field(default_factory=dict)
    _modes: dict[str, str] = field(default_factory=dict)
    _turns: dict[str, float] = field(default_factory=dict)
    _awaited: dict[str, float] = field(default_factory=dict)

    @classmethod
    def of(cls, settings: Settings) -> Clients:
        """Clients that connect when first used."""
        patience = min(settings.snowflake.network_timeout, PATIENCE_SECONDS)
        snowflake = settings.snowflake.model_copy(update={"network_timeout": patience})
        return cls(KafkaClient(settings.kafka), Warehouse(snowflake))

    @contextmanager
    def in_use(self) -> Iterator[None]:
        """Broker and warehouse for this tick alone.

        Raises:
            WarehouseUnreachable: another tick waits for them, and has for long.
        """
        if not self._in_use.acquire(timeout=PATIENCE_SECONDS):
            raise WarehouseUnreachable(
                f"Another sensor has waited for the broker or the warehouse for {PATIENCE_SECONDS} s.",
                "What that one says about it tells what to do.",
            )
        try:
            yield
        finally:
            self._in_use.release()

    def may_launch(self, shop: Shop, sensor: str) -> bool:
        """Whether this sensor may ask for a run; not so when the shop's other one did a moment ago.

        Until Dagster has created that run, the gate does not see it.
        """
        with self._noting:
            if (
                sensor == "kafka"
                and time.monotonic() - self._turns.get(shop.name, -_TURN_SECONDS) < _TURN_SECONDS
            ):
                return False
            before, when = self._launching.get(shop.name, ("", 0.0))
            if before not in ("", sensor) and time.monotonic() - when < _LAUNCH_SECONDS:
                return False
            self._launching[shop.name] = (sensor, time.monotonic())
            self._turns.pop(shop.name, None)
            return True

    def claim_turn(self, shop: Shop) -> None:
        """Let the stream sensor have the next run: landing follows landing without a break under load."""
        with self._noting:
            self._turns[shop.name] = time.monotonic()

    def give_turn_up(self, shop: Shop) -> None:
        """The stream sensor has nothing to launch."""
        with self._noting:
            self._turns.pop(shop.name, None)

    def await_landing(self, shop: Shop) -> None:
        """The Kafka sensor is on, and nobody else lands: it launches the pipeline for what comes."""
        with self._noting:
            self._awaited[shop.name] = time.monotonic()

    def landing_awaited(self, shop: Shop) -> bool:
        """Whether `await_landing` was said within its last ticks; not so when somebody has stopped it."""
        with self._noting:
            return time.monotonic() - self._awaited.get(shop.name, -_AWAITED_SECONDS) < _AWAITED_SECONDS

    def ask_mode(self, shop: Shop) -> str:
        """`task_mode`, asked now and remembered as `known_mode`."""
        with self.in_use():
            self._modes[shop.name] = task_mode(self.warehouse, shop)
            return self._modes[shop.name]

    def known_mode(self, shop: Shop) -> str:
        """What `ask_mode` of either sensor said last."""
        return self._modes.get(shop.name, "")
