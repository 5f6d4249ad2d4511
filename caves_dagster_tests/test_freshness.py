"""A quiet topic is not a stale one; a pipeline that nobody runs is."""

from __future__ import annotations

import time
from collections.abc import Iterator
from types import SimpleNamespace

import dagster as dg
import pytest

from caves_dagster.definitions import build_definitions
from caves_dagster.freshness import last_materialised, renew, renewal_seconds, renewals, watched
from caves_dagster.kafka.client import KafkaClient
from caves_dagster.local import ports
from caves_dagster.sensor_clients import Clients
from caves_dagster.settings import FreshnessSettings
from caves_dagster.shops.caves import CAVES
from caves_dagster_tests.conftest import Caves
from caves_dagster_tests.test_sensors import Recording

SETTINGS = FreshnessSettings.model_construct()
PACE = 15 * 60.0
RAW, ORDERS, HISTORY, STOCK = watched(CAVES)


def renewed(last: dict[dg.AssetKey, float], now: float) -> list[dg.AssetKey]:
    """Which tables a quiet topic keeps fresh."""
    return [event.asset_key for event in renewals(CAVES, last, now, SETTINGS)]


def after_a_run(at: float) -> dict[dg.AssetKey, float]:
    """When a run materialised the tables: RAW first."""
    return {RAW: at, ORDERS: at + 1, HISTORY: at + 1, STOCK: at + 2}


# --- which tables, and when


def test_the_pace_is_half_of_what_warns() -> None:
    assert renewal_seconds(SETTINGS) == PACE == SETTINGS.warn_minutes * 60 / 2


def test_a_quiet_topic_renews_every_table_at_a_slow_pace() -> None:
    last = after_a_run(0.0)
    assert renewed(last, PACE - 1) == []
    assert renewed(last, PACE) == [RAW, ORDERS, HISTORY, STOCK]


def test_what_never_was_materialised_is_not_made_to_look_so() -> None:
    assert renewed({}, 10 * PACE) == []
    assert renewed({RAW: 0.0}, 10 * PACE) == [RAW]


def test_a_table_whose_transformation_fails_gets_stale_although_raw_is_fresh() -> None:
    last = after_a_run(0.0) | {RAW: 100.0, STOCK: 101.0}
    assert renewed(last, 100.0 + PACE) == [RAW, STOCK]


def test_a_table_that_caught_up_is_renewed_again() -> None:
    last = after_a_run(0.0) | {RAW: 100.0}
    assert renewed(last | {ORDERS: 200.0}, 100.0 + PACE) == [RAW, ORDERS]


def test_renewals_at_the_same_moment_do_not_shut_each_other_out() -> None:
    assert renewed(dict.fromkeys(watched(CAVES), 50.0), 50.0 + PACE) == watched(CAVES)


def test_a_renewal_says_what_it_is() -> None:
    event = renewals(CAVES, after_a_run(0.0), PACE, SETTINGS)[0]
    assert event.metadata["rows"].value == 0
    assert "nothing new" in (event.description or "")


# --- in the sensor


class Sensor:
    """The Kafka sensor on a clock that can be put forward; its events are recorded as the daemon does it."""

    def __init__(self, caves: Caves, instance: dg.DagsterInstance, monkeypatch: pytest.MonkeyPatch) -> None:
        settings = caves.settings.model_copy(update={"sensor_interval_seconds": 1})
        self.shop, self.warehouse = caves.shop, Recording(settings.snowflake)
        self.clients = Clients(KafkaClient(settings.kafka), self.warehouse)
        monkeypatch.setattr(Clients, "of", lambda _: self.clients)
        self.definitions = build_definitions(settings)
        self.instance = instance
        self.cursor: str | None = None
        self.later = 0.0
        clock = SimpleNamespace(
            time=lambda: time.time() + self.later, monotonic=time.monotonic, sleep=time.sleep
        )
        monkeypatch.setattr("caves_dagster.sensors.time", clock)

    def tick(self) -> list[dg.AssetKey]:
        """The tables that a tick keeps fresh."""
        name = "caves_kafka_sensor"
        context = dg.build_sensor_context(
            instance=self.instance, cursor=self.cursor, sensor_name=name, definitions=self.definitions
        )
        data = self.definitions.resolve_sensor_def(name).evaluate_tick(context)
        self.cursor = data.cursor
        events = [event for event in data.asset_events if isinstance(event, dg.AssetMaterialization)]
        for event in events:
            self.instance.report_runless_asset_event(event)
        return [event.asset_key for event in events]

    def run(self) -> bool:
        job = self.definitions.resolve_job_def("caves_pipeline")
        return job.execute_in_process(instance=self.instance, raise_on_error=False).success


@pytest.fixture
def sensor(caves: Caves, instance: dg.DagsterInstance, monkeypatch: pytest.MonkeyPatch) -> Iterator[Sensor]:
    made = Sensor(caves, instance, monkeypatch)
    yield made
    made.warehouse.close()


def test_a_quiet_topic_is_not_stale_and_needs_no_warehouse(caves: Caves, sensor: Sensor) -> None:
    assert sensor.tick() == [], "nothing was ever materialised"
    caves.publish(caves.events(20))
    assert sensor.tick() == []
    assert sensor.run()
    assert sensor.tick() == []
    sensor.warehouse.statements.clear()
    looked = 0
    get_asset_records = sensor.instance.get_asset_records

    def counting(keys: list[dg.AssetKey]) -> object:
        nonlocal looked
        looked += 1
        return get_asset_records(keys)

    sensor.instance.get_asset_records = counting  # type: ignore[assignment]
    seen = []
    for _ in range(40):  # 50 minutes by the sensor's clock; the storage's own does not move
        sensor.later += 75.0
        seen.append(sensor.tick())
    assert [keys for keys in seen if keys] == [watched(sensor.shop)] * 3
    asked = [text.partition(" LIKE ")[0] for text in sensor.warehouse.statements]
    assert asked == ["SHOW TASKS"] * 3, "which mode is on, each time"
    assert looked <= 5


def test_a_broker_that_is_away_lets_the_tables_get_stale(
    caves: Caves, sensor: Sensor, monkeypatch: pytest.MonkeyPatch
) -> None:
    caves.publish(caves.events(5))
    assert sensor.run()
    assert sensor.tick() == []
    sensor.later = 2 * PACE
    with monkeypatch.context() as away:
        nobody = {"bootstrap_servers": f"127.0.0.1:{ports.any_free('127.0.0.1')}", "timeout_seconds": 1.0}
        away.setattr(sensor.clients, "kafka", KafkaClient(caves.settings.kafka.model_copy(update=nobody)))
        assert sensor.tick() == []
    assert sensor.tick() == watched(sensor.shop)


def test_a_failing_transformation_lets_its_table_get_stale(caves: Caves, sensor: Sensor) -> None:
    caves.publish(caves.events(20))
    assert sensor.run()
    caves.warehouse.execute("ALTER TABLE PRODUCTION.ORDERS RENAME TO PRODUCTION.ORDERS_AWAY")
    caves.publish(caves.events(20, seed=2))
    assert not sensor.run()
    sensor.later = 2 * PACE
    fresh = sensor.tick()
    assert RAW in fresh
    assert ORDERS not in fresh


def test_the_storage_is_asked_again_only_when_it_may_matter(caves: Caves, sensor: Sensor) -> None:
    caves.publish(caves.events(5))
    assert sensor.run()
    at = last_materialised(sensor.instance, sensor.shop)[RAW]
    seen = {"fresh_at": at - PACE}
    assert renew(sensor.instance, sensor.shop, SETTINGS, seen, at + 10) == []
    assert seen["fresh_at"] == at
    assert len(renew(sensor.instance, sensor.shop, SETTINGS, seen, at + PACE)) == 4
    assert seen["fresh_at"] == at + PACE
