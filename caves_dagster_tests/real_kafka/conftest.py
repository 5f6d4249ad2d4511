"""A Kafka of the tests' own, and the wine shop on it with a topic for each test."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from caves_dagster.kafka.client import KafkaClient
from caves_dagster.local.apache_kafka.artifacts import missing
from caves_dagster.local.apache_kafka.node import ApacheKafka, make_topics, running_kafka
from caves_dagster.local.platform import Platform
from caves_dagster.settings import PROJECT_ROOT, embedded_settings
from caves_dagster.shops import find_shop
from caves_dagster.warehouse.connection import Warehouse
from caves_dagster.warehouse.scripts import set_up
from caves_dagster_tests.conftest import Caves

# Shared by every run of the tests and by `make kafka`: Maven is asked once.
CACHE = PROJECT_ROOT / ".caves" / "cache"
# What a broker does in the background every few minutes, at once.
IMPATIENT = {
    "log.initial.task.delay.ms": "200",
    "log.retention.check.interval.ms": "200",
    "log.cleaner.backoff.ms": "200",
    "transaction.abort.timed.out.transaction.cleanup.interval.ms": "500",
}


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Every test of this folder needs a real Kafka."""
    here = Path(__file__).parent
    for item in items:
        if here in item.path.parents:
            item.add_marker(pytest.mark.real_kafka)


def require_kafka(on_ci: bool, cache: Path = CACHE) -> None:
    """Skip the test where Java or Maven is missing; on CI, fail it."""
    problem = missing(cache)
    if problem and on_ci:
        pytest.fail(f"CI has to run the tests on a real Kafka. {problem}", pytrace=False)
    if problem:
        pytest.skip(problem)


@pytest.fixture(scope="session")
def java_and_maven() -> None:
    """Skips, or on CI fails, where there is no Java or no Maven."""
    require_kafka(on_ci=os.environ.get("CI", "").lower() in ("true", "1"))


@pytest.fixture(scope="session")
def apache_kafka(java_and_maven: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[ApacheKafka]:
    """A Kafka on a free port, shared by the tests of one process; it ends with that process."""
    with running_kafka(tmp_path_factory.mktemp("kafka"), settings=IMPATIENT, cache=CACHE) as node:
        yield node


@pytest.fixture(scope="session")
def spare_kafka(java_and_maven: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[ApacheKafka]:
    """Another Kafka, for the tests that stop, kill or empty it."""
    with running_kafka(tmp_path_factory.mktemp("spare"), settings=IMPATIENT, cache=CACHE) as node:
        yield node


@pytest.fixture
def own_kafka(spare_kafka: ApacheKafka) -> ApacheKafka:
    """A Kafka that the test may stop, kill and empty, running when it begins."""
    spare_kafka.start()
    return spare_kafka


@pytest.fixture
def caves_on_kafka(
    apache_kafka: ApacheKafka, platform: Platform, request: pytest.FixtureRequest
) -> Iterator[Caves]:
    """The wine shop with an empty database and an empty topic on the shared Kafka."""
    yield from on_kafka(apache_kafka, platform, request)


@pytest.fixture
def caves_on_own_kafka(
    own_kafka: ApacheKafka, platform: Platform, request: pytest.FixtureRequest
) -> Iterator[Caves]:
    """The same on a Kafka that the test may stop, kill and empty."""
    yield from on_kafka(own_kafka, platform, request)


def on_kafka(node: ApacheKafka, platform: Platform, request: pytest.FixtureRequest) -> Iterator[Caves]:
    """The wine shop on `node`, with a topic of 3 partitions, or as the mark `topic` wants it."""
    mark = request.node.get_closest_marker("topic")
    partitions = int(mark.args[0]) if mark and mark.args else 3
    config = {name.replace("_", "."): str(value) for name, value in (mark.kwargs if mark else {}).items()}
    name = request.node.name
    plain = "".join(letter if letter.isascii() and letter.isalnum() else "_" for letter in name)[-60:]
    settings = embedded_settings(platform.home)
    where = {"topic_name": f"t_{plain}", "bootstrap_servers": node.bootstrap_servers, "timeout_seconds": 5.0}
    settings = settings.model_copy(
        update={
            "snowflake": settings.snowflake.model_copy(update={"database": f"K_{plain}".upper()}),
            "kafka": settings.kafka.model_copy(update=where),
        }
    )
    shop = find_shop(settings, "caves")
    make_topics(node.bootstrap_servers, {shop.topic: partitions}, config=config)
    with Warehouse(settings.snowflake) as warehouse:
        set_up(warehouse, shop)
        yield Caves(settings, shop, warehouse, KafkaClient(settings.kafka))
        warehouse.execute(f"DROP DATABASE {settings.snowflake.database}")
