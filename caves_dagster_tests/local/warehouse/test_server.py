"""The process and its HTTP face: start, stop, log in, answer once."""

from __future__ import annotations

import json
import signal
import socket
import subprocess
import sys
import threading
import time
import urllib.request
import uuid
from collections.abc import Callable
from typing import Any

import pytest
import snowflake.connector

from caves_dagster_tests.local.warehouse.conftest import DATABASE, Server, Sql

Post = Callable[..., dict[str, Any]]


@pytest.fixture
def post(server: Server, connect: Callable[..., Any]) -> Post:
    """Send a statement as the connector does, without the connector."""
    connection = connect()

    def send(sql: str, request_id: str | None = None, **more: Any) -> dict[str, Any]:
        where = server.endpoint()
        query = f"requestId={request_id or uuid.uuid4()}"
        url = f"http://{where['host']}:{where['port']}/queries/v1/query-request?{query}"
        headers = {
            "Authorization": f'Snowflake Token="{connection.rest.token}"',
            "Content-Type": "application/json",
        }
        body = json.dumps({"sqlText": sql, **more}).encode()
        with urllib.request.urlopen(urllib.request.Request(url, body, headers), timeout=30) as response:
            assert response.status == 200
            return dict(json.load(response))

    return send


def test_a_request_sent_twice_is_run_once(post: Post, sql: Sql, schema: str) -> None:
    sql("CREATE TABLE T (a INTEGER)")
    request_id = str(uuid.uuid4())
    first = post(f"INSERT INTO {schema}.T VALUES (1)", request_id)
    assert post(f"INSERT INTO {schema}.T VALUES (1)", request_id) == first
    assert first["success"]
    assert sql.one("SELECT COUNT(*) FROM T") == 1


@pytest.mark.parametrize(
    ("statement", "code"),
    [
        ("SELECT * FROM NOWHERE", "002003"),
        ("SELEC 1", "001003"),
        ("SELECT 1; SELECT 2", "000008"),
        ("INSERT INTO {schema}.N VALUES (NULL)", "100072"),
        ("SELECT 'x'::INTEGER", "100038"),
        ("SELECT 1/0", "100051"),
        ("SELECT NO_SUCH_FUNCTION(1)", "002140"),
        ("SELECT nope FROM {schema}.N", "000904"),
        ("CREATE TABLE {schema}.N (a INTEGER)", "002002"),
        ("", "000900"),
    ],
)
def test_every_failure_is_an_answer_with_snowflakes_number(
    post: Post, sql: Sql, schema: str, statement: str, code: str
) -> None:
    sql("CREATE TABLE N (a INTEGER NOT NULL)")
    answer = post(statement.format(schema=schema))
    assert answer["success"] is False
    assert answer["code"] == code
    assert answer["data"]["errorCode"] == code


def test_an_error_inside_the_server_is_not_sent_again(post: Post, sql: Sql) -> None:
    started = time.monotonic()
    answer = post("SELECT ?", bindings={"1": {"type": "FIXED", "value": "no number"}})
    assert answer["code"] == "300002"
    sql.fails(2, "CREATE PROCEDURE P() RETURNS INT LANGUAGE SQL AS 'x'")
    assert time.monotonic() - started < 5


def test_a_wrong_password_is_refused_at_once(server: Server) -> None:
    started = time.monotonic()
    for changes in ({"password": "no"}, {"user": "somebody"}, {"account": "elsewhere"}):
        with pytest.raises(snowflake.connector.errors.DatabaseError) as caught:
            server.connect(**changes)
        assert caught.value.errno in (250001, 390100)
        assert "Incorrect username or password" in str(caught.value)
    assert time.monotonic() - started < 5


def test_a_session_starts_in_the_database_asked_for(connect: Callable[..., Any]) -> None:
    sql = Sql(connect(session_parameters={"LOCK_TIMEOUT": 30, "TRANSACTION_ABORT_ON_ERROR": True}))
    assert sql("SELECT CURRENT_DATABASE(), CURRENT_SCHEMA(), CURRENT_USER()") == [
        (DATABASE, "PUBLIC", "CAVES")
    ]
    assert sql.one("SELECT CURRENT_SESSION()") == str(sql.connection.session_id)
    values = {row[0]: row[1] for row in sql("SHOW PARAMETERS IN SESSION")}
    assert (values["LOCK_TIMEOUT"], values["TRANSACTION_ABORT_ON_ERROR"]) == ("30", "true")
    sql("ALTER SESSION SET LOCK_TIMEOUT = 5 TRANSACTION_ABORT_ON_ERROR = FALSE")
    values = {row[0]: row[1] for row in sql("SHOW PARAMETERS")}
    assert (values["LOCK_TIMEOUT"], values["TRANSACTION_ABORT_ON_ERROR"]) == ("5", "false")


def test_statements_of_two_sessions_run_at_the_same_time(sql: Sql, other: Sql) -> None:
    slow = "SELECT COUNT(*) FROM TABLE(GENERATOR(ROWCOUNT => 30000)) a, TABLE(GENERATOR(ROWCOUNT => 30000)) b"
    thread = threading.Thread(target=lambda: sql(slow))
    thread.start()
    started = time.monotonic()
    answered = 0
    while thread.is_alive() and answered < 5:
        assert other.one("SELECT 1") == 1
        answered += 1
    quick = (time.monotonic() - started) / max(answered, 1)
    thread.join()
    assert answered >= 1
    assert quick < 1


def test_it_stops_cleanly_on_a_signal_and_serves_again(own_server: Server) -> None:
    for number in (signal.SIGTERM, signal.SIGINT):
        own_server.start()
        sql = Sql(own_server.connect())
        sql("CREATE TABLE IF NOT EXISTS T (a INTEGER)")
        sql("INSERT INTO T VALUES (1)")
        assert own_server.stop(number) == 0
        assert not own_server.endpoint_file.exists()
    own_server.start()
    assert Sql(own_server.connect()).one("SELECT COUNT(*) FROM T") == 2


def test_an_occupied_port_is_one_clear_line(own_server: Server) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        done = subprocess.run(
            own_server.command("--port", str(port)), capture_output=True, text=True, timeout=30
        )
    assert done.returncode == 1
    assert done.stderr.count("\n") == 1
    assert f"127.0.0.1:{port} is taken" in done.stderr


def test_one_home_has_one_server(own_server: Server) -> None:
    own_server.start()
    done = subprocess.run(own_server.command(), capture_output=True, text=True, timeout=30)
    assert done.returncode == 1
    assert done.stderr.count("\n") == 1
    assert "already serves" in done.stderr
    assert own_server.serves()


def test_it_listens_on_loopback_only(own_server: Server) -> None:
    done = subprocess.run(own_server.command("--host", "0.0.0.0"), capture_output=True, text=True, timeout=30)
    assert done.returncode == 1
    assert "loopback only" in done.stderr
    assert "password is no secret" in done.stderr


def test_beyond_loopback_it_lets_nobody_in_without_its_own_password(own_server: Server) -> None:
    own_server.arguments = ("--host", "0.0.0.0", "--password", "s3cr3t-word")
    own_server.start()
    with pytest.raises(snowflake.connector.errors.DatabaseError) as refused:
        own_server.connect(host="127.0.0.1")
    assert refused.value.errno in (250001, 390100)
    own_server.connect(host="127.0.0.1", password="s3cr3t-word").close()


def test_a_session_of_an_earlier_server_is_told_to_log_in_again(own_server: Server) -> None:
    own_server.start()
    port = own_server.endpoint()["port"]
    sql = Sql(own_server.connect())
    own_server.kill()
    own_server.arguments = ("--port", str(port))
    own_server.start()
    with pytest.raises(snowflake.connector.errors.Error) as caught:
        sql("SELECT 1")
    assert caught.value.errno == 290401
    assert Sql(own_server.connect()).one("SELECT 1") == 1


def test_bind_values_and_passwords_are_not_logged(own_server: Server) -> None:
    own_server.arguments = ("--log-level", "debug", "--password", "s3cret-password")
    own_server.start()
    sql = Sql(own_server.connect(password="s3cret-password", paramstyle="qmark"))
    sql("SELECT ?", ("s3cret-value",))
    with pytest.raises(snowflake.connector.errors.DatabaseError):
        own_server.connect(password="s3cret-attempt")
    log = own_server.errors.read_text()
    assert "SELECT ?" in log
    assert "s3cret" not in log


def test_a_schema_that_is_not_there_is_not_replaced_by_another(server: Server) -> None:
    sql = Sql(server.connect(schema="NOWHERE"))
    assert sql("SELECT CURRENT_DATABASE(), CURRENT_SCHEMA()") == [(DATABASE, None)]
    sql.fails(90106, "SELECT * FROM T")
    sql.fails(90106, "CREATE TABLE T (a INTEGER)")
    sql.connection.close()


def test_the_dialects_are_there_before_any_thread_is() -> None:
    """Two first statements at once would otherwise find one of them half made: seen as a syntax error."""
    code = (
        "import sys, caves_dagster.local.warehouse.server;"
        "print([name for name in ('snowflake', 'duckdb') if f'sqlglot.dialects.{name}' in sys.modules])"
    )
    said = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert said.strip() == "['snowflake', 'duckdb']"
