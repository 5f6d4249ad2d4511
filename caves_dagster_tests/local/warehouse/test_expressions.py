"""Snowflake's expressions, by what they give."""

# ruff: noqa: DTZ001 - what TIMESTAMP_NTZ gives back has no zone
from __future__ import annotations

import datetime as dt
import json
from collections.abc import Callable
from decimal import Decimal
from typing import Any

import pytest

from caves_dagster_tests.local.warehouse.conftest import Sql

UTC = dt.UTC


@pytest.fixture(scope="module")
def shared(server: Any) -> Any:
    """One session for all of this module's expressions, which change nothing."""
    sql = Sql(server.connect())
    yield sql
    sql.connection.close()


@pytest.mark.parametrize(
    ("expression", "value"),
    [
        ("TRY_TO_DECIMAL('2.345', 10, 2)", Decimal("2.35")),
        ("TRY_TO_DECIMAL('-2.345', 10, 2)", Decimal("-2.35")),
        ("TRY_TO_DECIMAL('123456789.1', 10, 2)", None),
        ("TRY_TO_DECIMAL('1_000', 10, 2)", None),
        ("TRY_TO_DECIMAL('', 10, 2)", None),
        ("TRY_TO_NUMBER('94.35')", 94),
        ("TRY_TO_NUMBER('x')", None),
        ("TRY_CAST('12' AS INTEGER)", 12),
        ("TRY_CAST('x' AS DATE)", None),
        ("TRY_TO_TIMESTAMP_TZ('2025-01-01T10:00:00+02:00')", dt.datetime(2025, 1, 1, 8, tzinfo=UTC)),
        ("TRY_TO_TIMESTAMP_TZ('soon')", None),
        ("TRY_TO_TIMESTAMP('soon')", None),
        (
            "CONVERT_TIMEZONE('UTC', TRY_TO_TIMESTAMP_TZ('2025-01-01T10:00:00.123456+02:00'))::TIMESTAMP_NTZ",
            dt.datetime(2025, 1, 1, 8, 0, 0, 123456),
        ),
        (
            "CONVERT_TIMEZONE('UTC', TRY_TO_TIMESTAMP_TZ('2025-01-01T01:00:00+02:00'))::DATE",
            dt.date(2024, 12, 31),
        ),
        ("TRY_TO_DATE('2025-01-01')", dt.date(2025, 1, 1)),
        ("TRY_TO_DATE('x')", None),
        ("TO_VARCHAR(12)", "12"),
        ("TO_VARCHAR('2025-01-02'::DATE, 'YYYY-MM-DD')", "2025-01-02"),
        ("TO_VARCHAR('2025-01-02 03:04:05'::TIMESTAMP_NTZ, 'DD/MM/YYYY HH24:MI:SS')", "02/01/2025 03:04:05"),
        ("'2025-01-02 03:04:05'::TIMESTAMP_NTZ::VARCHAR", "2025-01-02 03:04:05.000"),
        ("PARSE_JSON('\"x\"')::VARCHAR", "x"),
        ("EQUAL_NULL(NULL, NULL)", True),
        ("IFF(1 > 2, 'a', 'b')", "b"),
        ("COALESCE(NULL, NVL(NULL, 3))", 3),
        ("ZEROIFNULL(NULL)", 0),
        ("DIV0(1, 0)", 0),
        ("10 / 4", 2.5),
        ("DATEADD(day, 1, '2025-01-31'::DATE)", dt.date(2025, 2, 1)),
        ("DATEADD('hour', -24, '2025-01-02'::TIMESTAMP_NTZ)", dt.datetime(2025, 1, 1)),
        ("DATEDIFF(day, '2025-01-01', '2025-01-03')", 2),
        ("DATE_TRUNC('hour', '2025-01-01 10:20:30'::TIMESTAMP_NTZ)", dt.datetime(2025, 1, 1, 10)),
        ("OBJECT_CONSTRUCT('a', 1, 'b', NULL):a::INTEGER", 1),
        ("ARRAY_SIZE(PARSE_JSON('[1, 2]'))", 2),
        ("TYPEOF(SYSDATE()) IS NOT NULL", True),
        ("LENGTH(UUID_STRING())", 36),
        ("SPLIT_PART('a-b', '-', 2)", "b"),
        ("'Été 🥂' ILIKE 'été%'", True),
        ("LENGTH('é🥂')", 2),
        ("NULL::TIMESTAMP_NTZ", None),
        ("NULL::TIMESTAMP_LTZ", None),
        ("'23:59:59.5'::TIME", dt.time(23, 59, 59, 500000)),
        ("-0.05::NUMBER(10,2)", Decimal("-0.05")),
        ("12345678901234567890.12::NUMBER(38,2)", Decimal("12345678901234567890.12")),
        ("1.5::FLOAT", 1.5),
        ("TO_BINARY('aGk=', 'BASE64')", bytearray(b"hi")),
        ('TRY_PARSE_JSON(\'{"a": 1, "a": 2}\')', None),
        ("PARSE_JSON('  ')", None),
        ("RATIO_TO_REPORT(5) OVER ()", 1),
    ],
)
def test_expression(shared: Sql, expression: str, value: object) -> None:
    assert shared.one(f"SELECT {expression}") == value


@pytest.mark.parametrize(
    ("expression", "errno"),
    [
        ("TRY_CAST(PARSE_JSON('1') AS INTEGER)", 1065),
        ("TRY_CAST(v:x AS INTEGER)", 1065),
        ("TRY_TO_DECIMAL(v:x, 10, 2)", 1065),
        ("TRY_CAST(v AS VARCHAR)", 1065),
        ("TRY_TO_NUMBER(v)", 1065),
        ('PARSE_JSON(\'{"a": 1, "a": 2}\')', 100069),
        ("PARSE_JSON('[1,]')", 100069),
        ("PARSE_JSON('NaN')", 100069),
        ("PARSE_JSON('1e400')", 100069),
        ("v:s::TIMESTAMP_NTZ", 100035),
        ("v:s::DATE", 100040),
        ("v:s::BOOLEAN", 100037),
    ],
)
def test_what_snowflake_refuses_is_refused(shared: Sql, expression: str, errno: int) -> None:
    shared.fails(errno, f'SELECT {expression} FROM (SELECT PARSE_JSON(\'{{"x": 1, "s": "été"}}\') AS v)')


@pytest.mark.parametrize(
    "text",
    [
        '{"K":1,"k":2}',
        '{"a":12345678901234567890123456789012345678}',
        '{"s":"","e":{},"l":[],"n":null,"t":true}',
        '{"a":[[1,[2]],{"b":[{}]}]}',
        '{"u":"é 🥂 \\u0000 \\" \\\\ \\n \\ud83c\\udf77"}',
        '"plain"',
        "[1, 2.5, -3e2]",
    ],
)
def test_a_variant_keeps_what_it_was_given(sql: Sql, text: str) -> None:
    sql("CREATE TABLE T (v VARIANT)")
    sql("INSERT INTO T SELECT PARSE_JSON(%s)", (text,))
    assert json.loads(sql.one("SELECT v FROM T")) == json.loads(text)


def test_paths_into_a_variant(sql: Sql) -> None:
    document = {
        "x": "18.50", "n": 18.50, "big": 12345678901234567890, "Case": "C", "case": "c", "nul": None,
            "z": "a\u0000b",
        "o": {"k": {"deep": "é"}, "a.b": 1}, "l": [{"p": 1}, {"p": 2}], "t": "2025-01-01T00:00:00Z",
            "empty": "",
    }  # fmt: skip
    sql("CREATE TABLE T (v VARIANT)")
    sql("INSERT INTO T SELECT PARSE_JSON(%s)", (json.dumps(document, ensure_ascii=False),))
    assert sql(
        "SELECT v:x::VARCHAR, v:n = 18.5, v:n::NUMBER(10,2), v:big::VARCHAR, v:Case::VARCHAR, "
        "v:case::VARCHAR, "
        "v:nul::VARCHAR, v:missing.deeper::INTEGER, v:o.k.deep::VARCHAR, v:o['a.b']::INTEGER, "
        "v:l[1].p::INTEGER, "
        "v:t::TIMESTAMP_TZ, v:empty::VARCHAR, v:z::VARCHAR, TRY_TO_DECIMAL(v:x::VARCHAR, 10, 2) FROM T"
    ) == [
        (
            "18.50", True, Decimal("18.50"), "12345678901234567890", "C", "c", None, None, "é", 1, 2,
            dt.datetime(2025, 1, 1, tzinfo=UTC), "", "a\u0000b", Decimal("18.50"),
        )
    ]  # fmt: skip


def test_a_path_is_compared_with_a_text_as_text(sql: Sql) -> None:
    sql("CREATE TABLE T (v VARIANT)")
    sql('INSERT INTO T SELECT PARSE_JSON(\'{"k": "ORDER_CREATED", "n": 5}\')')
    where = (
        "v:k = 'ORDER_CREATED'",
        "v:k IN ('A', 'ORDER_CREATED')",
        "v:k <> 'A'",
        "v:k LIKE 'ORDER%'",
        "v:n = 5",
    )
    for condition in where:
        assert sql.one(f"SELECT COUNT(*) FROM T WHERE {condition}") == 1, condition
    assert sql.one("SELECT IFF(v:k = 'ORDER_CREATED', 'o', 'i') FROM T") == "o"


def test_flatten_gives_the_elements_in_order(sql: Sql) -> None:
    sql("CREATE TABLE B (id INTEGER, parts VARIANT)")
    sql('INSERT INTO B SELECT 1, PARSE_JSON(\'[{"p": 0, "to": 5}, {"p": 1, "to": 7}]\')')
    sql("INSERT INTO B SELECT 2, PARSE_JSON('[]')")
    assert sql(
        "SELECT b.id, f.index, f.value:p::INTEGER, value:to::INTEGER FROM B b, LATERAL FLATTEN(input => "
        "b.parts) f "
        "ORDER BY b.id, f.index"
    ) == [(1, 0, 0, 5), (1, 1, 1, 7)]


def test_flatten_gives_an_objects_values_by_key_whatever_the_key(sql: Sql) -> None:
    odd = {"a": 1, "b c": None, "$.x[0]": [1], "": 2, "/p": "é🍷", "VALUE": {"a": 3}, "it's": "q"}
    text = json.dumps(odd, ensure_ascii=False).replace("'", "''")
    found = sql(f"SELECT KEY, PATH, INDEX, VALUE FROM TABLE(FLATTEN(INPUT => PARSE_JSON('{text}')))")
    assert {key: json.loads(value) for key, _, _, value in found} == odd
    paths = ["a", "['b c']", "['$.x[0]']", "['']", "['/p']", "VALUE", "['it's']"]
    assert [(path, index) for _, path, index, _ in found] == [(path, None) for path in paths]


def test_flatten_keeps_a_json_null_apart_from_a_missing_value(sql: Sql) -> None:
    rows = """TABLE(FLATTEN(PARSE_JSON('[1, null, "x", [2], {"a": null}]')))"""
    assert sql(f"SELECT INDEX, PATH, KEY, VALUE, VALUE::VARCHAR FROM {rows}") == [
        (0, "[0]", None, "1", "1"),
        (1, "[1]", None, "null", None),
        (2, "[2]", None, '"x"', "x"),
        (3, "[3]", None, "[2]", "[2]"),
        (4, "[4]", None, '{"a":null}', '{"a":null}'),
    ]
    assert sql.one(f"SELECT COUNT(*) FROM {rows} WHERE VALUE IS NULL") == 0


def test_flatten_of_a_table_gives_each_row_its_own_elements_even_where_two_are_equal(sql: Sql) -> None:
    sql("CREATE TABLE B (id INTEGER, parts VARIANT)")
    inputs = ("[5, 6]", "[5, 6]", '{"k": 7}', "[]", "{}", "8", "null", '"[9]"', None)
    for number, parts in enumerate(inputs):
        text = "NULL" if parts is None else f"'{parts}'"
        sql(f"INSERT INTO B SELECT {number}, PARSE_JSON({text})")
    joined = "FROM B, LATERAL FLATTEN(INPUT => B.parts) AS f"
    assert sql(f"SELECT id, f.INDEX, f.KEY, f.VALUE::INTEGER {joined} ORDER BY id, f.INDEX") == [
        (0, 0, None, 5), (0, 1, None, 6), (1, 0, None, 5), (1, 1, None, 6), (2, None, "k", 7),
    ]  # fmt: skip
    of_input = f"SELECT id, COUNT(DISTINCT f.SEQ), MIN(f.THIS:k::INTEGER) {joined} GROUP BY id ORDER BY id"
    assert sql(of_input) == [(0, 1, None), (1, 1, None), (2, 1, 7)]


def test_aggregates_and_windows(sql: Sql) -> None:
    sql("CREATE TABLE T (k VARCHAR, n NUMBER(10,2), at TIMESTAMP_NTZ)")
    sql("INSERT INTO T VALUES ('a', 1.10, '2025-01-01'), ('a', 2.20, '2025-01-02'), ('b', 3.30, NULL)")
    assert sql("SELECT SUM(n), COUNT(*), COUNT_IF(n > 2), MIN(at), MAX(at) FROM T") == [
        (Decimal("6.60"), 3, 2, dt.datetime(2025, 1, 1), dt.datetime(2025, 1, 2))
    ]
    assert [column[0] for column in sql.cursor.description][:2] == ["SUM(N)", "COUNT(*)"]
    assert sql("SELECT k FROM T QUALIFY ROW_NUMBER() OVER (PARTITION BY k ORDER BY at DESC) = 1 ORDER BY "
        "k") == [
        ("a",), ("b",),
    ]  # fmt: skip
    assert sql(
        "SELECT LISTAGG(k, ',') WITHIN GROUP (ORDER BY n DESC), ARRAY_AGG(k) WITHIN GROUP (ORDER BY n) FROM T"
    ) == [("b,a,a", '["a","a","b"]')]
    assert sql("SELECT SUM(n) OVER (ORDER BY n), LAG(n) OVER (ORDER BY n) FROM T ORDER BY n")[2] == (
        Decimal("6.60"), Decimal("2.20"),
    )  # fmt: skip
    assert sql.one("SELECT SUM(n) FROM T WHERE FALSE") is None


def test_null_timestamps_are_none(sql: Sql) -> None:
    sql("CREATE TABLE T (i INTEGER, n TIMESTAMP_NTZ, l TIMESTAMP_LTZ, z TIMESTAMP_TZ)")
    sql(
        "INSERT INTO T VALUES (1, '1969-12-31 23:59:59.999999', '1960-01-01T00:00:00Z', NULL), (2, NULL, "
        "NULL, NULL)"
    )
    assert sql("SELECT n, l, z FROM T ORDER BY i") == [
        (dt.datetime(1969, 12, 31, 23, 59, 59, 999999), dt.datetime(1960, 1, 1, tzinfo=UTC), None),
        (None, None, None),
    ]


def test_update_from_delete_using_and_insert_overwrite(sql: Sql) -> None:
    sql("CREATE TABLE T (a INTEGER, b VARCHAR)")
    sql("CREATE TABLE S (a INTEGER, b VARCHAR)")
    sql("INSERT INTO T VALUES (1, 'x'), (2, 'y'), (3, 'z')")
    sql("INSERT INTO S VALUES (1, 'X'), (3, 'Z')")
    assert sql("UPDATE T SET T.b = s.b FROM S s WHERE s.a = T.a") == [(2, 0)]
    assert sql.cursor.rowcount == 2
    assert sql("DELETE FROM T USING S s WHERE s.a = T.a AND s.a = 3") == [(1,)]
    assert sql("INSERT OVERWRITE INTO S SELECT * FROM T") == [(2,)]
    assert sql("SELECT * FROM S ORDER BY a") == [(1, "X"), (2, "y")]


@pytest.mark.parametrize("paramstyle", ["pyformat", "qmark"])
def test_bound_values_arrive_as_they_were(connect: Callable[..., Any], schema: str, paramstyle: str) -> None:
    sql = Sql(connect(schema=schema, paramstyle=paramstyle))
    sql("CREATE TABLE T (i INTEGER, s VARCHAR, f FLOAT, b BOOLEAN, d DATE, n TIMESTAMP_NTZ, x BINARY)")
    rows = [
        (1, "it's a \\ \"é🥂\" % ? \n {\"a\":\"\\u0000\"}", 0.1, True, dt.date(2025, 1, 1),
        dt.datetime(2025, 1, 1, 1, 2, 3, 456789),
            b"\x00\xff"),
        (-5, "", -1e300, False, dt.date(1969, 1, 1), dt.datetime(1960, 1, 1), b""),
        (None, None, None, None, None, None, None),
    ]  # fmt: skip
    marks = ", ".join(["?" if paramstyle == "qmark" else "%s"] * 7)
    sql(f"INSERT INTO T VALUES ({marks})", rows[2])
    sql.cursor.executemany(f"INSERT INTO T VALUES ({marks})", rows[:2])
    assert sql.cursor.rowcount == 2
    found = sql("SELECT * FROM T ORDER BY i DESC NULLS LAST")
    assert [tuple(bytes(v) if isinstance(v, bytearray) else v for v in row) for row in found] == rows
    assert sql("SELECT i FROM T WHERE s = " + marks[: 1 if paramstyle == "qmark" else 2], (rows[0][1],)) == [
        (1,)
    ]


def test_results_are_kept_for_a_while(sql: Sql) -> None:
    sql("SELECT 1 AS A")
    assert sql(f"SELECT * FROM TABLE(RESULT_SCAN('{sql.cursor.sfqid}'))") == [(1,)]
    sql.fails(709, "SELECT * FROM TABLE(RESULT_SCAN('gone'))")


def test_describing_a_query_runs_nothing(sql: Sql) -> None:
    sql("CREATE TABLE T (a INTEGER, b NUMBER(10,2))")
    described = sql.cursor.describe("SELECT a, b, COUNT(*) OVER () FROM T")
    assert [(column.name, column.scale) for column in described][:2] == [("A", 0), ("B", 2)]
    sql.cursor.describe("INSERT INTO T VALUES (1, 1)")
    assert sql.one("SELECT COUNT(*) FROM T") == 0


def test_options_of_flatten_that_would_be_ignored_are_refused(sql: Sql) -> None:
    sql.fails(2, "SELECT value FROM TABLE(FLATTEN(input => PARSE_JSON('[]'), outer => TRUE))")
