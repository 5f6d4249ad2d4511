"""The embedded broker, asked over the wire; and the limits that its docstring states."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from confluent_kafka import Consumer, Producer, TopicPartition
from confluent_kafka.admin import AdminClient

from caves_dagster.kafka.client import KafkaClient, TopicState
from caves_dagster.local.platform import BROKER, running_platform
from caves_dagster.settings import KafkaSettings

COMMAND = [sys.executable, "-m", "caves_dagster.local.broker"]


def run(*options: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([*COMMAND, *options], capture_output=True, text=True, timeout=20, check=False)


@pytest.fixture(scope="module")
def address(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with running_platform(tmp_path_factory.mktemp("broker"), servers=(BROKER,)) as platform:
        yield platform.endpoints.kafka.bootstrap_servers


def inspect(address: str, topic: str) -> TopicState:
    return KafkaClient(KafkaSettings(bootstrap_servers=address)).inspect(topic)


def read(address: str, topic: str, expected: int) -> list[bytes | None]:
    consumer = Consumer({"bootstrap.servers": address, "group.id": "test", "fetch.wait.max.ms": 50})
    consumer.assign([TopicPartition(topic, 0, 0)])
    found: list[bytes | None] = []
    deadline = time.monotonic() + 10
    while len(found) < expected and time.monotonic() < deadline:
        found += [message.value() for message in consumer.consume(expected - len(found), 0.2)]
    consumer.close()
    return found


def test_the_one_broker_advertises_the_address_it_was_given(address: str) -> None:
    metadata = AdminClient({"bootstrap.servers": address}).list_topics(timeout=10)
    assert [f"{broker.host}:{broker.port}" for broker in metadata.brokers.values()] == [address]
    assert metadata.cluster_id


def test_topics_have_ids_and_the_cluster_a_controller(address: str) -> None:
    assert inspect(address, "sales_events").topic_id
    admin = AdminClient({"bootstrap.servers": address})
    assert admin.describe_cluster(request_timeout=10).result().controller is not None


def test_offsets_of_all_64_partitions_come_at_once(address: str) -> None:
    assert set(inspect(address, "sales_events").partitions) == set(range(64))


def test_a_group_commits_and_finds_its_offsets(address: str) -> None:
    consumer = Consumer({"bootstrap.servers": address, "group.id": "committing"})
    consumer.commit(offsets=[TopicPartition("orders_topic", 1, 7)], asynchronous=False)
    assert consumer.committed([TopicPartition("orders_topic", 1)], 10)[0].offset == 7
    consumer.close()


def test_transactions_take_offsets_and_isolate_nothing(address: str) -> None:
    producer = Producer({"bootstrap.servers": address, "transactional.id": "t"})
    producer.init_transactions(10)
    producer.begin_transaction()
    producer.produce("orders_topic", b"aborted", partition=0)
    producer.flush()
    producer.abort_transaction()
    assert inspect(address, "orders_topic").ends[0] == 2
    assert read(address, "orders_topic", 1) == [b"aborted"]


def test_a_partition_keeps_five_mebibytes_of_batches(address: str) -> None:
    producer = Producer({"bootstrap.servers": address, "linger.ms": 20})
    value = os.urandom(1000)
    for index in range(12_000):
        producer.produce("sales_events", value, partition=9)
        if index % 1000 == 0:
            producer.poll(0)
    assert producer.flush(20) == 0
    first = inspect(address, "sales_events").partitions[9].low
    assert 5 * 2**20 * 0.8 < (12_000 - first) * 1000 < 5 * 2**20


@pytest.mark.skipif(not shutil.which("kcat"), reason="kcat is not installed")
def test_kcat_produces_and_consumes(address: str) -> None:
    kcat = ["kcat", "-b", address, "-t", "orders_topic", "-p", "2"]
    subprocess.run([*kcat, "-P"], input="un\ndeux\n", text=True, check=True, timeout=20)
    answer = subprocess.run([*kcat, "-C", "-e", "-q"], capture_output=True, text=True, check=True, timeout=20)
    assert answer.stdout == "un\ndeux\n"


def test_the_process_announces_itself_and_ends_cleanly(home: Path) -> None:
    endpoint = home / "broker" / "endpoint.json"
    with subprocess.Popen([*COMMAND, "--home", str(home), "--port", "0", "--topic", "a:b:5"]) as process:
        while not endpoint.exists():
            assert process.poll() is None
            time.sleep(0.02)
        said = json.loads(endpoint.read_text())
        assert said == {
            "bootstrap_servers": f"127.0.0.1:{said['port']}",
            "port": said["port"],
            "pid": process.pid,
        }
        metadata = AdminClient({"bootstrap.servers": said["bootstrap_servers"]}).list_topics(timeout=10)
        assert {name: len(topic.partitions) for name, topic in metadata.topics.items()} == {"a:b": 5}
        process.terminate()
        assert process.wait(5) == 0
    assert not endpoint.exists()


def test_a_taken_port_ends_it_with_one_line(address: str, home: Path) -> None:
    port = address.rpartition(":")[2]
    answer = run("--home", str(home), "--port", port)
    assert answer.returncode == 1
    assert answer.stderr.count("\n") == 1
    assert f"cannot listen on 127.0.0.1:{port}" in answer.stderr


@pytest.mark.parametrize("text", ["sales", "sales:", ":3", "sales:0", "sales:many"])
def test_a_malformed_topic_is_refused(home: Path, text: str) -> None:
    answer = run("--home", str(home), "--topic", text)
    assert answer.returncode == 2
    assert "NAME:PARTITIONS" in answer.stderr
