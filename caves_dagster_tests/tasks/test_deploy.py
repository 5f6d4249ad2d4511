"""What a deployment finds to do, and what it leaves behind; who drives stays as it was."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import pytest

from caves_dagster.errors import CavesError, PrivilegeMissing, StatementFailed, WarehouseNotSetUp
from caves_dagster.settings import SnowflakeSettings
from caves_dagster.shop import Shop
from caves_dagster.shops.caves import CAVES
from caves_dagster.tasks.control import execute, resume, suspend
from caves_dagster.tasks.deploy import Change, deploy, plan
from caves_dagster.tasks.deployed import Deployed, deployed, task_mode
from caves_dagster.tasks.graph import create_sql, task_graph
from caves_dagster.tasks.history import history
from caves_dagster.warehouse.connection import Row, Warehouse
from caves_dagster_tests.conftest import Caves
from caves_dagster_tests.raw_rows import Feed, insert_raw

GRAPH = task_graph(CAVES)
ROOT, ORDERS = GRAPH[0].name, GRAPH[1].name
UNCHANGED = {task.name: Change(task.name, "unchanged") for task in GRAPH}


def as_deployed(shop: Shop = CAVES) -> dict[str, Deployed]:
    """The shop's tasks as SHOW TASKS gives them right after a deployment."""
    found = {}
    for task in task_graph(shop):
        comment = create_sql(shop, task, "COMPUTE_WH").split("COMMENT = '")[1].split("'")[0]
        found[task.name] = Deployed(
            task.name,
            bool(task.after),
            "COMPUTE_WH",
            task.schedule,
            (task.after.split(".")[1],) if task.after else (),
            task.condition,
            task.body,
            comment,
        )
    return found


def planned(found: Mapping[str, Deployed]) -> dict[str, Change]:
    return {change.task: change for change in plan(CAVES, GRAPH, found, "COMPUTE_WH")}


# --- what differs


def test_into_nothing_everything_is_created() -> None:
    assert [change.action for change in plan(CAVES, GRAPH, {}, "COMPUTE_WH")] == ["create"] * 4


def test_what_was_deployed_is_unchanged() -> None:
    assert planned(as_deployed()) == UNCHANGED


@pytest.mark.parametrize(
    ("shown", "what"),
    [
        ({"warehouse": "OTHER_WH"}, ("warehouse",)),
        ({"after": ()}, ("predecessors",)),
        ({"condition": "1 = 1"}, ("condition",)),
        ({"body": "SELECT 1"}, ("SQL",)),
        ({"schedule": "5 MINUTES"}, ("schedule",)),
        ({"comment": "caves to ORDERS (caves_dagster caves 000000000000)"}, ("parameters",)),
        ({"comment": ""}, ("parameters",)),
        ({"started": False}, ("suspended",)),
        ({"body": "SELECT 1", "warehouse": "X", "started": False}, ("warehouse", "SQL", "suspended")),
    ],
)
def test_each_difference_is_named(shown: dict[str, Any], what: tuple[str, ...]) -> None:
    found = as_deployed()
    found[ORDERS] = replace(found[ORDERS], **shown)
    assert planned(found) == UNCHANGED | {ORDERS: Change(ORDERS, "change", what)}


@pytest.mark.parametrize(
    "shown",
    [
        {"schedule": "60 SECONDS"},
        {"schedule": "1 minute"},
        {"warehouse": '"COMPUTE_WH"'},
        {"body": GRAPH[0].body.replace("\n", "\r\n") + ";"},
        {"condition": GRAPH[0].condition.replace(" OR ", "\n    OR ")},
        {"started": True},
    ],
)
def test_what_is_only_written_otherwise_is_no_difference(shown: dict[str, Any]) -> None:
    found = as_deployed()
    found[ROOT] = replace(found[ROOT], **shown)
    assert planned(found) == UNCHANGED


def test_a_task_of_this_shop_that_it_no_longer_declares_is_dropped_and_no_one_else_s() -> None:
    found = as_deployed()
    found["OLD"] = replace(found[ORDERS], name="OLD")
    found["SOMEBODY_S"] = replace(found[ORDERS], name="SOMEBODY_S", comment="nightly report of caves")
    found["OTHER"] = replace(found[ORDERS], name="OTHER", comment="x (caves_dagster caves_two 0123456789ab)")
    assert planned(found) == UNCHANGED | {"OLD": Change("OLD", "drop")}


# --- deployed


def actions(changes: tuple[Change, ...]) -> list[str]:
    return [change.action for change in changes]


def test_deploying_is_idempotent_and_changes_no_mode(caves: Caves) -> None:
    warehouse, shop = caves.warehouse, caves.shop
    assert actions(deploy(warehouse, shop)) == ["create"] * 4
    assert actions(deploy(warehouse, shop)) == ["unchanged"] * 4
    assert task_mode(warehouse, shop) == ""
    states = {name: task.started for name, task in deployed(warehouse, shop).items()}
    assert states == {task.name: bool(task.after) for task in GRAPH}

    assert resume(warehouse, shop)
    assert not resume(warehouse, shop), "it was on"
    assert task_mode(warehouse, shop) == (
        "Snowflake's tasks transform (task mode): RAW_DATA.TASK_RAW_TO_STAGING_DISTRIBUTOR is started."
    )
    assert actions(deploy(warehouse, shop, every_seconds=600)) == ["change", *["unchanged"] * 3]
    assert task_mode(warehouse, shop), "it is on as before"
    assert deployed(warehouse, shop)[ROOT].schedule == "10 MINUTE"

    assert suspend(warehouse, shop)
    assert not suspend(warehouse, shop), "it was off"
    assert task_mode(warehouse, shop) == ""


def test_what_somebody_changed_by_hand_is_put_right(caves: Caves) -> None:
    warehouse, shop = caves.warehouse, caves.shop
    deploy(warehouse, shop)
    warehouse.execute(f"ALTER TASK RAW_DATA.{ORDERS} SUSPEND")
    warehouse.execute(f"ALTER TASK RAW_DATA.{ORDERS} MODIFY AS SELECT 1")
    resume(warehouse, shop)
    warehouse.execute(f"ALTER TASK RAW_DATA.{ROOT} SUSPEND")
    warehouse.execute(f"ALTER TASK RAW_DATA.{ORDERS} SUSPEND")
    warehouse.execute(f"ALTER TASK RAW_DATA.{ROOT} RESUME")

    changed = [change for change in deploy(warehouse, shop) if change.action != "unchanged"]

    assert changed == [Change(ORDERS, "change", ("SQL", "suspended"))]
    assert all(task.started for task in deployed(warehouse, shop).values())
    assert actions(deploy(warehouse, shop)) == ["unchanged"] * 4


def test_a_renamed_root_takes_the_graph_and_the_mode_over(caves: Caves) -> None:
    warehouse, shop = caves.warehouse, caves.shop
    deploy(warehouse, shop)
    resume(warehouse, shop)
    first, *others = shop.transformations
    renamed = replace(shop, transformations=(replace(first, task="TASK_FIRST"), *others))

    assert actions(deploy(warehouse, renamed)) == ["create", "change", "change", "change", "drop"]

    assert ROOT not in deployed(warehouse, renamed)
    assert task_mode(warehouse, renamed)
    assert {task.after for task in deployed(warehouse, renamed).values()} == {(), ("TASK_FIRST",)}


def test_without_its_streams_or_its_fence_nothing_is_deployed(caves: Caves) -> None:
    caves.warehouse.execute("DROP STREAM STAGING.STREAM_STG_ORDERS")
    caves.warehouse.execute("DELETE FROM RAW_DATA.TRANSFORM_FENCE")
    with pytest.raises(
        WarehouseNotSetUp, match=r"STAGING.STREAM_STG_ORDERS, the row of RAW_DATA.TRANSFORM_FENCE. Run `caves"
    ):
        deploy(caves.warehouse, caves.shop)
    assert deployed(caves.warehouse, caves.shop) == {}


def test_what_is_not_deployed_is_named_with_the_remedy(caves: Caves) -> None:
    for command in (resume, suspend, lambda warehouse, shop: execute(warehouse, shop, 5)):
        with pytest.raises(WarehouseNotSetUp, match=r"are not deployed, .* tasks deploy --shop caves`"):
            command(caves.warehouse, caves.shop)


# --- run


def test_executing_runs_the_graph_once_in_dagster_mode_too(caves: Caves) -> None:
    warehouse, feed = caves.warehouse, Feed()
    deploy(warehouse, caves.shop)
    insert_raw(warehouse, [feed.order(1), feed.order(2)])

    runs = execute(warehouse, caves.shop, 60)

    states = {name: run.state for name, run in runs.items()}
    assert states == {
        ROOT: "SUCCEEDED",
        ORDERS: "SUCCEEDED",
        "TASK_STAGING_TO_PROD_INVENTORY_HISTORY": "SKIPPED",
        "TASK_STAGING_TO_PROD_INVENTORY_CURRENT": "SKIPPED",
    }
    assert caves.count("PRODUCTION.ORDERS") == 2
    assert {run.run_id for run in runs.values()} == {run.run_id for run in history(warehouse, caves.shop, 60)}
    assert task_mode(warehouse, caves.shop) == ""


def test_a_child_that_fails_is_made_good_by_the_next_run_though_raw_has_nothing_new(caves: Caves) -> None:
    warehouse, shop = caves.warehouse, caves.shop
    deploy(warehouse, shop)
    warehouse.execute("ALTER TABLE PRODUCTION.ORDERS RENAME TO PRODUCTION.ORDERS_AWAY")
    insert_raw(warehouse, [Feed().order(1)])
    failed = execute(warehouse, shop, 60)[ORDERS]
    assert (failed.state, failed.failed) == ("FAILED", True)
    assert "ORDERS" in failed.error
    assert caves.count("STAGING.STREAM_STG_ORDERS") == 1, "rolled back"

    warehouse.execute("ALTER TABLE PRODUCTION.ORDERS_AWAY RENAME TO PRODUCTION.ORDERS")

    assert execute(warehouse, shop, 60)[ORDERS].state == "SUCCEEDED"
    assert caves.count("PRODUCTION.ORDERS") == 1


def test_a_root_that_does_not_get_the_fence_fails_and_leaves_all_as_it_was(caves: Caves) -> None:
    warehouse, shop = caves.warehouse, caves.shop
    deploy(warehouse, shop)
    insert_raw(warehouse, [Feed().order(1)])
    with Warehouse(caves.settings.snowflake) as other, other.transaction():
        other.execute("UPDATE RAW_DATA.TRANSFORM_FENCE SET EPOCH = EPOCH + 1 WHERE ID = 1")
        runs = execute(warehouse, shop, 60)
    assert {name: run.state for name, run in runs.items()} == {ROOT: "FAILED"}
    assert (caves.count("STAGING.STG_ORDERS"), caves.count("RAW_DATA.STREAM_RAW_EVENTS")) == (0, 1)
    execute(warehouse, shop, 60)
    assert caves.count("PRODUCTION.ORDERS") == 1


def test_a_suspended_child_would_not_run_and_is_told(caves: Caves) -> None:
    deploy(caves.warehouse, caves.shop)
    caves.warehouse.execute(f"ALTER TASK RAW_DATA.{ORDERS} SUSPEND")
    with pytest.raises(CavesError, match=f"{ORDERS} would not run: suspended"):
        execute(caves.warehouse, caves.shop, 5)


# --- privileges


class Refusing(Warehouse):
    """Refuses to resume, as Snowflake does a role without EXECUTE TASK."""

    def execute(self, sql: str, parameters: Mapping[str, Any] | None = None) -> int:
        if sql.endswith("RESUME"):
            raise StatementFailed(
                "The warehouse at x refused a statement: Cannot execute task , EXECUTE TASK privilege must "
                "be granted to owner role."
            )
        return super().execute(sql, parameters)

    def query(self, sql: str, parameters: Mapping[str, Any] | None = None) -> list[Row]:
        return super().query(sql, parameters)


def test_a_missing_privilege_is_named_with_its_grants(caves: Caves) -> None:
    settings: SnowflakeSettings = caves.settings.snowflake.model_copy(update={"role": "CAVES_LOADER"})
    deploy(caves.warehouse, caves.shop)
    with Refusing(settings) as refusing, pytest.raises(PrivilegeMissing) as refused:
        resume(refusing, caves.shop)
    assert str(refused.value).startswith("The role CAVES_LOADER may not do that with the tasks of caves.")
    assert "GRANT EXECUTE TASK ON ACCOUNT TO ROLE CAVES_LOADER;" in refused.value.remedy
    assert f"GRANT CREATE TASK ON SCHEMA {settings.database}.RAW_DATA" in refused.value.remedy
