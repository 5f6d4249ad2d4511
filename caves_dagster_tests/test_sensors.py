"""The sensors as scenarios: real definitions on the real platform, runs in an instance of the test's own."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from threading import Event, Thread
from types import SimpleNamespace
from typing import Any

import dagster as dg
import psutil
import pytest
from dagster._core.definitions.sensor_definition import SensorExecutionData
from dagster._core.storage.tags import GRPC_INFO_TAG
from dagster._core.test_utils import create_run_for_test
from dagster._serdes import ConfigurableClassData

from caves_dagster import sensor_clients
from caves_dagster.assets.transformation import transform
from caves_dagster.consumer.lease import renew_lease
from caves_dagster.decision import FIRST_BACK_OFF, FIRST_BACK_OFF_BLAMELESS, HEARTBEAT_MAX_AGE, START_GRACE
from caves_dagster.definitions import build_definitions
from caves_dagster.errors import TopicNotFound, WarehouseUnreachable
from caves_dagster.jobs import rebuild_name
from caves_dagster.kafka.client import KafkaClient, TopicState
from caves_dagster.local import ports
from caves_dagster.local.platform import Platform, running_platform
from caves_dagster.run_process import is_gone, this_process
from caves_dagster.run_tags import FAILURE_TAG, HEARTBEAT_TAG, LANDED_TAG, LANDING_ONLY_TAG, PROCESS_TAG
from caves_dagster.sensor_clients import Clients
from caves_dagster.sensors import OBSERVE_SECONDS
from caves_dagster.settings import Settings, SnowflakeSettings, load_settings
from caves_dagster.warehouse.connection import Row, Warehouse
from caves_dagster_tests.brokers import EmbeddedBroker
from caves_dagster_tests.conftest import Caves, caves_on
from caves_dagster_tests.ingest.accounting import ingest

JOB = "caves_pipeline"
STATUS = dg.DagsterRunStatus


class Recording(Warehouse):
    """Notes every statement it is asked to run."""

    def __init__(self, settings: SnowflakeSettings) -> None:
        super().__init__(settings)
        self.statements: list[str] = []

    def query(self, sql: str, parameters: Mapping[str, Any] | None = None) -> list[Row]:
        self.statements.append(sql)
        return super().query(sql, parameters)

    def execute(self, sql: str, parameters: Mapping[str, Any] | None = None) -> int:
        self.statements.append(sql)
        return super().execute(sql, parameters)


@dataclass
class Sensors:
    """A shop's two sensors, as the daemon evaluates them: from tick to tick they keep their cursor."""

    settings: Settings
    definitions: dg.Definitions
    warehouse: Recording
    instance: dg.DagsterInstance
    cursors: dict[str, str | None] = field(default_factory=dict)

    def tick(self, name: str) -> SensorExecutionData:
        sensor = self.definitions.resolve_sensor_def(f"caves_{name}_sensor")
        context = dg.build_sensor_context(
            instance=self.instance,
            cursor=self.cursors.get(name),
            sensor_name=sensor.name,
            definitions=self.definitions,
        )
        data = sensor.evaluate_tick(context)
        self.cursors[name] = data.cursor
        return data

    def kafka(self) -> SensorExecutionData:
        return self.tick("kafka")

    def stream(self) -> SensorExecutionData:
        return self.tick("stream")

    def run(
        self, status: dg.DagsterRunStatus, heartbeat_age: float | None = None, failure: str = "own"
    ) -> dg.DagsterRun:
        """A run of the pipeline in some state, its heart beaten so many seconds ago."""
        tags = {FAILURE_TAG: failure} if status is STATUS.FAILURE and failure else {}
        if heartbeat_age is not None:
            tags[HEARTBEAT_TAG] = f"{time.time() - heartbeat_age:.0f}"
        run: dg.DagsterRun = create_run_for_test(self.instance, job_name=JOB, status=status, tags=tags)
        return run


Make = Callable[..., Sensors]


@pytest.fixture
def make(monkeypatch: pytest.MonkeyPatch, instance: dg.DagsterInstance) -> Iterator[Make]:
    """Builds sensors whose warehouse notes its statements."""
    made: list[Sensors] = []

    def build(settings: Settings, interval: int = 1) -> Sensors:
        # A tick looks on for most of the interval: for that of a second it looks once.
        settings = settings.model_copy(update={"sensor_interval_seconds": interval})
        warehouse = Recording(settings.snowflake)
        clients = Clients(KafkaClient(settings.kafka), warehouse)
        monkeypatch.setattr(Clients, "of", lambda _: clients)
        sensors = Sensors(settings, build_definitions(settings), warehouse, instance)
        made.append(sensors)
        return sensors

    yield build
    for sensors in made:
        sensors.warehouse.close()


@pytest.fixture
def sensors(caves: Caves, make: Make) -> Sensors:
    """The sensors of the test's shop."""
    return make(caves.settings)


def launched(data: SensorExecutionData) -> int:
    """How many runs a tick asks for."""
    return len(data.run_requests or [])


# --- the Kafka sensor


def test_lag_launches_one_run(caves: Caves, sensors: Sensors) -> None:
    caves.publish(caves.events(25))
    data = sensors.kafka()
    assert launched(data) == 1
    (request,) = data.run_requests or []
    assert request.tags["caves/lag"] == "25"
    assert request.asset_selection is None, "the whole job"
    assert request.run_config == {}, "no message travels in run config"


def test_without_lag_nothing_is_launched_and_the_reason_says_so(caves: Caves, sensors: Sensors) -> None:
    caves.publish(caves.events(25))
    ingest(caves)
    data = sensors.kafka()
    assert launched(data) == 0
    assert data.skip_message == f"Nothing new in {caves.shop.topic}: lag 0 over 4 partitions."
    assert sum(json.loads(data.cursor or "{}")["ends"].values()) == 25


def test_a_topic_that_never_had_a_message_launches_nothing(sensors: Sensors) -> None:
    assert launched(sensors.kafka()) == 0


def test_an_event_after_the_lull_launches_a_run(caves: Caves, sensors: Sensors) -> None:
    assert launched(sensors.kafka()) == 0
    caves.publish(caves.events(1))
    assert launched(sensors.kafka()) == 1
    ingest(caves)
    assert launched(sensors.kafka()) == 0


class _Clock:
    """Time that passes when somebody sleeps, and with each look that a sensor takes."""

    def __init__(self, seconds_a_look: float) -> None:
        self.seconds, self.looks, self._a_look = 0.0, 0, seconds_a_look

    def monotonic(self) -> float:
        return self.seconds

    def sleep(self, seconds: float) -> None:
        self.seconds += seconds

    def time(self) -> float:
        return time.time()

    def look(self, *_: object) -> str:
        self.looks += 1
        self.seconds += self._a_look
        return ""


@pytest.mark.parametrize(
    ("interval", "seconds_a_look", "looks", "at_most"),
    [(5, 0.1, 5, 4.0), (5, 0.5, 3, 4.0), (5, 1.0, 2, 4.0), (5, 2.8, 1, 4.0), (600, 0.1, 5, 31.0)],
)
def test_a_tick_looks_on_but_ends_before_the_next_one_is_due(
    caves: Caves,
    make: Make,
    monkeypatch: pytest.MonkeyPatch,
    interval: int,
    seconds_a_look: float,
    looks: int,
    at_most: float,
) -> None:
    sensors, clock = make(caves.settings, interval=interval), _Clock(seconds_a_look)
    monkeypatch.setattr("caves_dagster.sensors.time", clock)
    monkeypatch.setattr("caves_dagster.sensors.held_lease", clock.look)
    assert launched(sensors.kafka()) == 0
    assert clock.looks >= looks
    assert clock.seconds <= at_most


@pytest.mark.parametrize("cursor", [None, "", "not JSON", "[1]", '"text"', "{}"])
def test_a_lost_or_spoilt_cursor_costs_one_query(caves: Caves, sensors: Sensors, cursor: str | None) -> None:
    caves.publish(caves.events(5))
    ingest(caves)
    sensors.kafka()
    good = sensors.cursors["kafka"]
    sensors.warehouse.statements.clear()
    sensors.cursors["kafka"] = cursor
    assert launched(sensors.kafka()) == 0
    assert len(sensors.warehouse.statements) == 1
    ends = [json.loads(text or "{}")["ends"] for text in (good, sensors.cursors["kafka"])]
    assert ends[0] == ends[1]


def test_lag_is_observed_at_most_once_a_minute(
    caves: Caves, sensors: Sensors, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = [time.time()]
    clock = SimpleNamespace(time=lambda: now[0], monotonic=time.monotonic, sleep=time.sleep)
    monkeypatch.setattr("caves_dagster.sensors.time", clock)
    caves.publish(caves.events(12))
    seen = []
    for _ in range(30):
        seen += [(now[0], event) for event in sensors.kafka().asset_events]
        now[0] += 5.0
    assert [event.asset_key for _, event in seen] == [dg.AssetKey(["kafka", caves.shop.topic])] * len(seen)
    assert len(seen) == 3  # 150 seconds
    assert all(after - before >= OBSERVE_SECONDS for (before, _), (after, _) in pairwise(seen))
    assert {event.metadata["lag"].value for _, event in seen} == {12}
    assert {event.metadata["messages"].value for _, event in seen} == {12}


# --- an idle shop costs nothing


def test_a_hundred_idle_ticks_of_the_kafka_sensor_ask_the_warehouse_nothing(
    caves: Caves, sensors: Sensors
) -> None:
    caves.publish(caves.events(5))
    ingest(caves)
    assert launched(sensors.kafka()) == 0
    sensors.warehouse.statements.clear()
    for _ in range(100):
        assert launched(sensors.kafka()) == 0
    assert sensors.warehouse.statements == []


def test_a_hundred_idle_ticks_of_the_stream_sensor_ask_only_for_data_in_streams_and_the_mode(
    sensors: Sensors,
) -> None:
    for _ in range(100):
        assert launched(sensors.stream()) == 0
    statement, mode = sensors.warehouse.statements
    assert mode.startswith("SHOW TASKS LIKE 'TASK_RAW_TO_STAGING_DISTRIBUTOR' IN SCHEMA ")
    words = statement.removeprefix("SELECT ").split(", ")
    assert all(word.startswith("SYSTEM$STREAM_HAS_DATA(") for word in words)
    assert "FROM" not in statement.upper().split(), "a table would need a warehouse"


def test_the_stream_sensor_asks_again_after_a_run_and_after_a_minute(
    sensors: Sensors, monkeypatch: pytest.MonkeyPatch
) -> None:
    sensors.stream()
    sensors.run(STATUS.SUCCESS)
    sensors.stream()
    assert len(sensors.warehouse.statements) == 2 * 2
    monkeypatch.setattr("caves_dagster.sensors.ASK_SECONDS", -1.0)
    sensors.stream()
    assert len(sensors.warehouse.statements) == 3 * 2


def test_what_fails_behind_landing_does_not_slow_landing(caves: Caves, sensors: Sensors) -> None:
    caves.publish(caves.events(5))
    for _ in range(5):
        failed = sensors.run(STATUS.FAILURE)
        sensors.instance.add_run_tags(failed.run_id, {LANDED_TAG: "5"})
    (request,) = sensors.kafka().run_requests or []
    assert [key.path for key in request.asset_selection or []] == [caves.shop.raw.key]
    assert LANDING_ONLY_TAG in request.tags
    assert launched(sensors.stream()) == 0, "the transformations wait"


def test_during_a_rebuild_landing_goes_on_and_the_transformations_wait(
    caves: Caves, sensors: Sensors
) -> None:
    caves.publish(caves.events(5))
    job, beating = rebuild_name(caves.shop), {HEARTBEAT_TAG: f"{time.time():.0f}"}
    run = create_run_for_test(sensors.instance, job_name=job, status=STATUS.STARTED, tags=beating)

    (request,) = sensors.kafka().run_requests or []
    assert [key.path for key in request.asset_selection or []] == [caves.shop.raw.key]
    assert LANDING_ONLY_TAG in request.tags
    ingest(caves)
    waiting = sensors.stream()
    assert launched(waiting) == 0
    assert f"{run.run_id[:8]} rebuilds production" in (waiting.skip_message or "")


@pytest.mark.parametrize("status", [STATUS.SUCCESS, STATUS.FAILURE])
def test_after_a_rebuild_everything_goes_on(
    caves: Caves, sensors: Sensors, status: dg.DagsterRunStatus
) -> None:
    caves.publish(caves.events(5))
    create_run_for_test(sensors.instance, job_name=rebuild_name(caves.shop), status=status)
    (request,) = sensors.kafka().run_requests or []
    assert request.asset_selection is None


def test_while_a_run_is_under_way_nothing_outside_is_asked(caves: Caves, sensors: Sensors) -> None:
    caves.publish(caves.events(5))
    sensors.run(STATUS.STARTED, heartbeat_age=1)
    sensors.kafka()
    sensors.stream()
    assert sensors.warehouse.statements == []


# --- the runs so far


@pytest.mark.parametrize("status", [STATUS.NOT_STARTED, STATUS.STARTING, STATUS.STARTED])
def test_nothing_is_launched_while_a_run_is_under_way(
    caves: Caves, sensors: Sensors, status: dg.DagsterRunStatus
) -> None:
    caves.publish(caves.events(5))
    run = sensors.run(status, heartbeat_age=1 if status is STATUS.STARTED else None)
    for data in (sensors.kafka(), sensors.stream()):
        assert launched(data) == 0
        assert run.run_id[:8] in (data.skip_message or "")


def test_a_run_of_another_job_stands_in_no_way(caves: Caves, sensors: Sensors) -> None:
    caves.publish(caves.events(5))
    create_run_for_test(sensors.instance, job_name="clean_up_runs", status=STATUS.STARTED)
    assert launched(sensors.kafka()) == 1


def test_a_run_whose_heart_stopped_is_reported_failed_and_another_is_launched(
    caves: Caves, sensors: Sensors, monkeypatch: pytest.MonkeyPatch
) -> None:
    caves.publish(caves.events(5))
    run = sensors.run(STATUS.STARTED, heartbeat_age=HEARTBEAT_MAX_AGE + 5)
    sensors.kafka()
    found = sensors.instance.get_run_by_id(run.run_id)
    assert found is not None
    assert found.status is STATUS.FAILURE
    said = [event.message for event in sensors.instance.all_logs(run.run_id)]
    assert any("its heartbeat stopped" in message for message in said), said
    later = time.time() + FIRST_BACK_OFF + 1
    clock = SimpleNamespace(time=lambda: later, monotonic=time.monotonic, sleep=time.sleep)
    monkeypatch.setattr("caves_dagster.sensors.time", clock)
    assert launched(sensors.kafka()) == 1


def test_a_run_whose_process_was_killed_is_reported_failed_at_once_and_another_is_launched(
    caves: Caves, sensors: Sensors, monkeypatch: pytest.MonkeyPatch
) -> None:
    caves.publish(caves.events(5))
    child = subprocess.Popen([sys.executable, "-c", _TELLS_ITSELF], stdout=subprocess.PIPE, text=True)
    assert child.stdout is not None
    process = child.stdout.readline().strip()
    run = sensors.run(STATUS.STARTED, heartbeat_age=1)
    sensors.instance.add_run_tags(run.run_id, {PROCESS_TAG: process})
    assert "is started" in (sensors.kafka().skip_message or "")
    child.kill()  # and not waited for: the code server may not have noticed yet either
    while psutil.Process(child.pid).status() != psutil.STATUS_ZOMBIE:
        time.sleep(0.01)

    sensors.kafka()

    child.communicate()
    found = sensors.instance.get_run_by_id(run.run_id)
    assert found is not None
    assert found.status is STATUS.FAILURE
    said = [event.message for event in sensors.instance.all_logs(run.run_id)]
    assert any("it ended without a word" in message for message in said), said
    later = time.time() + FIRST_BACK_OFF_BLAMELESS + 1
    clock = SimpleNamespace(time=lambda: later, monotonic=time.monotonic, sleep=time.sleep)
    monkeypatch.setattr("caves_dagster.sensors.time", clock)
    assert launched(sensors.kafka()) == 1
    found = sensors.instance.get_run_by_id(run.run_id)
    assert found is not None
    assert found.tags[FAILURE_TAG] == "killed"


_TELLS_ITSELF = """
import time
from caves_dagster.run_process import is_gone, this_process
print(this_process(), flush=True)
time.sleep(60)
"""


def test_a_run_on_another_machine_is_judged_by_its_heartbeat(caves: Caves, sensors: Sensors) -> None:
    _, pid, created = this_process().split()
    for process in (f"elsewhere {int(pid) + 1} {created}", "not a process"):
        run = sensors.run(STATUS.STARTED, heartbeat_age=HEARTBEAT_MAX_AGE - 10)
        sensors.instance.add_run_tags(run.run_id, {PROCESS_TAG: process})
        assert "is started" in (sensors.kafka().skip_message or "")


def test_a_process_id_that_belongs_to_another_process_by_now_is_nobody_s() -> None:
    machine, pid, created = this_process().split()
    assert not is_gone(f"{machine} {pid} {created}")
    assert is_gone(f"{machine} {pid} {float(created) - 60:.2f}")


@pytest.mark.parametrize("noted", [True, False])
def test_a_run_that_the_daemon_was_killed_over_before_it_launched_it_is_dead(
    caves: Caves, sensors: Sensors, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, noted: bool
) -> None:
    run = sensors.run(STATUS.STARTING)
    if noted:
        where = json.dumps({"host": "localhost", "socket": str(tmp_path / "gone")})
        sensors.instance.add_run_tags(run.run_id, {GRPC_INFO_TAG: where})
    assert "is starting" in (sensors.kafka().skip_message or ""), "it is given a moment"
    later = time.time() + START_GRACE + 1
    clock = SimpleNamespace(time=lambda: later, monotonic=time.monotonic, sleep=time.sleep)
    monkeypatch.setattr("caves_dagster.sensors.time", clock)
    sensors.kafka()
    found = sensors.instance.get_run_by_id(run.run_id)
    assert found is not None
    assert found.status is STATUS.FAILURE


@pytest.mark.parametrize("status", [STATUS.STARTING, STATUS.STARTED])
def test_a_run_of_another_launcher_or_of_none_may_take_longer_to_start(
    caves: Caves, sensors: Sensors, monkeypatch: pytest.MonkeyPatch, status: STATUS
) -> None:
    sensors.run(status)
    if status is STATUS.STARTING:
        launcher = ConfigurableClassData("dagster_docker", "DockerRunLauncher", "{}")
        ref = sensors.instance.get_ref()._replace(run_launcher_data=launcher)
        monkeypatch.setattr(sensors.instance, "get_ref", lambda: ref)
    later = time.time() + START_GRACE + 1
    clock = SimpleNamespace(time=lambda: later, monotonic=time.monotonic, sleep=time.sleep)
    monkeypatch.setattr("caves_dagster.sensors.time", clock)
    assert f"is {status.value.lower()}" in (sensors.kafka().skip_message or "")


@pytest.mark.parametrize("away", ["kafka", "snowflake"])
def test_a_run_that_failed_since_something_was_away_is_told_from_one_that_failed_of_itself(
    caves: Caves, sensors: Sensors, away: str
) -> None:
    nowhere: dict[str, Any] = {
        "kafka": {"bootstrap_servers": f"127.0.0.1:{ports.any_free('127.0.0.1')}", "timeout_seconds": 2.0},
        "snowflake": {"database": "NOT_SET_UP"},
    }
    settings = caves.settings.model_copy(
        update={away: getattr(caves.settings, away).model_copy(update=nowhere[away])}
    )
    job = build_definitions(settings).resolve_job_def(JOB)
    result = job.execute_in_process(instance=sensors.instance, raise_on_error=False)
    assert not result.success
    sensors.kafka()
    run = sensors.instance.get_run_by_id(result.run_id)
    assert run is not None
    assert run.tags[FAILURE_TAG] == {"kafka": "away", "snowflake": "own"}[away]


def test_after_failures_the_sensors_wait_longer_and_longer(
    caves: Caves, sensors: Sensors, monkeypatch: pytest.MonkeyPatch
) -> None:
    caves.publish(caves.events(5))
    now = [time.time()]
    clock = SimpleNamespace(time=lambda: now[0], monotonic=time.monotonic, sleep=time.sleep)
    monkeypatch.setattr("caves_dagster.sensors.time", clock)
    sensors.run(STATUS.FAILURE)
    data = sensors.kafka()
    assert launched(data) == 0
    assert "because the last run failed" in (data.skip_message or "")
    now[0] = time.time() + FIRST_BACK_OFF + 1
    assert launched(sensors.kafka()) == 1
    sensors.run(STATUS.FAILURE)
    assert "2 runs failed since" in (sensors.kafka().skip_message or "")
    now[0] = time.time() + 2 * FIRST_BACK_OFF + 1
    assert launched(sensors.kafka()) == 1
    sensors.run(STATUS.SUCCESS)
    now[0] = time.time()
    assert launched(sensors.kafka()) == 1, "a success ends the waiting"


# --- the stream sensor


def requested(data: SensorExecutionData) -> set[str]:
    """The tables that the only requested run is to fill."""
    (request,) = data.run_requests or []
    return {key.to_user_string() for key in request.asset_selection or []}


PRODUCTION = {"production/orders", "production/inventory_history", "production/inventory_current"}
ANALYTICS = {
    f"analytics/{view}"
    for view in (
        "consolidated_sales",
        "daily_sales",
        "top_wines",
        "stock_by_category",
        "sales_by_channel",
        "adjustments_by_type",
        "low_stock",
    )
}
STAGING = {"staging/stg_orders", "staging/stg_inventory_adjustments"}


def test_rows_in_the_raw_stream_launch_everything_after_raw(caves: Caves, sensors: Sensors) -> None:
    caves.publish(caves.events(25))
    ingest(caves)
    data = sensors.stream()
    assert requested(data) == STAGING | PRODUCTION | ANALYTICS
    (request,) = data.run_requests or []
    assert request.tags["caves/streams"] == "RAW_DATA.STREAM_RAW_EVENTS"


def test_rows_in_a_staging_stream_do_not_launch_staging_again(caves: Caves, sensors: Sensors) -> None:
    caves.publish(caves.events(25))
    ingest(caves)
    transform(caves.warehouse, caves.shop, caves.shop.transformations[0])
    data = sensors.stream()
    assert requested(data) == PRODUCTION | ANALYTICS
    for step in caves.shop.transformations[1:-1]:
        transform(caves.warehouse, caves.shop, step)
    data = sensors.stream()
    assert requested(data) == {"production/inventory_current"} | ANALYTICS
    transform(caves.warehouse, caves.shop, caves.shop.transformations[-1])
    data = sensors.stream()
    assert launched(data) == 0
    assert data.skip_message == "No stream holds rows."


def test_one_run_is_launched_where_both_sensors_have_work(
    caves: Caves, sensors: Sensors, monkeypatch: pytest.MonkeyPatch
) -> None:
    caves.publish(caves.events(25))
    assert launched(sensors.kafka()) == 1
    ingest(caves)
    data = sensors.stream()
    assert launched(data) == 0
    assert data.skip_message == "The shop's other sensor has just launched a run."
    monkeypatch.setattr("caves_dagster.sensor_clients._LAUNCH_SECONDS", 0.0)
    assert launched(sensors.stream()) == 1, "the run never came: the rows do not wait for ever"


def test_what_a_killed_run_left_in_a_stream_goes_with_the_run_that_lands_more(
    caves: Caves, sensors: Sensors, monkeypatch: pytest.MonkeyPatch
) -> None:
    caves.publish(caves.events(25))
    ingest(caves)
    assert launched(sensors.kafka()) == 0
    caves.publish(caves.events(5, seed=2))
    data = sensors.stream()
    assert launched(data) == 0, "a run of the transformations alone would keep the events waiting"
    assert data.skip_message == "Kafka has more: the run that lands it takes along what the streams hold."
    (request,) = sensors.kafka().run_requests or []
    assert request.asset_selection is None, "the whole job"
    monkeypatch.setattr("caves_dagster.sensor_clients._LAUNCH_SECONDS", 0.0)
    monkeypatch.setattr("caves_dagster.sensor_clients._AWAITED_SECONDS", 0.0)
    assert launched(sensors.stream()) == 1, "nobody lands: somebody has stopped the Kafka sensor"


def test_what_the_streams_hold_does_not_wait_for_landing_that_fails(
    caves: Caves, sensors: Sensors, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("caves_dagster.decision.FIRST_BACK_OFF_BLAMELESS", 0.0)
    # The second failure in a row doubles it.
    monkeypatch.setattr("caves_dagster.decision.FIRST_BACK_OFF", 1.0)
    monkeypatch.setattr("caves_dagster.sensor_clients._LAUNCH_SECONDS", 0.0)
    caves.publish(caves.events(25))
    ingest(caves)
    assert launched(sensors.kafka()) == 0
    caves.publish(caves.events(5, seed=2))
    sensors.run(STATUS.FAILURE, failure="killed")
    assert "Kafka has more" in str(sensors.stream().skip_message)
    assert launched(sensors.kafka()) == 1
    sensors.run(STATUS.FAILURE, failure="own")
    assert "Waiting another" in str(sensors.stream().skip_message)
    time.sleep(2.1)
    assert launched(sensors.kafka()) == 0, "it is the other one's turn"
    assert launched(sensors.stream()) == 1
    assert launched(sensors.kafka()) == 1, "one turn, not all of them"


def test_landing_that_fails_is_tried_again_where_no_stream_holds_rows(
    caves: Caves, sensors: Sensors, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("caves_dagster.decision.FIRST_BACK_OFF", 2.0)
    caves.publish(caves.events(5))
    sensors.run(STATUS.FAILURE, failure="own")
    assert "Waiting another" in str(sensors.stream().skip_message)
    time.sleep(2.1)
    assert launched(sensors.kafka()) == 0
    assert sensors.stream().skip_message == "No stream holds rows."
    assert launched(sensors.kafka()) == 1


def test_while_a_consumer_lands_the_rows_do_not_wait_for_the_kafka_sensor(
    caves: Caves, sensors: Sensors
) -> None:
    caves.publish(caves.events(25))
    ingest(caves)
    caves.publish(caves.events(5, seed=2))
    renew_lease(sensors.instance, caves.shop, {"landing"}, time.time())
    assert launched(sensors.kafka()) == 0
    assert launched(sensors.stream()) == 1


def test_the_run_that_the_stream_sensor_asks_for_moves_the_rows(caves: Caves, sensors: Sensors) -> None:
    caves.publish(caves.events(40))
    ingest(caves)
    (request,) = sensors.stream().run_requests or []
    job = sensors.definitions.resolve_job_def(JOB)
    result = job.execute_in_process(
        instance=sensors.instance, asset_selection=request.asset_selection, tags=request.tags
    )
    assert result.success
    assert caves.count("PRODUCTION.ORDERS") + caves.count("PRODUCTION.INVENTORY_HISTORY") == 40
    assert launched(sensors.stream()) == 0


# --- something is away


@dataclass
class Asked:
    """What a tick said, and how long it took."""

    data: SensorExecutionData
    seconds: float


def asked(tick: Callable[[], SensorExecutionData]) -> Asked:
    began = time.monotonic()
    data = tick()
    return Asked(data, time.monotonic() - began)


def test_without_a_broker_the_tick_skips_with_the_reason_and_the_remedy(caves: Caves, make: Make) -> None:
    nowhere: dict[str, Any] = {
        "bootstrap_servers": f"127.0.0.1:{ports.any_free('127.0.0.1')}",
        "timeout_seconds": 2.0,
    }
    sensors = make(
        caves.settings.model_copy(update={"kafka": caves.settings.kafka.model_copy(update=nowhere)})
    )
    sensors.cursors["kafka"] = '{"observed_at": 1}'
    found = asked(sensors.kafka)
    assert launched(found.data) == 0
    assert nowhere["bootstrap_servers"] in (found.data.skip_message or "")
    assert "`caves local start`" in (found.data.skip_message or "")
    assert found.seconds < 10
    assert sensors.cursors["kafka"] == '{"observed_at": 1}', "the cursor is kept"


@pytest.mark.parametrize("name", ["kafka", "stream"])
def test_without_a_warehouse_the_tick_skips_with_the_reason_and_the_remedy(
    caves: Caves, make: Make, name: str
) -> None:
    port = ports.any_free("127.0.0.1")
    nowhere = {"port": port, "login_timeout": 2, "network_timeout": 2}
    sensors = make(
        caves.settings.model_copy(update={"snowflake": caves.settings.snowflake.model_copy(update=nowhere)})
    )
    caves.publish(caves.events(1))
    found = asked(lambda: sensors.tick(name))
    assert launched(found.data) == 0
    assert f"127.0.0.1:{port}" in (found.data.skip_message or "")
    assert "`caves local start`" in (found.data.skip_message or "")
    assert found.seconds < 20


@pytest.mark.parametrize("name", ["kafka", "stream"])
def test_a_warehouse_that_is_not_set_up_is_a_reason_with_its_remedy(
    caves: Caves, sensors: Sensors, name: str
) -> None:
    caves.publish(caves.events(1))
    caves.warehouse.execute("DROP SCHEMA RAW_DATA CASCADE")
    data = sensors.tick(name)
    assert launched(data) == 0
    assert "`caves setup`" in (data.skip_message or "")


def test_a_topic_that_is_not_there_is_a_reason_with_its_remedy(
    caves: Caves, sensors: Sensors, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The embedded broker makes a topic when it is asked for one; Kafka need not."""

    def inspect(self: KafkaClient, topic: str) -> TopicState:
        raise TopicNotFound(f"The broker has no topic {topic!r}.", "Create it.")

    monkeypatch.setattr(KafkaClient, "inspect", inspect)
    data = sensors.kafka()
    assert launched(data) == 0
    assert data.skip_message == f"The broker has no topic {caves.shop.topic!r}. Create it."


def test_a_refused_sign_in_is_a_reason_with_its_remedy(caves: Caves, make: Make) -> None:
    wrong = caves.settings.snowflake.model_copy(update={"user": "somebody"})
    sensors = make(caves.settings.model_copy(update={"snowflake": wrong}))
    data = sensors.stream()
    assert launched(data) == 0
    assert "refused the sign-in of 'somebody'" in (data.skip_message or "")
    assert "SNOWFLAKE_PRIVATE_KEY_PATH" in (data.skip_message or "")


# The connector tries to cancel the statement from a thread of its own, where its failure is nobody's.
@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_servers_that_come_back_are_used_again_without_a_restart_of_the_daemon(
    tmp_path: Any, make: Make, request: pytest.FixtureRequest
) -> None:
    with running_platform(tmp_path / "home") as platform:
        broker = EmbeddedBroker(platform)
        with caves_on(platform, broker, request.node.name) as caves:
            quick = {"login_timeout": 2, "network_timeout": 2}
            settings = caves.settings.model_copy(
                update={
                    "snowflake": caves.settings.snowflake.model_copy(update=quick),
                    "kafka": caves.settings.kafka.model_copy(update={"timeout_seconds": 2.0}),
                }
            )
            sensors = make(settings)
            assert launched(sensors.kafka()) == launched(sensors.stream()) == 0
            caves.warehouse.close()
            sensors.cursors.clear()
            Platform(platform.home).stop()
            for data in (sensors.kafka(), sensors.stream()):
                assert "cannot be reached" in (data.skip_message or "")
            Platform(platform.home).start()
            assert sensors.stream().skip_message == "No stream holds rows."
            broker.make_topic(caves.shop.topic)  # the embedded broker forgets all topics
            caves.publish(caves.events(3))
            assert launched(sensors.kafka()) == 1


def test_a_tick_that_waits_long_for_another_one_gives_up_and_says_why(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(sensor_clients, "PATIENCE_SECONDS", 0.1)
    clients = Clients.of(load_settings())
    assert clients.warehouse.settings.network_timeout <= 20
    taken, done = Event(), Event()

    def other() -> None:
        with clients.in_use():
            taken.set()
            done.wait(10)

    thread = Thread(target=other)
    thread.start()
    taken.wait(10)
    with pytest.raises(WarehouseUnreachable, match="Another sensor has waited"), clients.in_use():
        pytest.fail("two at once")
    done.set()
    thread.join(10)
    with clients.in_use():
        pass
