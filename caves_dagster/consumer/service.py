"""The consumer whole: its loop in the main thread, and what goes on beside it in threads of their own."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from contextlib import ExitStack
from functools import partial
from threading import Event

from caves_dagster.consumer.consume import Consumption
from caves_dagster.consumer.reporter import Reporter
from caves_dagster.consumer.transform import Transformer
from caves_dagster.consumer.watch import Watch
from caves_dagster.ingest.batch import Batch
from caves_dagster.monitoring.metrics import BatchFigures, Metrics
from caves_dagster.monitoring.server import serving
from caves_dagster.settings import Settings
from caves_dagster.shop import Shop
from caves_dagster.warehouse.connection import Warehouse

log = logging.getLogger(__name__)

_LAST_PASS_SECONDS = 2.5
_LAST_WORD_SECONDS = 2.0


def serve(settings: Settings, shop: Shop, transforms: bool, metrics_port: int, stop: Event) -> None:
    """Consume until told to stop.

    Raises:
        CavesError: something that trying again does not help.
    """
    with ExitStack() as stack:
        warehouse = stack.enter_context(Warehouse(settings.snowflake))
        consumption = Consumption(settings, shop, warehouse)

        def transformed(changed: Mapping[str, int]) -> None:
            if reporter:
                reporter.transformed(changed)

        transformer = Transformer(settings, shop, transformed) if transforms else None
        reporter = _reporter(settings, shop, transformer, consumption)
        metrics = Metrics()
        metrics.begin(shop.topic, shop.contract)
        if metrics_port:
            others_land = partial(_others_land, reporter)
            watch = Watch(settings, shop, consumption, metrics, others_land)
            host, problems = settings.metrics.host, (watch.unhealthy, watch.unready)
            stack.enter_context(serving(metrics.registry, host, metrics_port, *problems))
            watch.start()
            stack.callback(watch.stop)
        if reporter:
            reporter.start()
            stack.callback(reporter.stop, _LAST_WORD_SECONDS)

        if transformer:
            transformer.start()
            stack.callback(transformer.stop, _LAST_PASS_SECONDS)

        def landed(batch: Batch) -> None:
            metrics.count(BatchFigures.of(batch, shop.topic))
            if reporter:
                reporter.landed(batch)
            if transformer and batch.messages:
                transformer.wake()

        log.info("Consuming %s%s.", shop.topic, " up to PRODUCTION" if transforms else "")
        consumption.run(stop, landed)
    log.info("Ended.")


def _reporter(
    settings: Settings, shop: Shop, transformer: Transformer | None, consumption: Consumption
) -> Reporter | None:
    """Who tells Dagster, where there is a Dagster to be told."""
    if not settings.dagster_state:
        log.info("No dagster.yaml in %s: nothing is told to Dagster.", settings.dagster_folder)
        return None

    def transforms() -> bool:
        return transformer is not None and not transformer.stands_back

    return Reporter(settings.dagster_state, shop, transforms, consumption.is_landing)


def _others_land(reporter: Reporter | None) -> bool:
    """Where no Dagster is told, nobody holds a lease."""
    return reporter is not None and reporter.others_land
