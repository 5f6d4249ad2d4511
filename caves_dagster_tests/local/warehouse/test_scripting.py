"""Blocks of statements: in order, in one transaction, with a handler; the rest of the language is refused."""

from __future__ import annotations

import pytest

from caves_dagster_tests.local.warehouse.conftest import Sql

TRANSACTION = """BEGIN
    BEGIN TRANSACTION;
    INSERT INTO T VALUES ('a;b'); -- c;
    INSERT INTO T SELECT {second};
    COMMIT;
EXCEPTION
    WHEN OTHER THEN
        ROLLBACK;
        {last}
END"""


@pytest.fixture
def table(sql: Sql) -> Sql:
    """A session with an empty table T of one text column."""
    sql("CREATE TABLE T (v VARCHAR(5))")
    return sql


def test_a_block_runs_its_statements_in_order(table: Sql) -> None:
    table("BEGIN INSERT INTO T VALUES ('a'); UPDATE T SET v = CASE WHEN v = 'a' THEN 'b' END; END;")
    assert table("SELECT v FROM T") == [("b",)]
    table("EXECUTE IMMEDIATE $$ BEGIN DELETE FROM T; INSERT INTO T VALUES ('c'); END $$")
    table("EXECUTE IMMEDIATE 'INSERT INTO T VALUES (''d'')'")
    assert table("SELECT v FROM T ORDER BY v") == [("c",), ("d",)]


def test_a_transaction_in_a_block(table: Sql) -> None:
    table(TRANSACTION.format(second="'c'", last="RAISE;"))
    assert table("SELECT v FROM T ORDER BY v") == [("a;b",), ("c",)]


def test_what_fails_is_rolled_back_and_raised_with_its_number_and_place(table: Sql) -> None:
    message = table.fails(100038, TRANSACTION.format(second="'x'::INTEGER", last="RAISE;"))
    assert (
        "Uncaught exception of type 'STATEMENT_ERROR' on line 4 at position 4 : Numeric value 'x'" in message
    )
    assert table("SELECT v FROM T") == []
    table("INSERT INTO T VALUES ('ok')")
    assert table("SELECT v FROM T") == [("ok",)]


def test_a_handler_without_raise_takes_the_error(table: Sql) -> None:
    table(TRANSACTION.format(second="'x'::INTEGER", last="INSERT INTO T VALUES ('h');"))
    assert table("SELECT v FROM T") == [("h",)]


def test_without_a_transaction_what_ran_before_the_failure_stays(table: Sql) -> None:
    table.fails(2003, "BEGIN INSERT INTO T VALUES ('a'); INSERT INTO NOWHERE VALUES (1); END")
    assert table("SELECT v FROM T") == [("a",)]


def test_a_transaction_left_open_is_rolled_back_and_fails_the_block(table: Sql) -> None:
    assert "incomplete" in table.fails(90232, "BEGIN BEGIN TRANSACTION; INSERT INTO T VALUES ('a'); END")
    assert table("SELECT v FROM T") == []


def test_begin_still_begins_a_transaction(table: Sql) -> None:
    for begin in ("BEGIN", "BEGIN WORK", "BEGIN TRANSACTION NAME x", "BEGIN NAME y", "START TRANSACTION"):
        table(begin)
        table("INSERT INTO T VALUES ('a')")
        table("ROLLBACK")
    assert table("SELECT v FROM T") == []


@pytest.mark.parametrize(
    ("block", "word"),
    [
        ("DECLARE x INTEGER; BEGIN SELECT 1; END", "DECLARE"),
        ("BEGIN LET x := 1; END", "LET"),
        ("BEGIN x := 1; END", "x"),
        ("BEGIN IF (1 = 1) THEN SELECT 1; END IF; END", "IF"),
        ("BEGIN FOR i IN 1 TO 3 DO SELECT 1; END FOR; END", "FOR"),
        ("BEGIN RETURN 1; END", "RETURN"),
        ("BEGIN CALL P(); END", "CALL"),
        ("BEGIN BEGIN SELECT 1; END; END", "nested block"),
        ("BEGIN SELECT 1; EXCEPTION WHEN STATEMENT_ERROR THEN ROLLBACK; END", "WHEN OTHER"),
        ("BEGIN RAISE; END", "RAISE"),
        ("EXECUTE IMMEDIATE :x", "EXECUTE IMMEDIATE"),
    ],
)
def test_the_rest_of_the_language_is_refused(table: Sql, block: str, word: str) -> None:
    assert word in table.fails(2, block)


@pytest.mark.parametrize(
    "block", ["BEGIN SELECT 1", "BEGIN SELECT 1; ", "BEGIN SELECT 1; END SELECT 2", "BEGIN ; END"]
)
def test_what_does_not_parse(table: Sql, block: str) -> None:
    table.fails(1003, block)
