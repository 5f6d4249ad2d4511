"""A platform of the tests' own: broker and warehouse on free ports, once a test process."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import islice

import hypothesis
import pytest
from confluent_kafka.admin import AdminClient

from caves_dagster.kafka.client import KafkaClient, client_config
from caves_dagster.kafka.producer import publish
from caves_dagster.local.platform import Platform, running_platform
from caves_dagster.settings import Settings, embedded_settings
from caves_dagster.shop import Message, Shop
from caves_dagster.shops import find_shop
from caves_dagster.warehouse.connection import Warehouse
from caves_dagster.warehouse.scripts import set_up

# No developer's setting may reach a test, and no test a developer's account.
for _name in list(os.environ):
    if _name.startswith(("SNOWFLAKE_", "SNOW_", "KAFKA_", "CAVES_", "DAGSTER_")) or _name == "DB_PATH":
        del os.environ[_name]
os.environ["CAVES_ENV_FILE"] = os.devnull

# How fast an example is made says how busy the machine is, not whether the code is right.
hypothesis.settings.register_profile(
    "caves", deadline=None, suppress_health_check=[hypothesis.HealthCheck.too_slow]
)
hypothesis.settings.load_profile("caves")


@dataclass
class Caves:
    """The wine shop on an empty warehouse database, with a topic of its own."""

    settings: Settings
    shop: Shop
    warehouse: Warehouse
    kafka: KafkaClient

    def publish(self, messages: Sequence[Message]) -> None:
        """Publish, and see that every message was delivered."""
        publish(self.settings.kafka, self.shop.topic, messages).require_delivery()

    def events(self, count: int, seed: int = 1, invalid_rate: float = 0.0) -> list[Message]:
        """The first messages of a seed."""
        return list(islice(self.shop.generate(seed, invalid_rate, lambda: datetime.now(UTC)), count))

    def count(self, table: str) -> int:
        """Rows of a table or view."""
        return int(self.warehouse.query(f"SELECT COUNT(*) AS N FROM {table}")[0]["N"])


@pytest.fixture(scope="session")
def platform(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Platform]:
    """Broker and warehouse server, shared by the tests of one process."""
    with running_platform(tmp_path_factory.mktemp("platform")) as running:
        yield running


@pytest.fixture
def caves(platform: Platform, request: pytest.FixtureRequest) -> Iterator[Caves]:
    """The wine shop with an empty database and an empty topic, both named after the test."""
    yield from _caves(platform, request.node.name)


def _caves(platform: Platform, name: str) -> Iterator[Caves]:
    plain = "".join(letter if letter.isascii() and letter.isalnum() else "_" for letter in name)[-60:]
    settings = embedded_settings(platform.home)
    settings = settings.model_copy(
        update={
            "snowflake": settings.snowflake.model_copy(update={"database": f"T_{plain}".upper()}),
            "kafka": settings.kafka.model_copy(update={"topic_name": f"t_{plain}"}),
        }
    )
    shop = find_shop(settings, "caves")
    # The embedded broker makes a topic of 4 partitions when it is asked for one by name.
    AdminClient(client_config(settings.kafka)).list_topics(shop.topic, timeout=10)
    with Warehouse(settings.snowflake) as warehouse:
        set_up(warehouse, shop)
        yield Caves(settings, shop, warehouse, KafkaClient(settings.kafka))
        warehouse.execute(f"DROP DATABASE {settings.snowflake.database}")
