"""A warehouse server of one's own: one for the whole session, and a schema of it for each test."""

from __future__ import annotations

import contextlib
import itertools
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import snowflake.connector

DATABASE = "CAVES_ALBERT_DB"
START_SECONDS = 30
_numbers = itertools.count()


class Server:
    """A server process on a home folder.

    Args:
        home: its state; a second server on it finds what the first left.
        arguments: further arguments of the command line.
    """

    def __init__(self, home: Path, *arguments: str) -> None:
        self.home = home
        self.arguments = arguments
        self.endpoint_file = home / "warehouse" / "endpoint.json"
        self.process: subprocess.Popen[str] | None = None
        self.errors = home / "server.log"

    def start(self) -> Server:
        """Start it and wait until it serves."""
        self.home.mkdir(parents=True, exist_ok=True)
        with self.errors.open("a") as log:
            self.process = subprocess.Popen(self.command(), stdout=log, stderr=log, text=True)
        deadline = time.monotonic() + START_SECONDS
        while not self.serves():
            assert self.process.poll() is None, self.errors.read_text()
            assert time.monotonic() < deadline, self.errors.read_text()
            time.sleep(0.02)
        return self

    def command(self, *more: str) -> list[str]:
        """The command line that starts it."""
        module = [sys.executable, "-m", "caves_dagster.local.warehouse"]
        return [*module, "--home", str(self.home), "--port", "0", "--threads", "2", *self.arguments, *more]

    def serves(self) -> bool:
        """Whether this process has published its endpoint."""
        if self.process is None or not self.endpoint_file.is_file():
            return False
        return bool(self.endpoint()["pid"] == self.process.pid)

    def endpoint(self) -> dict[str, Any]:
        """What it published."""
        return dict(json.loads(self.endpoint_file.read_text()))

    def connect(self, **changes: Any) -> Any:
        """A connection of the real connector."""
        endpoint = self.endpoint()
        settings = {
            "account": "caves_local",
            "user": "caves",
            "password": "caves",
            "host": endpoint["host"],
            "port": endpoint["port"],
            "protocol": "http",
            "database": DATABASE,
            "network_timeout": 20,
            "login_timeout": 10,
            "platform_detection_timeout_seconds": 0.0,
        }
        return snowflake.connector.connect(**{**settings, **changes})

    def stop(self, with_signal: signal.Signals = signal.SIGTERM) -> int:
        """Send a signal and wait for the exit code."""
        assert self.process is not None
        self.process.send_signal(with_signal)
        code = self.process.wait(30)
        self.process = None
        return code

    def kill(self) -> None:
        """End it without any warning."""
        if self.process is not None:
            self.stop(signal.SIGKILL)


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """The server most tests share."""
    os.environ.setdefault("SNOWFLAKE_DISABLE_PLATFORM_DETECTION", "true")
    running = Server(tmp_path_factory.mktemp("warehouse"), "--transaction-idle-seconds", "10").start()
    yield running
    running.kill()


@pytest.fixture
def own_server(tmp_path: Path) -> Iterator[Server]:
    """A server a test may kill, restart and configure; not started yet."""
    mine = Server(tmp_path / "home")
    yield mine
    mine.kill()


@pytest.fixture
def connect(server: Server) -> Iterator[Callable[..., Any]]:
    """Open connections to the shared server; they are closed after the test."""
    with contextlib.ExitStack() as stack:

        def open_one(**changes: Any) -> Any:
            connection = server.connect(**changes)
            stack.callback(connection.close)
            return connection

        yield open_one


@pytest.fixture
def schema(connect: Callable[..., Any]) -> str:
    """The name of a schema no other test uses."""
    name = f"T{os.getpid()}_{next(_numbers)}"
    connect().cursor().execute(f"CREATE SCHEMA {name}")
    return name


class Sql:
    """A cursor that gives rows back."""

    def __init__(self, connection: Any) -> None:
        self.connection = connection
        self.cursor = connection.cursor()

    def __call__(self, sql: str, *arguments: Any) -> list[tuple[Any, ...]]:
        """Run a statement; its rows."""
        return list(self.cursor.execute(sql, *arguments).fetchall())

    def one(self, sql: str, *arguments: Any) -> Any:
        """The only value of a statement's only row."""
        rows = self(sql, *arguments)
        assert len(rows) == 1, rows
        assert len(rows[0]) == 1, rows
        return rows[0][0]

    def fails(self, errno: int, sql: str, *arguments: Any) -> str:
        """Run a statement that must fail with this number; its message."""
        with pytest.raises(snowflake.connector.errors.DatabaseError) as caught:
            self(sql, *arguments)
        assert caught.value.errno == errno, caught.value
        return str(caught.value)


@pytest.fixture
def sql(connect: Callable[..., Any], schema: str) -> Sql:
    """A session whose current schema is the test's own."""
    return Sql(connect(schema=schema))


@pytest.fixture
def other(connect: Callable[..., Any], schema: str) -> Sql:
    """A second session in the same schema."""
    return Sql(connect(schema=schema))
