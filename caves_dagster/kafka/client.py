"""The broker as this project uses it: client configuration, what a topic looks like now, and readers.

Everything here speaks Kafka's protocol through confluent-kafka; nothing knows which broker answers.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, TypeVar

from confluent_kafka import (
    Consumer,
    IsolationLevel,
    KafkaError,
    KafkaException,
    TopicCollection,
    TopicPartition,
)
from confluent_kafka.admin import AdminClient
from confluent_kafka.admin._listoffsets import OffsetSpec
from confluent_kafka.admin._topic import TopicDescription

from caves_dagster.errors import KafkaUnreachable, TopicNotFound
from caves_dagster.settings import KafkaSettings

# librdkafka reports connection trouble through exceptions too; its own lines would only repeat them.
_quiet = logging.getLogger("caves_dagster.kafka.librdkafka")
_quiet.addHandler(logging.NullHandler())
_quiet.propagate = False

_EARLIEST: OffsetSpec = OffsetSpec.earliest()  # type: ignore[no-untyped-call]
_LATEST: OffsetSpec = OffsetSpec.latest()  # type: ignore[no-untyped-call]

T = TypeVar("T")

# Seen for some tenths of a second after a topic was made or a broker came back.
_LEADERLESS = (
    KafkaError.NOT_LEADER_FOR_PARTITION,
    KafkaError.LEADER_NOT_AVAILABLE,
    KafkaError.OFFSET_NOT_AVAILABLE,
)
_LEADER_SECONDS = 0.1


@dataclass(frozen=True)
class Watermarks:
    """One partition's log: first offset kept, and the offset after the last stable record."""

    low: int
    end: int


@dataclass(frozen=True)
class TopicState:
    """A topic at one moment.

    `topic_id` is empty where the broker has none (Kafka before 2.8).
    """

    cluster_id: str
    topic: str
    topic_id: str
    partitions: Mapping[int, Watermarks]

    @property
    def ends(self) -> dict[int, int]:
        """End offset of each partition, as read_committed sees it."""
        return {partition: marks.end for partition, marks in self.partitions.items()}


def client_config(kafka: KafkaSettings) -> dict[str, Any]:
    """librdkafka's configuration for any client of this project."""
    config: dict[str, Any] = {
        "bootstrap.servers": kafka.bootstrap_servers,
        "security.protocol": kafka.security_protocol.lower(),
        "client.id": "caves_dagster",
        "log_level": 2,
        "logger": _quiet,
        # librdkafka's own 10 s would be waited for by everything that follows a broker's restart.
        "reconnect.backoff.max.ms": 1000,
        "socket.connection.setup.timeout.ms": max(1000, int(kafka.timeout_seconds * 1000)),
    }
    if kafka.sasl_mechanism and kafka.sasl_password:
        config["sasl.mechanism"] = kafka.sasl_mechanism
        config["sasl.username"] = kafka.sasl_username
        config["sasl.password"] = kafka.sasl_password.get_secret_value()
    if kafka.ssl_ca_location:
        config["ssl.ca.location"] = str(kafka.ssl_ca_location)
    return config


def reader_config(kafka: KafkaSettings, group_id: str) -> dict[str, Any]:
    """librdkafka's configuration for whoever reads events: no commits, no silent jump to the end."""
    return client_config(kafka) | {
        "group.id": group_id,
        "enable.auto.commit": False,
        "enable.auto.offset.store": False,
        "auto.offset.reset": "error",
        "enable.partition.eof": True,
        "isolation.level": "read_committed",
        # Memory: what waits here, and one answer of the broker, which compression may make ten times
        # as large once it is unpacked. A larger message comes all the same.
        "queued.max.messages.kbytes": 4 * 1024,
        "fetch.max.bytes": 2**20,
        # A partition that found the queue full would wait a second before it fetches again: seen to
        # take 43 s for 600,000 events instead of 3.
        "fetch.queue.backoff.ms": 20,
        "fetch.wait.max.ms": 100,
    }


class KafkaClient:
    """A broker's clients, made when first needed.

    Args:
        settings: where the broker is and how to sign in.
    """

    def __init__(self, settings: KafkaSettings) -> None:
        self.settings = settings
        self._admin: AdminClient | None = None

    def inspect(self, topic: str) -> TopicState:
        """Cluster, topic id and watermarks of `topic`, in four requests however many partitions.

        Raises:
            KafkaUnreachable: no broker answers within `timeout_seconds`.
            TopicNotFound: the broker has no such topic.
        """
        return self._ask(topic, lambda admin: self._inspect(admin, topic))

    def identity(self, topic: str) -> tuple[str, str]:
        """The ids of the cluster that answers now and of the topic that has this name; "" where it has none.

        Raises:
            KafkaUnreachable: no broker answers within `timeout_seconds`.
            TopicNotFound: the broker has no such topic.
        """

        def ask(admin: AdminClient) -> tuple[str, str]:
            cluster = admin.describe_cluster(request_timeout=self.settings.timeout_seconds)
            described = self._describe(admin, topic)
            return str(cluster.result().cluster_id or ""), _topic_id(described.topic_id)

        return self._ask(topic, ask)

    def _ask(self, topic: str, question: Callable[[AdminClient], T]) -> T:
        """Ask again while a partition has no leader: a topic just made, a broker that takes over."""
        deadline = time.monotonic() + self.settings.timeout_seconds
        while True:
            try:
                if self._admin is None:
                    self._admin = AdminClient(client_config(self.settings))
                return question(self._admin)
            except KafkaException as error:
                code = error.args[0].code()
                if code in _LEADERLESS and time.monotonic() < deadline:
                    time.sleep(_LEADER_SECONDS)
                    continue
                self._admin = None
                if code in (KafkaError.UNKNOWN_TOPIC_OR_PART, KafkaError._UNKNOWN_TOPIC):
                    raise TopicNotFound(
                        f"The broker at {self.settings.bootstrap_servers} has no topic {topic!r}.",
                        "Create it, or name the topic that carries the events with CAVES_TOPICS.",
                    ) from error
                raise self._unreachable(error) from error

    def _inspect(self, admin: AdminClient, topic: str) -> TopicState:
        cluster = admin.describe_cluster(request_timeout=self.settings.timeout_seconds).result()
        found = self._describe(admin, topic)
        partitions = [TopicPartition(topic, info.id) for info in found.partitions]
        low = self._offsets(admin, partitions, _EARLIEST)
        end = self._offsets(admin, partitions, _LATEST)
        if not cluster.cluster_id:
            raise KafkaUnreachable(
                f"The broker at {self.settings.bootstrap_servers} gave no cluster id.",
                "It may still be starting: try again in a few seconds.",
            )
        marks = {number: Watermarks(low[number], end[number]) for number in sorted(low)}
        return TopicState(str(cluster.cluster_id), topic, _topic_id(found.topic_id), marks)

    def _describe(self, admin: AdminClient, topic: str) -> TopicDescription:
        timeout = self.settings.timeout_seconds
        described = admin.describe_topics(TopicCollection([topic]), request_timeout=timeout)
        found: TopicDescription = described[topic].result()
        return found

    def record_timestamps(self, topic: str, offsets: Mapping[int, int]) -> dict[int, int | None]:
        """Timestamp (ms) of the record at each offset, or None where there is no record any more."""
        if not offsets:
            return {}
        consumer = self.reader(topic, offsets)
        found: dict[int, int | None] = {}
        try:
            while len(found) < len(offsets):
                messages = consumer.consume(len(offsets), self.settings.timeout_seconds)
                if not messages:
                    raise self._unreachable(None)
                for message in messages:
                    partition = message.partition()
                    if partition in found or partition is None:
                        continue
                    at_offset = message.error() is None and message.offset() == offsets[partition]
                    found[partition] = message.timestamp()[1] if at_offset else None
                    consumer.incremental_unassign([TopicPartition(topic, partition)])
        except KafkaException as error:
            raise self._unreachable(error) from error
        finally:
            consumer.close()
        return found

    def reader(self, topic: str, start: Mapping[int, int], group_id: str = "caves-reader") -> Consumer:
        """A consumer assigned to `start`: no group protocol, no commits, no silent jump to the end."""
        consumer = Consumer(reader_config(self.settings, group_id))
        consumer.assign([TopicPartition(topic, partition, offset) for partition, offset in start.items()])
        return consumer

    def _offsets(
        self, admin: AdminClient, partitions: list[TopicPartition], spec: OffsetSpec
    ) -> dict[int, int]:
        futures = admin.list_offsets(
            dict.fromkeys(partitions, spec),
            isolation_level=IsolationLevel.READ_COMMITTED,
            request_timeout=self.settings.timeout_seconds,
        )
        return {partition.partition: future.result().offset for partition, future in futures.items()}

    def _unreachable(self, error: KafkaException | None) -> KafkaUnreachable:
        reason = error.args[0].str() if error is not None else "no answer in time"
        return KafkaUnreachable(
            f"Kafka at {self.settings.bootstrap_servers} cannot be reached ({reason}).",
            self.settings.remedy,
        )


def _topic_id(identifier: Any) -> str:
    """The id as text, "" for the zero id of a broker that has none."""
    bits = (identifier.get_most_significant_bits(), identifier.get_least_significant_bits())
    return str(identifier) if any(bits) else ""
