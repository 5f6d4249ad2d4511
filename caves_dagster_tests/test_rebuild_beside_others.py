"""A rebuild while others land, transform, read, rebuild; killed anywhere; after streams went stale."""

from __future__ import annotations

import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import pytest

from caves_dagster.assets.transformation import transform
from caves_dagster.checks.catalogue import integrity_checks
from caves_dagster.checks.check import run_check
from caves_dagster.errors import StreamStale, WarehouseNotSetUp, WriteConflict
from caves_dagster.kafka.producer import publish
from caves_dagster.rebuild import RebuildReport, rebuild, recreate_lost_streams
from caves_dagster.settings import PROJECT_ROOT, SnowflakeSettings
from caves_dagster.shop import Transformation
from caves_dagster.warehouse.connection import Warehouse
from caves_dagster_tests.conftest import Caves
from caves_dagster_tests.ingest.accounting import environment, ingestion, require_exactly_once
from caves_dagster_tests.ingest.test_crashes import end_open_transactions
from caves_dagster_tests.raw_rows import Feed, RawRow, consume_all, insert_raw
from caves_dagster_tests.versions import PRODUCED, STAGED, expected_production, in_order, rows_of

_FILL = "INSERT INTO STAGING.STG_ORDERS"
"""How the statement between a DELETE and its table's new rows begins."""
_WHOLE = "SELECT " + ", ".join(f"(SELECT COUNT(*) FROM {table})" for table in (*STAGED, *PRODUCED))


class _Stopping(Warehouse):
    """A session that calls somebody before one of its statements, once."""

    def __init__(self, settings: SnowflakeSettings, before: str, call: Callable[[], None]) -> None:
        super().__init__(settings)
        self._before, self._call, self.called = before, call, 0

    def execute(self, sql: str, parameters: Mapping[str, Any] | None = None) -> int:
        if sql.startswith(self._before) and not self.called:
            self.called += 1
            self._call()
        return super().execute(sql, parameters)


@contextmanager
def _in_a_thread(work: Callable[[], Any]) -> Iterator[list[Any]]:
    """Run `work` beside the block; its result is in the list when the block is left. Its error is raised."""
    results: list[Any] = []
    errors: list[BaseException] = []

    def run() -> None:
        try:
            results.append(work())
        except BaseException as error:  # noqa: BLE001 - raised in the test's thread
            errors.append(error)

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    try:
        yield results
    finally:
        thread.join(timeout=120)
    assert not thread.is_alive()
    if errors:
        raise errors[0]


def _rows(count: int, feed: Feed | None = None) -> list[RawRow]:
    feed = feed or Feed()
    first = len(feed.rows)
    for _ in range(count):
        number = len(feed.rows) // 2 + 1
        feed.order(number, quantity=1 + number % 12)
        feed.adjustment(number, product_id=1000 + number, stock_level=number)
    return feed.rows[first:]


def _tables(caves: Caves) -> dict[str, list[dict[str, Any]]]:
    return {table: rows_of(caves, table) for table in (*STAGED, *PRODUCED)}


def _production(caves: Caves) -> dict[str, list[dict[str, Any]]]:
    return {table: rows_of(caves, table) for table in PRODUCED}


def _require_settled(caves: Caves, rows: list[RawRow]) -> None:
    """Once the streams are drained: each record staged once, and PRODUCTION as worked out in Python."""
    consume_all(caves.warehouse, caves.shop)
    assert [caves.count(step.stream.full_name) for step in caves.shop.transformations] == [0] * 4
    assert sum(caves.count(table) for table in STAGED) == len(rows)
    assert _production(caves) == in_order(expected_production(rows))


# --- beside others ---


def test_between_the_delete_and_the_new_rows_landing_goes_on_and_readers_see_all_of_the_old(
    caves: Caves,
) -> None:
    feed = Feed()
    insert_raw(caves.warehouse, _rows(50, feed))
    consume_all(caves.warehouse, caves.shop)
    seen = []

    def meanwhile() -> None:
        with Warehouse(caves.settings.snowflake) as other:
            seen.append(list(other.query(_WHOLE)[0].values()))
            insert_raw(other, _rows(7, feed))
            seen.append(list(other.query(_WHOLE)[0].values()))
            # Nor does anybody transform: the fence is held.
            with pytest.raises(WriteConflict):
                other.execute("UPDATE RAW_DATA.TRANSFORM_FENCE SET EPOCH = EPOCH + 1")

    with (warehouse := _Stopping(caves.settings.snowflake, _FILL, meanwhile)):
        report = rebuild(warehouse, caves.shop)

    assert warehouse.called
    assert seen == [[50, 50, 50, 50, 50]] * 2
    assert report.after["STAGING.STG_ORDERS"] == 50
    # What was landed meanwhile came through the streams, right after the rebuild.
    assert report.came_back["STAGING.STG_ORDERS"] == 7
    _require_settled(caves, feed.rows)


@pytest.mark.parametrize("point", ["BEGIN", "DELETE FROM STAGING.STG_ORDERS", _FILL, "MERGE", "COMMIT"])
def test_transformations_that_begin_while_it_runs_wait_and_double_nothing(caves: Caves, point: str) -> None:
    feed = Feed()
    insert_raw(caves.warehouse, _rows(20, feed))
    consume_all(caves.warehouse, caves.shop)
    insert_raw(caves.warehouse, _rows(20, feed))
    transform(caves.warehouse, caves.shop, caves.shop.transformations[0])
    insert_raw(caves.warehouse, _rows(20, feed))
    go = threading.Event()

    def consume() -> dict[str, int]:
        assert go.wait(60)
        with Warehouse(caves.settings.snowflake) as other:
            return consume_all(other, caves.shop)

    def begin() -> None:
        go.set()
        time.sleep(0.3)

    with (
        _in_a_thread(consume),
        (warehouse := _Stopping(caves.settings.snowflake, point, begin)),
    ):
        rebuild(warehouse, caves.shop)

    assert warehouse.called
    _require_settled(caves, feed.rows)


def test_a_rebuild_waits_for_a_transformation_that_has_begun(caves: Caves) -> None:
    feed = Feed()
    insert_raw(caves.warehouse, _rows(20, feed))
    result: list[RebuildReport] = []

    def meanwhile() -> None:
        with Warehouse(caves.settings.snowflake) as other, pytest.raises(WriteConflict):
            rebuild(other, caves.shop, patience_seconds=0.3)

    with (warehouse := _Stopping(caves.settings.snowflake, "COMMIT", meanwhile)):
        transform(warehouse, caves.shop, caves.shop.transformations[0])
    result.append(rebuild(caves.warehouse, caves.shop))

    assert warehouse.called
    assert result[0].before["STAGING.STG_ORDERS"] == 20
    _require_settled(caves, feed.rows)


def test_two_rebuilds_at_once_take_turns(caves: Caves) -> None:
    feed = Feed()
    insert_raw(caves.warehouse, _rows(60, feed))
    together = threading.Barrier(2, timeout=60)

    def again() -> list[RebuildReport]:
        with Warehouse(caves.settings.snowflake) as other:
            together.wait()
            return [rebuild(other, caves.shop) for _ in range(2)]

    with _in_a_thread(again), _in_a_thread(again):
        pass

    _require_settled(caves, feed.rows)


def test_a_reader_in_a_transaction_keeps_the_rows_it_began_with(caves: Caves) -> None:
    """Not so on Snowflake, where each statement sees what is committed: there it sees all of the new."""
    insert_raw(caves.warehouse, _rows(30))
    consume_all(caves.warehouse, caves.shop)
    with Warehouse(caves.settings.snowflake) as reader, reader.transaction():
        before = reader.query(_WHOLE)
        looks = 0

        class Watched(Warehouse):
            def execute(self, sql: str, parameters: Mapping[str, Any] | None = None) -> int:
                nonlocal looks
                done = super().execute(sql, parameters)
                looks += 1
                assert reader.query(_WHOLE) == before, sql
                return done

        with Watched(caves.settings.snowflake) as warehouse:
            rebuild(warehouse, caves.shop)
    assert looks > 20
    assert caves.warehouse.query(_WHOLE) == before


@pytest.mark.slow
def test_rebuilds_beside_a_producer_and_the_pipeline_lose_and_double_nothing(caves: Caves) -> None:
    messages = caves.events(700)
    produced, rebuilt = threading.Event(), threading.Event()

    def produce() -> None:
        try:
            publish(caves.settings.kafka, caves.shop.topic, messages, rate=200).require_delivery()
        finally:
            produced.set()

    def pipeline() -> None:
        with Warehouse(caves.settings.snowflake) as other:
            while not (produced.is_set() and rebuilt.is_set()):
                ingestion(caves, warehouse=other, batch_max_events=50).run()
                consume_all(other, caves.shop)
            ingestion(caves, warehouse=other).run()
            consume_all(other, caves.shop)

    def read() -> list[tuple[int, ...]]:
        """What a reader sees of the five tables, which only ever grow, at one moment each."""
        seen = []
        with Warehouse(caves.settings.snowflake) as other:
            while not rebuilt.is_set():
                seen.append(tuple(other.query(_WHOLE)[0].values()))
        return seen

    rebuilds = 0
    with _in_a_thread(produce), _in_a_thread(pipeline), _in_a_thread(read) as seen:
        try:
            while not produced.is_set() or rebuilds < 3:
                rebuild(caves.warehouse, caves.shop)
                rebuilds += 1
                time.sleep(1)  # some of the time is the pipeline's
        finally:
            rebuilt.set()

    for before, after in zip(seen[0], seen[0][1:], strict=False):
        assert all(first <= second for first, second in zip(before, after, strict=True)), (before, after)
    require_exactly_once(caves, messages)
    for check in integrity_checks(caves.shop):
        outcome = run_check(caves.warehouse, caves.shop, check)
        assert outcome.status == "PASS", (check.name, outcome.offending_keys)
    expected = _tables(caves)
    rebuild(caves.warehouse, caves.shop)
    assert _tables(caves) == expected


# --- killed ---

_WORKER = """
import os, signal, sys
from caves_dagster.rebuild import rebuild
from caves_dagster.settings import load_settings
from caves_dagster.shops import find_shop
from caves_dagster.warehouse.connection import Warehouse

class Dying(Warehouse):
    left = 0

    def execute(self, sql, parameters=None):
        if self.left == 0:
            os.kill(os.getpid(), signal.SIGKILL)
        self.left -= 1
        return super().execute(sql, parameters)

settings = load_settings()
shop = find_shop(settings, "caves")
for line in sys.stdin:
    child = os.fork()
    if child == 0:
        with Dying(settings.snowflake) as warehouse:
            warehouse.left = int(line)
            rebuild(warehouse, shop)
        os._exit(0)
    _, status = os.waitpid(child, 0)
    print(os.waitstatus_to_exitcode(status), flush=True)
"""


@contextmanager
def _killer(caves: Caves) -> Iterator[Callable[[int], int]]:
    """Rebuilds in processes of their own, killed before their nth statement; gives the exit code."""
    with subprocess.Popen(
        [sys.executable, "-c", _WORKER],
        cwd=PROJECT_ROOT,
        env=environment(caves),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as worker:
        assert worker.stdin is not None
        assert worker.stdout is not None
        told, heard = worker.stdin, worker.stdout

        def kill(before: int) -> int:
            told.write(f"{before}\n")
            told.flush()
            return int(heard.readline())

        yield kill
        told.close()


@pytest.mark.slow
def test_killed_before_any_of_its_statements_it_leaves_all_of_the_old_or_all_of_the_new(caves: Caves) -> None:
    feed = Feed()
    insert_raw(caves.warehouse, _rows(8, feed))
    consume_all(caves.warehouse, caves.shop)
    insert_raw(caves.warehouse, _rows(4, feed))
    rebuild(caves.warehouse, caves.shop)
    new = _tables(caves)
    caves.warehouse.execute("UPDATE PRODUCTION.ORDERS SET TOTAL_AMOUNT = 0 WHERE ORDER_LINE_ID = 3")
    old = _tables(caves)
    # BEGIN, the fence, 4 streams, 5 tables emptied and filled, COMMIT.
    statements = 1 + 1 + 4 + 2 * 5 + 1

    with _killer(caves) as killed_before:
        for statement in range(statements):
            assert killed_before(statement) == -signal.SIGKILL
            end_open_transactions(caves)
            assert _tables(caves) == old, statement
        assert killed_before(statements) == -signal.SIGKILL
        assert _tables(caves) == new
        assert [caves.count(step.stream.full_name) for step in caves.shop.transformations] == [0, 12, 12, 12]
        assert killed_before(10_000) == 0

    assert _tables(caves) == new
    _require_settled(caves, feed.rows)


# --- stale streams ---


def _make_stale(caves: Caves, step: Transformation) -> None:
    """Recreating a table costs its history, and every stream on it its place; its rows are all there."""
    name = step.source.full_name
    caves.warehouse.execute(f"CREATE OR REPLACE TABLE {name} AS SELECT * FROM {name}")
    with pytest.raises(WarehouseNotSetUp):
        caves.count(step.stream.full_name)


def _stale(caves: Caves) -> set[str]:
    shown = caves.warehouse.query("SHOW STREAMS IN DATABASE")
    return {f"{row['SCHEMA_NAME']}.{row['NAME']}" for row in shown if row["STALE"] == "true"}


def _names(steps: tuple[Transformation, ...]) -> list[str]:
    return [step.stream.full_name for step in steps]


def _three_waiting_layers(caves: Caves) -> Feed:
    """Rows in PRODUCTION, rows that wait in the streams on STAGING, rows that wait in the one on RAW."""
    feed = Feed()
    insert_raw(caves.warehouse, _rows(10, feed))
    consume_all(caves.warehouse, caves.shop)
    insert_raw(caves.warehouse, _rows(10, feed))
    transform(caves.warehouse, caves.shop, caves.shop.transformations[0])
    insert_raw(caves.warehouse, _rows(10, feed))
    return feed


@pytest.mark.parametrize("which", [(0,), (1,), (2,), (0, 1, 2)])
def test_a_rebuild_makes_stale_streams_anew_and_brings_what_they_lost(
    caves: Caves, which: tuple[int, ...]
) -> None:
    feed = _three_waiting_layers(caves)
    for index in which:
        _make_stale(caves, caves.shop.transformations[index])
    stale = _stale(caves)
    assert stale

    report = rebuild(caves.warehouse, caves.shop)

    assert set(report.recreated) == stale
    assert _stale(caves) == set()
    assert _production(caves) == in_order(expected_production(feed.rows))
    # And they flow again.
    insert_raw(caves.warehouse, _rows(10, feed))
    _require_settled(caves, feed.rows)


def test_a_transformation_whose_stream_is_stale_says_what_to_do(caves: Caves) -> None:
    _three_waiting_layers(caves)
    step = caves.shop.transformations[1]
    _make_stale(caves, step)

    with pytest.raises(StreamStale, match=r"STAGING.STREAM_STG_ORDERS is stale.* `caves rebuild`"):
        transform(caves.warehouse, caves.shop, step)

    caves.warehouse.execute(f"DROP STREAM {step.stream.full_name}")
    with pytest.raises(WarehouseNotSetUp, match="caves setup"):
        transform(caves.warehouse, caves.shop, step)


def test_a_stream_that_somebody_dropped_is_made_anew_too(caves: Caves) -> None:
    feed = _three_waiting_layers(caves)
    caves.warehouse.execute("DROP STREAM RAW_DATA.STREAM_RAW_EVENTS")

    assert rebuild(caves.warehouse, caves.shop).recreated == ["RAW_DATA.STREAM_RAW_EVENTS"]

    insert_raw(caves.warehouse, _rows(10, feed))
    _require_settled(caves, feed.rows)


def test_what_lands_while_a_stream_is_made_anew_is_not_lost(caves: Caves) -> None:
    feed = _three_waiting_layers(caves)
    _make_stale(caves, caves.shop.transformations[0])
    landed = []

    def land() -> None:
        with Warehouse(caves.settings.snowflake) as other:
            insert_raw(other, _rows(10, feed))
        landed.append(1)

    for before in ("CREATE OR REPLACE STREAM", "BEGIN", "UPDATE RAW_DATA.TRANSFORM_FENCE", "INSERT INTO RAW"):
        with _Stopping(caves.settings.snowflake, before, land) as warehouse:
            rebuild(warehouse, caves.shop)
        _make_stale(caves, caves.shop.transformations[0])

    assert len(landed) == 4
    rebuild(caves.warehouse, caves.shop)
    _require_settled(caves, feed.rows)


def test_a_rebuild_that_dies_after_making_streams_anew_has_lost_nothing(caves: Caves) -> None:
    """The streams hold every row of their tables: the transformations alone bring what was lost."""
    feed = _three_waiting_layers(caves)
    for index in (0, 1, 2):
        _make_stale(caves, caves.shop.transformations[index])

    assert recreate_lost_streams(caves.warehouse, caves.shop) == _names(caves.shop.transformations)

    _require_settled(caves, feed.rows)
    assert recreate_lost_streams(caves.warehouse, caves.shop) == []
