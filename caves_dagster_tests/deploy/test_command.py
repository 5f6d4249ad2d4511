"""`caves snowflake` as a user meets it, and the statements of a migration in Snowflake's grammar."""

from __future__ import annotations

import json

import pytest
from typer.testing import CliRunner, Result

from caves_dagster.cli import app
from caves_dagster.deploy.carry_out import read_state
from caves_dagster.errors import CavesError
from caves_dagster_tests.conftest import Caves
from caves_dagster_tests.ingest.accounting import environment


def _run(caves: Caves, *arguments: str) -> Result:
    """Run `caves` in this process, which spares the imports; a `CavesError` would be its one line."""
    return CliRunner().invoke(app, arguments, env=environment(caves, COLUMNS="200"))


def _done(caves: Caves, *arguments: str) -> str:
    """The same, of a command that succeeds; what it printed."""
    result = _run(caves, *arguments)
    assert result.exit_code == 0, result.output
    return result.stdout


def _refused(caves: Caves, *arguments: str) -> tuple[str, str]:
    """The same, of a command that fails; what it printed, and its one line."""
    result = _run(caves, *arguments)
    assert isinstance(result.exception, CavesError), result.output
    return result.stdout, str(result.exception)


def test_plan_deploy_status(caves: Caves) -> None:
    caves.warehouse.execute("DROP VIEW ANALYTICS.TOP_WINES")
    caves.warehouse.execute("ALTER TABLE PRODUCTION.ORDERS DROP COLUMN DISCOUNT")

    (shop,) = json.loads(_done(caves, "snowflake", "plan", "--json"))
    assert (shop["shop"], shop["deployable"], shop["changes"]) == ("caves", True, 2)
    added = next(step for step in shop["steps"] if step["action"] == "add column")
    assert added["object"] == "PRODUCTION.ORDERS.DISCOUNT"
    assert added["statements"] == [
        "ALTER TABLE PRODUCTION.ORDERS ADD COLUMN IF NOT EXISTS DISCOUNT DECIMAL(5, 4)",
        "COMMENT ON COLUMN PRODUCTION.ORDERS.DISCOUNT IS 'Discount as a fraction'",
    ]

    shown, line = _refused(caves, "snowflake", "deploy")
    assert "PRODUCTION.ORDERS.DISCOUNT" in shown
    assert "Deploy with --yes." in line
    assert len(read_state(caves.warehouse, caves.shop).plan.drift) == 2

    assert "3 statements run" in _done(caves, "snowflake", "deploy", "--yes")
    (found,) = json.loads(_done(caves, "snowflake", "status", "--json"))
    assert found["drift"] == []
    assert found["deployed"]["sql_hash"] == found["this"]["sql_hash"]
    assert found["streams"]["RAW_DATA.STREAM_RAW_EVENTS"]["stale"] is False
    assert found["tables"]["PRODUCTION.ORDERS"]["columns"] == 19
    said = _done(caves, "snowflake", "status")
    for words in ("deployed", found["this"]["sql_hash"][:12], "STREAM_STG_ORDERS", "PRODUCTION.ORDERS"):
        assert words in said


def test_what_cannot_be_done_safely_is_shown_and_refused_in_a_line(caves: Caves) -> None:
    caves.warehouse.execute("ALTER TABLE PRODUCTION.ORDERS RENAME COLUMN QUANTITY TO BOTTLES")

    assert "RENAME COLUMN BOTTLES TO QUANTITY" in _done(caves, "snowflake", "plan")
    for command in (("snowflake", "deploy", "--yes"), ("setup",)):
        _, line = _refused(caves, *command)
        assert line.startswith("Nothing was deployed: PRODUCTION.ORDERS.BOTTLES ")
        assert "RENAME COLUMN BOTTLES TO QUANTITY" in line
        assert len(line.splitlines()) == 1


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
