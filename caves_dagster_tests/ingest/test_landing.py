"""The landing transaction: all of a batch or none of it, whoever else writes and whatever fails."""

from __future__ import annotations

import base64
import ctypes
import json
import os
import time
from collections.abc import Mapping
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from confluent_kafka import Producer

from caves_dagster.errors import (
    CavesError,
    LandingRefused,
    PositionsMoved,
    WarehouseNotSetUp,
    WarehouseUnreachable,
    WriteConflict,
)
from caves_dagster.ingest.batch import Batch, build
from caves_dagster.ingest.land import Lander, Landing
from caves_dagster.ingest.positions import to_verify
from caves_dagster.ingest.reader import KafkaMessage, Progress, Read, read_batches
from caves_dagster.ingest.run import Ingestion
from caves_dagster.kafka.client import KafkaClient, TopicState, Watermarks, client_config
from caves_dagster.local.mock_cluster import _load_library
from caves_dagster.shop import Message
from caves_dagster.warehouse.connection import Row, Warehouse
from caves_dagster_tests.brokers import on_both_brokers
from caves_dagster_tests.conftest import Caves
from caves_dagster_tests.ingest.accounting import (
    DEAD_LETTERS,
    accounted_for,
    dead_letters,
    files_on_stage,
    gaps,
    ingest,
    ingestion,
    landed_ids,
    plan,
    require_exactly_once,
)
from caves_dagster_tests.ingest.spoiling import SPOILERS, lets_through, spoilt

pytestmark = on_both_brokers

RAW = "RAW_DATA.RAW_EVENTS_STREAM"
BATCHES = "RAW_DATA.INGEST_BATCHES"


def read_one(caves: Caves, session: Warehouse, folder: Path) -> tuple[Batch, Landing]:
    """All that the topic holds as one batch, and what it has to agree with, seen through `session`."""
    planned = plan(caves, session)
    (read,) = read_batches(caves.kafka, planned, 10_000, 2**20)
    batch = build(read, caves.shop.contract, caves.settings.max_event_bytes, folder)
    return batch, Landing(planned.state, dict(planned.expected), planned.gaps, "test")


# --- the fence


def test_a_second_writer_with_stale_positions_lands_nothing(caves: Caves, tmp_path: Path) -> None:
    caves.publish(caves.events(50))
    with Warehouse(caves.settings.snowflake) as other:
        first, landing = read_one(caves, caves.warehouse, tmp_path)
        second, stale = read_one(caves, other, tmp_path)
        Lander(caves.warehouse, caves.shop).land(first, landing)
        with pytest.raises(PositionsMoved, match="another writer was first"):
            Lander(other, caves.shop).land(second, stale)
    assert caves.count(RAW) == 50
    assert [row["BATCH_ID"] for row in caves.warehouse.query(f"SELECT BATCH_ID FROM {BATCHES}")] == [
        first.batch_id
    ]
    assert files_on_stage(caves) == []


def test_a_writer_that_began_before_the_other_committed_lands_nothing(caves: Caves, tmp_path: Path) -> None:
    caves.publish(caves.events(50))
    with Warehouse(caves.settings.snowflake) as other:
        first, landing = read_one(caves, caves.warehouse, tmp_path)
        second, stale = read_one(caves, other, tmp_path)
        other.execute("BEGIN TRANSACTION")
        assert Lander(other, caves.shop).positions(caves.shop.topic) == []
        Lander(caves.warehouse, caves.shop).land(first, landing)
        with pytest.raises((PositionsMoved, WriteConflict)):
            Lander(other, caves.shop).land(second, stale)
        other.execute("ROLLBACK")
    assert caves.count(RAW) == 50
    assert caves.count(BATCHES) == 1


class _Overtaken(KafkaClient):
    """While a plan is made another writer lands more, before the topic's end is asked for or after."""

    def __init__(self, caves: Caves, before: bool) -> None:
        super().__init__(caves.settings.kafka)
        self._caves, self._before, self._overtaken = caves, before, False

    def _other_lands(self) -> None:
        self._overtaken = True
        self._caves.publish(self._caves.events(30, seed=2))
        with Warehouse(self._caves.settings.snowflake) as session:
            ingestion(self._caves, "other", session).run()

    def inspect(self, topic: str) -> TopicState:
        if self._before and not self._overtaken:
            self._other_lands()
        state = super().inspect(topic)
        if not self._overtaken:
            self._other_lands()
        return state


@pytest.mark.parametrize("before", [True, False])
def test_positions_that_move_while_a_plan_is_made_are_no_truncated_log(caves: Caves, before: bool) -> None:
    """A position beyond the end that was seen would be taken for that, and everything landed again."""
    first, second, third = (caves.events(30, seed=seed) for seed in (1, 2, 3))
    caves.publish(first)
    ingest(caves)
    caves.publish(third)

    Ingestion(caves.settings, caves.shop, _Overtaken(caves, before), caves.warehouse, "late").run()

    require_exactly_once(caves, [*first, *second, *third])
    assert gaps(caves) == []


def test_a_fence_without_its_row_locks_nothing_and_so_lets_nothing_land(caves: Caves) -> None:
    caves.publish(caves.events(5))
    caves.warehouse.execute("DELETE FROM RAW_DATA.INGEST_FENCE")
    with pytest.raises(WarehouseNotSetUp, match="caves setup"):
        ingest(caves)
    assert caves.count(RAW) == 0


# --- rows that the warehouse refuses


@pytest.mark.parametrize("what", SPOILERS)
def test_exactly_the_rows_that_the_warehouse_refuses_become_dead_letters(caves: Caves, what: str) -> None:
    careless = lets_through(caves, SPOILERS[what])
    messages = careless.events(50)
    for index in (0, 17, 18, 49):
        messages[index] = spoilt(messages[index])
    careless.publish(messages)

    report = ingest(careless)

    assert (report.landed, report.dead) == (46, 4)
    assert report.dead_by_class == {"LANDING": 4}
    found = dead_letters(careless)
    assert {row["FAILURE_CLASS"] for row in found} == {"LANDING"}
    assert {bytes(row["VALUE"]) for row in found} == {messages[index].value for index in (0, 17, 18, 49)}
    assert all(row["FAILURE_REASON"] for row in found)
    refused = {messages[index].event_id for index in (0, 17, 18, 49)}
    assert set(landed_ids(careless)) == {message.event_id for message in messages} - refused
    assert accounted_for(careless).status == "PASS"
    assert files_on_stage(careless) == []


def test_one_refused_event_alone_is_a_dead_letter(caves: Caves) -> None:
    careless = lets_through(caves, SPOILERS["content that is not JSON"])
    careless.publish([spoilt(careless.events(1)[0])])
    assert ingest(careless).dead_by_class == {"LANDING": 1}
    assert accounted_for(careless).status == "PASS"


def test_a_table_that_lacks_a_column_is_no_row_s_fault(caves: Caves) -> None:
    caves.publish(caves.events(30))
    caves.warehouse.execute(f"ALTER TABLE {RAW} DROP COLUMN EVENT_ID")
    with pytest.raises(CavesError):
        ingest(caves)
    assert [caves.count(table) for table in (RAW, DEAD_LETTERS, BATCHES)] == [0, 0, 0]
    assert files_on_stage(caves) == []


def test_a_table_that_refuses_every_row_is_no_row_s_fault(caves: Caves) -> None:
    caves.publish(caves.events(100))
    caves.warehouse.execute(f"ALTER TABLE {RAW} ADD COLUMN NEVER_FILLED INTEGER NOT NULL DEFAULT NULL")
    began = time.monotonic()
    with pytest.raises(LandingRefused, match="COPY failed"):
        ingest(caves)
    assert time.monotonic() - began < 20, "every row was tried, and not a sample"
    assert [caves.count(table) for table in (RAW, DEAD_LETTERS, BATCHES)] == [0, 0, 0]


def test_a_missing_table_says_that_setup_is_missing(caves: Caves) -> None:
    caves.publish(caves.events(3))
    caves.warehouse.execute(f"DROP TABLE {DEAD_LETTERS}")
    caves.publish([Message(b"1", b"not an event")])
    with pytest.raises(WarehouseNotSetUp, match="caves setup"):
        ingest(caves)
    assert caves.count(RAW) == 0


class _Miscounting(Warehouse):
    """Its COPY loads one row less than it was sent, and reports no error."""

    def query(self, sql: str, parameters: Mapping[str, Any] | None = None) -> list[Row]:
        rows = super().query(sql, parameters)
        if sql.lstrip().startswith("COPY"):
            return [{**row, "ROWS_LOADED": int(row["ROWS_LOADED"]) - 1} for row in rows]
        return rows


def test_fewer_rows_loaded_than_sent_lands_nothing_and_blames_no_row(caves: Caves) -> None:
    caves.publish(caves.events(30))
    with (
        _Miscounting(caves.settings.snowflake) as warehouse,
        pytest.raises(CavesError, match="COPY loaded 29 rows of 30"),
    ):
        ingestion(caves, warehouse=warehouse).run()
    assert [caves.count(table) for table in (RAW, DEAD_LETTERS, BATCHES)] == [0, 0, 0]


# --- a connection that breaks


class _Breaking(Warehouse):
    """Loses its connection around the first COMMIT: before it reaches the server, or with its answer."""

    def __init__(self, caves: Caves, commits: bool) -> None:
        super().__init__(caves.settings.snowflake)
        self.commits = commits
        self.broken = 0

    def __enter__(self) -> _Breaking:
        return self

    def execute(self, sql: str, parameters: Mapping[str, Any] | None = None) -> int:
        if sql != "COMMIT" or self.broken:
            return super().execute(sql, parameters)
        self.broken += 1
        if self.commits:
            super().execute(sql, parameters)
        self._drop()
        raise WarehouseUnreachable("The connection broke.", "Wait.")


@pytest.mark.parametrize("commits", [True, False], ids=["answer lost", "request lost"])
def test_a_commit_whose_fate_is_unknown_neither_loses_nor_doubles(caves: Caves, commits: bool) -> None:
    messages = caves.events(200, invalid_rate=0.1)
    caves.publish(messages)
    with _Breaking(caves, commits) as warehouse:
        report = ingestion(caves, warehouse=warehouse, batch_max_events=60).run()
        assert warehouse.broken == 1, "the connection did not break"
    require_exactly_once(caves, messages)
    assert files_on_stage(caves) == []
    assert report.lag_after == 0
    assert report.landed + report.dead == 200
    assert report.lag_before == 200


# --- dead letters


@pytest.mark.topic(retention_ms=-1)  # the records are stamped with a time long ago
def test_dead_letters_keep_every_byte_of_the_message(caves: Caves) -> None:
    everything = bytes(range(256))
    headers: list[tuple[str, str | bytes | None]] = [
        ("trace", everything),
        ("trace", b"again"),
        ("vide", b""),
        ("clé", None),
    ]
    sent: list[tuple[bytes | None, bytes | None, list[tuple[str, str | bytes | None]]]] = [
        (everything, everything, headers),
        (b"", None, []),
        (None, b"", []),
        (None, None, [("only", b"a header")]),
        (b"\x00", b"\x00", []),
        ("à lire".encode(), "clé".encode(), []),
    ]
    producer = Producer(client_config(caves.settings.kafka))
    for value, key, named in sent:
        producer.produce(
            caves.shop.topic, value, key, partition=0, headers=named, timestamp=1_772_360_000_123
        )
    assert producer.flush(10) == 0

    (event,) = caves.events(1)
    producer.produce(caves.shop.topic, event.value, None, partition=0, headers=headers)
    assert producer.flush(10) == 0

    report = ingest(caves)
    assert (report.landed, report.dead) == (1, len(sent)), "an event needs no key, and may have headers"

    for offset, (row, (value, key, named)) in enumerate(zip(dead_letters(caves), sent, strict=True)):
        assert (row["KAFKA_TOPIC"], row["KAFKA_PARTITION"], row["KAFKA_OFFSET"]) == (
            caves.shop.topic,
            0,
            offset,
        )
        assert _bytes(row["VALUE"]) == value
        assert _bytes(row["MESSAGE_KEY"]) == key
        kept = [
            (header["name"], None if header["value"] is None else base64.b64decode(header["value"]))
            for header in json.loads(row["HEADERS"])
        ]
        assert kept == named
        assert row["KAFKA_TIMESTAMP"].timestamp() == pytest.approx(1_772_360_000.123)
        assert (row["ATTEMPTS"], row["REPLAYED_AT"]) == (1, None)


def _bytes(value: Any) -> bytes | None:
    return None if value is None else bytes(value)


def test_a_message_at_the_limit_of_bytes_lands_and_one_beyond_is_a_dead_letter(caves: Caves) -> None:
    limit = 4096
    fits, long = caves.events(2)

    def padded(message: Message, length: int) -> Message:
        event = json.loads(message.value or b"")
        event["event_content"]["note"] = ""
        bare = len(json.dumps(event).encode())
        event["event_content"]["note"] = "x" * (length - bare)
        return replace(message, value=json.dumps(event).encode())

    at_limit, beyond = padded(fits, limit), padded(long, limit + 1)
    assert (len(at_limit.value or b""), len(beyond.value or b"")) == (limit, limit + 1)
    caves.publish([at_limit, beyond])

    report = ingest(caves, max_event_bytes=limit)

    assert report.dead_by_class == {"TOO_LARGE": 1}
    assert set(landed_ids(caves)) == {fits.event_id}
    assert bytes(dead_letters(caves)[0]["VALUE"]) == beyond.value


def test_what_the_contract_lets_through_the_warehouse_holds(caves: Caves) -> None:
    """Fields that nobody named, as strange as JSON allows."""
    strange: list[Any] = [
        "",
        "\u0000 between \u0000",
        "🍷 \\ \" ' ; -- $1 %s {{ x }}",
        10**37,
        -(10**37),
        1.7e308,
        5e-324,
        -0.0,
        [[[[]]]],
        {"": {"": None}},
        {"$.a[0]": True, "a.b": [1, "2", None]},
        "x" * 100_000,
    ]
    messages = []
    for message, extra in zip(caves.events(len(strange)), strange, strict=True):
        event = json.loads(message.value or b"")
        event["event_content"]["extra"] = extra
        event["event_metadata"]["extra"] = extra
        messages.append(replace(message, value=json.dumps(event).encode()))
    caves.publish(messages)

    report = ingest(caves)

    assert (report.landed, report.dead) == (len(strange), 0), dead_letters(caves)
    rows = caves.warehouse.query(f"SELECT EVENT_ID, EVENT_METADATA AS M, EVENT_CONTENT AS C FROM {RAW}")
    found = {row["EVENT_ID"]: (json.loads(row["M"])["extra"], json.loads(row["C"])["extra"]) for row in rows}
    expected = {message.event_id: (extra, extra) for message, extra in zip(messages, strange, strict=True)}
    assert found == expected


def test_header_names_that_are_not_text_do_not_stop_the_topic(caves: Caves) -> None:
    """Many of them: the interpreter treats a call otherwise after it has made it a few times."""
    messages = caves.events(50)
    caves.publish(messages)
    for _ in range(20):
        produce_with_header(caves, b"not an event", name=b"\xff\xfe")
    report = ingest(caves)
    assert (report.landed, report.dead) == (50, 20)
    for row in dead_letters(caves):
        assert bytes(row["VALUE"]) == b"not an event"
        assert json.loads(row["HEADERS"]) == [{"name": "\ufffd", "value": None}]


def produce_with_header(caves: Caves, value: bytes, name: bytes) -> None:
    """Produce through librdkafka itself: confluent_kafka takes header names as text only."""
    library = _load_library()
    pointer, text, size = ctypes.c_void_p, ctypes.c_char_p, ctypes.c_ssize_t
    signatures: dict[str, tuple[Any, list[Any]]] = {
        "rd_kafka_headers_new": (pointer, [ctypes.c_size_t]),
        "rd_kafka_header_add": (ctypes.c_int, [pointer, text, size, text, size]),
        "rd_kafka_produceva": (pointer, [pointer, pointer, ctypes.c_size_t]),
        "rd_kafka_flush": (ctypes.c_int, [pointer, ctypes.c_int]),
    }
    for function, (result, arguments) in signatures.items():
        getattr(library, function).restype = result
        getattr(library, function).argtypes = arguments
    problem = ctypes.create_string_buffer(512)
    config = library.rd_kafka_conf_new()
    servers = caves.settings.kafka.bootstrap_servers.encode()
    library.rd_kafka_conf_set(config, b"bootstrap.servers", servers, problem, len(problem))
    client = library.rd_kafka_new(0, config, problem, len(problem))
    headers = library.rd_kafka_headers_new(1)
    library.rd_kafka_header_add(headers, name, len(name), b"v", 1)

    class Argument(ctypes.Structure):
        """rd_kafka_vu_t: its kind, and up to 64 bytes."""

        _fields_ = (("kind", ctypes.c_int), ("values", ctypes.c_uint64 * 8))

    topic = ctypes.create_string_buffer(caves.shop.topic.encode())
    content = ctypes.create_string_buffer(value)
    given_arguments = (Argument * 4)()
    for argument, (kind, *given) in zip(
        given_arguments,
        (
            (1, ctypes.addressof(topic)),
            (4, ctypes.addressof(content), len(value)),
            (10, headers),
            (7, 2),  # copy the value
        ),
        strict=True,
    ):
        argument.kind = kind
        for index, item in enumerate(given):
            argument.values[index] = item
    assert library.rd_kafka_produceva(client, given_arguments, len(given_arguments)) is None
    assert library.rd_kafka_flush(client, 10_000) == 0
    library.rd_kafka_destroy(client)


# --- the stage


def test_an_orphan_of_an_hour_is_swept_and_a_fresh_file_is_not(caves: Caves) -> None:
    folder = stage_folder(caves)
    for name, age in (("orphan.parquet", timedelta(minutes=61)), ("fresh.parquet", timedelta(minutes=59))):
        file = folder / name
        file.write_bytes(b"left by a killed writer")
        moment = time.time() - age.total_seconds()
        os.utime(file, (moment, moment))
    caves.publish(caves.events(10))
    ingest(caves)
    assert [name.rpartition("/")[2] for name in files_on_stage(caves)] == ["fresh.parquet"]


def stage_folder(caves: Caves) -> Any:
    """Where the embedded server keeps the landing stage's files."""
    stages = caves.settings.home / "warehouse" / "stages" / caves.settings.snowflake.database
    (folder,) = (path for path in stages.rglob("*") if path.is_dir() and path.name.upper() == "LANDING")
    return folder


def test_no_file_stays_on_the_stage_and_none_in_the_temporary_folder(
    caves: Caves, tmp_path: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    caves.publish(caves.events(100, invalid_rate=0.2))
    ingest(caves, batch_max_events=30)
    assert files_on_stage(caves) == []
    assert list(tmp_path.iterdir()) == []


# --- batches


def test_many_small_batches_give_the_same_rows_as_one(caves: Caves) -> None:
    messages = caves.events(140, invalid_rate=0.1)
    caves.publish(messages)
    report = ingest(caves, batch_max_events=7)
    assert report.batches >= 140 / 7
    require_exactly_once(caves, messages)
    small = _rows(caves)

    for table in (RAW, DEAD_LETTERS, BATCHES, "RAW_DATA.KAFKA_OFFSETS"):
        caves.warehouse.execute(f"DELETE FROM {table}")
    assert ingest(caves).batches == 1
    assert _rows(caves) == small
    (most,) = caves.warehouse.query(f"SELECT MAX(CONSUMED) AS N FROM {BATCHES}")
    assert int(most["N"]) == 140


def _rows(caves: Caves) -> list[list[Any]]:
    """Rows and dead letters without what names the batch."""
    landed = "EVENT_TYPE, PRODUCT_ID, CUSTOMER_ID, EVENT_METADATA::VARCHAR, EVENT_CONTENT::VARCHAR, EVENT_ID"
    dead = "VALUE, MESSAGE_KEY, HEADERS::VARCHAR, FAILURE_CLASS, FAILURE_REASON, FAILURE_PATH"
    position = "KAFKA_TOPIC, KAFKA_PARTITION, KAFKA_OFFSET, KAFKA_TIMESTAMP"
    found: list[list[Any]] = []
    for columns, table in ((landed, RAW), (dead, DEAD_LETTERS)):
        sql = f"SELECT {columns}, {position} FROM {table} ORDER BY KAFKA_PARTITION, KAFKA_OFFSET"
        found += [list(row.values()) for row in caves.warehouse.query(sql)]
    return found


def test_no_batch_is_larger_than_its_limits(caves: Caves) -> None:
    caves.publish(caves.events(120))
    ingest(caves, batch_max_events=50)
    sizes = [int(row["N"]) for row in caves.warehouse.query(f"SELECT CONSUMED AS N FROM {BATCHES}")]
    assert sum(sizes) == 120
    assert max(sizes) <= 50


@pytest.mark.parametrize("commits", [True, False], ids=["answer lost", "request lost"])
def test_the_report_counts_every_batch_once_although_the_answer_to_one_was_lost(
    caves: Caves, commits: bool
) -> None:
    messages = caves.events(100)
    caves.publish(messages)
    with _Breaking(caves, commits) as warehouse:
        report = ingestion(caves, warehouse=warehouse, batch_max_events=40).run()
        assert warehouse.broken == 1, "the connection did not break"
    assert (report.landed, report.batches) == (100, caves.count(BATCHES))
    require_exactly_once(caves, messages)


# --- positions


def test_a_last_record_without_a_timestamp_is_stored_without_one(caves: Caves, tmp_path: Path) -> None:
    """With an earlier one's, it would look like a record of a topic made anew, and all be landed again."""
    lander = Lander(caves.warehouse, caves.shop)
    state = caves.kafka.inspect(caves.shop.topic)
    known: int | None = None
    for offset, stamp in enumerate((1_700_000_000_000, None)):
        read = Read(progress={0: Progress(offset, offset + 1, offset, stamp)})
        read.messages = [KafkaMessage(caves.shop.topic, 0, offset, stamp, None, b"not an event", ())]
        batch = build(read, caves.shop.contract, 1000, tmp_path)
        lander.land(batch, Landing(state, {0: known}, (), "test"))
        known = offset + 1
    (position,) = lander.positions(caves.shop.topic)
    assert (position.last_record_offset, position.last_record_timestamp_ms) == (1, None)
    more = replace(state, partitions={0: Watermarks(0, 3)}, topic_id="")
    assert to_verify(more, [position]) == {}
