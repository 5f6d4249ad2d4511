"""Who transforms: in task mode Dagster lands, looks on and checks, whoever asks for more."""

from __future__ import annotations

import json
import time
from threading import Event
from types import SimpleNamespace

import dagster as dg
import pytest

from caves_dagster.assets.transformation import transform
from caves_dagster.checks.catalogue import shop_checks
from caves_dagster.checks.check import Outcome, run_check
from caves_dagster.consumer.transform import Transformer
from caves_dagster.definitions import build_definitions
from caves_dagster.rebuild import rebuild
from caves_dagster.run_tags import LANDING_ONLY_TAG
from caves_dagster.status import shop_status
from caves_dagster.tasks.control import execute, resume, suspend
from caves_dagster.tasks.deploy import deploy
from caves_dagster.tasks.deployed import task_mode
from caves_dagster.tasks.observe import MODE_TAG
from caves_dagster_tests.brokers import until
from caves_dagster_tests.conftest import Caves
from caves_dagster_tests.ingest.accounting import ingest
from caves_dagster_tests.raw_rows import Feed, insert_raw
from caves_dagster_tests.test_sensors import JOB, STATUS, Make, Sensors, launched, make

__all__ = ["make"]

MODE = "Snowflake's tasks transform (task mode): RAW_DATA.TASK_RAW_TO_STAGING_DISTRIBUTOR is started."


@pytest.fixture
def sensors(caves: Caves, make: Make) -> Sensors:
    """The shop's sensors, the shop in task mode; the tasks are run by hand alone, as an hour is long."""
    deploy(caves.warehouse, caves.shop, every_seconds=3600)
    resume(caves.warehouse, caves.shop)
    return make(caves.settings)


@pytest.fixture
def hourly(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The sensors' clock, which a test puts on."""
    now = [time.time()]
    clock = SimpleNamespace(time=lambda: now[0], monotonic=time.monotonic, sleep=time.sleep)
    monkeypatch.setattr("caves_dagster.sensors.time", clock)
    return now


# --- the sensors


def test_the_kafka_sensor_launches_landing_alone(caves: Caves, sensors: Sensors) -> None:
    caves.publish(caves.events(5))
    (request,) = sensors.kafka().run_requests or []
    assert [key.path for key in request.asset_selection or []] == [caves.shop.raw.key]
    assert (request.tags[LANDING_ONLY_TAG], request.tags[MODE_TAG]) == ("true", "tasks")
    suspend(caves.warehouse, caves.shop)
    (request,) = sensors.kafka().run_requests or []
    assert request.asset_selection is None, "the whole job again"


def test_the_stream_sensor_says_who_transforms_and_launches_no_transformation(
    caves: Caves, sensors: Sensors, hourly: list[float]
) -> None:
    insert_raw(caves.warehouse, [Feed().order(1)])
    data = sensors.stream()
    assert launched(data) == 0
    assert (data.skip_message or "").startswith(MODE)
    assert "Rows wait in RAW_DATA.STREAM_RAW_EVENTS." in (data.skip_message or "")
    suspend(caves.warehouse, caves.shop)
    hourly[0] += 61
    (request,) = sensors.stream().run_requests or []
    assert dg.AssetKey(["staging", "stg_orders"]) in (request.asset_selection or [])


def test_what_the_tasks_did_is_told_and_the_views_and_checks_follow(
    caves: Caves, sensors: Sensors, hourly: list[float]
) -> None:
    insert_raw(caves.warehouse, [Feed().order(1)])
    execute(caves.warehouse, caves.shop, 60)
    data = sensors.stream()
    told = {event.asset_key.to_user_string() for event in data.asset_events}
    assert told == {"staging/stg_orders", "staging/stg_inventory_adjustments", "production/orders"}
    (request,) = data.run_requests or []
    assert [key.path for key in request.asset_selection or []] == [view.key for view in caves.shop.views]
    assert {key.name for key in request.asset_check_keys or []} == {"raw_vs_prod_counts", "duplicates"}
    assert request.tags[MODE_TAG] == "tasks"
    hourly[0] += 61
    data = sensors.stream()
    assert (launched(data), list(data.asset_events)) == (0, [])


def test_while_landing_follows_landing_the_tasks_are_told_and_the_views_get_their_turn(
    caves: Caves, sensors: Sensors, hourly: list[float], monkeypatch: pytest.MonkeyPatch
) -> None:
    # The run that is launched first is not one of Dagster's here: nobody has to wait until it shows.
    monkeypatch.setattr("caves_dagster.sensor_clients._LAUNCH_SECONDS", 0.0)
    caves.publish(caves.events(5))
    assert launched(sensors.kafka()) == 1, "it knows the mode now"
    insert_raw(caves.warehouse, [Feed().order(1)])
    execute(caves.warehouse, caves.shop, 60)
    run = sensors.run(STATUS.STARTED, heartbeat_age=1)
    data = sensors.stream()
    assert launched(data) == 0
    assert {event.asset_key.path[-1] for event in data.asset_events} >= {"stg_orders", "orders"}
    assert run.run_id[:8] in (data.skip_message or "")
    sensors.instance.report_run_canceled(run)
    assert launched(sensors.kafka()) == 0, "it leaves the stream sensor the next run"
    (request,) = sensors.stream().run_requests or []
    assert [key.path for key in request.asset_selection or []] == [view.key for view in caves.shop.views]


def test_a_hundred_idle_ticks_need_no_warehouse(caves: Caves, sensors: Sensors, hourly: list[float]) -> None:
    caves.publish(caves.events(5))
    ingest(caves)
    execute(caves.warehouse, caves.shop, 60)
    sensors.kafka()
    sensors.stream()
    hourly[0] += 600
    sensors.stream()
    sensors.warehouse.statements.clear()
    for _ in range(100):
        hourly[0] += 5
        assert (launched(sensors.kafka()), launched(sensors.stream())) == (0, 0)
    free = ("SHOW TASKS ", "SHOW TABLES ", "SELECT SYSTEM$STREAM_HAS_DATA(")
    assert [text for text in sensors.warehouse.statements if not text.startswith(free)] == []
    assert len(sensors.warehouse.statements) <= 3 * 9, "once a minute"


def test_a_quiet_topic_renews_production_only_when_the_tasks_have_taken_everything(
    caves: Caves, sensors: Sensors, hourly: list[float]
) -> None:
    raw, orders = dg.AssetKey(caves.shop.raw.key), dg.AssetKey(["production", "orders"])
    for key in (orders, raw):
        sensors.instance.report_runless_asset_event(dg.AssetMaterialization(key))
    insert_raw(caves.warehouse, [Feed().order(1)])

    def renewed() -> set[dg.AssetKey]:
        hourly[0] += 3600
        sensors.cursors.clear()
        events = sensors.kafka().asset_events
        return {event.asset_key for event in events if isinstance(event, dg.AssetMaterialization)}

    assert renewed() == {raw}, "a row waits"
    execute(caves.warehouse, caves.shop, 60)
    assert renewed() == {raw, orders}


# --- whoever else would transform


def test_a_whole_run_by_hand_lands_and_leaves_the_rest_to_the_tasks(
    caves: Caves, sensors: Sensors, instance: dg.DagsterInstance
) -> None:
    caves.publish(caves.events(20))
    result = build_definitions(caves.settings).resolve_job_def(JOB).execute_in_process(instance=instance)
    assert result.success
    assert caves.count("RAW_DATA.STREAM_RAW_EVENTS") == 20
    assert caves.count("STAGING.STG_ORDERS") == 0
    done = {
        event.asset_key.path[-1] for event in result.get_asset_materialization_events() if event.asset_key
    }
    assert done == {"raw_events_stream"}
    said = [event.user_message for event in instance.all_logs(result.run_id)]
    assert f"{MODE} This run transforms nothing behind RAW." in said
    suspend(caves.warehouse, caves.shop)
    assert (
        build_definitions(caves.settings).resolve_job_def(JOB).execute_in_process(instance=instance).success
    )
    assert caves.count("RAW_DATA.STREAM_RAW_EVENTS") == 0


def test_a_consumer_stands_back_and_goes_on_when_dagster_mode_is_on_again(
    caves: Caves, sensors: Sensors, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("caves_dagster.consumer.transform.MODE_SECONDS", 0.1)
    insert_raw(caves.warehouse, [Feed().order(1)])
    passed = Event()
    transformer = Transformer(caves.settings, caves.shop, lambda changed: passed.set())
    transformer.start()
    until(lambda: transformer.stands_back, "the consumer stands back")
    assert not passed.wait(0.5)
    assert caves.count("PRODUCTION.ORDERS") == 0
    suspend(caves.warehouse, caves.shop)
    assert passed.wait(30), "nothing landed, and it goes on all the same"
    transformer.stop(10)
    assert not transformer.stands_back
    assert caves.count("PRODUCTION.ORDERS") == 1


def test_a_rebuild_works_and_nothing_is_doubled_if_both_run_anyway(caves: Caves, sensors: Sensors) -> None:
    feed = Feed()
    insert_raw(caves.warehouse, [feed.order(1), feed.adjustment(1)])
    rebuild(caves.warehouse, caves.shop)
    assert caves.count("PRODUCTION.ORDERS") == 1
    insert_raw(caves.warehouse, [feed.order(2)])
    transform(caves.warehouse, caves.shop, caves.shop.transformations[0])
    execute(caves.warehouse, caves.shop, 60)
    assert caves.count("PRODUCTION.ORDERS") == 2
    assert caves.count("STAGING.STG_ORDERS") == 2


# --- what is told of it


def _status(caves: Caves) -> Outcome:
    (check,) = (one for one in shop_checks(caves.settings, caves.shop) if one.name == "task_status")
    return run_check(caves.warehouse, caves.shop, check)


def _tasks(outcome: Outcome) -> dict[str, str]:
    found = {row["SUBJECT"]: row["OFFENDING_KEYS"] for row in outcome.rows}
    return {name.split(".")[-1]: said for name, said in found.items() if name.startswith("task ")}


def test_task_status_knows_the_tasks(caves: Caves, sensors: Sensors) -> None:
    names = [step.task_name for step in caves.shop.transformations]
    assert set(_tasks(_status(caves))) == set(names)
    execute(caves.warehouse, caves.shop, 60)
    assert _tasks(_status(caves)) == dict.fromkeys(names, "")

    caves.warehouse.execute("ALTER TABLE PRODUCTION.ORDERS RENAME TO PRODUCTION.ORDERS_AWAY")
    insert_raw(caves.warehouse, [Feed().order(1)])
    execute(caves.warehouse, caves.shop, 60)
    outcome = _status(caves)
    assert outcome.status == "FAIL"
    assert _tasks(outcome)["TASK_STAGING_TO_PROD_ORDERS"].startswith("its last run ended FAILED: ")
    caves.warehouse.execute("ALTER TABLE PRODUCTION.ORDERS_AWAY RENAME TO PRODUCTION.ORDERS")

    caves.warehouse.execute("ALTER TASK RAW_DATA.TASK_RAW_TO_STAGING_DISTRIBUTOR SUSPEND")
    caves.warehouse.execute("ALTER TASK RAW_DATA.TASK_STAGING_TO_PROD_ORDERS SUSPEND")
    assert _tasks(_status(caves)) == {}, "Dagster mode"
    caves.warehouse.execute("ALTER TASK RAW_DATA.TASK_RAW_TO_STAGING_DISTRIBUTOR RESUME")
    assert _tasks(_status(caves))["TASK_STAGING_TO_PROD_ORDERS"].startswith("is suspended: run `caves")


def test_status_shows_the_mode(caves: Caves, sensors: Sensors) -> None:
    assert shop_status(caves.settings, caves.shop, caves.warehouse).mode == "tasks"
    suspend(caves.warehouse, caves.shop)
    status = shop_status(caves.settings, caves.shop, caves.warehouse)
    assert (status.mode, json.loads(json.dumps(status.as_json()))["mode"]) == ("dagster", "dagster")


def test_another_task_of_nearly_the_same_name_is_no_mode(caves: Caves) -> None:
    """In LIKE, _ stands for any letter."""
    caves.warehouse.execute(
        "CREATE TASK RAW_DATA.TASKXRAW_TO_STAGING_DISTRIBUTOR SCHEDULE = '60 MINUTES' AS SELECT 1"
    )
    caves.warehouse.execute("ALTER TASK RAW_DATA.TASKXRAW_TO_STAGING_DISTRIBUTOR RESUME")
    assert task_mode(caves.warehouse, caves.shop) == ""
