"""`caves snowflake tasks` as a user meets it, from nothing deployed to both modes."""

from __future__ import annotations

import json

import pytest
from typer.testing import CliRunner, Result

from caves_dagster.cli import app
from caves_dagster.errors import CavesError, WarehouseNotSetUp
from caves_dagster_tests.conftest import Caves
from caves_dagster_tests.ingest.accounting import environment
from caves_dagster_tests.raw_rows import Feed, insert_raw

ROOT = "TASK_RAW_TO_STAGING_DISTRIBUTOR"


@pytest.fixture
def command(caves: Caves, monkeypatch: pytest.MonkeyPatch) -> CliRunner:
    """Runs commands on the test's database."""
    for name, value in environment(caves, COLUMNS="200").items():
        monkeypatch.setenv(name, value)
    return CliRunner()


def run(command: CliRunner, *arguments: str) -> Result:
    result = command.invoke(app, ["snowflake", "tasks", *arguments])
    assert result.exit_code == 0, result.exception
    return result


def test_from_nothing_deployed_to_task_mode_and_back(caves: Caves, command: CliRunner) -> None:
    refused = command.invoke(app, ["snowflake", "tasks", "resume"]).exception
    assert isinstance(refused, WarehouseNotSetUp)
    assert "tasks deploy --shop caves`" in str(refused)

    printed = json.loads(run(command, "deploy", "--json").stdout)
    assert [change["action"] for change in printed["caves"]] == ["create"] * 4
    shown = run(command, "deploy").stdout
    assert shown.count("unchanged") == 4
    assert f"RAW_DATA.{ROOT}" in shown
    assert "No task of Les Caves d'Albert ran in 24 hours." in run(command, "history").stdout

    insert_raw(caves.warehouse, [Feed().order(1)])
    shown = run(command, "execute", "--shop", "caves").stdout
    assert (shown.count("SUCCEEDED"), shown.count("SKIPPED")) == (2, 2)
    assert caves.count("PRODUCTION.ORDERS") == 1

    assert "its tasks transform from now on (task mode)" in run(command, "resume").stdout
    assert "its tasks transformed already" in run(command, "resume").stdout
    assert f"{ROOT} is started" in run(command, "history", "--limit", "3").stdout
    assert "Dagster transforms from now on" in run(command, "suspend").stdout
    printed = json.loads(run(command, "history", "--json", "--hours", "0.1").stdout)
    assert printed["mode"] == "dagster"
    succeeded = [one for one in printed["runs"] if one["state"] == "SUCCEEDED" and one["by_hand"]]
    assert [one["task"] for one in succeeded] == ["TASK_STAGING_TO_PROD_ORDERS", ROOT]
    assert all(one["seconds"] > 0 and one["completed"] > one["started"] for one in succeeded)


def test_a_task_that_fails_is_told_with_exit_code_1(caves: Caves, command: CliRunner) -> None:
    run(command, "deploy")
    insert_raw(caves.warehouse, [Feed().order(1)])
    caves.warehouse.execute("ALTER TABLE PRODUCTION.ORDERS RENAME TO PRODUCTION.ORDERS_AWAY")

    result = command.invoke(app, ["snowflake", "tasks", "execute"])

    assert isinstance(result.exception, CavesError)
    assert str(result.exception).startswith("TASK_STAGING_TO_PROD_ORDERS failed: ")
    assert "FAILED" in result.stdout


def test_an_unknown_shop_is_named_with_those_there_are(command: CliRunner) -> None:
    for name in ("deploy", "resume", "suspend", "execute", "history"):
        result = command.invoke(app, ["snowflake", "tasks", name, "--shop", "nobody"])
        assert isinstance(result.exception, CavesError)
        assert "nobody" in str(result.exception)
        assert "caves" in result.exception.remedy
