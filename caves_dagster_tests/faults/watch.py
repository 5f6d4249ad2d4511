"""How far PRODUCTION has come, looked at a few times a second by a session of its own."""

from __future__ import annotations

import threading
import time
from datetime import UTC, datetime

from caves_dagster.errors import CavesError
from caves_dagster.settings import SnowflakeSettings
from caves_dagster.warehouse.connection import Warehouse

_EVERY_SECONDS = 0.2
_NEWEST = """
SELECT (SELECT MAX(EVENT_TIME) FROM PRODUCTION.ORDERS) AS ORDERS,
       (SELECT MAX(EVENT_TIME) FROM PRODUCTION.INVENTORY_HISTORY) AS MOVEMENTS,
       (SELECT MAX(LAST_MOVEMENT_AT) FROM PRODUCTION.INVENTORY_CURRENT) AS STOCK
"""


class Watch:
    """Notes when events that were made after a moment have reached every table of PRODUCTION.

    An event carries the moment at which it was made, by this machine's clock.
    """

    def __init__(self, settings: SnowflakeSettings) -> None:
        quick = settings.model_copy(update={"network_timeout": 3, "login_timeout": 3})
        self._warehouse = Warehouse(quick)
        self._stop = threading.Event()
        self._seen: list[tuple[float, float]] = []
        self._thread = threading.Thread(target=self._run, name="watch", daemon=True)

    def __enter__(self) -> Watch:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join(30)
        self._warehouse.close()

    def reached_at(self, moment: float) -> float | None:
        """When (seconds since 1970) events made after `moment` were first seen in PRODUCTION."""
        return next((when for when, newest in self._seen if newest > moment and when > moment), None)

    def await_reached(self, moment: float, patience_seconds: float) -> float | None:
        """The same, waited for; None when it did not happen."""
        deadline = time.monotonic() + patience_seconds
        while (when := self.reached_at(moment)) is None and time.monotonic() < deadline:
            time.sleep(_EVERY_SECONDS / 2)
        return when

    def _run(self) -> None:
        while not self._stop.wait(_EVERY_SECONDS):
            try:
                (row,) = self._warehouse.query(_NEWEST)
            except CavesError:
                continue  # it is away, as it should be now and then
            if all(row.values()):
                newest: datetime = min(row.values())
                self._seen.append((time.time(), newest.replace(tzinfo=UTC).timestamp()))
