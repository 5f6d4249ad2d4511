"""A platform of the tests' own: broker and warehouse on free ports, once a test process. See `brokers.py`."""

from __future__ import annotations

import os
import signal
import tempfile
import uuid
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import islice

import dagster as dg
import hypothesis
import pytest

from caves_dagster.deploy.carry_out import set_up
from caves_dagster.kafka.client import KafkaClient
from caves_dagster.kafka.producer import publish
from caves_dagster.local.apache_kafka.node import running_kafka
from caves_dagster.local.platform import BROKER, Platform, running_platform
from caves_dagster.settings import DeadLetterBudget, Settings, SnowflakeSettings, embedded_settings
from caves_dagster.shop import Message, Shop
from caves_dagster.shops import BUILT_IN, find_shop
from caves_dagster.warehouse.connection import Warehouse
from caves_dagster_tests.brokers import (
    CACHE,
    EMBEDDED,
    IMPATIENT,
    PARTITIONS,
    ApacheBroker,
    Broker,
    EmbeddedBroker,
    require_kafka,
)

# No developer's setting may reach a test, and no test a developer's account, unless --snowflake asks for it.
_ACCOUNT = {name: value for name, value in os.environ.items() if name.startswith(("SNOWFLAKE_", "SNOW_"))}
for _name in list(os.environ):
    if _name.startswith(("SNOWFLAKE_", "SNOW_", "KAFKA_", "CAVES_", "DAGSTER_")) or _name == "DB_PATH":
        del os.environ[_name]
os.environ["CAVES_ENV_FILE"] = os.environ["CAVES_SECRETS_DIR"] = os.devnull

# A shell that runs the tests in the background has them ignore SIGINT. Dagster then has them ignore SIGTERM
# too, and so would every server that they start and want to stop.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

# How fast an example is made says how busy the machine is, not whether the code is right.
hypothesis.settings.register_profile(
    "caves", deadline=None, suppress_health_check=[hypothesis.HealthCheck.too_slow]
)
hypothesis.settings.load_profile("caves")


# The modules that use the product as a whole (its commands, servers and runs as processes of their own), and
# those that run all checks or a replay in each test. They take half of the time of all, and are run by
# `make test-whole`.
_WHOLE = {
    f"caves_dagster_tests/{name}.py"
    for name in (
        "alerts/test_alerts",
        "batch/test_dying",
        "checks/test_assets",
        "checks/test_integrity",
        "checks/test_quality",
        "checks/test_validate",
        "consumer/test_consumer",
        "consumer/test_dagster",
        "consumer/test_metrics",
        "consumer/test_outages",
        "deploy/test_upgrade",
        "ingest/test_crashes",
        "ingest/test_fuzz",
        "ingest/test_replay",
        "local/test_whole_platform",
        "local/warehouse/test_durability",
        "local/warehouse/test_server",
        "monitoring/test_grafana",
        "shops/test_dropship",
        "snowflake/test_target",
        "tasks/test_mode",
        "test_cli",
        "test_cli_dead_letters",
        "test_end_to_end",
        "test_freshness",
        "test_new_shop",
        "test_rebuild",
        "test_rebuild_beside_others",
        "test_replay_job",
        "test_secrets",
    )
}


def pytest_itemcollected(item: pytest.Item) -> None:
    """Marks the tests of those modules."""
    if item.nodeid.partition("::")[0] in _WHOLE:
        item.add_marker("whole")


def pytest_addoption(parser: pytest.Parser) -> None:
    """What the fuzzing tests (`ingest/test_fuzz.py`), the consumer's and Snowflake's can be told."""
    parser.addoption(
        "--chaos-seconds", type=float, default=20.0, help="killing consumers (default: %(default)s)"
    )
    parser.addoption(
        "--snowflake", action="store_true", help="tests marked so run on the account of SNOWFLAKE_ACCOUNT, …"
    )
    parser.addoption(
        "--fuzz-seed", type=int, default=20_260_301, help="other payloads (default: %(default)s)"
    )
    parser.addoption("--fuzz-payloads", type=int, default=20_000, help="of a round (default: %(default)s)")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """With --snowflake, but without an account, tests are skipped and say what is missing."""
    if config.getoption("--snowflake") and not any(
        _ACCOUNT.get(f"{one}_ACCOUNT") for one in ("SNOWFLAKE", "SNOW")
    ):
        reason = (
            "no Snowflake account: set SNOWFLAKE_ACCOUNT, SNOWFLAKE_USER, SNOWFLAKE_WAREHOUSE and "
            "SNOWFLAKE_PRIVATE_KEY_PATH or SNOWFLAKE_PASSWORD, and a SNOWFLAKE_ROLE that may create databases"
        )
        for item in items:
            item.add_marker(pytest.mark.skip(reason=reason))


def _account(config: pytest.Config) -> SnowflakeSettings | None:
    """The account that --snowflake asks for, read from the environment as the product reads it."""
    if not config.getoption("--snowflake"):
        return None
    with pytest.MonkeyPatch.context() as patch:
        for name, value in _ACCOUNT.items():
            patch.setenv(name, value)
        database = f"CAVES_TEST_{uuid.uuid4().hex[:12]}".upper()
        return SnowflakeSettings(_env_file=None).model_copy(update={"database": database})


@dataclass
class Caves:
    """A shop, the wine shop mostly, on an empty warehouse database, with a topic of its own."""

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


# --- brokers: each is started when the first test of the process asks for it, and ends with the process


@pytest.fixture(scope="session")
def embedded_broker(platform: Platform) -> Broker:
    """The platform's broker."""
    return EmbeddedBroker(platform)


@pytest.fixture(scope="session")
def spare_embedded_broker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Broker]:
    """Another one, for the tests that stop, kill or empty it."""
    with running_platform(tmp_path_factory.mktemp("spare"), servers=(BROKER,)) as running:
        yield EmbeddedBroker(running)


@pytest.fixture(scope="session")
def java_and_maven() -> None:
    """Skips, or on CI fails, where there is no Java or no Maven."""
    require_kafka(on_ci=os.environ.get("CI", "").lower() in ("true", "1"))


@pytest.fixture(scope="session")
def apache_broker(java_and_maven: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Broker]:
    """A real Kafka on a free port."""
    with running_kafka(tmp_path_factory.mktemp("kafka"), settings=IMPATIENT, cache=CACHE) as node:
        yield ApacheBroker(node)


@pytest.fixture(scope="session")
def spare_apache_broker(java_and_maven: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Broker]:
    """Another one, for the tests that stop, kill or empty it."""
    with running_kafka(tmp_path_factory.mktemp("spare_kafka"), settings=IMPATIENT, cache=CACHE) as node:
        yield ApacheBroker(node)


@pytest.fixture
def broker(request: pytest.FixtureRequest) -> Broker:
    """The test's broker: the embedded one, or each in turn where the test is marked `on_both_brokers`."""
    found: Broker = request.getfixturevalue(f"{getattr(request, 'param', EMBEDDED)}_broker")
    return found


@pytest.fixture
def spare_broker(broker: Broker, request: pytest.FixtureRequest) -> Broker:
    """One of the same kind that the test may stop, kill and empty, running when it begins."""
    found: Broker = request.getfixturevalue(f"spare_{broker.name}_broker")
    found.start()
    return found


# --- the wine shop


@pytest.fixture
def caves(platform: Platform, broker: Broker, request: pytest.FixtureRequest) -> Iterator[Caves]:
    """The wine shop with an empty database and an empty topic, both named after the test."""
    mark, account = request.node.get_closest_marker("topic"), _account(request.config)
    with caves_on(platform, broker, request.node.name, mark, account=account) as caves:
        yield caves


@pytest.fixture
def spare_caves(platform: Platform, spare_broker: Broker, request: pytest.FixtureRequest) -> Iterator[Caves]:
    """The same on a broker that the test may stop, kill and empty."""
    mark = request.node.get_closest_marker("topic")
    with caves_on(platform, spare_broker, request.node.name, mark) as caves:
        yield caves


@pytest.fixture
def dropship(platform: Platform, broker: Broker, request: pytest.FixtureRequest) -> Iterator[Caves]:
    """Dropship in the wine shop's place."""
    account = _account(request.config)
    with caves_on(platform, broker, request.node.name, shop="dropship", account=account) as dropship:
        yield dropship


@contextmanager
def caves_on(
    platform: Platform,
    broker: Broker,
    name: str,
    topic: pytest.Mark | None = None,
    shop: str = "caves",
    account: SnowflakeSettings | None = None,
) -> Iterator[Caves]:
    """A shop on a platform's warehouse, or an account, and a broker; the mark `topic` is about its topic.

    The database is dropped afterwards, whatever happened.
    """
    plain = "".join(letter if letter.isascii() and letter.isalnum() else "_" for letter in name)[-60:]
    settings = embedded_settings(platform.home)
    kafka = {
        "topic_name": f"t_{plain}" if shop == "caves" else "sales_events",
        "bootstrap_servers": broker.bootstrap_servers,
        "timeout_seconds": 5.0,
    }
    settings = settings.model_copy(
        update={
            "snowflake": account or settings.snowflake.model_copy(update={"database": f"T_{plain}".upper()}),
            "kafka": settings.kafka.model_copy(update=kafka),
            "topics": {} if shop == "caves" else {shop: f"t_{plain}"},
            "without_shops": tuple(one.name for one in BUILT_IN if one.name != shop),
            # Tests send as many invalid messages as they like.
            "dead_letters": DeadLetterBudget.model_construct(warn_share=1.0, fail_share=1.0),
        }
    )
    found = find_shop(settings, shop)
    partitions = int(topic.args[0]) if topic and topic.args else PARTITIONS
    config = {key.replace("_", "."): str(value) for key, value in (topic.kwargs if topic else {}).items()}
    broker.make_topic(found.topic, partitions, **config)
    with Warehouse(settings.snowflake) as warehouse:
        try:
            set_up(warehouse, found)
            yield Caves(settings, found, warehouse, KafkaClient(settings.kafka))
        finally:
            warehouse.execute(f"DROP DATABASE IF EXISTS {settings.snowflake.database}")


# --- what is told at the end


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """How many tests ran on a real Kafka, and how many without."""
    counts: dict[bool, Counter[str]] = {True: Counter(), False: Counter()}
    for outcome in ("passed", "failed", "error", "skipped"):
        for report in terminalreporter.stats.get(outcome, ()):
            counts["real_kafka" in getattr(report, "keywords", ())][outcome] += 1
    if not any(counts.values()):
        return
    for on_kafka, found in counts.items():
        said = ", ".join(f"{number} {outcome}" for outcome, number in found.items()) or "none"
        where = "On a real Apache Kafka" if on_kafka else "Without a real Apache Kafka"
        terminalreporter.write_line(f"{where}: {said}.")


@contextmanager
def dagster_instance() -> Iterator[dg.DagsterInstance]:
    """Dagster's state in a folder of its own.

    Not in memory: a run's heartbeat writes from another thread, and finds "database table is locked" there.
    """
    with (
        tempfile.TemporaryDirectory(prefix="caves-dagster-") as folder,
        dg.DagsterInstance.local_temp(folder) as local,
    ):
        yield local


@pytest.fixture
def instance() -> Iterator[dg.DagsterInstance]:
    """A Dagster instance of the test's own."""
    with dagster_instance() as local:
        yield local
