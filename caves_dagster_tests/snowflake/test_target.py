"""`make test-snowflake`: without an account it skips and says why; with one it runs there."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from caves_dagster.settings import PROJECT_ROOT
from caves_dagster_tests.conftest import Caves
from caves_dagster_tests.ingest.accounting import addresses

TEST = "caves_dagster_tests/snowflake/test_semantics.py::test_a_merge_of_two_rows_for_one_is_refused"


def _pytest(**account: str) -> subprocess.CompletedProcess[str]:
    """The target's command for one test."""
    options = ["-m", "snowflake and not real_kafka", "--snowflake", "-rs", "-p", "no:cacheprovider", TEST]
    return subprocess.run(
        [sys.executable, "-m", "pytest", *options],
        cwd=PROJECT_ROOT,
        env={**os.environ, **account},
        capture_output=True,
        text=True,
        timeout=300,
    )


def test_without_an_account_it_skips_and_says_what_to_set() -> None:
    done = _pytest()

    assert done.returncode == 0, done.stdout
    assert "1 skipped" in done.stdout
    assert "no Snowflake account: set SNOWFLAKE_ACCOUNT" in done.stdout
    command = "pytest -m 'snowflake and not real_kafka' --snowflake -rs"
    assert command in (PROJECT_ROOT / "Makefile").read_text()


@pytest.mark.slow
def test_with_one_it_runs_there_in_a_database_of_its_own(caves: Caves) -> None:
    """The embedded server in an account's place, by the very settings that would name one."""
    account = {key: value for key, value in addresses(caves.settings).items() if key.startswith("SNOWFLAKE_")}
    del account["SNOWFLAKE_DATABASE"]

    done = _pytest(**account, SNOWFLAKE_WAREHOUSE="SOME_WH")

    assert done.returncode == 0, done.stdout
    assert "1 passed" in done.stdout
    names = {row["NAME"] for row in caves.warehouse.query("SHOW DATABASES")}
    assert not any(name.startswith("CAVES_TEST_") for name in names)
