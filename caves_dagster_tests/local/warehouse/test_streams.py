"""Append-only streams: what they show, when they give it up, and to whom."""

from __future__ import annotations

import datetime as dt

import pytest

from caves_dagster_tests.local.warehouse.conftest import DATABASE, Sql


@pytest.fixture
def base(sql: Sql) -> Sql:
    """A table RAW with a stream S on it, and a table OUT."""
    sql("CREATE TABLE RAW (id INTEGER, v VARIANT)")
    sql("CREATE STREAM S ON TABLE RAW APPEND_ONLY = TRUE COMMENT = 'à lire'")
    sql("CREATE TABLE OUT (id INTEGER)")
    return sql


def _ids(sql: Sql, table: str = "S") -> list[int]:
    return [row[0] for row in sql(f"SELECT id FROM {table} ORDER BY id")]


def test_a_stream_shows_what_was_inserted_and_nothing_else(base: Sql) -> None:
    base("INSERT INTO RAW (id) VALUES (1), (2)")
    base("UPDATE RAW SET id = 20 WHERE id = 2")
    base("DELETE FROM RAW WHERE id = 1")
    base("TRUNCATE TABLE RAW")
    assert _ids(base) == [1, 2]
    rows = base("SELECT METADATA$ACTION, METADATA$ISUPDATE, METADATA$ROW_ID FROM S")
    assert {row[:2] for row in rows} == {("INSERT", False)}
    assert len({row[2] for row in rows}) == 2


def test_reading_does_not_consume(base: Sql) -> None:
    base("INSERT INTO RAW (id) VALUES (1)")
    for _ in range(2):
        assert _ids(base) == [1]
    base("BEGIN")
    assert _ids(base) == [1]
    base("COMMIT")
    assert _ids(base) == [1]


@pytest.mark.parametrize(
    "statement",
    [
        "INSERT INTO OUT SELECT id FROM S",
        "INSERT INTO OUT SELECT id FROM S WHERE FALSE",
        "INSERT INTO OUT WITH c AS (SELECT * FROM S) SELECT id FROM c",
        "MERGE INTO OUT t USING (SELECT id FROM S) s ON t.id = s.id WHEN NOT MATCHED THEN INSERT (id) "
        "VALUES (s.id)",
        "MERGE INTO OUT t USING S s ON t.id = s.id WHEN NOT MATCHED THEN INSERT (id) VALUES (s.id)",
        "CREATE OR REPLACE TABLE COPIED AS SELECT id FROM S",
        "UPDATE OUT SET id = id + 1 WHERE id IN (SELECT id FROM S)",
        "DELETE FROM OUT WHERE id IN (SELECT id FROM S)",
    ],
)
def test_dml_that_reads_a_stream_consumes_it(base: Sql, statement: str) -> None:
    base("INSERT INTO RAW (id) VALUES (1), (2)")
    assert base.one("SELECT SYSTEM$STREAM_HAS_DATA('S')") is True
    base(statement)
    assert _ids(base) == []
    assert base.one("SELECT SYSTEM$STREAM_HAS_DATA('S')") is False
    base("INSERT INTO RAW (id) VALUES (3)")
    assert _ids(base) == [3]


def test_a_rollback_gives_it_back(base: Sql) -> None:
    base("INSERT INTO RAW (id) VALUES (1)")
    base("BEGIN")
    base("INSERT INTO OUT SELECT id FROM S")
    base("ROLLBACK")
    assert _ids(base) == [1]
    assert _ids(base, "OUT") == []


def test_a_statement_that_fails_consumes_nothing(base: Sql) -> None:
    base("INSERT INTO RAW (id) VALUES (1), (0)")
    base.fails(100051, "INSERT INTO OUT SELECT 1 / id FROM S")
    assert _ids(base) == [0, 1]


def test_within_a_transaction_every_statement_sees_the_same_rows(base: Sql, other: Sql) -> None:
    base("INSERT INTO RAW (id) VALUES (1)")
    base("BEGIN")
    base("INSERT INTO OUT SELECT id FROM S")
    other("INSERT INTO RAW (id) VALUES (2)")
    base("INSERT INTO RAW (id) VALUES (3)")
    assert _ids(base) == [1]
    base("INSERT INTO OUT SELECT id * 10 FROM S")
    base("COMMIT")
    assert _ids(base, "OUT") == [1, 10]
    assert _ids(base) == [2, 3]


def test_rows_of_a_transaction_that_commits_late_are_not_lost(base: Sql, other: Sql) -> None:
    other("BEGIN")
    other("INSERT INTO RAW (id) VALUES (1)")
    base("INSERT INTO RAW (id) VALUES (2)")
    base("INSERT INTO OUT SELECT id FROM S")
    other("COMMIT")
    assert _ids(base, "OUT") == [2]
    assert _ids(base) == [1]


def test_of_two_consumers_the_second_is_told_to_run_again(base: Sql, other: Sql) -> None:
    base("INSERT INTO RAW (id) VALUES (1)")
    for session in (base, other):
        session("BEGIN")
        session("INSERT INTO OUT SELECT id FROM S")
    base("COMMIT")
    other.fails(625, "COMMIT")
    assert _ids(base, "OUT") == [1]
    assert _ids(base) == []


def test_the_streams_of_one_table_are_apart(base: Sql) -> None:
    base("CREATE STREAM S2 ON TABLE RAW APPEND_ONLY = TRUE")
    base("INSERT INTO RAW (id) VALUES (1)")
    base("INSERT INTO OUT SELECT id FROM S")
    assert (_ids(base), _ids(base, "S2")) == ([], [1])


def test_two_streams_consumed_in_one_transaction_are_both_consumed(base: Sql) -> None:
    base("CREATE STREAM S2 ON TABLE RAW APPEND_ONLY = TRUE")
    base("INSERT INTO RAW (id) VALUES (1)")
    base("BEGIN")
    base("INSERT INTO OUT SELECT id FROM S")
    base("INSERT INTO OUT SELECT id FROM S2")
    base("COMMIT")
    assert (_ids(base), _ids(base, "S2")) == ([], [])


def test_merge_feeds_the_streams_of_its_target_with_what_it_inserts(base: Sql) -> None:
    base("CREATE STREAM SO ON TABLE OUT APPEND_ONLY = TRUE")
    base("INSERT INTO OUT VALUES (1)")
    assert base(
        "MERGE INTO OUT t USING (SELECT column1 AS id FROM VALUES (1), (2)) s ON t.id = s.id "
        "WHEN MATCHED THEN UPDATE SET id = t.id WHEN NOT MATCHED THEN INSERT (id) VALUES (s.id)"
    ) == [(1, 1)]
    assert _ids(base, "SO") == [1, 2]


def test_a_column_added_later_is_in_the_stream(base: Sql) -> None:
    base("INSERT INTO RAW (id) VALUES (1)")
    base("ALTER TABLE RAW ADD COLUMN name VARCHAR(3) COMMENT 'né'")
    base("ALTER TABLE RAW ADD COLUMN n INTEGER")
    base("INSERT INTO RAW (id, name, n) VALUES (2, 'éé', 5)")
    assert base("SELECT id, name, n FROM S ORDER BY id") == [(1, None, None), (2, "éé", 5)]
    base.fails(100078, "INSERT INTO RAW (id, name) VALUES (3, 'éééé')")
    base("INSERT INTO OUT SELECT id FROM S")
    assert _ids(base) == []


def test_initial_rows_are_shown_on_request(base: Sql) -> None:
    base("INSERT INTO RAW (id) VALUES (1)")
    base("CREATE STREAM FROM_HERE ON TABLE RAW APPEND_ONLY = TRUE")
    base("CREATE STREAM FROM_START ON TABLE RAW APPEND_ONLY = TRUE SHOW_INITIAL_ROWS = TRUE")
    assert (_ids(base, "FROM_HERE"), _ids(base, "FROM_START")) == ([], [1])


def test_create_if_not_exists_keeps_a_stream_and_or_replace_empties_it(base: Sql) -> None:
    base("INSERT INTO RAW (id) VALUES (1)")
    assert "already exists" in base.one("CREATE STREAM IF NOT EXISTS S ON TABLE RAW APPEND_ONLY = TRUE")
    assert _ids(base) == [1]
    base.fails(2002, "CREATE STREAM S ON TABLE RAW APPEND_ONLY = TRUE")
    base("CREATE OR REPLACE STREAM S ON TABLE RAW APPEND_ONLY = TRUE")
    assert _ids(base) == []
    base("INSERT INTO RAW (id) VALUES (2)")
    assert _ids(base) == [2]


def test_streams_are_shown_and_described(base: Sql, schema: str) -> None:
    rows = base(f"SHOW STREAMS IN SCHEMA {DATABASE}.{schema}")
    shown = dict(zip([column[0] for column in base.cursor.description], rows[0], strict=True))
    assert len(rows) == 1
    assert (shown["name"], shown["database_name"], shown["schema_name"]) == ("S", DATABASE, schema)
    assert (shown["table_name"], shown["mode"]) == (f"{DATABASE}.{schema}.RAW", "APPEND_ONLY")
    assert (shown["stale"], shown["comment"]) == ("false", "à lire")
    assert shown["stale_after"] > dt.datetime.now(dt.UTC)
    assert base("DESCRIBE STREAM S")[0][1] == "S"
    assert len(base("SHOW STREAMS LIKE 's%'")) == 1
    assert base("SHOW STREAMS LIKE 'x%' IN DATABASE") == []
    assert base(f"SHOW VIEWS IN SCHEMA {schema}") == []
    assert {row[1] for row in base(f"SHOW TABLES IN SCHEMA {schema}")} == {"RAW", "OUT"}
    tables = base(f"SELECT TABLE_NAME FROM INFORMATION_SCHEMA.TABLES WHERE TABLE_SCHEMA = '{schema}'")
    assert {row[0] for row in tables} == {"RAW", "OUT"}


def test_a_dropped_stream_is_gone_and_its_table_goes_on(base: Sql) -> None:
    base("DROP STREAM S")
    base("DROP STREAM IF EXISTS S")
    base.fails(2003, "DROP STREAM S")
    base.fails(2003, "SELECT * FROM S")
    base.fails(2003, "SELECT SYSTEM$STREAM_HAS_DATA('S')")
    base("INSERT INTO RAW (id) VALUES (1)")
    assert _ids(base, "RAW") == [1]


def test_a_stream_whose_table_was_dropped_is_stale(base: Sql) -> None:
    base("DROP TABLE RAW")
    rows = base("SHOW STREAMS")
    shown = dict(zip([column[0] for column in base.cursor.description], rows[0], strict=True))
    assert shown["stale"] == "true"
    base.fails(2003, "SELECT * FROM S")
    base("DROP STREAM S")
    assert base("SHOW STREAMS") == []


def test_has_data_takes_names_in_full(base: Sql, schema: str) -> None:
    assert base.one(f"SELECT SYSTEM$STREAM_HAS_DATA('{DATABASE}.{schema}.S')") is False
    assert base.one(f"SELECT SYSTEM$STREAM_HAS_DATA('{schema.lower()}.s')") is False


def test_other_kinds_of_stream_are_refused(base: Sql) -> None:
    base.fails(2, "CREATE STREAM X ON TABLE RAW APPEND_ONLY = FALSE")
    base.fails(2003, "CREATE STREAM X ON TABLE NOWHERE APPEND_ONLY = TRUE")
