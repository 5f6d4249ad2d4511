"""What the design takes Snowflake at its word for, one sentence a test.

Each runs on the embedded server by default, and on an account by `make test-snowflake`; docs/snowflake.md
says which page of Snowflake's documentation each relies on.
"""

from __future__ import annotations

import contextlib
import json

import pytest

from caves_dagster.errors import CavesError, WriteConflict
from caves_dagster.warehouse.connection import Warehouse
from caves_dagster_tests.conftest import Caves
from caves_dagster_tests.ingest.accounting import files_on_stage, ingest

pytestmark = pytest.mark.snowflake

FENCE = "UPDATE RAW_DATA.INGEST_FENCE SET EPOCH = EPOCH + 1 WHERE ID = 1"
STREAM = "RAW_DATA.STREAM_RAW_EVENTS"


def _take(caves: Caves) -> None:
    """Read the stream by a statement that writes nothing but moves it."""
    caves.warehouse.execute(
        f"INSERT INTO RAW_DATA.TRANSFORM_FENCE (ID, EPOCH) SELECT 1, 0 FROM {STREAM} WHERE FALSE"
    )


def _commit_what_is_left(session: Warehouse) -> None:
    """COMMIT, and whatever it says to a transaction that is over, be out of it."""
    for statement in ("COMMIT", "ROLLBACK"):
        with contextlib.suppress(CavesError):
            session.execute(statement)


def _epoch(caves: Caves) -> int:
    (row,) = caves.warehouse.query("SELECT EPOCH FROM RAW_DATA.INGEST_FENCE")
    return int(row["EPOCH"])


def test_a_writer_that_waits_too_long_for_the_fence_is_told_to_try_again(caves: Caves) -> None:
    with Warehouse(caves.settings.snowflake) as other:
        other.query("ALTER SESSION SET LOCK_TIMEOUT = 2")
        with caves.warehouse.transaction("HOLDER"):
            caves.warehouse.execute(FENCE)
            with pytest.raises(WriteConflict), other.transaction("WAITER"):
                other.execute(FENCE)
        with other.transaction("WAITER"):
            assert other.execute(FENCE) == 1


def test_a_failed_statement_ends_its_transaction_and_nothing_of_it_stays(caves: Caves) -> None:
    caves.warehouse.execute("BEGIN TRANSACTION NAME FAILS")
    caves.warehouse.execute(FENCE)
    with pytest.raises(CavesError):
        caves.warehouse.execute("INSERT INTO RAW_DATA.INGEST_FENCE (ID, EPOCH) SELECT NULL, NULL")
    _commit_what_is_left(caves.warehouse)

    assert _epoch(caves) == 0


def test_an_open_transaction_is_seen_by_its_name_and_can_be_ended(caves: Caves) -> None:
    with Warehouse(caves.settings.snowflake) as other:
        other.execute("BEGIN TRANSACTION NAME LEFT_OPEN")
        other.execute(FENCE)
        shown = caves.warehouse.query("SHOW TRANSACTIONS")
        (found,) = (row for row in shown if row["NAME"] == "LEFT_OPEN")
        assert found["STARTED_ON"].tzinfo is not None
        caves.warehouse.query("SELECT SYSTEM$ABORT_TRANSACTION(%(id)s)", {"id": int(found["ID"])})
        _commit_what_is_left(other)

    assert _epoch(caves) == 0
    assert caves.warehouse.execute(FENCE) == 1


def test_a_merge_of_two_rows_for_one_is_refused(caves: Caves) -> None:
    with pytest.raises(CavesError, match=r"(?i)duplicate row"):
        caves.warehouse.execute(
            "MERGE INTO RAW_DATA.INGEST_FENCE AS t USING (SELECT 1 AS ID, 5 AS E UNION ALL SELECT 1, 6) AS s "
            "ON t.ID = s.ID WHEN MATCHED THEN UPDATE SET EPOCH = s.E"
        )


def test_a_stream_moves_when_what_read_it_commits_and_survives_a_gained_column(caves: Caves) -> None:
    caves.publish(caves.events(20))
    ingest(caves)
    caves.warehouse.execute("BEGIN TRANSACTION NAME ROLLED_BACK")
    _take(caves)
    caves.warehouse.execute("ROLLBACK")
    assert caves.count(STREAM) == 20

    caves.warehouse.execute("ALTER TABLE RAW_DATA.RAW_EVENTS_STREAM ADD COLUMN NOTE VARCHAR(5)")
    assert caves.count(STREAM) == 20
    rows = caves.warehouse.query(f"SELECT NOTE FROM {STREAM}")
    assert [row["NOTE"] for row in rows] == [None] * 20
    with caves.warehouse.transaction("COMMITTED"):
        _take(caves)
    assert caves.count(STREAM) == 0


def test_whether_a_stream_has_data_is_asked_without_a_virtual_warehouse(caves: Caves) -> None:
    settings = caves.settings.snowflake.model_copy(update={"warehouse": "CAVES_THERE_IS_NONE"})
    caves.publish(caves.events(5))
    ingest(caves)

    with Warehouse(settings) as without:
        (row,) = without.query(f"SELECT SYSTEM$STREAM_HAS_DATA('{STREAM}') AS HAS_DATA")
        assert str(row["HAS_DATA"]).lower() == "true"
        (shown,) = (
            one for one in without.query("SHOW STREAMS IN DATABASE") if one["NAME"] == "STREAM_RAW_EVENTS"
        )

    assert (shown["SCHEMA_NAME"], str(shown["STALE"]).lower(), shown["MODE"]) == (
        "RAW_DATA",
        "false",
        "APPEND_ONLY",
    )
    assert str(shown["TABLE_NAME"]).endswith(".RAW_DATA.RAW_EVENTS_STREAM")
    assert shown["STALE_AFTER"].tzinfo is not None


def test_copy_keeps_bytes_objects_and_variants_as_they_were(caves: Caves) -> None:
    messages = caves.events(50, invalid_rate=0.3)
    caves.publish(messages)
    ingest(caves)

    sent = {message.value for message in messages}
    for row in caves.warehouse.query("SELECT VALUE FROM RAW_DATA.DEAD_LETTER_EVENTS WHERE VALUE IS NOT NULL"):
        assert bytes(row["VALUE"]) in sent
    by_id = {message.event_id: json.loads(message.value or b"") for message in messages if message.event_id}
    rows = caves.warehouse.query(
        "SELECT EVENT_ID, EVENT_METADATA, EVENT_CONTENT, EVENT_METADATA:event_id::VARCHAR AS INSIDE "
        "FROM RAW_DATA.RAW_EVENTS_STREAM"
    )
    assert len(rows) == len(by_id)
    for row in rows:
        assert json.loads(row["EVENT_METADATA"]) == by_id[row["EVENT_ID"]]["event_metadata"]
        assert json.loads(row["EVENT_CONTENT"]) == by_id[row["EVENT_ID"]]["event_content"]
        assert row["INSIDE"] == row["EVENT_ID"]
    assert files_on_stage(caves) == []
