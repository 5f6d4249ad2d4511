"""A shop's tasks as SQL: SPEC's names, one graph, the transformations' own statements, Snowflake's rules."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

import pytest

from caves_dagster.declaration import check_shops
from caves_dagster.errors import DeclarationError
from caves_dagster.settings import PROJECT_ROOT
from caves_dagster.shop import SQL_ROOT, Shop, Table, Transformation
from caves_dagster.shops import BUILT_IN
from caves_dagster.shops.caves import CAVES
from caves_dagster.shops.dropship import DROPSHIP
from caves_dagster.tasks.graph import Task, create_sql, root_of, task_graph
from caves_dagster.warehouse.scripts import render, transformation_sql

EVERY_TASK = [(shop, task) for shop in BUILT_IN for task in task_graph(shop)]
every_task = pytest.mark.parametrize(("shop", "task"), EVERY_TASK, ids=[task.name for _, task in EVERY_TASK])


def test_the_tasks_are_those_of_the_specification() -> None:
    root, *children = task_graph(CAVES)
    assert root.full_name == "RAW_DATA.TASK_RAW_TO_STAGING_DISTRIBUTOR"
    assert root.schedule == "1 MINUTE"
    assert [task.full_name for task in children] == [
        "RAW_DATA.TASK_STAGING_TO_PROD_ORDERS",
        "RAW_DATA.TASK_STAGING_TO_PROD_INVENTORY_HISTORY",
        "RAW_DATA.TASK_STAGING_TO_PROD_INVENTORY_CURRENT",
    ]
    assert {(task.schedule, task.after) for task in children} == {("", root.full_name)}
    (only,) = task_graph(DROPSHIP)
    assert (only.full_name, only.schedule, only.after) == (
        "DROPSHIP_RAW.INGEST_ORDERS_TASK", "1 MINUTE", "",
    )  # fmt: skip


def test_the_root_runs_when_any_stream_has_data_and_a_child_when_its_own_has() -> None:
    root, *children = task_graph(CAVES)
    streams = [step.stream.full_name for step in CAVES.transformations]
    assert re.findall(r"SYSTEM\$STREAM_HAS_DATA\('(\S+)'\)", root.condition) == streams
    assert [task.condition for task in children] == [
        f"SYSTEM$STREAM_HAS_DATA('{stream}')" for stream in streams[1:]
    ]


def test_a_task_in_the_middle_of_a_graph_is_never_skipped(tmp_path: Path) -> None:
    """What comes after it may have rows waiting."""
    first, orders, *_ = CAVES.transformations
    last = Transformation(Table("X", "ON_ORDERS"), orders.writes[0], (Table("X", "Y"),), "production")
    beside = replace(first, stream=Table("RAW_DATA", "OTHER"), writes=(Table("X", "Z"),), task="")
    for name in ("production/y.sql", "staging/z.sql"):
        path = tmp_path / "caves" / name
        path.parent.mkdir(parents=True)
        path.write_text("INSERT INTO X.A SELECT 1 FROM {{ source }}")
    shop = replace(CAVES, transformations=(first, orders, beside, last), sql=tmp_path)
    graph = {task.name: task for task in task_graph(shop)}
    assert graph["TASK_STAGING_TO_PROD_ORDERS"].condition == ""
    assert graph["TASK_TO_Y"].after == "RAW_DATA.TASK_STAGING_TO_PROD_ORDERS"
    assert graph["TASK_TO_Z"].after == root_of(CAVES).full_name, "a graph has one root"


@every_task
def test_the_body_is_the_transformation_s_own_sql_behind_the_fence(shop: Shop, task: Task) -> None:
    fence = f"UPDATE {shop.raw.schema}.TRANSFORM_FENCE SET EPOCH = EPOCH + 1 WHERE ID = 1;"
    places = [task.body.index(text) for text in ("BEGIN TRANSACTION;", fence)]
    for table in task.step.writes:
        for statement in transformation_sql(shop, task.step.layer, table, task.step.stream):
            places.append(task.body.index(f"{statement};"))
    places += [task.body.index(text) for text in ("COMMIT;", "EXCEPTION", "ROLLBACK;", "RAISE;")]
    assert places == sorted(places)
    assert task.body.startswith("BEGIN\n")
    assert task.body.endswith("END")


@every_task
def test_it_is_snowflake_s_sql(shop: Shop, task: Task) -> None:
    """sqlfluff knows CREATE TASK and blocks; CREATE OR ALTER it does not."""
    from sqlfluff.core import FluffConfig, Linter

    sql = create_sql(shop, task, "COMPUTE_WH").replace("CREATE OR ALTER TASK", "CREATE OR REPLACE TASK")
    linted = Linter(config=FluffConfig.from_path(str(PROJECT_ROOT))).lint_string(sql + ";\n")
    assert linted.tree is not None
    assert not list(linted.tree.recursive_crawl("unparsable")), linted.tree.stringify()
    assert "create_task_statement" in {part.get_type() for part in linted.tree.recursive_crawl_all()}


def test_the_version_in_the_comment_is_that_of_the_whole_statement() -> None:
    root, orders, *_ = task_graph(CAVES)
    version = re.compile(r"COMMENT = '.* \(caves_dagster caves ([0-9a-f]{12})\)'")

    def of(task: Task, warehouse: str = "COMPUTE_WH") -> str:
        found = version.search(create_sql(CAVES, task, warehouse))
        assert found is not None
        return found[1]

    assert of(root) == of(task_graph(CAVES)[0])
    versions = {of(root), of(orders), of(orders, "OTHER_WH"), of(replace(orders, body="BEGIN END"))}
    assert len(versions) == 4


@pytest.mark.parametrize(
    ("task", "said"),
    [
        ("task to orders", "transformations[0].task: 'task to orders' is no name for a task"),
        ("lower", "'lower' is no name for a task"),
        ("1ST", "'1ST' is no name for a task"),
        ("T" * 201, "is no name for a task"),
    ],
)
def test_a_name_that_is_none_is_refused(task: str, said: str) -> None:
    (step,) = DROPSHIP.transformations
    with pytest.raises(DeclarationError, match=re.escape(said)):
        check_shops([replace(DROPSHIP, transformations=(replace(step, task=task),))])


def test_two_tasks_of_one_name_are_refused() -> None:
    first, second, *others = CAVES.transformations
    doubled = (first, replace(second, task=first.task), *others)
    with pytest.raises(
        DeclarationError, match=r"transformations\[1\].task: \S+ is the task of transformations\[0\], too"
    ):
        check_shops([replace(CAVES, transformations=doubled)])


def test_without_a_name_it_is_called_after_its_table() -> None:
    (step,) = DROPSHIP.transformations
    assert replace(step, task="").task_name == "TASK_TO_ORDERS"


def test_history_is_snowflake_s_sql() -> None:
    from sqlfluff.core import FluffConfig, Linter

    names = {"database": "D", "schema": "S", "names": ["A", "B"], "seconds": 60, "limit": 10}
    sql = render(SQL_ROOT, "tasks/history.sql", **names).strip()
    linted = Linter(config=FluffConfig.from_path(str(Path(PROJECT_ROOT)))).lint_string(sql + ";\n")
    assert [f"{v.line_no}: {v.rule_code()} {v.desc()}" for v in linted.get_violations()] == []
