"""Tables, views, schemas, databases: made, described, altered, dropped."""

from __future__ import annotations

from decimal import Decimal as D
from typing import Any

import pytest

from caves_dagster_tests.local.warehouse.conftest import DATABASE, Sql

WINES = (
    "CREATE TABLE IF NOT EXISTS WINES ("
    "id INTEGER PRIMARY KEY COMMENT 'l''identifiant', name VARCHAR(5) NOT NULL COMMENT 'nom; é 🥂', "
    "price NUMBER(10,2) DEFAULT 1.5, n DECIMAL, s STRING, b BOOLEAN, d DATE, t TIMESTAMP_NTZ, l "
    "TIMESTAMP_LTZ, "
    "z TIMESTAMP_TZ, p TIMESTAMP DEFAULT CURRENT_TIMESTAMP(), v VARIANT, o OBJECT, a ARRAY, x BINARY(4), "
    "y BINARY, f FLOAT"
    ") COMMENT = 'les vins; 🍷'"
)


def _described(sql: Sql, name: str) -> dict[str, dict[str, Any]]:
    rows = sql(f"DESCRIBE TABLE {name}")
    names = [column[0] for column in sql.cursor.description]
    return {row[0]: dict(zip(names, row, strict=True)) for row in rows}


def test_a_table_says_what_it_was_declared_as(sql: Sql, schema: str) -> None:
    sql(WINES)
    sql(WINES)
    columns = _described(sql, "WINES")
    assert {name: column["type"] for name, column in columns.items()} == {
        "ID": "NUMBER(38,0)", "NAME": "VARCHAR(5)", "PRICE": "NUMBER(10,2)", "N": "NUMBER(38,0)",
        "S": "VARCHAR(16777216)", "B": "BOOLEAN", "D": "DATE", "T": "TIMESTAMP_NTZ(9)", "L":
            "TIMESTAMP_LTZ(9)",
        "Z": "TIMESTAMP_TZ(9)", "P": "TIMESTAMP_NTZ(9)", "V": "VARIANT", "O": "OBJECT", "A": "ARRAY",
            "X": "BINARY(4)",
        "Y": "BINARY(8388608)", "F": "FLOAT",
    }  # fmt: skip
    assert columns["ID"]["comment"] == "l'identifiant"
    assert columns["NAME"]["comment"] == "nom; é 🥂"
    assert (columns["ID"]["primary key"], columns["ID"]["null?"], columns["S"]["null?"]) == ("Y", "N", "Y")
    where = f"WHERE TABLE_SCHEMA = '{schema}' AND TABLE_NAME = 'WINES'"
    assert sql(f"SELECT COMMENT, TABLE_TYPE FROM {DATABASE}.INFORMATION_SCHEMA.TABLES {where}") == [
        ("les vins; 🍷", "BASE TABLE")
    ]
    assert sql(
        "SELECT COLUMN_NAME, DATA_TYPE, CHARACTER_MAXIMUM_LENGTH, NUMERIC_PRECISION, NUMERIC_SCALE, "
        "IS_NULLABLE, COMMENT "
        f"FROM INFORMATION_SCHEMA.COLUMNS {where} AND COLUMN_NAME IN ('NAME', 'PRICE', 'O') ORDER BY "
        f"ORDINAL_POSITION"
    ) == [
        ("NAME", "TEXT", 5, None, None, "NO", "nom; é 🥂"),
        ("PRICE", "NUMBER", None, 10, 2, "YES", None),
        ("O", "OBJECT", None, None, None, "YES", None),
    ]


def test_lengths_are_enforced_however_a_row_is_written(sql: Sql) -> None:
    sql(WINES)
    sql("INSERT INTO WINES (id, name) VALUES (1, 'é🥂🍷xy')")
    sql.fails(100078, "INSERT INTO WINES (id, name) VALUES (2, 'sixsix')")
    sql.fails(100078, "INSERT INTO WINES (id, name) SELECT 2, 'six' || 'six'")
    sql.fails(100078, "UPDATE WINES SET name = 'sixsix'")
    sql.fails(100078, "INSERT INTO WINES (id, name, x) SELECT 2, 'a', TO_BINARY('0102030405')")
    sql.fails(100072, "INSERT INTO WINES (id) VALUES (2)")
    sql.fails(100072, "INSERT INTO WINES (name) VALUES ('a')")
    sql.fails(100039, "INSERT INTO WINES (id, name, price) VALUES (2, 'a', 123456789)")
    assert sql("SELECT id, price, p IS NOT NULL FROM WINES") == [(1, pytest.approx(1.5), True)]


def test_keys_are_kept_but_not_enforced_as_in_snowflake(sql: Sql) -> None:
    sql("CREATE TABLE T (a INTEGER, b INTEGER, c INTEGER UNIQUE, PRIMARY KEY (a, b))")
    sql("INSERT INTO T VALUES (1, 1, 1), (1, 1, 1)")
    columns = _described(sql, "T")
    assert [columns[name]["primary key"] for name in ("A", "B", "C")] == ["Y", "Y", "N"]
    assert sql.one("SELECT COUNT(*) FROM T") == 2


def test_reserved_words_and_quoted_names_are_names(sql: Sql) -> None:
    sql('CREATE TABLE "Odd name" ("order" INTEGER, "é" VARCHAR, "a""b" INTEGER)')
    sql("INSERT INTO \"Odd name\" VALUES (1, 'x', 2)")
    assert sql('SELECT "order", "é", "a""b" FROM "Odd name"') == [(1, "x", 2)]


def test_a_table_is_altered(sql: Sql, schema: str) -> None:
    sql("CREATE TABLE T (a INTEGER, b VARCHAR(3))")
    sql("INSERT INTO T VALUES (1, 'x')")
    sql("ALTER TABLE T ADD COLUMN c VARCHAR(2) DEFAULT 'é' COMMENT 'cc', d INTEGER")
    sql("ALTER TABLE T ADD COLUMN IF NOT EXISTS c VARCHAR(2)")
    assert sql("SELECT * FROM T") == [(1, "x", "é", None)]
    sql.fails(100078, "UPDATE T SET c = 'abc'")
    sql.fails(100078, "UPDATE T SET b = 'abcd'")
    sql("ALTER TABLE T RENAME COLUMN d TO e")
    sql("ALTER TABLE T DROP COLUMN b")
    sql("ALTER TABLE T RENAME TO U")
    sql("COMMENT ON TABLE U IS 'uu'")
    sql("COMMENT ON COLUMN U.e IS 'ee'")
    columns = _described(sql, "U")
    assert {name: column["comment"] for name, column in columns.items()} == {"A": None, "C": "cc", "E": "ee"}
    assert columns["C"]["type"] == "VARCHAR(2)"
    assert sql(f"SHOW TABLES IN SCHEMA {schema}")[0][5] == "uu"
    sql.fails(2003, "SELECT * FROM T")
    sql.fails(2003, "ALTER TABLE T ADD COLUMN z INTEGER")
    sql("ALTER TABLE IF EXISTS T ADD COLUMN z INTEGER")


def test_a_column_becomes_wider_and_never_narrower(sql: Sql) -> None:
    sql("CREATE TABLE T (a VARCHAR(3) NOT NULL COMMENT 'aa', n NUMBER(4, 1), i INTEGER)")
    sql("CREATE STREAM S ON TABLE T APPEND_ONLY = TRUE")
    sql("INSERT INTO T VALUES ('abc', 123.4, 1)")
    sql("ALTER TABLE T ALTER COLUMN a SET DATA TYPE VARCHAR(5)")
    sql("ALTER TABLE T ALTER n TYPE NUMBER(6, 1)")
    sql("INSERT INTO T (n, a, i) VALUES (12345.6, 'abcde', 2)")
    assert [row[:3] for row in sql("SELECT * FROM S ORDER BY i")] == [
        ("abc", D("123.4"), 1),
        ("abcde", D("12345.6"), 2),
    ]
    sql.fails(100078, "INSERT INTO T VALUES ('abcdef', 1, 1)")
    sql.fails(100072, "INSERT INTO T VALUES (NULL, 1, 1)")
    found = _described(sql, "T")
    assert [found[name]["type"] for name in "ANI"] == ["VARCHAR(5)", "NUMBER(6,1)", "NUMBER(38,0)"]
    assert (found["A"]["comment"], found["A"]["null?"]) == ("aa", "N")
    for change in (
        "a TYPE VARCHAR(4)",
        "n TYPE NUMBER(6, 2)",
        "n TYPE NUMBER(5, 1)",
        "a TYPE INTEGER",
        "i TYPE VARCHAR",
    ):
        sql.fails(2108, f"ALTER TABLE T ALTER COLUMN {change}")


def test_a_column_that_is_not_null_is_added_with_its_default(sql: Sql) -> None:
    sql("CREATE TABLE T (a INTEGER)")
    sql("CREATE STREAM S ON TABLE T APPEND_ONLY = TRUE")
    sql("INSERT INTO T VALUES (1)")
    sql.fails(100072, "ALTER TABLE T ADD COLUMN b INTEGER NOT NULL")
    sql("ALTER TABLE T ADD COLUMN b INTEGER DEFAULT 7 NOT NULL COMMENT 'bb'")
    sql("INSERT INTO T (b, a) VALUES (8, 2)")
    assert sql("SELECT a, b FROM S ORDER BY a") == sql("SELECT a, b FROM T ORDER BY a") == [(1, 7), (2, 8)]
    sql.fails(100072, "INSERT INTO T VALUES (3, NULL)")
    sql("ALTER TABLE T ADD COLUMN c INTEGER")
    sql.fails(100072, "ALTER TABLE T ALTER COLUMN c SET NOT NULL")
    sql("UPDATE T SET c = 0")
    sql("ALTER TABLE T ALTER COLUMN c SET NOT NULL")
    sql("ALTER TABLE T ALTER COLUMN b DROP NOT NULL")
    assert [one["null?"] for one in _described(sql, "T").values()] == ["Y", "Y", "N"]


def test_create_or_replace_forgets_what_the_table_was(sql: Sql) -> None:
    sql("CREATE TABLE T (a INTEGER COMMENT 'old') COMMENT = 'old'")
    sql.fails(2002, "CREATE TABLE T (a INTEGER)")
    sql("CREATE OR REPLACE TABLE T (a VARCHAR(2))")
    assert _described(sql, "T")["A"]["comment"] is None
    assert sql("SHOW TABLES LIKE 'T'")[0][5] == ""


def test_tables_are_made_from_queries_and_from_each_other(sql: Sql) -> None:
    sql("CREATE TABLE T (a INTEGER, b VARCHAR(2))")
    sql("INSERT INTO T VALUES (1, 'x')")
    sql("BEGIN")
    sql("INSERT INTO T VALUES (2, 'y')")
    sql("CREATE TABLE U AS SELECT a, b || '!' AS c FROM T")
    sql("CREATE TABLE W (a VARCHAR(5), n NUMBER(4,1)) AS SELECT b, a FROM T")
    sql("CREATE TABLE L LIKE T")
    sql("CREATE TABLE C CLONE T")
    assert sql("SELECT * FROM U ORDER BY a") == [(1, "x!"), (2, "y!")]
    assert _described(sql, "W")["N"]["type"] == "NUMBER(4,1)"
    assert (sql.one("SELECT COUNT(*) FROM L"), sql.one("SELECT COUNT(*) FROM C")) == (0, 2)
    sql.fails(100078, "INSERT INTO W (a) VALUES ('sixsix')")


def test_views_are_read_from_any_schema(sql: Sql, schema: str) -> None:
    sql("CREATE TABLE T (a INTEGER, v VARIANT)")
    sql('INSERT INTO T SELECT 1, PARSE_JSON(\'{"x": {"y": 5}}\')')
    sql(
        "CREATE OR REPLACE VIEW V (n COMMENT 'le nombre', y) COMMENT = 'vue é' AS "
        "WITH c AS (SELECT a, v FROM T) SELECT COUNT(*), MAX(c.v:x.y::INTEGER) FROM c"
    )
    assert "already exists" in sql.one("CREATE VIEW IF NOT EXISTS V AS SELECT 1 AS one")
    sql("USE SCHEMA PUBLIC")
    assert sql(f"SELECT n, y FROM {schema}.V") == [(1, 5)]
    rows = sql(f"SHOW VIEWS IN SCHEMA {schema}")
    assert (rows[0][1], rows[0][6]) == ("V", "vue é")
    assert _described(sql, f"{schema}.V")["N"]["comment"] == "le nombre"
    sql(f"DROP VIEW {schema}.V")
    sql.fails(2003, f"SELECT * FROM {schema}.V")


def test_what_does_not_exist_is_said_the_way_the_ecosystem_looks_for(sql: Sql) -> None:
    for statement in ("SELECT * FROM NOPE", "SELECT * FROM NOPE.T", "SELECT * FROM NODB.S.T", "DROP "
        "TABLE NOPE",
                      "DROP SCHEMA NOPE", "USE SCHEMA NOPE", "USE DATABASE NOPE", "DESCRIBE TABLE NOPE",
                      "INSERT INTO NOPE VALUES (1)", "TRUNCATE TABLE NOPE", "SHOW TABLES IN SCHEMA NOPE",
                      "CREATE TABLE NOPE.T (a INTEGER)"):  # fmt: skip
        assert "does not exist or not authorized" in sql.fails(2003, statement)
    sql("DROP TABLE IF EXISTS NOPE")
    sql("DROP SCHEMA IF EXISTS NOPE")
    sql("TRUNCATE TABLE IF EXISTS NOPE")


def test_there_may_be_several_databases(sql: Sql, schema: str) -> None:
    name = f"{schema}_DB"
    sql(f"CREATE DATABASE IF NOT EXISTS {name} COMMENT = 'autre'")
    sql(f"CREATE SCHEMA IF NOT EXISTS {name}.S COMMENT = 'é'")
    sql(f"CREATE TABLE {name}.S.T AS SELECT 1 AS a")
    sql(f"USE DATABASE {DATABASE}")
    assert sql(f"SELECT a FROM {name}.S.T") == [(1,)]
    assert name in {row[1] for row in sql("SHOW DATABASES")}
    assert {row[1] for row in sql(f"SHOW SCHEMAS IN DATABASE {name}")} == {
        "INFORMATION_SCHEMA",
        "PUBLIC",
        "S",
    }
    sql(f"DROP DATABASE {name}")
    sql.fails(2003, f"SELECT a FROM {name}.S.T")


def test_roles_and_warehouses_are_accepted_and_ignored(sql: Sql) -> None:
    for statement in ("USE WAREHOUSE COMPUTE_WH", "USE ROLE SYSADMIN", "CREATE WAREHOUSE IF NOT EXISTS W",
                      "ALTER WAREHOUSE W SUSPEND", "GRANT SELECT ON ALL TABLES IN SCHEMA PUBLIC TO ROLE "
                          "R"):  # fmt: skip
        sql(statement)
    assert sql("SELECT CURRENT_WAREHOUSE(), CURRENT_ROLE()") == [("COMPUTE_WH", "SYSADMIN")]


def test_a_dropped_schema_takes_everything_with_it(sql: Sql, schema: str) -> None:
    sql(f"CREATE SCHEMA {schema}_X")
    sql("CREATE TABLE T (a INTEGER)")
    sql("CREATE STREAM S ON TABLE T APPEND_ONLY = TRUE")
    sql("CREATE STAGE G")
    sql(f"DROP SCHEMA {schema}_X CASCADE")
    sql(f"CREATE SCHEMA {schema}_X")
    assert sql(f"SHOW STREAMS IN SCHEMA {schema}_X") == []
    assert sql(f"SHOW STAGES IN SCHEMA {schema}_X") == []
    sql("CREATE TABLE T (b INTEGER)")
    sql("INSERT INTO T VALUES (1)")


def test_what_the_server_keeps_is_hidden(sql: Sql) -> None:
    sql("CREATE TABLE T (a INTEGER)")
    sql("CREATE STREAM S ON TABLE T APPEND_ONLY = TRUE")
    assert not [row for row in sql("SHOW OBJECTS IN ACCOUNT") if "_caves" in str(row)]
    assert not [row for row in sql("SHOW SCHEMAS") if "_caves" in row[1].lower()]
    sql.fails(2003, "SELECT * FROM _caves.objects")
