"""What Dagster is told of the consumer: its lease, and its work as materialisations of the same assets."""

from __future__ import annotations

import logging
import time
from collections import Counter
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from pathlib import Path
from threading import Event, Lock, Thread
from typing import Any

import dagster as dg

from caves_dagster.consumer.lease import RENEW_SECONDS, Work, give_lease_up, held_lease, renew_lease
from caves_dagster.ingest.batch import Batch
from caves_dagster.shop import Shop

log = logging.getLogger(__name__)

REPORT_SECONDS = 30.0
"""At most one materialisation an asset in this time, and one more when the consumer ends."""


class Reporter:
    """Tells Dagster from a thread of its own: neither landing nor transforming waits for its storage.

    Args:
        home: DAGSTER_HOME, with a dagster.yaml.
        transforms: asked whether this consumer does the transformations too.
        is_landing: whether this consumer does its work; else its lease is not renewed.

    Attributes:
        others_land: whether another consumer's lease was seen while this one did not land.
    """

    def __init__(
        self, home: Path, shop: Shop, transforms: Callable[[], bool], is_landing: Callable[[], bool]
    ) -> None:
        self._home = home
        self._shop = shop
        self._transforms = transforms
        self._is_landing = is_landing
        self.others_land = False
        self._works: list[Work] = []
        self._lock = Lock()
        self._landed: Counter[str] = Counter()
        self._changed: Counter[str] = Counter()
        self._untold: list[dg.AssetMaterialization] = []
        self._reported_at = time.monotonic()
        self._stop = Event()
        self._thread = Thread(target=self._run, name="dagster", daemon=True)

    def start(self) -> None:
        """Begin."""
        self._thread.start()

    def landed(self, batch: Batch) -> None:
        """A batch was committed."""
        with self._lock:
            self._landed.update(
                events_landed=len(batch.messages),
                dead_letters=len(batch.dead),
                offsets_skipped=batch.skipped,
                batches=1,
                bytes=batch.read.bytes,
            )

    def transformed(self, changed: Mapping[str, int]) -> None:
        """A pass of the transformations was committed: rows changed by table."""
        with self._lock:
            self._changed.update(changed)

    def stop(self, seconds: float) -> None:
        """Tell what is left, and end."""
        self._stop.set()
        self._thread.join(seconds)

    def _run(self) -> None:
        instance = None
        with ExitStack() as stack:
            while True:
                stopping = self._stop.is_set()
                try:
                    if instance is None:
                        instance = stack.enter_context(dg.DagsterInstance.from_config(str(self._home)))
                    self._tell(instance, stopping)
                except Exception as error:  # noqa: BLE001 - whatever storage raises, the next time may succeed
                    log.warning("Telling Dagster failed: %s", error)
                if stopping:
                    return
                self._stop.wait(RENEW_SECONDS)

    def _tell(self, instance: dg.DagsterInstance, stopping: bool) -> None:
        if stopping:
            if self._works:
                give_lease_up(instance, self._shop, self._works, time.time())
        elif self._is_landing():
            self._works = ["landing", "transforming"] if self._transforms() else ["landing"]
            renew_lease(instance, self._shop, self._works, time.time())
        else:
            self._works = []
            self.others_land = bool(held_lease(instance, self._shop, "landing", time.time()))
        if not self._untold and (stopping or time.monotonic() - self._reported_at >= REPORT_SECONDS):
            self._untold = self._due()
        while self._untold:
            instance.report_runless_asset_event(self._untold[0])
            # Only now: what the storage did not take is told the next time.
            self._untold.pop(0)
            self._reported_at = time.monotonic()

    def _due(self) -> list[dg.AssetMaterialization]:
        """What there is to tell of the work since it was last asked."""
        with self._lock:
            landed, changed = self._landed, self._changed
            # Dead letters alone wait for the next event, to be told with it.
            if landed["events_landed"]:
                self._landed = Counter()
            self._changed = Counter()
        return materialisations(self._shop, landed, changed, time.monotonic() - self._reported_at)


def materialisations(
    shop: Shop, landed: Mapping[str, int], changed: Mapping[str, int], seconds: float
) -> list[dg.AssetMaterialization]:
    """What to report of `seconds` of work, upstream first: RAW, the tables behind it, the views over them.

    Args:
        landed: figures of what was landed. Without events RAW is as it was: a report of it would make the
            tables behind it look out of date.
        changed: rows changed by table, by 0 too: it is up to date; empty where no pass followed.
    """
    common: dict[str, Any] = {"consumer": True, "seconds": round(seconds, 1)}
    found = []
    if landed.get("events_landed"):
        found.append((shop.raw, dict(landed)))
    if changed:
        tables = [table for table in shop.tables if table.full_name in changed]
        found += [(table, {"rows_changed": changed[table.full_name]}) for table in tables]
        found += [(view, {}) for view in shop.views]
    return [
        dg.AssetMaterialization(table.key, description="Reported by the consumer.", metadata=figures | common)
        for table, figures in found
    ]
