"""What the assets work with, made from the settings: the broker, the warehouse, a run's heartbeat."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Iterator
from itertools import takewhile

import dagster as dg

from caves_dagster.errors import CavesError
from caves_dagster.jobs import pipeline_name
from caves_dagster.kafka.client import KafkaClient
from caves_dagster.run_process import this_process
from caves_dagster.run_tags import HEARTBEAT_TAG, PROCESS_TAG
from caves_dagster.runs import failure_of
from caves_dagster.settings import Settings
from caves_dagster.shop import Shop
from caves_dagster.shops import shops
from caves_dagster.warehouse.abandoned import abort_abandoned, landing_transaction, transform_transaction
from caves_dagster.warehouse.connection import Warehouse

log = logging.getLogger(__name__)

HEARTBEAT_SECONDS = 5.0
KILLED_BEFORE_SECONDS = 2.0
"""Younger transactions are not those of a run that was killed: this one took longer to start."""
_RUNS_LOOKED_AT = 10


def resources(settings: Settings) -> dict[str, dg.ResourceDefinition]:
    """The resources of every asset. None has config fields: the UI must not show where a secret could be."""

    @dg.resource(description="The broker of KAFKA_BOOTSTRAP_SERVERS, or the embedded one.")
    def kafka(_: dg.InitResourceContext) -> KafkaClient:
        return KafkaClient(settings.kafka)

    @dg.resource(description="A session of SNOWFLAKE_ACCOUNT's warehouse, or of the embedded one.")
    def warehouse(context: dg.InitResourceContext) -> Iterator[Warehouse]:
        with Warehouse(settings.snowflake) as session:
            if context.run is not None and context.instance is not None:
                for shop in shops(settings):
                    end_transactions_of_killed_runs(session, context.instance, context.run, shop)
            yield session

    @dg.resource(description="Tells the sensors every few seconds that this run is alive.")
    def heartbeat(context: dg.InitResourceContext) -> Iterator[None]:
        if context.run is None or context.instance is None:
            yield
            return
        stop = threading.Event()
        arguments = (context.instance, context.run.run_id, stop)
        beating = threading.Thread(target=_beat, args=arguments, name="heartbeat", daemon=True)
        beating.start()
        try:
            yield
        finally:
            stop.set()
            beating.join(timeout=HEARTBEAT_SECONDS)

    return {"kafka": kafka, "warehouse": warehouse, "heartbeat": heartbeat}


def end_transactions_of_killed_runs(
    warehouse: Warehouse, instance: dg.DagsterInstance, run: dg.DagsterRun, shop: Shop
) -> int:
    """End what runs of the shop's pipeline left open that were killed since its last success; how many.

    Only where the run is of the pipeline too, as one is launched at a time: other jobs run beside it. Whoever
    comes next would otherwise wait for their locks: on Snowflake for LOCK_TIMEOUT at least, on the local
    server until its reaper comes.
    """
    if run.job_name != pipeline_name(shop):
        return 0
    others = instance.get_runs(dg.RunsFilter(job_name=run.job_name), limit=_RUNS_LOOKED_AT)
    before = [other for other in others if other.run_id != run.run_id]
    since = takewhile(lambda other: other.status is not dg.DagsterRunStatus.SUCCESS, before)
    failed = (other for other in since if other.status is dg.DagsterRunStatus.FAILURE)
    # Not by its tag alone: whoever looks next writes that, which may be after this run's launch.
    if not any(failure_of(instance, other) == "killed" for other in failed):
        return 0
    try:
        return sum(
            abort_abandoned(warehouse, name, older_than=KILLED_BEFORE_SECONDS)
            for name in (landing_transaction(shop.name), transform_transaction(shop.name))
        )
    except CavesError as error:
        log.warning("Transactions of a run that was killed were not looked for: %s", error)
        return 0


def _beat(instance: dg.DagsterInstance, run_id: str, stop: threading.Event) -> None:
    """Write the time to the run's tags until told to stop; a run without a fresh one counts as dead."""
    process = this_process()
    while True:
        try:
            instance.add_run_tags(run_id, {HEARTBEAT_TAG: f"{time.time():.0f}", PROCESS_TAG: process})
        except Exception as error:  # noqa: BLE001 - whatever storage raises, the next beat may succeed
            log.warning("Writing the heartbeat failed: %s", error)
        if stop.wait(HEARTBEAT_SECONDS):
            return
