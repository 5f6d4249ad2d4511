"""`caves snowflake` as a user meets it, and the statements of a migration in Snowflake's grammar."""

from __future__ import annotations

import json

import pytest

from caves_dagster.deploy.carry_out import read_state
from caves_dagster_tests.conftest import Caves
from caves_dagster_tests.test_cli import caves_command, require_one_line


def test_plan_deploy_status(caves: Caves) -> None:
    caves.warehouse.execute("DROP VIEW ANALYTICS.TOP_WINES")
    caves.warehouse.execute("ALTER TABLE PRODUCTION.ORDERS DROP COLUMN DISCOUNT")

    planned = caves_command(caves, "snowflake", "plan", "--json")
    assert (planned.returncode, planned.stderr) == (0, "")
    (shop,) = json.loads(planned.stdout)
    assert (shop["shop"], shop["deployable"], shop["changes"]) == ("caves", True, 2)
    added = next(step for step in shop["steps"] if step["action"] == "add column")
    assert added["object"] == "PRODUCTION.ORDERS.DISCOUNT"
    assert added["statements"] == [
        "ALTER TABLE PRODUCTION.ORDERS ADD COLUMN IF NOT EXISTS DISCOUNT DECIMAL(5, 4)",
        "COMMENT ON COLUMN PRODUCTION.ORDERS.DISCOUNT IS 'Discount as a fraction'",
    ]

    asked = caves_command(caves, "snowflake", "deploy")
    assert asked.returncode == 1
    assert "PRODUCTION.ORDERS.DISCOUNT" in asked.stdout
    assert "Deploy with --yes." in asked.stderr
    assert len(read_state(caves.warehouse, caves.shop).plan.drift) == 2

    done = caves_command(caves, "snowflake", "deploy", "--yes")
    assert (done.returncode, done.stderr) == (0, "")
    assert "3 statements run" in done.stdout
    found = json.loads(caves_command(caves, "snowflake", "status", "--json").stdout)
    assert found[0]["drift"] == []
    assert found[0]["deployed"]["sql_hash"] == found[0]["this"]["sql_hash"]
    assert found[0]["streams"]["RAW_DATA.STREAM_RAW_EVENTS"]["stale"] is False
    assert found[0]["tables"]["PRODUCTION.ORDERS"]["columns"] == 19
    said = caves_command(caves, "snowflake", "status").stdout
    for words in ("deployed", found[0]["this"]["sql_hash"][:12], "STREAM_STG_ORDERS", "PRODUCTION.ORDERS"):
        assert words in said


def test_what_cannot_be_done_safely_is_shown_and_refused_in_a_line(caves: Caves) -> None:
    caves.warehouse.execute("ALTER TABLE PRODUCTION.ORDERS RENAME COLUMN QUANTITY TO BOTTLES")

    planned = caves_command(caves, "snowflake", "plan")
    assert planned.returncode == 0
    assert "RENAME COLUMN BOTTLES TO QUANTITY" in planned.stdout
    refused = caves_command(caves, "snowflake", "deploy", "--yes")
    assert refused.returncode == 1
    (line,) = refused.stderr.splitlines()
    assert line.startswith("error: Nothing was deployed: PRODUCTION.ORDERS.BOTTLES ")
    require_one_line(caves_command(caves, "setup"), "RENAME COLUMN BOTTLES TO QUANTITY")


@pytest.mark.parametrize(
    "statement",
    [
        "ALTER TABLE S.T ADD COLUMN IF NOT EXISTS C DECIMAL(5, 2)",
        "ALTER TABLE S.T ADD COLUMN C INTEGER DEFAULT 0 NOT NULL",
        "ALTER TABLE S.T ALTER COLUMN C SET NOT NULL",
        "ALTER TABLE S.T ALTER COLUMN C DROP NOT NULL",
        "ALTER TABLE S.T ALTER COLUMN C SET DATA TYPE VARCHAR(10)",
        "COMMENT ON COLUMN S.T.C IS 'a price'",
        "COMMENT ON TABLE S.T IS 'prices'",
    ],
)
def test_the_statements_of_a_migration_are_snowflake_s_sql(statement: str) -> None:
    """Those that `plan.py` writes, in its spelling: see `test_plan.py`."""
    from sqlfluff.core import Linter

    parsed = Linter(dialect="snowflake").parse_string(statement + ";\n")

    assert parsed.tree is not None
    assert not list(parsed.tree.recursive_crawl("unparsable"))
