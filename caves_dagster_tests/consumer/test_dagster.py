"""What Dagster knows of a consumer: its lease, at which the sensors stand back, and its work."""

from __future__ import annotations

import threading
import time
from pathlib import Path
from typing import Any

import dagster as dg
import pytest
from confluent_kafka import Consumer, KafkaError, KafkaException

from caves_dagster.consumer.consume import Consumption
from caves_dagster.consumer.lease import (
    LEASE_SECONDS,
    RENEW_SECONDS,
    Work,
    give_lease_up,
    held_lease,
    renew_lease,
)
from caves_dagster.consumer.reporter import Reporter, materialisations
from caves_dagster.consumer.watch import Watch
from caves_dagster.definitions import build_definitions
from caves_dagster.local.dagster_services import dagster_home
from caves_dagster.monitoring.metrics import Metrics
from caves_dagster.warehouse.connection import Warehouse
from caves_dagster_tests.brokers import until
from caves_dagster_tests.conftest import Caves
from caves_dagster_tests.consumer.processes import consuming

RAW = dg.AssetKey(["raw_data", "raw_events_stream"])
ORDERS = dg.AssetKey(["production", "orders"])
DAILY = dg.AssetKey(["analytics", "daily_sales"])


def tick(caves: Caves, instance: dg.DagsterInstance, name: str) -> tuple[int, str]:
    """Runs that a sensor asks for, and why it asks for none."""
    definitions = build_definitions(caves.settings.model_copy(update={"sensor_interval_seconds": 1}))
    sensor = definitions.resolve_sensor_def(f"caves_{name}_sensor")
    data = sensor.evaluate_tick(
        dg.build_sensor_context(instance=instance, sensor_name=sensor.name, definitions=definitions)
    )
    return len(data.run_requests or []), data.skip_message or ""


# --- the lease


def test_a_lease_runs_out(caves: Caves, instance: dg.DagsterInstance) -> None:
    assert held_lease(instance, caves.shop, "landing", 1000.0) == ""
    renew_lease(instance, caves.shop, ["landing"], 1000.0)
    assert "renewed 14 s ago" in held_lease(instance, caves.shop, "landing", 1014.2)
    assert held_lease(instance, caves.shop, "landing", 1000.0 + LEASE_SECONDS) == ""
    assert held_lease(instance, caves.shop, "landing", 1000.0 - LEASE_SECONDS) == ""  # a clock that is ahead
    assert held_lease(instance, caves.shop, "transforming", 1000.0) == ""


def test_a_lease_that_was_given_up_runs_out_unless_another_instance_holds_it(
    caves: Caves, instance: dg.DagsterInstance
) -> None:
    renew_lease(instance, caves.shop, ["landing"], 1000.0)
    give_lease_up(instance, caves.shop, ["landing"], 1001.0)
    assert held_lease(instance, caves.shop, "landing", 1001.0 + RENEW_SECONDS)
    assert held_lease(instance, caves.shop, "landing", 1001.0 + RENEW_SECONDS + 1.0) == ""
    renew_lease(instance, caves.shop, ["landing"], 1001.0 + RENEW_SECONDS)
    assert held_lease(instance, caves.shop, "landing", 1001.0 + RENEW_SECONDS + 1.0)


def test_the_kafka_sensor_launches_nothing_while_a_consumer_lands(
    caves: Caves, instance: dg.DagsterInstance
) -> None:
    caves.publish(caves.events(10))
    renew_lease(instance, caves.shop, ["landing"], time.time())
    runs, reason = tick(caves, instance, "kafka")
    assert runs == 0
    assert "The consumer is landing (its lease was renewed" in reason
    renew_lease(instance, caves.shop, ["landing"], time.time() - LEASE_SECONDS)
    assert tick(caves, instance, "kafka") == (1, "")


def test_the_lag_is_observed_all_the_same(caves: Caves, instance: dg.DagsterInstance) -> None:
    caves.publish(caves.events(10))
    renew_lease(instance, caves.shop, ["landing"], time.time())
    definitions = build_definitions(caves.settings)
    sensor = definitions.resolve_sensor_def("caves_kafka_sensor")
    context = dg.build_sensor_context(instance=instance, sensor_name=sensor.name, definitions=definitions)
    (observation,) = sensor.evaluate_tick(context).asset_events
    assert observation.metadata["lag"].value == 10


@pytest.mark.parametrize(("work", "skips"), [("transforming", True), ("landing", False)])
def test_the_stream_sensor_stands_back_only_for_one_that_transforms(
    caves: Caves, instance: dg.DagsterInstance, tmp_path: Path, work: Work, skips: bool
) -> None:
    caves.publish(caves.events(10))
    with consuming(caves, tmp_path / "log"):
        until(lambda: caves.count("RAW_DATA.RAW_EVENTS_STREAM") == 10, "the events have landed")
    renew_lease(instance, caves.shop, [work], time.time())
    runs, reason = tick(caves, instance, "stream")
    assert (runs == 0) is skips
    assert ("The consumer is transforming" in reason) is skips


# --- its work


def reported(instance: dg.DagsterInstance, key: dg.AssetKey) -> list[dg.AssetMaterialization]:
    """Every materialisation of an asset."""
    records = instance.fetch_materializations(key, limit=100).records
    return [one.asset_materialization for one in records if one.asset_materialization is not None]


def test_a_consumer_renews_its_lease_and_reports_its_work(caves: Caves, tmp_path: Path) -> None:
    home = dagster_home(tmp_path)
    caves.publish(caves.events(50))
    with (
        dg.DagsterInstance.from_config(str(home)) as instance,
        consuming(caves, tmp_path / "log", "--transform", DAGSTER_HOME=str(home)) as consumer,
    ):
        until(lambda: held_lease(instance, caves.shop, "landing", time.time()) != "", "there is a lease")
        assert held_lease(instance, caves.shop, "transforming", time.time())
        until(lambda: caves.count("PRODUCTION.ORDERS") > 0, "the events are in production")
        assert consumer.stop() == 0, consumer.said
        soon = time.time() + RENEW_SECONDS + 1.0
        for work in ("landing", "transforming"):
            assert held_lease(instance, caves.shop, work, soon) == "", "Dagster takes over"
        found = {key: reported(instance, key) for key in (RAW, ORDERS, DAILY)}
    assert [len(found[key]) for key in found] == [1, 1, 1]
    assert found[RAW][0].metadata["events_landed"].value == 50
    assert found[ORDERS][0].metadata["rows_changed"].value == caves.count("PRODUCTION.ORDERS")


def test_an_asset_is_reported_at_most_once_in_half_a_minute(
    caves: Caves, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("caves_dagster.consumer.reporter.RENEW_SECONDS", 0.05)
    monkeypatch.setattr("caves_dagster.consumer.reporter.REPORT_SECONDS", 1.0)
    home = dagster_home(tmp_path)
    reporter = Reporter(home, caves.shop, lambda: True, lambda: True)
    reporter.start()
    deadline = time.monotonic() + 3.5
    told = 0
    while time.monotonic() < deadline:
        told += 1
        reporter.transformed({table.full_name: 1 for table in caves.shop.tables[1:]})
        time.sleep(0.02)
    reporter.stop(10)
    with dg.DagsterInstance.from_config(str(home)) as instance:
        found = reported(instance, ORDERS)
    assert 2 <= len(found) <= 4  # three, and one at the end
    assert sum(one.metadata["rows_changed"].value for one in found) == told  # type: ignore[misc]


def test_one_that_hangs_does_not_keep_its_lease(caves: Caves, tmp_path: Path) -> None:
    home = dagster_home(tmp_path)
    reporter = Reporter(home, caves.shop, lambda: True, lambda: False)
    reporter.start()
    time.sleep(0.5)
    reporter.stop(10)
    with dg.DagsterInstance.from_config(str(home)) as instance:
        assert held_lease(instance, caves.shop, "landing", time.time()) == ""


def test_one_without_partitions_leaves_the_work_to_dagster_and_is_not_ready(
    caves: Caves, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The broker refuses it the group, which is told once; the loop goes round all the same."""
    refusals = iter([True])

    class Refused(Consumer):
        def subscribe(self, *args: object, **more: object) -> None:
            """It is given nothing."""

        def consume(self, *args: Any, **more: Any) -> list[Any]:
            if next(refusals, False):
                raise KafkaException(KafkaError(KafkaError.GROUP_AUTHORIZATION_FAILED))
            time.sleep(0.05)
            return []

    monkeypatch.setattr("caves_dagster.consumer.group.Consumer", Refused)
    monkeypatch.setattr("caves_dagster.consumer.reporter.RENEW_SECONDS", 0.05)
    home, stop = dagster_home(tmp_path), threading.Event()
    with (
        dg.DagsterInstance.from_config(str(home)) as instance,
        Warehouse(caves.settings.snowflake) as warehouse,
    ):
        consumption = Consumption(caves.settings, caves.shop, warehouse)
        reporter = Reporter(home, caves.shop, lambda: True, consumption.is_landing)
        watch = Watch(caves.settings, caves.shop, consumption, Metrics(), lambda: reporter.others_land)
        loop = threading.Thread(target=consumption.run, args=(stop, lambda batch: None))
        loop.start()
        reporter.start()
        time.sleep(3.0)
        assert consumption.is_alive()
        assert not consumption.is_landing()
        assert held_lease(instance, caves.shop, "landing", time.time()) == ""
        assert held_lease(instance, caves.shop, "transforming", time.time()) == ""
        assert any("It lands nothing" in problem for problem in watch.unready())
        renew_lease(instance, caves.shop, ["landing"], time.time())
        until(lambda: reporter.others_land, "another one's lease is seen")
        assert not any("It lands nothing" in problem for problem in watch.unready())
        stop.set()
        loop.join(20)
        reporter.stop(10)


def test_nothing_done_is_nothing_reported(caves: Caves) -> None:
    assert materialisations(caves.shop, {}, {}, 30) == []


def test_raw_is_reported_where_events_landed_and_a_table_whenever_a_pass_followed(caves: Caves) -> None:
    """Else a batch of dead letters, or of redelivered events, makes production look older than RAW."""
    assert materialisations(caves.shop, {"events_landed": 0, "dead_letters": 9}, {}, 30) == []
    found = materialisations(caves.shop, {"events_landed": 5}, {"PRODUCTION.ORDERS": 0}, 30)
    assert [one.asset_key for one in found[:2]] == [RAW, ORDERS]
    assert found[1].metadata["rows_changed"].value == 0


def test_what_dagsters_storage_did_not_take_is_told_the_next_time(
    caves: Caves, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is away when the consumer begins, and again between two events of one report."""
    monkeypatch.setattr("caves_dagster.consumer.reporter.RENEW_SECONDS", 0.05)
    monkeypatch.setattr("caves_dagster.consumer.reporter.REPORT_SECONDS", 0.1)
    home = dagster_home(tmp_path)
    failures = iter([True])
    report, open_instance = dg.DagsterInstance.report_runless_asset_event, dg.DagsterInstance.from_config
    answers = iter([True, False])  # the first table is taken, the second one is not

    def from_config(folder: str) -> dg.DagsterInstance:
        if next(failures, False):
            raise OSError("away")
        return open_instance(folder)

    def report_or_fail(instance: dg.DagsterInstance, event: dg.AssetMaterialization) -> None:
        if not next(answers, True):
            raise OSError("away")
        report(instance, event)

    monkeypatch.setattr(dg.DagsterInstance, "from_config", from_config)
    monkeypatch.setattr(dg.DagsterInstance, "report_runless_asset_event", report_or_fail)
    reporter = Reporter(home, caves.shop, lambda: True, lambda: True)
    reporter.transformed({table.full_name: 3 for table in caves.shop.tables[1:]})
    reporter.start()
    time.sleep(1.0)
    reporter.stop(10)
    with open_instance(str(home)) as instance:
        for table in caves.shop.tables[1:]:
            (told,) = reported(instance, dg.AssetKey(table.key))
            assert told.metadata["rows_changed"].value == 3
        assert len(reported(instance, DAILY)) == 1
