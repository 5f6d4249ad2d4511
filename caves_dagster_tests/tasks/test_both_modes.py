"""Task mode and Dagster mode: the same tables from the same events; none lost or doubled between them."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from itertools import cycle
from threading import Event, Thread

import dagster as dg
import pytest

from caves_dagster.definitions import build_definitions
from caves_dagster.deploy.carry_out import set_up
from caves_dagster.tasks.control import execute, resume, suspend
from caves_dagster.tasks.deploy import deploy
from caves_dagster.tasks.deployed import task_mode
from caves_dagster.tasks.history import history
from caves_dagster.warehouse.connection import Warehouse
from caves_dagster.warehouse.ddl import described
from caves_dagster_tests.brokers import until
from caves_dagster_tests.conftest import Caves
from caves_dagster_tests.ingest.accounting import ingest, landed_ids, require_sound
from caves_dagster_tests.raw_rows import consume_all
from caves_dagster_tests.test_sensors import JOB, Make, make

__all__ = ["make"]

EVENTS = 100_000
SLICES = 4
LOAD_TIMES = {"STAGED_AT", "LOADED_AT", "UPDATED_AT", "INGESTION_TIME"}
SWITCHES = 6
SECONDS_A_MODE = 11.0


@contextmanager
def another(caves: Caves) -> Iterator[Caves]:
    """The same shop and topic on a database of its own."""
    snowflake = caves.settings.snowflake.model_copy(
        update={"database": f"{caves.settings.snowflake.database}_2"}
    )
    settings = caves.settings.model_copy(update={"snowflake": snowflake})
    with Warehouse(snowflake) as warehouse:
        set_up(warehouse, caves.shop)
        yield replace(caves, settings=settings, warehouse=warehouse)
        warehouse.execute(f"DROP DATABASE {snowflake.database}")


def rows(caves: Caves, table: str) -> list[tuple[object, ...]]:
    """A table, column by column, but for when its rows were loaded."""
    names = [column.name for column in described(caves.shop)[table].columns if column.name not in LOAD_TIMES]
    found = caves.warehouse.query(f"SELECT {', '.join(names)} FROM {table}")
    return sorted((tuple(row.values()) for row in found), key=repr)


@pytest.mark.slow
@pytest.mark.topic(64)
def test_both_modes_give_the_same_tables_from_the_same_events(caves: Caves) -> None:
    events = caves.events(EVENTS - EVENTS // 10, invalid_rate=0.01)
    # Some come twice, and far apart.
    events += events[: EVENTS // 10]
    size = EVENTS // SLICES
    with another(caves) as by_tasks:
        deploy(by_tasks.warehouse, by_tasks.shop)
        for number in range(SLICES):
            caves.publish(events[number * size : (number + 1) * size])
            ingest(caves)
            ingest(by_tasks)
            # Where batches end must not matter either.
            if number % 2:
                consume_all(caves.warehouse, caves.shop)
            runs = execute(by_tasks.warehouse, by_tasks.shop, 300)
            assert {run.state for run in runs.values()} == {"SUCCEEDED"}, runs
        for table in caves.shop.tables[1:]:
            wanted, found = rows(caves, table.full_name), rows(by_tasks, table.full_name)
            assert wanted, table.full_name
            assert found == wanted, table.full_name
        assert caves.count("PRODUCTION.ORDERS") > EVENTS / 2


@pytest.mark.slow
@pytest.mark.topic(64)
def test_switching_back_and_forth_under_a_live_producer_loses_and_doubles_nothing(
    caves: Caves,
    make: Make,
    instance: dg.DagsterInstance,
) -> None:
    """The tasks run by their own schedule, of ten seconds; Dagster's sensors tick, and its runs are real."""
    deploy(caves.warehouse, caves.shop, every_seconds=10)
    sensors, stop, sent = make(caves.settings), Event(), list[str]()
    job = build_definitions(caves.settings).resolve_job_def(JOB)

    def produce() -> None:
        for start in cycle(range(0, 1_000_000, 40)):
            if stop.is_set():
                return
            events = caves.events(40, seed=start + 1)
            caves.publish(events)
            sent.extend(event.event_id for event in events if event.event_id)
            stop.wait(0.5)

    def drive() -> list[str]:
        """What Dagster would do now; the tables behind RAW that it wrote."""
        written = []
        for tick in (sensors.kafka, sensors.stream):
            for request in tick().run_requests or ():
                result = job.execute_in_process(
                    instance=instance, asset_selection=request.asset_selection or None, raise_on_error=False
                )
                assert result.success
                done = result.get_asset_materialization_events()
                written += [event.asset_key.path[0] for event in done if event.asset_key]
        return [schema for schema in written if schema in ("staging", "production")]

    producer = Thread(target=produce, daemon=True)
    producer.start()
    by_dagster = 0
    try:
        for turn in range(SWITCHES):
            (resume if turn % 2 else suspend)(caves.warehouse, caves.shop)
            end = time.monotonic() + SECONDS_A_MODE
            while time.monotonic() < end:
                written = drive()
                by_dagster += len(written)
                assert not (turn % 2 and written), "the tasks transform"
                time.sleep(0.2)
    finally:
        stop.set()
        producer.join()
    suspend(caves.warehouse, caves.shop)
    by_tasks = [run for run in history(caves.warehouse, caves.shop, 600) if run.state == "SUCCEEDED"]
    assert by_tasks
    assert by_dagster
    until(lambda: all(run.is_over for run in history(caves.warehouse, caves.shop, 600)), "no task runs")
    assert not task_mode(caves.warehouse, caves.shop)
    ingest(caves)
    consume_all(caves.warehouse, caves.shop)

    assert landed_ids(caves) == Counter(sent)
    require_sound(caves)
