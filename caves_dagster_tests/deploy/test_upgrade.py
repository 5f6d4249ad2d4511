"""A database of the first version of this project, with rows in it, becomes what it would be today."""

from __future__ import annotations

from pathlib import Path

import pytest

from caves_dagster.deploy.carry_out import carry_out, read_state, set_up
from caves_dagster.rebuild import drain
from caves_dagster.warehouse.connection import Row
from caves_dagster.warehouse.scripts import statements
from caves_dagster_tests.conftest import Caves
from caves_dagster_tests.ingest.accounting import ingest, require_sound

pytestmark = pytest.mark.snowflake

FIRST_VERSION = Path(__file__).with_name("first_version.sql")
SCHEMAS = ("RAW_DATA", "STAGING", "PRODUCTION", "ANALYTICS", "BATCH_DATA")
STREAMS = {
    "RAW_DATA.STREAM_RAW_EVENTS": "RAW_DATA.RAW_EVENTS_STREAM",
    "STAGING.STREAM_STG_ORDERS": "STAGING.STG_ORDERS",
    "STAGING.STREAM_STG_INVENTORY_FOR_HISTORY": "STAGING.STG_INVENTORY_ADJUSTMENTS",
    "STAGING.STREAM_STG_INVENTORY_FOR_CURRENT": "STAGING.STG_INVENTORY_ADJUSTMENTS",
}


def _columns(caves: Caves, schema: str) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for row in caves.warehouse.query(
        "SELECT c.TABLE_NAME, c.COLUMN_NAME FROM INFORMATION_SCHEMA.COLUMNS AS c "
        "JOIN INFORMATION_SCHEMA.TABLES AS t "
        "ON t.TABLE_SCHEMA = c.TABLE_SCHEMA AND t.TABLE_NAME = c.TABLE_NAME "
        "WHERE c.TABLE_SCHEMA = %(schema)s AND t.TABLE_TYPE = 'BASE TABLE' ORDER BY c.ORDINAL_POSITION",
        {"schema": schema},
    ):
        found.setdefault(row["TABLE_NAME"], []).append(row["COLUMN_NAME"])
    return found


def _back_to_the_first_version(caves: Caves) -> dict[str, list[str]]:
    """Exchange the tables for those of the first version, with the rows of today as it would have them.

    What the streams have not handed on yet waits in the old ones too. Returns the old tables' columns.
    """
    run = caves.warehouse.execute
    run("CREATE SCHEMA ASIDE")
    for schema in SCHEMAS[:3]:
        for table in _columns(caves, schema):
            run(f"CREATE TABLE ASIDE.{table} AS SELECT * FROM {schema}.{table}")
    waiting = (
        "SELECT DISTINCT BATCH_ID FROM ASIDE.INGEST_BATCHES QUALIFY RANK() OVER (ORDER BY EPOCH DESC) = 1"
    )
    for schema in SCHEMAS:
        run(f"DROP SCHEMA {schema}")
    for statement in statements(FIRST_VERSION.read_text()):
        run(statement)
    run("DELETE FROM RAW_DATA.INGEST_FENCE")
    old = {f"{schema}.{name}": c for schema in SCHEMAS[:3] for name, c in _columns(caves, schema).items()}
    for table, columns in old.items():
        names = ", ".join(columns)
        insert = f"INSERT INTO {table} ({names}) SELECT {names} FROM ASIDE.{table.partition('.')[2]}"
        run(insert + (f" WHERE BATCH_ID NOT IN ({waiting})" if table == "RAW_DATA.RAW_EVENTS_STREAM" else ""))
    for stream in STREAMS:
        run(f"CREATE TABLE ASIDE.{stream.partition('.')[2]} AS SELECT * FROM {stream} WHERE FALSE")
    names = ", ".join(old["RAW_DATA.RAW_EVENTS_STREAM"])
    run(
        f"INSERT INTO RAW_DATA.RAW_EVENTS_STREAM ({names}) "
        f"SELECT {names} FROM ASIDE.RAW_EVENTS_STREAM WHERE BATCH_ID IN ({waiting})"
    )
    return old


def _rows(caves: Caves, old: dict[str, list[str]]) -> dict[str, list[Row]]:
    """Every row of the old tables' old columns."""
    return {
        table: sorted(
            caves.warehouse.query(f"SELECT {', '.join(columns)} FROM {table}"), key=lambda row: str(row)
        )
        for table, columns in old.items()
    }


def test_rows_and_streams_and_what_waits_in_them_survive_and_events_flow_on(caves: Caves) -> None:
    for seed, invalid in ((1, 0.1), (2, 0.0)):
        caves.publish(caves.events(60, seed=seed, invalid_rate=invalid))
        ingest(caves)
        drain(caves.warehouse, caves.shop)
    caves.publish(caves.events(30, seed=3))
    ingest(caves)
    old = _back_to_the_first_version(caves)
    before = _rows(caves, old)
    assert caves.count("RAW_DATA.STREAM_RAW_EVENTS") == 30

    plan = read_state(caves.warehouse, caves.shop).plan
    done = {step.name: step.action.value for step in plan.changes}
    carry_out(caves.warehouse, caves.shop, read_state(caves.warehouse, caves.shop))

    assert done["RAW_DATA.RAW_EVENTS_STREAM.EVENT_EXTRA"] == "add column"
    assert done["RAW_DATA.INGEST_BATCHES.EPOCH"] == "fill column"
    assert done["RAW_DATA.DEPLOYMENTS"] == done["BATCH_DATA.SALES"] == "create"
    assert done["ANALYTICS.DAILY_SALES"] == "replace view"
    assert not STREAMS.keys() & done.keys()
    assert read_state(caves.warehouse, caves.shop).plan.drift == ()
    assert _rows(caves, old) == before
    epochs = "SELECT BATCH_ID, EPOCH FROM {} ORDER BY EPOCH"
    assert caves.warehouse.query(epochs.format("RAW_DATA.INGEST_BATCHES")) == caves.warehouse.query(
        epochs.format("ASIDE.INGEST_BATCHES")
    )
    assert caves.count("RAW_DATA.STREAM_RAW_EVENTS") == 30
    caves.publish(caves.events(50, seed=4, invalid_rate=0.1))
    ingest(caves)
    drain(caves.warehouse, caves.shop)
    assert caves.count("RAW_DATA.STREAM_RAW_EVENTS") == 0
    require_sound(caves)


def test_an_upgrade_that_was_killed_after_any_statement_is_finished_by_the_next(caves: Caves) -> None:
    caves.publish(caves.events(30))
    ingest(caves)
    _back_to_the_first_version(caves)
    statements_left = read_state(caves.warehouse, caves.shop).plan.statements

    class Killed(Exception):
        """In the place of SIGKILL."""

    left = 0
    execute = caves.warehouse.execute

    def dying(sql: str, *more: object) -> int:
        nonlocal left
        left -= 1
        if left < 0:
            raise Killed
        return execute(sql, *more)  # type: ignore[arg-type]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(caves.warehouse, "execute", dying)
        for _ in statements_left:
            left = 3
            try:
                set_up(caves.warehouse, caves.shop)
                break
            except Killed:
                continue

    assert read_state(caves.warehouse, caves.shop).plan.drift == ()
    drain(caves.warehouse, caves.shop)
    require_sound(caves)
