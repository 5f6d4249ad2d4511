"""The metrics, scraped from real consumers, against what INGEST_BATCHES says."""

from __future__ import annotations

import re
import signal
import socket
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import pytest
from prometheus_client import CollectorRegistry
from prometheus_client.parser import text_string_to_metric_families

from caves_dagster.kafka.client import KafkaClient, TopicState
from caves_dagster.local import ports
from caves_dagster.monitoring.metrics import FAILURE_CLASSES, BatchFigures, Metrics
from caves_dagster.monitoring.observer import Observer
from caves_dagster.monitoring.server import serving
from caves_dagster.settings import PROJECT_ROOT
from caves_dagster.warehouse.connection import Warehouse
from caves_dagster_tests.brokers import until
from caves_dagster_tests.conftest import Caves
from caves_dagster_tests.consumer.processes import Consumer, Process, consuming
from caves_dagster_tests.ingest.accounting import ingest
from caves_dagster_tests.test_sensors import Recording

ELEVEN = {
    "kafka_events_consumed",
    "kafka_events_inserted_snowflake",
    "kafka_events_dlq",
    "kafka_batch_size",
    "kafka_batch_processing_duration_seconds",
    "snowflake_insert_duration_seconds",
    "kafka_current_batch_size",
    "kafka_snowflake_insert_rows",
    "kafka_consumer_lag",
    "kafka_event_size_bytes",
    "snowflake_staging_rows",
}
"""As the parser names them: counters without `_total`."""

Samples = dict[tuple[str, frozenset[tuple[str, str]]], float]


def fetch(port: int, path: str) -> tuple[int, str]:
    """Status and body."""
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", timeout=10) as answer:
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as error:
        return error.code, error.read().decode()


def families(text: str) -> set[str]:
    """Names of the metrics in an answer."""
    return {family.name for family in text_string_to_metric_families(text)}


def total(text: str, name: str, **labels: str) -> float:
    """Sum of a metric's samples that have these labels."""
    return sum(
        sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
        if sample.name == name and labels.items() <= sample.labels.items()
    )


def require_agreement(caves: Caves, text: str) -> None:
    """The counters are those of INGEST_BATCHES, and the types those of RAW."""
    (sums,) = caves.warehouse.query(
        "SELECT SUM(CONSUMED) AS CONSUMED, SUM(LANDED) AS LANDED, SUM(DEAD) AS DEAD, SUM(BYTES) AS BYTES, "
        "COUNT_IF(CONSUMED > 0) AS BATCHES FROM RAW_DATA.INGEST_BATCHES"
    )
    assert total(text, "kafka_events_consumed_total") == sums["CONSUMED"]
    assert total(text, "kafka_events_inserted_snowflake_total") == sums["LANDED"]
    assert total(text, "kafka_events_dlq_total") == sums["DEAD"]
    assert total(text, "kafka_batch_size_sum") == sums["CONSUMED"]
    assert total(text, "kafka_batch_size_count") == sums["BATCHES"]
    assert total(text, "snowflake_insert_duration_seconds_count") == sums["BATCHES"]
    assert total(text, "kafka_batch_processing_duration_seconds_count") == sums["BATCHES"]
    assert total(text, "kafka_event_size_bytes_count") == sums["CONSUMED"]
    assert total(text, "kafka_event_size_bytes_sum") == pytest.approx(sums["BYTES"])
    for table, column, name, label in (
        ("RAW_EVENTS_STREAM", "EVENT_TYPE", "kafka_events_inserted_snowflake_total", "event_type"),
        ("DEAD_LETTER_EVENTS", "FAILURE_CLASS", "kafka_events_dlq_total", "failure_class"),
    ):
        rows = caves.warehouse.query(
            f"SELECT {column} AS NAME, COUNT(*) AS N FROM RAW_DATA.{table} GROUP BY 1"
        )
        assert rows
        assert {row["NAME"]: row["N"] for row in rows} == {
            row["NAME"]: total(text, name, **{label: row["NAME"]}) for row in rows
        }


@contextmanager
def scraped(caves: Caves, log: Path, *options: str, **settings: str) -> Iterator[tuple[Consumer, int]]:
    """A consumer, and the port of its metrics."""
    port = ports.any_free("127.0.0.1")
    with consuming(caves, log, *options, CAVES_METRICS_PORT=str(port), **settings) as consumer:
        yield consumer, port


def test_a_consumers_counters_agree_with_the_batches(caves: Caves, tmp_path: Path) -> None:
    with scraped(caves, tmp_path / "log", "--transform") as (_, port):
        caves.publish(caves.events(300, invalid_rate=0.1))
        until(lambda: caves.count("PRODUCTION.ORDERS") > 0, "something is in production")
        until(lambda: total(fetch(port, "/metrics")[1], "kafka_events_consumed_total") == 300, "all landed")
        until(lambda: fetch(port, "/readyz") == (200, "ok\n"), "it is ready")
        status, text = fetch(port, "/metrics")
        assert status == 200
        assert families(text) >= ELEVEN | {"caves_build_info", "process_resident_memory_bytes"}
        require_agreement(caves, text)
        partitions = {
            sample.labels["partition"]
            for family in text_string_to_metric_families(text)
            if family.name == "kafka_consumer_lag"
            for sample in family.samples
        }
        assert partitions == {"0", "1", "2", "3"}
        assert fetch(port, "/healthz") == (200, "ok\n")
        assert fetch(port, "/nothing")[0] == 404


def test_derived_metrics_agree_whoever_landed_and_survive_a_restart(caves: Caves, tmp_path: Path) -> None:
    caves.publish(caves.events(200, invalid_rate=0.1))
    ingest(caves, batch_max_events=30)
    with consuming(caves, tmp_path / "log"):
        caves.publish(caves.events(100, seed=2))
        until(lambda: caves.count("RAW_DATA.RAW_EVENTS_STREAM") > 250, "the consumer has landed")
    texts = []
    for _ in range(2):
        metrics = Metrics()
        observer = Observer(caves.settings, caves.shop, caves.warehouse, metrics)
        observer.look()
        observer.look()
        assert observer.problem == ""
        texts.append(_exposed(metrics.registry))
        require_agreement(caves, texts[-1])
        assert families(texts[-1]) >= ELEVEN
    assert total(texts[0], "kafka_consumer_lag") == 0
    assert total(texts[0], "snowflake_staging_rows") == caves.count("RAW_DATA.RAW_EVENTS_STREAM")
    drop = ("process_", "python_")
    kept = [[line for line in text.splitlines() if not line.startswith(drop)] for text in texts]
    assert kept[0] == kept[1]


def test_a_shop_at_rest_asks_the_warehouse_nothing(caves: Caves) -> None:
    warehouse = Recording(caves.settings.snowflake)
    observer = Observer(caves.settings, caves.shop, warehouse, Metrics())
    observer.look()
    assert warehouse.statements
    warehouse.statements.clear()
    for _ in range(20):
        observer.look()
    assert warehouse.statements == []
    caves.publish(caves.events(5))
    observer.look()
    assert warehouse.statements
    warehouse.close()


def test_lag_is_what_nobody_has_landed(caves: Caves) -> None:
    metrics = Metrics()
    observer = Observer(caves.settings, caves.shop, caves.warehouse, metrics)
    caves.publish(caves.events(70))
    observer.look()
    assert total(_exposed(metrics.registry), "kafka_consumer_lag") == 70
    ingest(caves)
    observer.look()
    assert total(_exposed(metrics.registry), "kafka_consumer_lag") == 0


def test_what_lands_during_a_look_is_no_lag(caves: Caves, monkeypatch: pytest.MonkeyPatch) -> None:
    """Positions above an end that was asked for before them would be a log that was cut: all of it waits."""
    caves.publish(caves.events(30))
    ingest(caves)
    metrics = Metrics()
    observer = Observer(caves.settings, caves.shop, caves.warehouse, metrics)
    inspect, seeds = KafkaClient.inspect, iter(range(2, 9))

    def inspect_and_land(client: KafkaClient, topic: str) -> TopicState:
        state = inspect(client, topic)
        if client is observer._kafka:
            caves.publish(caves.events(10, seed=next(seeds)))
            ingest(caves)
        return state

    monkeypatch.setattr(KafkaClient, "inspect", inspect_and_land)
    observer.look()
    assert observer.problem == ""
    assert total(_exposed(metrics.registry), "kafka_consumer_lag") == 0


def test_a_broker_that_is_away_is_not_ready(caves: Caves) -> None:
    kafka = caves.settings.kafka.model_copy(
        update={"bootstrap_servers": "127.0.0.1:1", "timeout_seconds": 0.5}
    )
    settings = caves.settings.model_copy(update={"kafka": kafka})
    with Warehouse(caves.settings.snowflake) as warehouse:
        observer = Observer(settings, caves.shop, warehouse, Metrics())
        observer.look()
    assert "127.0.0.1:1" in observer.unready()[0]


@pytest.mark.parametrize("command", ["consume", "metrics"])
def test_a_taken_port_is_told_with_the_commands_own_option(
    caves: Caves, tmp_path: Path, command: str
) -> None:
    option = {"consume": "--metrics-port", "metrics": "--port"}[command]
    with serving(CollectorRegistry(), "127.0.0.1", 0, list, list) as port:
        ended = Process(caves, tmp_path / "log", command, option, str(port))
        assert ended.process.wait(60) == 1
    assert f"{port}" in ended.said
    assert f"another port with {option}," in ended.said
    assert "Traceback" not in ended.said


def test_a_second_signal_ends_the_metrics_at_once(caves: Caves, tmp_path: Path) -> None:
    """The first one is waited for while a look hangs: the broker does not answer."""
    port = ports.any_free("127.0.0.1")
    hanging = socket.create_server(("127.0.0.1", 0))
    address = f"127.0.0.1:{hanging.getsockname()[1]}"
    settings = {"KAFKA_BOOTSTRAP_SERVERS": address, "CAVES_KAFKA_TIMEOUT_SECONDS": "60"}
    with hanging:
        metrics = Process(caves, tmp_path / "log", "metrics", "--port", str(port), **settings)
        hanging.settimeout(60)
        asked, _ = hanging.accept()
        try:
            for _ in range(2):
                assert metrics.process.poll() is None
                metrics.process.send_signal(signal.SIGTERM)
                time.sleep(1.0)
            assert metrics.process.wait(5) == 128 + signal.SIGTERM
        finally:
            asked.close()
            metrics.kill()


def test_a_restart_invents_no_traffic(caves: Caves, tmp_path: Path) -> None:
    """The first answer holds all that was ever committed: a counter that begins below is seen to rise."""
    caves.publish(caves.events(50))
    ingest(caves)
    port = ports.any_free("127.0.0.1")
    metrics = Process(caves, tmp_path / "log", "metrics", "--port", str(port))
    try:
        seen: list[str] = []
        until(lambda: answers(port, seen), "it answers")
        assert total(seen[0], "kafka_events_consumed_total") == 50
        assert metrics.stop() == 0, metrics.said
    finally:
        metrics.kill()


def answers(port: int, seen: list[str]) -> bool:
    """Whether it gave its metrics, which are added to `seen`."""
    try:
        seen.append(fetch(port, "/metrics")[1])
    except OSError:
        return False
    return True


def test_problems_are_a_503() -> None:
    with serving(CollectorRegistry(), "127.0.0.1", 0, lambda: ["It hangs."], lambda: ["It waits."]) as port:
        assert fetch(port, "/healthz") == (503, "It hangs.\n")
        assert fetch(port, "/readyz") == (503, "It waits.\n")


def test_what_was_landed_before_types_were_noted_is_unknown() -> None:
    metrics = Metrics()
    entry: Mapping[str, object] = {"partition": 0, "from": 0, "to": 9, "landed": 7, "dead": 2}
    metrics.count(BatchFigures("t", [entry], 7, 2, {100.0: 9}, 0.2, 0.3))
    text = _exposed(metrics.registry)
    assert total(text, "kafka_events_inserted_snowflake_total", event_type="unknown") == 7
    assert total(text, "kafka_events_dlq_total", failure_class="unknown") == 2


def test_counters_of_what_may_come_begin_at_0(caves: Caves) -> None:
    metrics = Metrics()
    metrics.begin("t", caves.shop.contract)
    metrics.follow_lag("t", lambda: {3: 7})
    text = _exposed(metrics.registry)
    assert 'kafka_events_consumed_total{partition="3",topic="t"} 0.0' in text
    for name in ("ORDER_CREATED", "INVENTORY_ADJUSTED"):
        assert f'kafka_events_inserted_snowflake_total{{event_type="{name}",topic="t"}} 0.0' in text
    for name in FAILURE_CLASSES:
        assert f'kafka_events_dlq_total{{failure_class="{name}",topic="t"}} 0.0' in text


def test_the_failure_classes_are_those_that_decoding_gives() -> None:
    sources = (PROJECT_ROOT / "caves_dagster" / "ingest").glob("*.py")
    found = {
        name for path in sources for name in re.findall(r'InvalidEvent\(\s*"(\w+)"', path.read_text("utf-8"))
    }
    assert found == set(FAILURE_CLASSES)


def _exposed(registry: CollectorRegistry) -> str:
    from prometheus_client import generate_latest

    return generate_latest(registry).decode()
