"""One backlog: published, drained in one run, counted, and cleared away."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

from confluent_kafka.admin import AdminClient

from caves_dagster.deploy.carry_out import set_up
from caves_dagster.kafka.client import client_config
from caves_dagster.local.apache_kafka.node import make_topics
from caves_dagster.local.dagster_services import dagster_home
from caves_dagster.settings import Settings, embedded_environment, embedded_settings
from caves_dagster.shop import Shop
from caves_dagster.shops import find_shop
from caves_dagster.warehouse.connection import Warehouse
from caves_dagster_tests.backlog.drain import Drain, drain
from caves_dagster_tests.backlog.publish import publish_backlog
from caves_dagster_tests.ingest.accounting import addresses

MEGABYTE = 10**6
PEAK_LIMIT = 500 * MEGABYTE
GROWTH_LIMIT = 1.10
_PARTITIONS = 6


@dataclass(frozen=True)
class Backlog:
    """What was to be drained, what the run took, and what stands in RAW afterwards.

    Attributes:
        bytes: of the values.
        rate: events landed per second, the start of the process not included.
        distinct: event ids in RAW.
    """

    events: int
    bytes: int
    drain: Drain
    rate: float
    batches: int
    rows: int
    distinct: int

    def problems(self) -> Iterator[str]:
        """What is wrong with it alone."""
        if (self.rows, self.distinct) != (self.events, self.events):
            yield f"{self.events:,} events, but {self.rows:,} rows with {self.distinct:,} event ids in RAW."
        if self.drain.peak_bytes > PEAK_LIMIT:
            yield (
                f"{self.events:,} events took {self.drain.peak_bytes / MEGABYTE:.0f} MB, "
                f"more than {PEAK_LIMIT / MEGABYTE:.0f} MB."
            )


def problems(backlogs: Sequence[Backlog]) -> list[str]:
    """Everything that is wrong: with each, and with how memory grows from the smallest to any larger one."""
    found = [problem for backlog in backlogs for problem in backlog.problems()]
    least = min(backlogs, key=lambda backlog: backlog.events)
    for backlog in backlogs:
        growth = backlog.drain.peak_bytes / least.drain.peak_bytes
        if growth > GROWTH_LIMIT:
            found.append(
                f"{backlog.events:,} events took {growth:.2f} times the memory of {least.events:,}, "
                f"more than {GROWTH_LIMIT:.2f} times."
            )
    return found


def measure(
    home: Path,
    bootstrap_servers: str,
    events: int,
    event_bytes: int = 0,
    options: Mapping[str, str] | None = None,
) -> Backlog:
    """Publish a backlog to a topic of its own and drain it into a database of its own.

    Args:
        home: of a running platform, whose warehouse is used.
        bootstrap_servers: of a real Kafka.
        event_bytes: size of each message; 0 for events as they are.
        options: settings of the run, by their names in the environment.
    """
    name = f"backlog_{events}_{event_bytes}"
    settings = embedded_settings(home)
    settings = settings.model_copy(
        update={
            "snowflake": settings.snowflake.model_copy(update={"database": name.upper()}),
            "kafka": settings.kafka.model_copy(
                update={"topic_name": name, "bootstrap_servers": bootstrap_servers}
            ),
        }
    )
    shop = find_shop(settings, "caves")
    with _topic_and_database(settings, shop) as warehouse, TemporaryDirectory() as folder:
        size = publish_backlog(settings.kafka, shop, events, event_bytes)
        dagster = dagster_home(Path(folder))
        environment = _environment(settings, dagster) | dict(options or {})
        took = drain(environment, home / "log" / f"{name}.log")
        rate = _landing_rate(dagster, shop)
        (found,) = warehouse.query(
            "SELECT COUNT(*) AS LANDED, COUNT(DISTINCT EVENT_ID) AS DIFFERENT, "
            f"(SELECT COUNT(*) FROM {shop.raw.schema}.INGEST_BATCHES) AS BATCHES FROM {shop.raw.full_name}"
        )
    rows, distinct, batches = (int(found[name]) for name in ("LANDED", "DIFFERENT", "BATCHES"))
    return Backlog(events, size, took, rate, batches, rows, distinct)


def _landing_rate(dagster: Path, shop: Shop) -> float:
    """Events per second of landing, as the run's materialisation tells it in the UI."""
    import dagster as dg

    with dg.DagsterInstance.from_config(str(dagster)) as instance:
        event = instance.get_latest_materialization_event(dg.AssetKey(shop.raw.key))
    assert event is not None
    assert event.asset_materialization is not None
    return float(str(event.asset_materialization.metadata["events_per_second"].value))


@contextmanager
def _topic_and_database(settings: Settings, shop: Shop) -> Iterator[Warehouse]:
    make_topics(settings.kafka.bootstrap_servers, {shop.topic: _PARTITIONS})
    try:
        with Warehouse(settings.snowflake) as warehouse:
            set_up(warehouse, shop)
            yield warehouse
            warehouse.execute(f"DROP DATABASE {settings.snowflake.database}")
    finally:
        admin = AdminClient(client_config(settings.kafka))
        for deleted in admin.delete_topics([shop.topic]).values():
            deleted.result(30.0)


def _environment(settings: Settings, home: Path) -> dict[str, str]:
    """The run's environment: what differs from the product's defaults is where things are."""
    return embedded_environment(settings.home) | {"DAGSTER_HOME": str(home)} | addresses(settings)
