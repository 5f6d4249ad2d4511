"""The way of an event, by hand: topic, RAW, staging, production, checks."""

from __future__ import annotations

import json

import pytest

from caves_dagster.assets.transformation import transform
from caves_dagster.ingest.run import Ingestion
from caves_dagster.shop import Message
from caves_dagster_tests.brokers import on_both_brokers
from caves_dagster_tests.conftest import Caves
from caves_dagster_tests.ingest.accounting import require_sound

pytestmark = [on_both_brokers, pytest.mark.snowflake]


def test_every_event_reaches_production_and_every_invalid_one_is_a_dead_letter(caves: Caves) -> None:
    messages = caves.events(2000, invalid_rate=0.1)
    invalid = sum(message.event_id is None for message in messages)
    caves.publish(messages)

    report = Ingestion(caves.settings, caves.shop, caves.kafka, caves.warehouse, "test").run()
    for step in caves.shop.transformations:
        transform(caves.warehouse, caves.shop, step)

    assert (report.landed, report.dead) == (2000 - invalid, invalid)
    assert caves.count("RAW_DATA.DEAD_LETTER_EVENTS") == invalid > 100
    produced = caves.count("PRODUCTION.ORDERS") + caves.count("PRODUCTION.INVENTORY_HISTORY")
    assert produced == 2000 - invalid
    require_sound(caves)


def test_events_that_are_published_twice_are_two_rows_of_raw_and_one_of_production(caves: Caves) -> None:
    messages = caves.events(60)
    for _ in range(2):
        caves.publish(messages)
        Ingestion(caves.settings, caves.shop, caves.kafka, caves.warehouse, "test").run()
        for step in caves.shop.transformations:
            transform(caves.warehouse, caves.shop, step)

    assert caves.count("RAW_DATA.RAW_EVENTS_STREAM") == 120
    assert caves.count("PRODUCTION.ORDERS") + caves.count("PRODUCTION.INVENTORY_HISTORY") == 60
    require_sound(caves)


def test_fields_that_the_contract_does_not_name_are_kept_wherever_they_stand(caves: Caves) -> None:
    (message,) = caves.events(1)
    event = json.loads(message.value or b"")
    event["trace"] = {"id": "é:1", "n": [1, None]}
    event["event_content"]["gift"] = True
    event["event_metadata"]["host"] = "b1"
    caves.publish([Message(message.key, json.dumps(event).encode(), message.event_id)])

    Ingestion(caves.settings, caves.shop, caves.kafka, caves.warehouse, "test").run()

    (row,) = caves.warehouse.query("SELECT * FROM RAW_DATA.RAW_EVENTS_STREAM")
    assert json.loads(row["EVENT_EXTRA"]) == {"trace": {"id": "é:1", "n": [1, None]}}
    assert json.loads(row["EVENT_CONTENT"]) == event["event_content"]
    assert json.loads(row["EVENT_METADATA"]) == event["event_metadata"]
