"""Each run of a task is told once, whatever order they end in, and nothing is asked of an idle shop."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import dagster as dg

from caves_dagster.tasks.control import execute
from caves_dagster.tasks.deploy import deploy
from caves_dagster.tasks.history import TaskRun
from caves_dagster.tasks.observe import WATCH_SECONDS, look_on, untold
from caves_dagster_tests.conftest import Caves
from caves_dagster_tests.raw_rows import Feed, insert_raw
from caves_dagster_tests.test_sensors import Recording

NOON = datetime(2026, 7, 1, 12, 0, tzinfo=UTC)


def ran(query_id: str, ended: float, state: str = "SUCCEEDED", task: str = "T") -> TaskRun:
    """A run that ended so many seconds after noon."""
    at = NOON + timedelta(seconds=ended)
    return TaskRun(task, state, "1", query_id, False, "", at, at, at)


def told(runs: Sequence[TaskRun], seen: dict[str, Any], now: float = 0.0) -> list[str]:
    return [run.query_id for run in untold(runs, seen, NOON.timestamp() + now)]


def test_a_run_is_told_once_the_oldest_first() -> None:
    seen: dict[str, Any] = {}
    assert told([ran("b", 20), ran("a", 10)], seen) == ["a", "b"]
    assert told([ran("c", 30), ran("b", 20), ran("a", 10)], seen) == ["c"]
    assert told([ran("c", 30), ran("b", 20), ran("a", 10)], seen) == []


def test_one_that_comes_to_the_history_late_is_told_all_the_same() -> None:
    seen: dict[str, Any] = {}
    assert told([ran("b", 20)], seen) == ["b"]
    assert told([ran("b", 20), ran("a", 19)], seen) == ["a"]
    assert told([ran("c", 100), ran("b", 20), ran("a", 19)], seen) == ["c"]
    assert told([ran("late", 15), ran("c", 100), ran("b", 20), ran("a", 19)], seen) == ["late"]


def test_two_that_end_at_the_same_moment_are_told_both() -> None:
    seen: dict[str, Any] = {}
    assert told([ran("b", 10)], seen) == ["b"]
    assert told([ran("a", 10), ran("b", 10)], seen) == ["a"]


def test_only_what_succeeded_is_told() -> None:
    states = ("FAILED", "SKIPPED", "CANCELLED", "EXECUTING", "SCHEDULED")
    assert told([ran(state, 10, state) for state in states], {}) == []


def test_what_is_remembered_does_not_grow() -> None:
    seen: dict[str, Any] = {}
    runs: list[TaskRun] = []
    for minute in range(180):
        runs = [ran(f"q{minute}", 60 * minute), *runs]
        assert told(runs, seen, 60 * minute) == [f"q{minute}"]
        assert len(seen["told"]) <= 3


def test_a_lost_cursor_begins_a_few_minutes_ago() -> None:
    assert told([ran("new", -60), ran("old", -3600)], {}) == ["new"]


def test_what_the_tasks_wrote_is_told_of_their_tables(caves: Caves) -> None:
    feed, shop, seen = Feed(), caves.shop, dict[str, Any]()
    deploy(caves.warehouse, shop)
    insert_raw(caves.warehouse, [feed.order(1), feed.order(2), feed.adjustment(1)])
    execute(caves.warehouse, shop, 60)

    look = look_on(caves.warehouse, shop, [], seen, datetime.now(UTC).timestamp())

    events = {event.asset_key.to_user_string(): event for event in look.events}
    assert set(events) == {table.full_name.lower().replace(".", "/") for table in shop.tables[1:]}
    orders = events["production/orders"]
    assert orders.description == "By Snowflake task RAW_DATA.TASK_STAGING_TO_PROD_ORDERS."
    assert orders.metadata["rows_changed"] == dg.IntMetadataValue(2)
    assert orders.metadata["dagster/row_count"] == dg.IntMetadataValue(2)
    assert events["staging/stg_inventory_adjustments"].metadata["rows_changed"] == dg.IntMetadataValue(1)
    assert list(look.tables) == list(shop.tables[1:])

    insert_raw(caves.warehouse, [feed.order(1), feed.order(3)])
    execute(caves.warehouse, shop, 60)
    look = look_on(caves.warehouse, shop, [], seen, datetime.now(UTC).timestamp())
    again = {event.asset_key.to_user_string(): event for event in look.events}
    assert set(again) == {"staging/stg_orders", "staging/stg_inventory_adjustments", "production/orders"}
    assert again["production/orders"].metadata["rows_changed"] == dg.IntMetadataValue(2)
    assert again["production/orders"].metadata["dagster/row_count"] == dg.IntMetadataValue(3)


def test_history_is_asked_only_when_something_may_have_happened(caves: Caves) -> None:
    deploy(caves.warehouse, caves.shop)
    seen: dict[str, Any] = {}
    warehouse = Recording(caves.settings.snowflake)
    with warehouse:

        def asked(now: float, waiting: bool = False) -> bool:
            warehouse.statements.clear()
            streams = [caves.shop.transformations[0].stream] if waiting else []
            look_on(warehouse, caves.shop, streams, seen, now)
            return any("TASK_HISTORY" in statement for statement in warehouse.statements)

        assert asked(1000.0), "nobody knows yet"
        assert not any(asked(1000.0 + WATCH_SECONDS + 60.0 * minute) for minute in range(1, 100))
        assert [statement.split(" LIKE")[0] for statement in warehouse.statements] == ["SHOW TABLES"]
        later = 1e6
        insert_raw(caves.warehouse, [Feed().order(1)])
        assert asked(later), "RAW has grown"
        assert asked(later + WATCH_SECONDS - 1)
        assert not asked(later + WATCH_SECONDS + 1)
        assert asked(later + 2 * WATCH_SECONDS, waiting=True)
