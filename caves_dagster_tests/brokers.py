"""The two brokers that the tests run on: the embedded one and a real Apache Kafka. One suite, two brokers.

A module says `pytestmark = on_both_brokers`, and each of its tests runs twice, told apart by `[embedded]` and
`[apache]`. `make test` runs the first half and `make test-kafka` the second, with those of `real_kafka/`.
Where a module does not say so, its tests run on the embedded broker. The fixtures are in `conftest.py`.
"""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Callable
from pathlib import Path
from typing import Protocol

import pytest
from confluent_kafka.admin import AdminClient

from caves_dagster.kafka.client import client_config
from caves_dagster.local.apache_kafka.artifacts import missing
from caves_dagster.local.apache_kafka.node import ApacheKafka, make_topics
from caves_dagster.local.platform import BROKER, Platform
from caves_dagster.settings import PROJECT_ROOT, KafkaSettings

EMBEDDED, APACHE = "embedded", "apache"
on_both_brokers = pytest.mark.parametrize(
    "broker", [EMBEDDED, pytest.param(APACHE, marks=pytest.mark.real_kafka)], indirect=True
)

# As many as the embedded broker gives a topic.
PARTITIONS = 4
# Shared by every run of the tests and by `make kafka`: Maven is asked once.
CACHE = PROJECT_ROOT / ".caves" / "cache"
# What a broker does in the background every few minutes, at once.
IMPATIENT = {
    "log.initial.task.delay.ms": "200",
    "log.retention.check.interval.ms": "200",
    "log.cleaner.backoff.ms": "200",
    "transaction.abort.timed.out.transaction.cleanup.interval.ms": "500",
}


class Broker(Protocol):
    """What the tests need of a broker beside Kafka's protocol."""

    name: str

    @property
    def bootstrap_servers(self) -> str:
        """Where it listens."""

    def make_topic(self, topic: str, partitions: int = PARTITIONS, **config: str) -> None:
        """Make an empty topic, with settings where the broker knows such a thing."""

    def start(self) -> object:
        """Start it, if it does not run."""

    def replace(self) -> None:
        """Another cluster, and an empty one, at the same address."""


class EmbeddedBroker:
    """The broker of a platform; its topics have four partitions and no settings."""

    name = EMBEDDED

    def __init__(self, platform: Platform) -> None:
        self._platform = Platform(platform.home, servers=(BROKER,), owner=os.getpid())

    @property
    def bootstrap_servers(self) -> str:
        return self._platform.endpoints.kafka.bootstrap_servers

    def make_topic(self, topic: str, partitions: int = PARTITIONS, **config: str) -> None:
        # It makes a topic when it is asked for one by name.
        kafka = KafkaSettings.model_construct(bootstrap_servers=self.bootstrap_servers)
        AdminClient(client_config(kafka)).list_topics(topic, timeout=10)

    def start(self) -> list[str]:
        return self._platform.start()

    def replace(self) -> None:
        self._platform.stop()
        self._platform.start()


class ApacheBroker:
    """A real Apache Kafka."""

    name = APACHE

    def __init__(self, node: ApacheKafka) -> None:
        self.node = node

    @property
    def bootstrap_servers(self) -> str:
        return self.node.bootstrap_servers

    def make_topic(self, topic: str, partitions: int = PARTITIONS, **config: str) -> None:
        make_topics(self.bootstrap_servers, {topic: partitions}, config=config)

    def start(self) -> list[str]:
        return self.node.start()

    def replace(self) -> None:
        self.node.stop()
        shutil.rmtree(self.node.data)
        self.node.start()


def require_kafka(on_ci: bool, cache: Path = CACHE) -> None:
    """Skip the test where Java or Maven is missing; on CI, fail it."""
    problem = missing(cache)
    if problem and on_ci:
        pytest.fail(f"CI has to run the tests on a real Kafka. {problem}", pytrace=False)
    if problem:
        pytest.skip(problem)


def until(condition: Callable[[], bool], what: str, seconds: float = 30.0) -> None:
    """Wait until something holds."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, f"not within {seconds:g} s: {what}"
        time.sleep(0.05)
