"""Dead letters that the warehouse does not take whole: none blocks the topic, none is dropped.

Rows that it refuses are in `test_landing.py`.
"""

from __future__ import annotations

import json
import re
import time
from collections.abc import Mapping
from typing import Any

import pytest
from confluent_kafka import Producer
from snowflake.connector.errors import ProgrammingError

from caves_dagster.errors import LandingRefused
from caves_dagster.ingest.refused import TRUNCATED
from caves_dagster.kafka.client import client_config
from caves_dagster.warehouse.connection import Row, Warehouse
from caves_dagster.warehouse.scripts import setup_sql
from caves_dagster_tests.conftest import Caves
from caves_dagster_tests.ingest.accounting import (
    DEAD_LETTERS,
    accounted_for,
    dead_letters,
    files_on_stage,
    ingest,
    ingestion,
    landed_ids,
    require_exactly_once,
)
from caves_dagster_tests.ingest.spoiling import SPOILERS, lets_through, spoilt

RAW = "RAW_DATA.RAW_EVENTS_STREAM"


def narrow(caves: Caves, column: str, kind: str) -> None:
    """Make the table of dead letters anew, with a column that takes less."""
    (create,) = (text for text in setup_sql(caves.shop) if "EXISTS RAW_DATA.DEAD_LETTER_EVENTS" in text)
    changed = re.sub(rf"\b{column} [A-Z]+(\(\d+\))?", f"{column} {kind}", create)
    assert changed != create
    caves.warehouse.execute(f"DROP TABLE {DEAD_LETTERS}")
    caves.warehouse.execute(changed)


def produce(caves: Caves, *messages: tuple[bytes, bytes, list[tuple[str, Any]]]) -> None:
    """Publish values with keys and headers to one partition, in this order."""
    producer = Producer(client_config(caves.settings.kafka))
    for value, key, headers in messages:
        producer.produce(caves.shop.topic, value, key, partition=0, headers=headers)
    assert producer.flush(10) == 0


def test_a_value_that_does_not_fit_is_kept_as_far_as_it_does_and_the_rest_lands(caves: Caves) -> None:
    narrow(caves, "VALUE", f"BINARY({2**17})")
    events = caves.events(40, invalid_rate=0.2)
    invalid = sum(message.event_id is None for message in events)
    caves.publish(events)
    long = [b"not JSON " + bytes([65 + index]) * (2**17 + index) for index in range(3)]
    produce(caves, *((value, b"key", [("trace", b"1")]) for value in long))

    report = ingest(caves)

    assert (report.landed, report.dead) == (40 - invalid, invalid + 3)
    assert set(landed_ids(caves)) == {message.event_id for message in events} - {None}
    found = dead_letters(caves)
    cut = [row for row in found if row["FAILURE_CLASS"] == TRUNCATED]
    assert len(cut) == 3
    assert len(found) == invalid + 3
    for row, value in zip(cut, long, strict=True):
        kept = bytes(row["VALUE"])
        assert value.startswith(kept)
        assert len(kept) == 2**16
        assert bytes(row["MESSAGE_KEY"]) == b"key"
        for said in (
            f"value {len(value)} bytes",
            f"offset {row['KAFKA_OFFSET']}",
            "It was SYNTAX",
            "too long",
        ):
            assert said in row["FAILURE_REASON"]
    assert report.dead_by_class[TRUNCATED] == 3
    assert accounted_for(caves).status == "PASS"
    assert files_on_stage(caves) == []


@pytest.mark.parametrize(
    ("column", "kind"), [("VALUE", "BINARY(10)"), ("MESSAGE_KEY", "BINARY(10)"), ("HEADERS", "VARCHAR(10)")]
)
def test_where_not_even_a_part_fits_its_place_in_kafka_is_kept(caves: Caves, column: str, kind: str) -> None:
    narrow(caves, column, kind)
    produce(caves, (b"not JSON", b"k", []), (b"not JSON " * 9, b"key " * 9, [("trace", b"1" * 99)]))

    report = ingest(caves)

    assert report.dead == 2
    whole, rest = dead_letters(caves)
    assert bytes(whole["VALUE"]) == b"not JSON"
    assert rest["FAILURE_CLASS"] == TRUNCATED
    assert "partition 0 at offset 1" in rest["FAILURE_REASON"]
    lost_all = column != "HEADERS"
    assert (rest["VALUE"] is None) == lost_all
    assert ("Nothing of it is kept" in rest["FAILURE_REASON"]) == lost_all
    assert json.loads(rest["HEADERS"]) == []
    assert accounted_for(caves).status == "PASS"


def test_rows_and_dead_letters_refused_in_one_batch_each_become_what_they_can(caves: Caves) -> None:
    careless = lets_through(caves, SPOILERS["content that is not JSON"])
    narrow(careless, "VALUE", "BINARY(1000)")
    messages = careless.events(30)
    messages[7] = spoilt(messages[7])
    careless.publish(messages)
    produce(careless, (b"not JSON " * 200, b"", []))

    report = ingest(careless)

    assert (report.landed, report.dead_by_class) == (29, {"LANDING": 1, TRUNCATED: 1})
    by_class = {row["FAILURE_CLASS"]: row["VALUE"] for row in dead_letters(careless)}
    assert bytes(by_class["LANDING"]) == messages[7].value
    assert accounted_for(careless).status == "PASS"


def test_a_table_that_takes_no_dead_letter_at_all_is_no_message_s_fault(caves: Caves) -> None:
    narrow(caves, "BATCH_ID", "VARCHAR(3)")
    produce(caves, *((b"not JSON", b"", []) for _ in range(60)))
    began = time.monotonic()
    with pytest.raises(LandingRefused, match="COPY failed"):
        ingest(caves)
    assert time.monotonic() - began < 20, "every letter was tried"
    assert [caves.count(table) for table in (RAW, DEAD_LETTERS, "RAW_DATA.INGEST_BATCHES")] == [0, 0, 0]


class _Ended(Warehouse):
    """Somebody ends its transaction while the first COPY runs."""

    ended = 0

    def query(self, sql: str, parameters: Mapping[str, Any] | None = None) -> list[Row]:
        if sql.lstrip().startswith("COPY") and not self.ended:
            self.ended += 1
            self._rollback()
            raise self._translated(ProgrammingError(msg="SQL execution canceled", errno=604))
        return super().query(sql, parameters)


def test_a_copy_that_somebody_else_ended_is_tried_again_and_blames_no_row(caves: Caves) -> None:
    messages = caves.events(30)
    caves.publish(messages)
    with _Ended(caves.settings.snowflake) as warehouse:
        report = ingestion(caves, warehouse=warehouse).run()
    assert (report.landed, report.dead) == (30, 0)
    require_exactly_once(caves, messages)
