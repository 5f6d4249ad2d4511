"""What a session makes of a warehouse that goes away."""

from __future__ import annotations

import socket
import socketserver
import threading
from collections.abc import Iterator
from contextlib import closing
from typing import Any

import pytest
import snowflake.connector
from snowflake.connector.errors import ProgrammingError

from caves_dagster.errors import WarehouseUnreachable
from caves_dagster.warehouse.connection import Warehouse
from caves_dagster_tests.conftest import Caves


class _Between(socketserver.ThreadingTCPServer):
    """Stands before the warehouse server, and can cut an answer off half way."""

    daemon_threads = True

    def __init__(self, port: int) -> None:
        super().__init__(("127.0.0.1", 0), _PassedOn)
        self.target, self.cuts = port, False


class _PassedOn(socketserver.BaseRequestHandler):
    server: _Between

    def handle(self) -> None:
        with closing(socket.create_connection(("127.0.0.1", self.server.target))) as other:
            asking = threading.Thread(target=_pass_on, args=(self.request, other), daemon=True)
            asking.start()
            while data := other.recv(65536):
                if self.server.cuts and b"\r\n\r\n" in data:
                    self.request.sendall(data[: data.index(b"\r\n\r\n") + 20])
                    return
                self.request.sendall(data)


def _pass_on(source: socket.socket, target: socket.socket) -> None:
    try:
        while data := source.recv(65536):
            target.sendall(data)
    except OSError:
        return


@pytest.fixture
def between(caves: Caves) -> Iterator[_Between]:
    """A server before the platform's warehouse server."""
    with _Between(caves.settings.snowflake.port) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield server
        server.shutdown()


@pytest.mark.parametrize(
    ("errno", "sqlstate"), [(390112, ""), (390113, ""), (390114, ""), (390115, ""), (390400, "08001")]
)
def test_a_session_that_snowflake_forgot_is_opened_anew(
    caves: Caves, monkeypatch: pytest.MonkeyPatch, errno: int, sqlstate: str
) -> None:
    """After hours at rest: whoever keeps a session for weeks must not keep one that is dead."""
    with Warehouse(caves.settings.snowflake) as warehouse:
        assert warehouse.query("SELECT 1 AS N") == [{"N": 1}]
        with monkeypatch.context() as dead:

            def refuse(*_: object, **__: object) -> None:
                raise ProgrammingError("Log on again.", errno, sqlstate or None)

            dead.setattr("snowflake.connector.cursor.SnowflakeCursor.execute", refuse)
            with pytest.raises(WarehouseUnreachable):
                warehouse.query("SELECT 2 AS N")
        opened: list[object] = []
        connect = snowflake.connector.connect

        def noted(**how: Any) -> Any:
            opened.append(how)
            return connect(**how)

        monkeypatch.setattr("snowflake.connector.connect", noted)
        assert warehouse.query("SELECT 4 AS N") == [{"N": 4}]
        assert len(opened) == 1


def test_a_warehouse_that_dies_while_it_answers_is_away(caves: Caves, between: _Between) -> None:
    settings = caves.settings.snowflake.model_copy(
        update={"port": between.server_address[1], "network_timeout": 2}
    )
    with Warehouse(settings) as warehouse:
        assert warehouse.query("SELECT 1 AS N") == [{"N": 1}]
        between.cuts = True
        with pytest.raises(WarehouseUnreachable, match="cannot be reached"):
            warehouse.query("SELECT 1 AS N")
        between.cuts = False
        assert warehouse.query("SELECT 2 AS N") == [{"N": 2}]
