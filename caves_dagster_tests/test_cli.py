"""The `caves` command as a user meets it: in a process of its own, by what it prints and how it ends."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from caves_dagster.local import ports
from caves_dagster_tests.conftest import Caves
from caves_dagster_tests.ingest.accounting import environment, ingest

CAVES_COMMAND = str(Path(sys.executable).with_name("caves"))


def caves_command(caves: Caves, *arguments: str, **settings: str) -> subprocess.CompletedProcess[str]:
    """Run `caves` on the test's topic and database, with some settings changed."""
    # CAVES_HOME stays: nothing is written there, and its Dagster state is another test's at most.
    return subprocess.run(
        [CAVES_COMMAND, *arguments],
        env=environment(caves, COLUMNS="200", **settings),
        capture_output=True,
        text=True,
        timeout=60,
    )


def require_one_line(done: subprocess.CompletedProcess[str], *words: str) -> None:
    """It failed as it should: exit code 1, one line on stderr with what to do, nothing on stdout."""
    assert done.returncode == 1, done.stderr
    assert done.stdout == ""
    (line,) = done.stderr.splitlines()
    assert line.startswith("error: ")
    for word in words:
        assert word in line


def test_status_prints_positions_rows_and_lag_as_json_and_nothing_else(caves: Caves) -> None:
    caves.publish(caves.events(40, invalid_rate=0.1))
    ingest(caves)
    caves.publish(caves.events(7, seed=2))

    done = caves_command(caves, "status", "--json")

    assert (done.returncode, done.stderr) == (0, "")
    printed = json.loads(done.stdout)
    (shop,) = printed["shops"]
    assert (shop["shop"], shop["topic"], shop["lag"]) == ("caves", caves.shop.topic, 7)
    assert sum(partition["position"] for partition in shop["partitions"]) == 40
    assert sum(partition["high_watermark"] for partition in shop["partitions"]) == 47
    assert sum(partition["lag"] for partition in shop["partitions"]) == 7
    assert shop["tables"]["RAW_DATA.RAW_EVENTS_STREAM"] == 36
    assert shop["tables"]["RAW_DATA.DEAD_LETTER_EVENTS"] == 4
    assert shop["tables"]["PRODUCTION.ORDERS"] == 0
    assert shop["streams"]["RAW_DATA.STREAM_RAW_EVENTS"] == 36
    assert printed["runs"] == []


def test_status_prints_the_same_for_people(caves: Caves) -> None:
    caves.publish(caves.events(40))
    ingest(caves)
    done = caves_command(caves, "status")
    assert (done.returncode, done.stderr) == (0, "")
    for words in (caves.shop.topic, "RAW_DATA.RAW_EVENTS_STREAM", "STREAM_STG_ORDERS", "No Dagster run yet."):
        assert words in done.stdout
    (total,) = (line for line in done.stdout.splitlines() if "all 4" in line)
    assert [word for word in total.replace("│", " ").split() if word.isdigit()] == ["4", "40", "40", "0"]
    assert caves.count("RAW_DATA.STREAM_RAW_EVENTS") == 40, "looking changes nothing"


def test_a_shop_that_is_not_set_up_hides_no_other(caves: Caves) -> None:
    done = caves_command(caves, "status", "--json", CAVES_WITHOUT_SHOPS="")
    assert done.returncode == 1
    assert [shop["shop"] for shop in json.loads(done.stdout)["shops"]] == ["caves"]
    assert done.stderr.startswith("error: dropship: ")
    assert "caves setup" in done.stderr


def test_setup_may_be_run_again_and_keeps_every_row_and_stream(caves: Caves) -> None:
    caves.publish(caves.events(25, invalid_rate=0.2))
    ingest(caves)
    tables = (
        "RAW_DATA.RAW_EVENTS_STREAM",
        "RAW_DATA.DEAD_LETTER_EVENTS",
        "RAW_DATA.KAFKA_OFFSETS",
        "RAW_DATA.INGEST_BATCHES",
        "RAW_DATA.INGEST_FENCE",
        "RAW_DATA.STREAM_RAW_EVENTS",
    )
    before = {table: caves.count(table) for table in tables}
    assert all(before.values())
    done = caves_command(caves, "setup")
    assert (done.returncode, done.stderr) == (0, "")
    assert caves.settings.snowflake.database in done.stdout
    assert {table: caves.count(table) for table in tables} == before


def test_setup_makes_what_is_missing(caves: Caves) -> None:
    caves.warehouse.execute("DROP SCHEMA PRODUCTION CASCADE")
    caves.warehouse.execute("DELETE FROM RAW_DATA.INGEST_FENCE")
    done = caves_command(caves, "setup", "--shop", "caves")
    assert done.returncode == 0, done.stderr
    assert caves.count("PRODUCTION.ORDERS") == 0
    assert caves.count("RAW_DATA.INGEST_FENCE") == 1


@pytest.mark.parametrize("command", ["status", "setup"])
def test_a_warehouse_that_is_away_is_one_line_with_the_remedy(caves: Caves, command: str) -> None:
    port = str(ports.any_free("127.0.0.1"))
    done = caves_command(caves, command, SNOWFLAKE_PORT=port, CAVES_SNOWFLAKE_LOGIN_TIMEOUT="2")
    require_one_line(done, f"127.0.0.1:{port}", "`caves local start`")


@pytest.mark.parametrize("command", ["status", "produce"])
def test_a_broker_that_is_away_is_one_line_with_the_remedy(caves: Caves, command: str) -> None:
    address = f"127.0.0.1:{ports.any_free('127.0.0.1')}"
    arguments = ["produce", "--quiet", "--count", "1"] if command == "produce" else [command]
    done = caves_command(caves, *arguments, KAFKA_BOOTSTRAP_SERVERS=address, CAVES_KAFKA_TIMEOUT_SECONDS="2")
    require_one_line(done, address, "KAFKA_BOOTSTRAP_SERVERS")


def test_a_refused_sign_in_is_one_line_with_the_remedy(caves: Caves) -> None:
    done = caves_command(caves, "setup", SNOWFLAKE_PASSWORD="wrong")
    require_one_line(done, "refused the sign-in of 'caves'", "SNOWFLAKE_PASSWORD")


def test_tables_that_are_not_there_are_one_line_with_the_remedy(caves: Caves) -> None:
    caves.warehouse.execute("DROP SCHEMA STAGING CASCADE")
    require_one_line(caves_command(caves, "status"), "`caves setup`")


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("SNOWFLAKE_PORT", "eighty"),
        ("CAVES_BATCH_MAX_EVENTS", "0"),
    ],
)
def test_a_malformed_setting_is_named(caves: Caves, name: str, value: str) -> None:
    require_one_line(caves_command(caves, "status", **{name: value}), name, ".env.example")


def test_a_shop_that_is_not_there_is_named_with_those_that_are(caves: Caves) -> None:
    require_one_line(caves_command(caves, "status", "--shop", "bakery"), "'bakery'", "caves")
