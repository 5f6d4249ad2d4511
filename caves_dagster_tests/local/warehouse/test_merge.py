"""MERGE: what it does to which rows, and what it refuses."""

# ruff: noqa: DTZ001 - what TIMESTAMP_NTZ gives back has no zone
from __future__ import annotations

import datetime as dt
from decimal import Decimal

import pytest

from caves_dagster_tests.local.warehouse.conftest import Sql


@pytest.fixture
def target(sql: Sql) -> Sql:
    """A table T of orders and a table S of newer versions of them."""
    sql(
        "CREATE TABLE T (id INTEGER PRIMARY KEY, qty INTEGER, price NUMBER(10,2), at TIMESTAMP_NTZ, note "
        "VARCHAR(10))"
    )
    sql("CREATE TABLE S (id INTEGER, qty INTEGER, price NUMBER(10,2), at TIMESTAMP_NTZ, raw VARIANT)")
    sql("INSERT INTO T VALUES (1, 1, 1.00, '2025-01-01', 'a'), (2, 2, 2.00, '2025-01-02', 'b')")
    return sql


def test_rows_are_updated_and_inserted_with_expressions(target: Sql) -> None:
    target("INSERT INTO S (id, qty, price, at) VALUES (1, 5, 18.5, '2025-02-01'), (3, 3, 3, '2025-02-01')")
    assert target(
        "MERGE INTO T USING (SELECT * FROM S) s ON T.id = s.id "
        "WHEN MATCHED AND s.at > T.at THEN UPDATE SET T.qty = T.qty + s.qty, price = ROUND(s.price * 2, "
        "2), at = s.at "
        "WHEN NOT MATCHED THEN INSERT (id, qty, price, at, note) VALUES (s.id, s.qty, s.price + 1, s.at, "
        "UPPER('new'))"
    ) == [(1, 1)]
    assert target.cursor.rowcount == 2
    assert [column[0] for column in target.cursor.description] == [
        "number of rows inserted",
        "number of rows updated",
    ]
    assert target("SELECT id, qty, price, note FROM T ORDER BY id") == [
        (1, 6, Decimal("37.00"), "a"),
        (2, 2, Decimal("2.00"), "b"),
        (3, 3, Decimal("4.00"), "NEW"),
    ]


def test_clauses_are_tried_in_order(target: Sql) -> None:
    target("INSERT INTO S (id, qty) VALUES (1, 0), (2, 9), (3, 0), (4, 4)")
    assert target(
        "MERGE INTO T t USING S s ON t.id = s.id "
        "WHEN MATCHED AND s.qty = 0 THEN DELETE WHEN MATCHED THEN UPDATE SET qty = s.qty "
        "WHEN NOT MATCHED AND s.qty > 0 THEN INSERT (id, qty) VALUES (s.id, s.qty)"
    ) == [(1, 1, 1)]
    assert target("SELECT id, qty FROM T ORDER BY id") == [(2, 9), (4, 4)]


def test_a_target_row_updated_by_two_source_rows_is_refused(target: Sql) -> None:
    target("INSERT INTO S (id, qty) VALUES (1, 5), (1, 6), (7, 7)")
    merge = (
        "MERGE INTO T t USING {0} s ON t.id = s.id WHEN MATCHED THEN UPDATE SET qty = s.qty "
        "WHEN NOT MATCHED THEN INSERT (id, qty) VALUES (s.id, s.qty)"
    )
    assert "Duplicate row" in target.fails(100090, merge.format("S"))
    assert target("SELECT id, qty FROM T ORDER BY id") == [(1, 1), (2, 2)]
    newest = "(SELECT * FROM S QUALIFY ROW_NUMBER() OVER (PARTITION BY id ORDER BY qty DESC) = 1)"
    assert target(merge.format(newest)) == [(1, 1)]
    assert target("SELECT qty FROM T WHERE id = 1") == [(6,)]


def test_duplicates_of_which_one_applies_are_not_in_doubt(target: Sql) -> None:
    target("INSERT INTO S (id, qty) VALUES (1, 5), (1, 0)")
    target("MERGE INTO T t USING S s ON t.id = s.id WHEN MATCHED AND s.qty > 0 THEN UPDATE SET qty = s.qty")
    assert target("SELECT qty FROM T WHERE id = 1") == [(5,)]


def test_a_merge_that_fails_half_way_leaves_nothing(target: Sql) -> None:
    target("INSERT INTO S (id, qty) VALUES (1, 5), (3, 3)")
    target.fails(
        100078,
        "MERGE INTO T t USING S s ON t.id = s.id WHEN MATCHED THEN UPDATE SET qty = s.qty "
        "WHEN NOT MATCHED THEN INSERT (id, note) VALUES (s.id, 'far longer than ten')",
    )
    assert target("SELECT id, qty FROM T ORDER BY id") == [(1, 1), (2, 2)]


def test_merges_follow_other_writes_in_a_transaction(target: Sql) -> None:
    target("BEGIN")
    target("INSERT INTO S (id, qty) VALUES (1, 5)")
    for _ in range(2):
        target("MERGE INTO T t USING S s ON t.id = s.id WHEN MATCHED THEN UPDATE SET qty = t.qty + s.qty")
    target("INSERT INTO T (id) VALUES (9)")
    target("COMMIT")
    assert target("SELECT id, qty FROM T ORDER BY id") == [(1, 11), (2, 2), (9, None)]
    target("BEGIN")
    target("MERGE INTO T t USING S s ON t.id = s.id WHEN MATCHED THEN DELETE")
    target("ROLLBACK")
    assert target.one("SELECT COUNT(*) FROM T") == 3


def test_values_are_computed_only_for_the_rows_they_are_for(target: Sql) -> None:
    target("INSERT INTO S (id, raw) SELECT 1, PARSE_JSON('\"no number\"')")
    target("INSERT INTO S (id, raw) SELECT 8, PARSE_JSON('8')")
    target(
        "MERGE INTO T t USING S s ON t.id = s.id WHEN MATCHED THEN UPDATE SET note = 'seen' "
        "WHEN NOT MATCHED THEN INSERT (id, qty) VALUES (s.id, s.raw::VARCHAR::INTEGER)"
    )
    assert target("SELECT id, qty, note FROM T ORDER BY id") == [(1, 1, "seen"), (2, 2, "b"), (8, 8, None)]


def test_a_late_event_never_overwrites_a_newer_one(target: Sql) -> None:
    target("INSERT INTO S (id, qty, at) VALUES (1, 9, '2024-12-31')")
    merge = (
        "MERGE INTO T t USING S s ON t.id = s.id WHEN MATCHED AND (s.at, s.qty) > (t.at, t.qty) "
        "THEN UPDATE SET qty = s.qty, at = s.at"
    )
    assert target(merge) == [(0,)]
    target("UPDATE S SET at = '2025-01-01'")
    assert target(merge) == [(1,)]
    assert target("SELECT at FROM T WHERE id = 1") == [(dt.datetime(2025, 1, 1),)]


def test_duplicates_that_match_nothing_are_inserted_as_snowflake_does(target: Sql) -> None:
    target("INSERT INTO S (id, qty) VALUES (5, 1), (5, 2)")
    target(
        "MERGE INTO T t USING S s ON t.id = s.id WHEN NOT MATCHED THEN INSERT (id, qty) VALUES (s.id, s.qty)"
    )
    assert target.one("SELECT COUNT(*) FROM T WHERE id = 5") == 2
