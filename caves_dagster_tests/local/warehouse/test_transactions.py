"""Transactions: what is seen, what is kept, who ends them."""

from __future__ import annotations

import datetime as dt
import time
from collections.abc import Callable
from typing import Any

import duckdb

from caves_dagster.local.warehouse.transactions import Transactions
from caves_dagster_tests.local.warehouse.conftest import Server, Sql


def test_a_transaction_commits_whole_or_not_at_all(sql: Sql, other: Sql) -> None:
    sql("CREATE TABLE T (a INTEGER)")
    sql("BEGIN TRANSACTION NAME load")
    sql("INSERT INTO T VALUES (1)")
    assert other.one("SELECT COUNT(*) FROM T") == 0
    sql("ROLLBACK")
    assert sql.one("SELECT COUNT(*) FROM T") == 0
    sql("BEGIN")
    sql("INSERT INTO T VALUES (1)")
    sql("UPDATE T SET a = 2")
    sql("COMMIT")
    assert other("SELECT a FROM T") == [(2,)]


def test_transactions_are_shown_with_who_and_since_when(sql: Sql, other: Sql) -> None:
    assert sql.one("SELECT CURRENT_TRANSACTION()") is None
    sql("BEGIN NAME nightly")
    mine = sql.one("SELECT CURRENT_TRANSACTION()")
    shown = {row[0]: row for row in other("SHOW TRANSACTIONS")}
    names = [column[0] for column in other.cursor.description]
    assert names == ["id", "user", "session", "name", "started_on", "state"]
    assert shown[mine][1:4] == ("CAVES", str(sql.connection.session_id), "NIGHTLY")
    assert abs(dt.datetime.now(dt.UTC) - shown[mine][4]) < dt.timedelta(seconds=30)
    assert shown[mine][5] == "running"
    sql("ROLLBACK")
    assert mine not in {row[0] for row in other("SHOW TRANSACTIONS")}


def test_a_write_conflict_is_625_and_the_transaction_can_be_run_again(sql: Sql, other: Sql) -> None:
    sql("CREATE TABLE FENCE (epoch INTEGER)")
    sql("INSERT INTO FENCE VALUES (0)")
    sql("BEGIN")
    sql("UPDATE FENCE SET epoch = epoch + 1")
    other("BEGIN")
    other.fails(625, "UPDATE FENCE SET epoch = epoch + 1")
    other("ROLLBACK")
    sql("COMMIT")
    other("BEGIN")
    other("UPDATE FENCE SET epoch = epoch + 1")
    other("COMMIT")
    assert sql.one("SELECT epoch FROM FENCE") == 2


def test_a_failed_statement_ends_its_transaction_and_commit_says_so(sql: Sql) -> None:
    sql("CREATE TABLE T (a INTEGER)")
    sql("BEGIN")
    sql("INSERT INTO T VALUES (1)")
    sql.fails(2003, "SELECT * FROM NOWHERE")
    sql.fails(625, "INSERT INTO T VALUES (2)")
    sql.fails(625, "COMMIT")
    sql("INSERT INTO T VALUES (3)")
    assert sql("SELECT a FROM T") == [(3,)]


def test_ddl_commits_what_is_open(sql: Sql, other: Sql) -> None:
    sql("CREATE TABLE T (a INTEGER)")
    sql("BEGIN")
    sql("INSERT INTO T VALUES (1)")
    sql("CREATE TABLE U (a INTEGER)")
    assert other.one("SELECT COUNT(*) FROM T") == 1
    assert sql.one("SELECT CURRENT_TRANSACTION()") is None


def test_without_autocommit_dml_waits_for_commit(connect: Callable[..., Any], sql: Sql, schema: str) -> None:
    sql("CREATE TABLE T (a INTEGER)")
    manual = Sql(connect(schema=schema, autocommit=False))
    manual("INSERT INTO T VALUES (1)")
    assert sql.one("SELECT COUNT(*) FROM T") == 0
    manual.connection.commit()
    assert sql.one("SELECT COUNT(*) FROM T") == 1
    manual("INSERT INTO T VALUES (2)")
    manual.connection.rollback()
    assert manual.one("SELECT COUNT(*) FROM T") == 1


def test_closing_a_connection_rolls_back(server: Server, sql: Sql, schema: str) -> None:
    sql("CREATE TABLE T (a INTEGER)")
    leaving = Sql(server.connect(schema=schema))
    leaving("BEGIN")
    leaving("INSERT INTO T VALUES (1)")
    mine = leaving.one("SELECT CURRENT_TRANSACTION()")
    leaving.connection.close()
    assert mine not in {row[0] for row in sql("SHOW TRANSACTIONS")}
    assert sql.one("SELECT COUNT(*) FROM T") == 0


def test_a_transaction_can_be_ended_from_another_session(sql: Sql, other: Sql) -> None:
    sql("CREATE TABLE FENCE (epoch INTEGER)")
    sql("INSERT INTO FENCE VALUES (0)")
    sql("BEGIN")
    sql("UPDATE FENCE SET epoch = 1")
    mine = sql.one("SELECT CURRENT_TRANSACTION()")
    assert mine in other.one(f"SELECT SYSTEM$ABORT_TRANSACTION('{mine}')")
    other("UPDATE FENCE SET epoch = 5")
    sql.fails(625, "SELECT 1")
    sql.fails(625, "COMMIT")
    assert sql.one("SELECT epoch FROM FENCE") == 5
    other.fails(90232, f"SELECT SYSTEM$ABORT_TRANSACTION('{mine}')")


def test_a_transaction_whose_client_is_silent_is_ended(own_server: Server) -> None:
    own_server.arguments = ("--transaction-idle-seconds", "0.5")
    own_server.start()
    silent, other = Sql(own_server.connect()), Sql(own_server.connect())
    silent("CREATE TABLE FENCE (epoch INTEGER)")
    silent("INSERT INTO FENCE VALUES (0)")
    silent("BEGIN")
    silent("UPDATE FENCE SET epoch = 1")
    deadline = time.monotonic() + 10
    while other("SHOW TRANSACTIONS"):
        assert time.monotonic() < deadline
        time.sleep(0.05)
    other("UPDATE FENCE SET epoch = 7")
    assert "idle" in silent.fails(625, "COMMIT")
    assert silent.one("SELECT epoch FROM FENCE") == 7


class _Interrupted:
    """A cursor whose ROLLBACK, and what comes before and after it, an interrupt hits the first time."""

    def __init__(self, cursor: duckdb.DuckDBPyConnection) -> None:
        self._cursor = cursor
        self._hit: set[str] = set()

    def execute(self, sql: str) -> Any:
        if sql.startswith(("ROLLBACK", "SET", "RESET")) and sql not in self._hit:
            self._hit.add(sql)
            raise duckdb.InterruptException("INTERRUPT Error: Interrupted!")
        return self._cursor.execute(sql)


def test_an_interrupt_that_hits_the_rollback_leaves_no_row_locked() -> None:
    duck = duckdb.connect()
    duck.execute("CREATE TABLE FENCE AS SELECT 0 AS epoch")
    cursor: Any = _Interrupted(duck.cursor())
    transactions = Transactions(cursor, lambda transaction: None, lambda committed: None)
    transactions.begin()
    cursor.execute("UPDATE FENCE SET epoch = 1")
    transactions.end("it was aborted")
    assert transactions.open is None
    duck.execute("UPDATE FENCE SET epoch = 7")
    assert duck.execute("SELECT epoch FROM FENCE").fetchall() == [(7,)]


def test_begin_within_a_transaction_changes_nothing(sql: Sql) -> None:
    sql("CREATE TABLE T (a INTEGER)")
    sql("BEGIN")
    sql("INSERT INTO T VALUES (1)")
    sql("BEGIN")
    sql("ROLLBACK")
    assert sql.one("SELECT COUNT(*) FROM T") == 0
