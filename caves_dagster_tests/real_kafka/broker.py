"""What the tests do to a broker, and what they ask it."""

from __future__ import annotations

import json
import random
import time
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import Future
from dataclasses import replace
from typing import Any

import dagster as dg
from confluent_kafka import Producer, TopicPartition
from confluent_kafka.admin import AdminClient
from confluent_kafka.admin._config import AlterConfigOpType, ConfigEntry, ConfigResource
from confluent_kafka.admin._resource import ResourceType
from confluent_kafka.cimpl import NewPartitions

from caves_dagster.errors import TopicNotFound
from caves_dagster.kafka.client import Watermarks, client_config
from caves_dagster.local.apache_kafka.node import make_topics
from caves_dagster.sensor_clients import Clients
from caves_dagster.sensors import kafka_tick
from caves_dagster.shop import Message
from caves_dagster_tests.brokers import until
from caves_dagster_tests.conftest import Caves

_SECONDS = 30.0


def ask(caves: Caves, question: Callable[[AdminClient], Mapping[Any, Future[Any]]]) -> list[Any]:
    """Ask something as somebody who may do anything to the broker; the answers."""
    # The client has to stay until it has the answers.
    client = AdminClient(client_config(caves.settings.kafka))
    return [future.result(_SECONDS) for future in question(client).values()]


def marks(caves: Caves, partition: int = 0) -> Watermarks:
    """Where a partition's log begins and ends."""
    return caves.kafka.inspect(caves.shop.topic).partitions[partition]


def send(caves: Caves, messages: Iterable[Message], partition: int = 0, **config: Any) -> None:
    """Publish to one partition with a producer configured so (underscores for dots); all are delivered."""
    producer = Producer(settings(caves, **config))
    for message in messages:
        producer.produce(caves.shop.topic, message.value, message.key, partition=partition)
        producer.poll(0)
    assert producer.flush(_SECONDS) == 0


def settings(caves: Caves, **config: Any) -> dict[str, Any]:
    """A client's configuration, with some of it changed (underscores for dots)."""
    return client_config(caves.settings.kafka) | {name.replace("_", "."): v for name, v in config.items()}


def one_key(messages: Iterable[Message], key: bytes = b"one partition") -> list[Message]:
    """The same messages under one key, so in one partition."""
    return [replace(message, key=key) for message in messages]


def heavy(messages: list[Message], size: int = 40_000) -> list[Message]:
    """The same events, each so long that a reader's queue does not hold them all."""
    draw = random.Random(7)
    return [
        replace(
            m,
            value=json.dumps(
                json.loads(m.value or b"{}") | {"note": draw.randbytes(size // 2).hex()}
            ).encode(),
        )
        for m in messages
    ]


def configure(caves: Caves, **config: Any) -> None:
    """Change the topic's configuration (underscores for dots)."""
    entries = [
        ConfigEntry(name.replace("_", "."), str(value), incremental_operation=AlterConfigOpType.SET)
        for name, value in config.items()
    ]
    resource = ConfigResource(ResourceType.TOPIC, caves.shop.topic, incremental_configs=entries)
    ask(caves, lambda client: client.incremental_alter_configs([resource]))


def delete_records(caves: Caves, before: Mapping[int, int]) -> None:
    """Delete the records below an offset of each partition."""
    partitions = [TopicPartition(caves.shop.topic, p, offset) for p, offset in before.items()]
    ask(caves, lambda client: client.delete_records(partitions))


def add_partitions(caves: Caves, total: int) -> None:
    """Let the topic have `total` partitions."""
    ask(caves, lambda client: client.create_partitions([NewPartitions(caves.shop.topic, total)]))
    until(lambda: partitions_of(caves) == total, "the partitions are there")


def delete_topic(caves: Caves) -> None:
    """Delete the topic, and wait until nobody finds it."""
    ask(caves, lambda client: client.delete_topics([caves.shop.topic]))
    until(lambda: partitions_of(caves) == 0, "the topic is gone")


def recreate_topic(caves: Caves, partitions: int = 1) -> None:
    """Another topic under the same name."""
    delete_topic(caves)
    make_topics(caves.settings.kafka.bootstrap_servers, {caves.shop.topic: partitions})
    until(lambda: partitions_of(caves) == partitions, "the topic is there")


def partitions_of(caves: Caves) -> int:
    """How many partitions the topic has by now; a broker hears a moment later of one made or deleted."""
    try:
        return len(caves.kafka.inspect(caves.shop.topic).partitions)
    except TopicNotFound:
        return 0


def tick(caves: Caves, cursor: str | None = None) -> dg.SensorResult:
    """One evaluation of the Kafka sensor, as no run stands in the way."""
    return kafka_tick(caves.shop, Clients(caves.kafka, caves.warehouse), cursor, time.time())


def reason(result: dg.SensorResult) -> str:
    """Why a tick launched nothing."""
    assert not result.run_requests
    assert isinstance(result.skip_reason, dg.SkipReason)
    return result.skip_reason.skip_message or ""


def lags(result: dg.SensorResult) -> list[str]:
    """The lag of each run that a tick launches."""
    return [request.tags["caves/lag"] for request in result.run_requests or []]
