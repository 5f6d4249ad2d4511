"""Locks of dead writers."""

from __future__ import annotations

import pytest

from caves_dagster.errors import RetryableError, WriteConflict
from caves_dagster.ingest.run import Ingestion
from caves_dagster.warehouse.abandoned import abort_abandoned
from caves_dagster.warehouse.connection import Warehouse
from caves_dagster.warehouse.transform_fence import transforming
from caves_dagster_tests.conftest import Caves

FENCE = "UPDATE RAW_DATA.INGEST_FENCE SET EPOCH = EPOCH + 1 WHERE ID = 1"


def test_a_transaction_left_open_by_name_is_ended_and_its_lock_is_free(caves: Caves) -> None:
    with Warehouse(caves.settings.snowflake) as dead:
        dead.execute("BEGIN TRANSACTION NAME CAVES_LANDING_CAVES")
        dead.execute(FENCE)
        with pytest.raises(RetryableError):
            caves.warehouse.execute(FENCE)

        assert abort_abandoned(caves.warehouse, "CAVES_LANDING_CAVES", older_than=0) == 1

        caves.warehouse.execute(FENCE)
        with pytest.raises(RetryableError):
            dead.execute(FENCE)


def test_young_transactions_and_those_of_other_names_are_left_alone(caves: Caves) -> None:
    with Warehouse(caves.settings.snowflake) as alive:
        alive.execute("BEGIN TRANSACTION NAME CAVES_LANDING_CAVES")
        alive.execute(FENCE)

        assert abort_abandoned(caves.warehouse, "CAVES_LANDING_CAVES") == 0
        assert abort_abandoned(caves.warehouse, "CAVES_LANDING_OTHER", older_than=0) == 0

        alive.execute("COMMIT")


def test_ingestion_ends_the_transaction_of_a_dead_writer_instead_of_waiting_for_it(
    caves: Caves, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(abort_abandoned, "__defaults__", (0.0,))
    caves.publish(caves.events(20))
    with Warehouse(caves.settings.snowflake) as dead:
        dead.execute("BEGIN TRANSACTION NAME CAVES_LANDING_CAVES")
        dead.execute(FENCE)

        report = Ingestion(caves.settings, caves.shop, caves.kafka, caves.warehouse, "test").run(5)

    assert report.landed == caves.count("RAW_DATA.RAW_EVENTS_STREAM") == 20


def test_a_transformation_that_takes_long_is_not_ended_by_the_next_one(
    caves: Caves, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two that ended each other's would never come to an end."""
    monkeypatch.setattr(abort_abandoned, "__defaults__", (0.0,))
    with Warehouse(caves.settings.snowflake) as other, transforming(caves.warehouse, caves.shop):
        with pytest.raises(WriteConflict), transforming(other, caves.shop):
            pass
        assert caves.warehouse.query("SELECT 1 AS N") == [{"N": 1}]
