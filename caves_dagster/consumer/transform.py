"""The transformations behind the consumer, in a thread and a session of their own.

What fails or waits behind landing (a rebuild, say) never slows it: batches land on, their rows wait in the
stream, and the next pass takes them all. In task mode Snowflake's tasks transform: no pass is made then.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Mapping
from threading import Event, Thread

from caves_dagster.assets.transformation import transform
from caves_dagster.errors import CavesError
from caves_dagster.settings import Settings
from caves_dagster.shop import Shop
from caves_dagster.tasks.deployed import task_mode
from caves_dagster.warehouse.connection import Warehouse
from caves_dagster.warehouse.streams import waiting

log = logging.getLogger(__name__)

LOOK_SECONDS = 60.0
"""Where nothing of its own landed, the streams are asked so often for what others did, a replay say."""
_LONGEST_BACK_OFF = 60.0
MODE_SECONDS = 15.0
"""How long what was found to be the mode is taken for true."""


class Transformer:
    """Takes what has landed to PRODUCTION, pass by pass, whenever it is told that something has.

    Args:
        on_pass: called after each pass with the rows changed by table.

    Attributes:
        stands_back: whether Snowflake's tasks transform in its place.
    """

    def __init__(self, settings: Settings, shop: Shop, on_pass: Callable[[Mapping[str, int]], None]) -> None:
        self._settings = settings
        self._shop = shop
        self._on_pass = on_pass
        self.stands_back = False
        self._asked_at = -MODE_SECONDS
        # What landed before this began, or was left by one that failed, is taken at once.
        self._wanted, self._stop = Event(), Event()
        self._wanted.set()
        self._thread = Thread(target=self._run, name="transformations", daemon=True)

    def start(self) -> None:
        """Begin."""
        self._thread.start()

    def wake(self) -> None:
        """Something has landed."""
        self._wanted.set()

    def stop(self, seconds: float) -> None:
        """Take what has landed, and end; whatever does not pass in time waits in the streams."""
        self._stop.set()
        self._wanted.set()
        self._thread.join(seconds)
        if self._thread.is_alive():
            log.warning(
                "The transformations did not end within %.0f s: what is left waits in the streams.", seconds
            )

    def _run(self) -> None:
        failures = 0
        with Warehouse(self._settings.snowflake) as warehouse:
            while True:
                # Who stands back looks on: rows may wait when Dagster mode is on again, and nothing new land.
                told = self._wanted.wait(MODE_SECONDS if self.stands_back else LOOK_SECONDS)
                last = self._stop.is_set()
                self._wanted.clear()
                try:
                    stood_back = self.stands_back
                    # Dagster's stream sensor stands back for this one, so nobody else would take them.
                    if self._may_transform(warehouse) and (
                        told or last or stood_back or waiting(warehouse, self._shop.transformations)
                    ):
                        self._pass(warehouse)
                    failures = 0
                except Exception as error:
                    failures += 1
                    self._wanted.set()
                    pause = min(2.0 ** min(failures - 1, 10), _LONGEST_BACK_OFF)
                    trace = None if isinstance(error, CavesError) else error
                    log.error(
                        "A transformation failed; tried again in %.0f s: %s", pause, error, exc_info=trace
                    )
                    self._stop.wait(pause)
                if last:
                    return

    def _may_transform(self, warehouse: Warehouse) -> bool:
        if time.monotonic() - self._asked_at >= MODE_SECONDS:
            mode = task_mode(warehouse, self._shop)
            self._asked_at = time.monotonic()
            if bool(mode) != self.stands_back:
                log.info("%s", mode or "The tasks are suspended: the consumer transforms again.")
            self.stands_back = bool(mode)
        return not self.stands_back

    def _pass(self, warehouse: Warehouse) -> None:
        began = time.monotonic()
        changed: dict[str, int] = {}
        for step in self._shop.transformations:
            changed |= transform(warehouse, self._shop, step)
        log.debug("A pass changed %s in %.2f s.", changed, time.monotonic() - began)
        self._on_pass(changed)
