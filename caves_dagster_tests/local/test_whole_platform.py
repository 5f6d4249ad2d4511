"""Broker and warehouse together: what survives a stop, and what the command prints."""

from __future__ import annotations

import json
import os
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from typer.testing import CliRunner

from caves_dagster.cli import app
from caves_dagster.local.platform import Platform, running_platform
from caves_dagster.local.server import State
from caves_dagster.settings import embedded_settings
from caves_dagster.warehouse.connection import Warehouse


@contextmanager
def warehouse(home: Path) -> Iterator[Warehouse]:
    with Warehouse(embedded_settings(home).snowflake) as session:
        yield session


def kill_warehouse(platform: Platform) -> None:
    os.kill(platform.status().servers[1].pid or 0, signal.SIGKILL)
    deadline = time.monotonic() + 10
    while platform.status().servers[1].state is not State.DEAD:
        assert time.monotonic() < deadline
        time.sleep(0.02)


@pytest.mark.parametrize("ending", ["stopped", "killed"])
def test_the_warehouse_s_data_outlives_its_process(home: Path, ending: str) -> None:
    with running_platform(home) as platform:
        with warehouse(home) as session:
            session.execute("CREATE SCHEMA IF NOT EXISTS CAVES_ALBERT_DB.CELLAR")
            session.execute("CREATE TABLE CAVES_ALBERT_DB.CELLAR.BOTTLES (name VARCHAR(20))")
            session.execute("INSERT INTO CAVES_ALBERT_DB.CELLAR.BOTTLES VALUES ('Médoc 🍷')")
        if ending == "killed":
            kill_warehouse(platform)
            assert "ended without being stopped" in platform.start()[0]
        else:
            platform.stop()
            platform.start()
        with warehouse(home) as session:
            rows = session.query("SELECT name FROM CAVES_ALBERT_DB.CELLAR.BOTTLES")
        assert [list(row.values()) for row in rows] == [["Médoc 🍷"]]


def test_status_prints_the_addresses_as_json_and_nothing_else(home: Path) -> None:
    with running_platform(home) as platform:
        result = CliRunner().invoke(app, ["local", "status", "--json", "--home", str(home)])
        assert result.exit_code == 0
        printed = json.loads(result.stdout)
        assert printed == platform.endpoints.model_dump()
        assert set(printed["kafka"]) == {"bootstrap_servers"}
        expected = {"host", "port", "protocol", "account", "user", "password", "database"}
        assert set(printed["snowflake"]) == expected


def test_start_status_stop_on_the_command_line(home: Path) -> None:
    with running_platform(home):
        """Chooses free ports, which stick."""

    def caves(command: str) -> str:
        result = CliRunner().invoke(app, ["local", command, "--home", str(home)])
        assert result.exit_code == 0, result.exception
        return result.stdout

    endpoints = Platform(home).endpoints
    said = caves("start")
    assert endpoints.kafka.bootstrap_servers in said
    assert f"http://127.0.0.1:{endpoints.snowflake.port}" in said
    table = caves("status")
    assert table.count("running") == 2
    assert str(endpoints.snowflake.port) in table
    assert caves("stop").splitlines() == ["The warehouse stopped.", "The broker stopped."]
