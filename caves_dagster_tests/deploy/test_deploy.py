"""Deployments: made, repeated, refused, recorded, and the pipeline on what comes of them."""

from __future__ import annotations

import pytest
import sqlglot
from sqlglot import exp

from caves_dagster.deploy.carry_out import State, carry_out, read_state, set_up, this_version
from caves_dagster.deploy.declared import declared
from caves_dagster.deploy.step import Action
from caves_dagster.errors import DeploymentRefused
from caves_dagster.rebuild import drain
from caves_dagster_tests.conftest import Caves
from caves_dagster_tests.ingest.accounting import ingest, require_sound

pytestmark = pytest.mark.snowflake


def state(caves: Caves) -> State:
    """The database as it is now."""
    return read_state(caves.warehouse, caves.shop)


def drift(caves: Caves) -> dict[str, str]:
    """What differs, by object."""
    return {step.name: step.action.value for step in state(caves).plan.drift}


def test_a_second_deployment_does_nothing_and_records_nothing(caves: Caves) -> None:
    assert drift(caves) == {}
    assert set_up(caves.warehouse, caves.shop) == 0

    (row,) = caves.warehouse.query("SELECT * FROM RAW_DATA.DEPLOYMENTS")
    this = this_version(caves.shop)
    assert (row["VERSION"], row["SQL_HASH"]) == (this.version, this.sql_hash)
    assert row["CHANGES"] >= len(declared(caves.shop))
    (user,) = caves.warehouse.query("SELECT CURRENT_USER() AS NAME")
    assert row["DEPLOYED_BY"] == user["NAME"]


def test_what_was_taken_away_or_changed_comes_back(caves: Caves) -> None:
    caves.publish(caves.events(40))
    ingest(caves)
    for statement in (
        "DROP VIEW ANALYTICS.TOP_WINES",
        "CREATE OR REPLACE VIEW ANALYTICS.DAILY_SALES AS SELECT 1 AS ONE",
        "DELETE FROM RAW_DATA.INGEST_FENCE",
        "ALTER TABLE PRODUCTION.ORDERS DROP COLUMN DISCOUNT",
        "ALTER TABLE RAW_DATA.RAW_EVENTS_STREAM DROP COLUMN EVENT_EXTRA",
        "COMMENT ON COLUMN PRODUCTION.ORDERS.QUANTITY IS 'boxes'",
        "COMMENT ON TABLE STAGING.STG_ORDERS IS 'old'",
    ):
        caves.warehouse.execute(statement)

    assert drift(caves) == {
        "ANALYTICS.TOP_WINES": "create",
        "ANALYTICS.DAILY_SALES": "replace view",
        "RAW_DATA.INGEST_FENCE": "create",
        "PRODUCTION.ORDERS.DISCOUNT": "add column",
        "RAW_DATA.RAW_EVENTS_STREAM.EVENT_EXTRA": "add column",
        "PRODUCTION.ORDERS.QUANTITY": "comment",
        "STAGING.STG_ORDERS": "comment",
    }
    assert carry_out(caves.warehouse, caves.shop, state(caves)) == 9

    assert drift(caves) == {}
    assert caves.count("RAW_DATA.DEPLOYMENTS") == 2
    assert caves.count("RAW_DATA.STREAM_RAW_EVENTS") == 40
    caves.publish(caves.events(40, seed=2))
    ingest(caves)
    drain(caves.warehouse, caves.shop)
    require_sound(caves)


def test_a_column_is_made_as_wide_as_its_ddl_and_none_is_made_narrower(caves: Caves) -> None:
    caves.warehouse.execute("ALTER TABLE STAGING.STG_ORDERS DROP COLUMN SALES_CHANNEL")
    caves.warehouse.execute("ALTER TABLE STAGING.STG_ORDERS ADD COLUMN SALES_CHANNEL VARCHAR(5)")
    caves.warehouse.execute("ALTER TABLE PRODUCTION.ORDERS DROP COLUMN UNIT_PRICE")
    caves.warehouse.execute("ALTER TABLE PRODUCTION.ORDERS ADD COLUMN UNIT_PRICE NUMBER(5, 2)")
    set_up(caves.warehouse, caves.shop)
    assert drift(caves) == {}

    caves.warehouse.execute(
        "ALTER TABLE PRODUCTION.ORDERS ALTER COLUMN UNIT_PRICE SET DATA TYPE NUMBER(14, 2)"
    )
    with pytest.raises(DeploymentRefused, match=r"PRODUCTION\.ORDERS\.UNIT_PRICE .* NUMBER\(14, 2\)"):
        set_up(caves.warehouse, caves.shop)


def test_a_refused_deployment_does_nothing_at_all(caves: Caves) -> None:
    caves.publish(caves.events(40))
    ingest(caves)
    drain(caves.warehouse, caves.shop)
    caves.warehouse.execute("DROP VIEW ANALYTICS.TOP_WINES")
    caves.warehouse.execute("ALTER TABLE PRODUCTION.ORDERS RENAME COLUMN LOADED_AT TO LOADED")

    with pytest.raises(DeploymentRefused, match=r"RENAME COLUMN LOADED TO LOADED_AT") as refused:
        set_up(caves.warehouse, caves.shop)

    assert "1 more" in str(refused.value)
    assert drift(caves)["ANALYTICS.TOP_WINES"] == "create"
    caves.warehouse.execute("ALTER TABLE PRODUCTION.ORDERS RENAME COLUMN LOADED TO LOADED_AT")
    assert set_up(caves.warehouse, caves.shop) == 1


def test_a_column_more_is_kept_and_stops_nothing(caves: Caves) -> None:
    caves.warehouse.execute("ALTER TABLE PRODUCTION.ORDERS ADD COLUMN NOTE VARCHAR(20)")

    assert drift(caves) == {"PRODUCTION.ORDERS.NOTE": "kept as it is"}
    assert set_up(caves.warehouse, caves.shop) == 0
    caves.publish(caves.events(40))
    ingest(caves)
    drain(caves.warehouse, caves.shop)
    assert caves.count("PRODUCTION.ORDERS") > 0


def test_a_stream_is_left_alone_whatever_became_of_it(caves: Caves) -> None:
    caves.warehouse.execute("DROP STREAM STAGING.STREAM_STG_ORDERS")
    caves.warehouse.execute(
        "CREATE STREAM STAGING.STREAM_STG_ORDERS ON TABLE PRODUCTION.ORDERS APPEND_ONLY = TRUE"
    )

    (step,) = state(caves).plan.decisions

    assert "expected APPEND_ONLY on STAGING.STG_ORDERS" in step.detail
    assert step.statements == ()


def test_the_order_of_columns_does_not_matter(caves: Caves) -> None:
    """As in a table that gained its columns one by one: COPY and INSERT name theirs."""
    for schema in ("RAW_DATA", "STAGING", "PRODUCTION", "ANALYTICS"):
        caves.warehouse.execute(f"DROP SCHEMA {schema}")
    for one in declared(caves.shop):
        text = one.sql
        if one.kind == "table":
            tree = sqlglot.parse_one(text, dialect="snowflake")
            columns = [item for item in tree.this.expressions if isinstance(item, exp.ColumnDef)]
            rest = [item for item in tree.this.expressions if not isinstance(item, exp.ColumnDef)]
            tree.this.set("expressions", [*reversed(columns), *rest])
            text = tree.sql(dialect="snowflake")
        caves.warehouse.execute(text)
    assert {step.action for step in state(caves).plan.steps} == {Action.UNCHANGED}
    first = caves.warehouse.query("SELECT * FROM PRODUCTION.ORDERS LIMIT 0")
    assert first == []

    caves.publish(caves.events(300, invalid_rate=0.1))
    report = ingest(caves)
    drain(caves.warehouse, caves.shop)

    assert report.landed > 0
    assert report.dead > 0
    assert caves.count("PRODUCTION.ORDERS") + caves.count("PRODUCTION.INVENTORY_HISTORY") == report.landed
    require_sound(caves)


def test_both_shops_are_deployed_in_one_database(dropship: Caves) -> None:
    assert drift(dropship) == {}
    assert set_up(dropship.warehouse, dropship.shop) == 0
