"""`caves metrics`: the metrics of all shops, whoever lands their events."""

from __future__ import annotations

import logging
import os
import signal
import threading
from contextlib import ExitStack
from types import FrameType
from typing import Annotated

import typer

from caves_dagster.settings import load_settings
from caves_dagster.shops import find_shop, shops

log = logging.getLogger(__name__)


def metrics(
    shop: Annotated[str | None, typer.Option(help="Only this shop.")] = None,
    port: Annotated[int | None, typer.Option(min=1, max=65535, help="Instead of CAVES_METRICS_PORT.")] = None,
) -> None:
    """Serve Prometheus metrics derived from what any writer has committed, until told to stop."""
    # prometheus_client and the connector take a while to import: not for the sake of another command.
    from caves_dagster.monitoring.metrics import Metrics
    from caves_dagster.monitoring.observer import LOOK_SECONDS, Observer
    from caves_dagster.monitoring.server import serving
    from caves_dagster.monitoring.validation import ValidationCollector
    from caves_dagster.warehouse.connection import Warehouse

    settings = load_settings()
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s")
    stop = threading.Event()

    def on_signal(number: int, frame: FrameType | None) -> None:
        # A second one: what is looked at does not answer.
        if stop.is_set():
            os._exit(128 + number)
        stop.set()

    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, on_signal)
    found = Metrics()
    found.registry.register(ValidationCollector(settings.reports))
    with ExitStack() as stack:
        warehouse = stack.enter_context(Warehouse(settings.snowflake))
        chosen = [find_shop(settings, shop)] if shop else shops(settings)
        observers = [Observer(settings, one, warehouse, found) for one in chosen]

        def unready() -> list[str]:
            return [problem for observer in observers for problem in observer.unready()]

        def look() -> None:
            for observer in observers:
                observer.look()

        # First: else a scrape would find counters that begin at 0, and the next one all that was ever landed.
        look()
        host, wanted = settings.metrics.host, port or settings.metrics.port or 8000
        stack.enter_context(serving(found.registry, host, wanted, list, unready, "--port"))
        log.info("Metrics on http://%s:%d/metrics.", host, wanted)
        while not stop.wait(LOOK_SECONDS):
            look()
