"""Holding what was published against what arrived: every event once, every offset accounted for."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterable
from typing import Any

from caves_dagster.checks.catalogue import integrity_checks
from caves_dagster.checks.check import Outcome, run_check
from caves_dagster.ingest.positions import Plan
from caves_dagster.ingest.report import IngestReport
from caves_dagster.ingest.run import Ingestion
from caves_dagster.ingest.steps import IngestSteps
from caves_dagster.kafka.client import KafkaClient
from caves_dagster.settings import Settings
from caves_dagster.shop import Message
from caves_dagster.warehouse.connection import Row, Warehouse
from caves_dagster_tests.conftest import Caves

DEAD_LETTERS = "RAW_DATA.DEAD_LETTER_EVENTS"


def ingestion(
    caves: Caves, run_id: str = "test", warehouse: Warehouse | None = None, **limits: Any
) -> Ingestion:
    """An ingestion of the test's topic, with some limits of the settings changed."""
    settings = caves.settings.model_copy(update=limits)
    session = caves.warehouse if warehouse is None else warehouse
    return Ingestion(settings, caves.shop, KafkaClient(settings.kafka), session, run_id)


def plan(caves: Caves, warehouse: Warehouse | None = None) -> Plan:
    """What an ingestion that began now would read, seen through a session."""
    return IngestSteps(caves.settings, caves.shop, caves.kafka, warehouse or caves.warehouse).plan()


def ingest(caves: Caves, **limits: Any) -> IngestReport:
    """Land everything that is in the topic now."""
    return ingestion(caves, **limits).run()


def landed_ids(caves: Caves) -> Counter[str]:
    """How often each event id stands in RAW."""
    rows = caves.warehouse.query(f"SELECT EVENT_ID FROM {caves.shop.raw.full_name}")
    return Counter(row["EVENT_ID"] for row in rows)


def dead_letters(caves: Caves) -> list[Row]:
    """Every dead letter, in the order of partition and offset."""
    return caves.warehouse.query(f"SELECT * FROM {DEAD_LETTERS} ORDER BY KAFKA_PARTITION, KAFKA_OFFSET")


def gaps(caves: Caves) -> list[tuple[int, int, int | None, str]]:
    """The recorded gaps: partition, from, to, reason."""
    rows = caves.warehouse.query(
        "SELECT PARTITION_ID, OFFSET_FROM, OFFSET_TO, REASON FROM RAW_DATA.INGEST_GAPS "
        "ORDER BY FOUND_AT, PARTITION_ID"
    )
    return [(r["PARTITION_ID"], r["OFFSET_FROM"], r["OFFSET_TO"], r["REASON"]) for r in rows]


def acknowledge(caves: Caves, partition: int | None = None) -> None:
    """Somebody accepts what is known to be lost, of one partition or of all."""
    caves.warehouse.execute(
        "UPDATE RAW_DATA.INGEST_GAPS SET ACKNOWLEDGED_AT = CURRENT_TIMESTAMP(), ACKNOWLEDGED_BY = 'test' "
        "WHERE PARTITION_ID = COALESCE(%(partition)s, PARTITION_ID)",
        {"partition": partition},
    )


def accounted_for(caves: Caves) -> Outcome:
    """What the check `offsets_accounted_for` says."""
    (check,) = (one for one in integrity_checks(caves.shop) if one.name == "offsets_accounted_for")
    return run_check(caves.warehouse, caves.shop, check)


def require_sound(caves: Caves) -> None:
    """Nothing was lost, doubled or changed on the way, as the checks have it."""
    for check in integrity_checks(caves.shop):
        outcome = run_check(caves.warehouse, caves.shop, check)
        assert outcome.status == "PASS", (check.name, outcome.offending_keys[:20])


def files_on_stage(caves: Caves) -> list[str]:
    """Names of the files on the landing stage."""
    return [row["NAME"] for row in caves.warehouse.query("LIST @RAW_DATA.LANDING")]


def require_exactly_once(caves: Caves, messages: Iterable[Message], dead: int | None = None) -> None:
    """Every valid event once in RAW, every other message a dead letter, every offset in a batch."""
    sent = list(messages)
    expected = Counter(message.event_id for message in sent if message.event_id is not None)
    found = landed_ids(caves)
    assert expected - found == Counter(), "events were lost"
    assert found - expected == Counter(), "events were doubled, or came from nowhere"
    invalid = sum(message.event_id is None for message in sent) if dead is None else dead
    assert caves.count(DEAD_LETTERS) == invalid
    (batches,) = caves.warehouse.query("SELECT SUM(CONSUMED) AS N FROM RAW_DATA.INGEST_BATCHES")
    assert int(batches["N"]) == len(sent)
    outcome = accounted_for(caves)
    assert outcome.status == "PASS", outcome.offending_keys


def addresses(settings: Settings) -> dict[str, str]:
    """The settings of the warehouse, the broker and the topic, as another process reads them."""
    snowflake, kafka = settings.snowflake, settings.kafka
    assert snowflake.password is not None
    assert snowflake.host is not None
    return {
        "SNOWFLAKE_ACCOUNT": snowflake.account,
        "SNOWFLAKE_USER": snowflake.user,
        "SNOWFLAKE_PASSWORD": snowflake.password.get_secret_value(),
        "SNOWFLAKE_HOST": snowflake.host,
        "SNOWFLAKE_PORT": str(snowflake.port),
        "SNOWFLAKE_PROTOCOL": snowflake.protocol,
        "SNOWFLAKE_DATABASE": snowflake.database,
        "KAFKA_BOOTSTRAP_SERVERS": kafka.bootstrap_servers,
        "KAFKA_TOPIC_NAME": kafka.topic_name,
    }


def environment(caves: Caves, **more: str) -> dict[str, str]:
    """The environment in which another process finds the test's topic and database."""
    return {
        **os.environ,
        "CAVES_HOME": str(caves.settings.home),
        **addresses(caves.settings),
        "CAVES_TOPICS": ",".join(f"{shop}={topic}" for shop, topic in caves.settings.topics.items()),
        "CAVES_WITHOUT_SHOPS": ",".join(caves.settings.without_shops),
        **more,
    }
