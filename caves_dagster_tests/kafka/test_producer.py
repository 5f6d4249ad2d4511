"""The producer: pace, delivery, and what is said when there is none."""

from __future__ import annotations

import io
import json
import os
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from confluent_kafka import Consumer, Producer, TopicPartition

from caves_dagster.errors import DeliveryFailed, KafkaUnreachable, TopicNotFound
from caves_dagster.kafka import producer as producer_module
from caves_dagster.kafka.client import KafkaClient
from caves_dagster.kafka.pace import Pace
from caves_dagster.kafka.producer import DeliveryReport, publish
from caves_dagster.local.platform import BROKER, Platform, running_platform
from caves_dagster.local.ports import any_free
from caves_dagster.settings import KafkaSettings
from caves_dagster.shop import Message

CAVES = [sys.executable, "-c", "from caves_dagster.cli import main; main()", "produce"]


@pytest.fixture(scope="module")
def platform(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Platform]:
    with running_platform(tmp_path_factory.mktemp("producer"), servers=(BROKER,)) as platform:
        yield platform


@pytest.fixture
def kafka(platform: Platform) -> KafkaSettings:
    return KafkaSettings(bootstrap_servers=platform.endpoints.kafka.bootstrap_servers)


def numbered(count: int) -> Iterator[Message]:
    return (Message(b"%d" % index, b'{"n":%d}' % index, f"id-{index}") for index in range(count))


def held(kafka: KafkaSettings, topic: str) -> int:
    return sum(marks.end for marks in KafkaClient(kafka).inspect(topic).partitions.values())


def caves(home: Path, *options: str, **environment: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [*CAVES, *options],
        env=os.environ | {"CAVES_HOME": str(home)} | environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def test_every_message_is_delivered_and_written_to_the_ledger(kafka: KafkaSettings) -> None:
    before, ledger = held(kafka, "sales_events"), io.StringIO()
    report = publish(kafka, "sales_events", numbered(500), ledger=ledger)
    report.require_delivery()
    assert (report.sent, report.delivered, report.failed) == (500, 500, 0)
    assert held(kafka, "sales_events") == before + 500
    lines = [json.loads(line) for line in ledger.getvalue().splitlines()]
    assert {line["event_id"] for line in lines} == {f"id-{index}" for index in range(500)}
    assert all(line["acknowledged"] for line in lines)
    assert len({(line["partition"], line["offset"]) for line in lines}) == 500


def test_key_value_and_tombstone_arrive_as_sent(kafka: KafkaSettings) -> None:
    ledger = io.StringIO()
    sent = [Message(b"1015", "Rosé 🌸".encode(), None), Message(b"1015", None, None)]
    publish(kafka, "sales_events", sent, ledger=ledger).require_delivery()
    first = json.loads(ledger.getvalue().splitlines()[0])
    consumer = Consumer({"bootstrap.servers": kafka.bootstrap_servers, "group.id": "test"})
    consumer.assign([TopicPartition("sales_events", first["partition"], first["offset"])])
    read = consumer.consume(2, 10)
    consumer.close()
    assert [(message.key(), message.value()) for message in read] == [(m.key, m.value) for m in sent]


def test_an_unreachable_broker_is_one_clear_error() -> None:
    nowhere = KafkaSettings(bootstrap_servers=f"127.0.0.1:{any_free('127.0.0.1')}", timeout_seconds=1)
    with pytest.raises(KafkaUnreachable, match="set KAFKA_BOOTSTRAP_SERVERS to where one does") as caught:
        publish(nowhere, "sales_events", numbered(1))
    assert "caves local start" not in str(caught.value), "which would start another broker"


def test_an_unknown_topic_is_refused_and_not_created(kafka: KafkaSettings) -> None:
    for _ in range(2):
        with pytest.raises(TopicNotFound, match=r"has no topic 'sales_event'.*sales_events"):
            publish(kafka, "sales_event", numbered(1))


def test_a_message_the_client_refuses_is_counted_and_the_others_go_on(kafka: KafkaSettings) -> None:
    oversized = Message(b"1", b"x" * 2_000_000, "big")
    ledger = io.StringIO()
    report = publish(kafka, "orders_topic", [*numbered(2), oversized, *numbered(3)], ledger=ledger)
    assert (report.sent, report.delivered, report.failed) == (6, 5, 1)
    assert [json.loads(line)["event_id"] for line in ledger.getvalue().splitlines() if "error" in line] == [
        "big"
    ]
    with pytest.raises(DeliveryFailed, match=r"1 of 6 messages.*too large"):
        report.require_delivery()


def test_messages_that_a_dying_broker_never_acknowledged_have_failed(tmp_path: Path) -> None:
    with running_platform(tmp_path / "home", servers=(BROKER,)) as platform:
        kafka = KafkaSettings(bootstrap_servers=platform.endpoints.kafka.bootstrap_servers)

        def dying() -> Iterator[Message]:
            for index, message in enumerate(numbered(40)):
                if index == 20:
                    platform.stop()
                yield message

        report = publish(kafka, "sales_events", dying(), rate=100, delivery_timeout_seconds=1)
    assert report.sent == 40
    assert report.failed >= 20
    assert report.delivered + report.failed == 40
    with pytest.raises(DeliveryFailed, match="were not delivered"):
        report.require_delivery()


def test_a_full_queue_is_waited_for(kafka: KafkaSettings, monkeypatch: pytest.MonkeyPatch) -> None:
    class Narrow(Producer):
        def __init__(self, config: dict[str, Any]) -> None:
            super().__init__(config | {"queue.buffering.max.messages": 5})

    monkeypatch.setattr(producer_module, "Producer", Narrow)
    report = publish(kafka, "orders_topic", numbered(60))
    assert (report.sent, report.delivered) == (60, 60)


def test_stopping_delivers_what_was_sent(kafka: KafkaSettings) -> None:
    stop, seen = threading.Event(), list[int]()

    def on_progress(report: DeliveryReport) -> None:
        seen.append(report.sent)
        if report.sent > 1000:
            stop.set()

    report = publish(kafka, "orders_topic", numbered(10**9), stop=stop, on_progress=on_progress)
    assert report.sent == report.delivered > 1000
    assert seen[-1] == report.sent, "the last progress shown is the final state"


def test_a_slow_rate_is_interrupted_at_once(kafka: KafkaSettings) -> None:
    stop = threading.Event()
    threading.Timer(0.3, stop.set).start()
    started = time.monotonic()
    report = publish(kafka, "orders_topic", numbered(5), rate=0.1, stop=stop)
    assert report.sent == report.delivered == 1
    assert time.monotonic() - started < 5


def test_the_rate_is_kept(kafka: KafkaSettings) -> None:
    report = publish(kafka, "orders_topic", numbered(101), rate=100)
    assert report.seconds == pytest.approx(1.0, abs=0.5)


def read_ledger(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


class Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


def test_a_pace_does_not_drift_when_each_thing_takes_time() -> None:
    clock = Clock()
    pace = Pace(10, clock)
    for _ in range(1000):
        clock.now += pace.wait()
        clock.now += 0.03
        pace.advance()
    assert clock.now == pytest.approx(100 + 99.9 + 0.03)


def test_a_pace_makes_up_for_a_second_at_most() -> None:
    clock = Clock()
    pace = Pace(10, clock)
    pace.advance()
    clock.now += 3600
    at_once = 0
    while pace.wait() == 0:
        pace.advance()
        at_once += 1
    assert at_once <= 12


def test_no_pace_never_waits() -> None:
    pace = Pace(0)
    pace.advance()
    assert pace.wait() == 0


def test_a_negative_pace_is_refused() -> None:
    with pytest.raises(ValueError, match="rate is -1"):
        Pace(-1)


def test_the_command_draws_a_seed_that_repeats_its_events(platform: Platform, tmp_path: Path) -> None:
    ledgers = [tmp_path / "one", tmp_path / "two"]
    with caves(platform.home, "--rate", "0", "--count", "50", "--ledger", str(ledgers[0])) as first:
        said, errors = first.communicate(timeout=30)
    assert (first.returncode, errors) == (0, "")
    assert "50 delivered, 0 failed" in said
    seed = re.findall(r"--seed (\d+)", said)[0]
    options = ["--rate", "0", "--count", "50", "--quiet", "--ledger", str(ledgers[1])]
    with caves(platform.home, *options, "--seed", seed) as second:
        assert second.communicate(timeout=30) == ("", "")
    one, two = ({line["event_id"] for line in read_ledger(path)} for path in ledgers)
    assert one == two
    assert len(one) == 50


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_the_command_cleanly(
    platform: Platform, tmp_path: Path, number: signal.Signals
) -> None:
    ledger = tmp_path / "ledger"
    with caves(platform.home, "--rate", "50", "--ledger", str(ledger)) as process:
        deadline = time.monotonic() + 20
        while not (ledger.exists() and ledger.stat().st_size) and time.monotonic() < deadline:
            time.sleep(0.05)
        process.send_signal(number)
        said, errors = process.communicate(timeout=30)
    assert (process.returncode, errors) == (0, "")
    assert f"{len(read_ledger(ledger))} delivered, 0 failed" in said


def test_the_command_says_in_one_line_that_no_broker_answers(tmp_path: Path) -> None:
    nowhere = f"127.0.0.1:{any_free('127.0.0.1')}"
    environment = {"KAFKA_BOOTSTRAP_SERVERS": nowhere, "CAVES_KAFKA_TIMEOUT_SECONDS": "1"}
    with caves(tmp_path, "--count", "1", "--seed", "1", **environment) as process:
        said, errors = process.communicate(timeout=30)
    assert process.returncode == 1
    assert said == ""
    assert errors.count("\n") == 1
    assert errors.startswith(f"error: Kafka at {nowhere} cannot be reached")
    assert "KAFKA_BOOTSTRAP_SERVERS" in errors
