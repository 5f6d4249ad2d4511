"""Stages and COPY: PUT, LIST, REMOVE, what is loaded and what is refused."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable
from decimal import Decimal
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from caves_dagster_tests.local.warehouse.conftest import Sql

NOW = dt.datetime(2025, 1, 1, 10, 0, 0, 123456, dt.UTC)
PARQUET = "FILE_FORMAT = (TYPE = PARQUET BINARY_AS_TEXT = FALSE USE_LOGICAL_TYPE = TRUE)"
Put = Callable[..., str]


@pytest.fixture
def landing(sql: Sql) -> Sql:
    """A raw table, a stage, and a stream on the table."""
    sql("CREATE STAGE IF NOT EXISTS STG FILE_FORMAT = (TYPE = PARQUET)")
    sql(
        "CREATE TABLE EV (event_type VARCHAR(12), n INTEGER, amount NUMBER(6,2), meta OBJECT, content "
        "VARIANT, "
        "at TIMESTAMP_LTZ, bytes BINARY(67108864), missing VARCHAR)"
    )
    sql("CREATE STREAM S ON TABLE EV APPEND_ONLY = TRUE")
    return sql


@pytest.fixture
def put(landing: Sql, tmp_path: Path) -> Put:
    """Write columns to a Parquet file and PUT it on the stage; its name there."""

    def write(name: str = "x.parquet", **columns: Any) -> str:
        rows: dict[str, Any] = {
            "EVENT_TYPE": ["A", "B"],
            "N": pa.array([1, None], pa.int64()),
            "AMOUNT": ["94.35", None],
            "META": ['{"event_id": "é🥂"}', "{}"],
            "CONTENT": ['{"price": 18.50, "list": [1, [2]], "s": ""}', None],
            "AT": pa.array([NOW, None], pa.timestamp("us", "UTC")),
            "BYTES": pa.array([b"\x00\xff", None], pa.binary()),
        }
        pq.write_table(pa.table({**rows, **columns}), tmp_path / name)
        landing(f"PUT 'file://{tmp_path / name}' @STG/run OVERWRITE = TRUE AUTO_COMPRESS = FALSE")
        return name

    return write


def copy(file: str = "x.parquet", options: str = "FORCE = TRUE ON_ERROR = ABORT_STATEMENT") -> str:
    return (
        "COPY INTO EV (event_type, n, amount, meta, content, at, bytes, missing) FROM (SELECT "
        "$1:EVENT_TYPE::VARCHAR, "
        "$1:N::INTEGER, $1:AMOUNT::NUMBER(6,2), PARSE_JSON($1:META::VARCHAR), "
        "PARSE_JSON($1:CONTENT::VARCHAR), "
        f"$1:AT::TIMESTAMP_LTZ, $1:BYTES::BINARY, $1:MISSING::VARCHAR FROM @STG/run) FILES = ('{file}') "
        f"{PARQUET} {options}"
    )


def test_a_file_is_put_listed_loaded_and_removed(landing: Sql, put: Put) -> None:
    put()
    listed = landing("LIST @STG")
    assert [row[0] for row in listed] == ["stg/run/x.parquet"]
    assert listed[0][1] > 0
    landing("BEGIN")
    loaded = landing(copy())
    names = [column[0] for column in landing.cursor.description]
    assert dict(zip(names, loaded[0], strict=True)) | {"file": ""} == {
        "file": "", "status": "LOADED", "rows_parsed": 2, "rows_loaded": 2, "error_limit": 1,
            "errors_seen": 0,
        "first_error": None, "first_error_line": None, "first_error_character": None,
            "first_error_column_name": None,
    }  # fmt: skip
    landing("COMMIT")
    rows = landing(
        "SELECT event_type, n, amount, meta:event_id::VARCHAR, content:price::NUMBER(10,2), "
        "content:list[1][0]::INTEGER, "
        "at, bytes, missing FROM EV ORDER BY event_type"
    )
    assert rows[0] == (
        "A",
        1,
        Decimal("94.35"),
        "é🥂",
        Decimal("18.50"),
        2,
        NOW,
        bytearray(b"\x00\xff"),
        None,
    )
    assert rows[1] == ("B", None, None, None, None, None, None, None, None)
    assert landing.one("SELECT COUNT(*) FROM S") == 2
    assert landing("REMOVE @STG/run/x.parquet") == [("stg/run/x.parquet", "removed")]
    assert landing("LIST @STG/run") == []


def test_base64_text_becomes_binary(landing: Sql, put: Put) -> None:
    put(BYTES=["AP8=", "aGk="])
    landing(f"COPY INTO EV (bytes) FROM (SELECT TO_BINARY($1:BYTES::VARCHAR, 'BASE64') FROM @STG) {PARQUET}")
    assert {bytes(row[0]) for row in landing("SELECT bytes FROM EV")} == {b"\x00\xff", b"hi"}


def test_a_rolled_back_copy_leaves_no_row_in_table_or_stream(landing: Sql, put: Put) -> None:
    put()
    landing("BEGIN")
    landing(copy())
    landing("ROLLBACK")
    assert landing.one("SELECT COUNT(*) FROM EV") == 0
    assert landing.one("SELECT SYSTEM$STREAM_HAS_DATA('S')") is False


@pytest.mark.parametrize(
    ("columns", "errno", "column", "row"),
    [
        ({"EVENT_TYPE": ["A", "longer than 12"]}, 100078, "EVENT_TYPE", 2),
        ({"META": ['{"a": 1, "a": 2}', "{}"]}, 100069, "META", 1),
        ({"CONTENT": ["{}", "{broken"]}, 100069, "CONTENT", 2),
        ({"CONTENT": ["{}", '{"a": NaN}']}, 100069, "CONTENT", 2),
        ({"AMOUNT": ["99999.00", "1"]}, None, "AMOUNT", 1),
        ({"AMOUNT": ["1", "no number"]}, 100038, "AMOUNT", 2),
        ({"N": ["1", "x"]}, 100038, "N", 2),
    ],
)
def test_a_value_that_is_refused_fails_the_whole_copy_and_is_named(
    landing: Sql, put: Put, columns: dict[str, Any], errno: int | None, column: str, row: int
) -> None:
    put(**columns)
    message = landing.fails(errno or 100038, copy())
    assert "x.parquet" in message
    assert f'Row {row}, column "EV"["{column}"]' in message
    assert landing.one("SELECT COUNT(*) FROM EV") == 0
    assert landing.one("SELECT SYSTEM$STREAM_HAS_DATA('S')") is False


def test_null_in_a_column_that_takes_none_is_refused(landing: Sql, put: Put) -> None:
    put()
    landing("CREATE TABLE STRICT (n INTEGER NOT NULL)")
    message = landing.fails(
        100072, f"COPY INTO STRICT (n) FROM (SELECT $1:N::INTEGER FROM @STG/run) {PARQUET}"
    )
    assert 'Row 2, column "STRICT"["N"]' in message


def test_without_force_a_file_is_loaded_once_but_a_new_one_of_its_name_is_loaded(
    landing: Sql, put: Put
) -> None:
    put()
    assert landing(copy(options=""))[0][1] == "LOADED"
    assert landing(copy(options="FORCE = FALSE"))[0][1] == "LOAD_SKIPPED"
    assert landing(copy(options="FORCE = TRUE"))[0][1] == "LOADED"
    put(EVENT_TYPE=["C", "D"])
    assert landing(copy(options=""))[0][1] == "LOADED"
    assert landing.one("SELECT COUNT(*) FROM EV") == 6


def test_files_and_purge_mean_what_they_say(landing: Sql, put: Put) -> None:
    put("a.parquet"), put("b.parquet")
    landing(copy("b.parquet", "PURGE = FALSE"))
    assert len(landing("LIST @STG")) == 2
    landing(copy("b.parquet", "PURGE = TRUE FORCE = TRUE"))
    assert [row[0] for row in landing("LIST @STG")] == ["stg/run/a.parquet"]
    assert "not found" in landing.fails(91016, copy("b.parquet"))
    assert landing("REMOVE @STG") == [("stg/run/a.parquet", "removed")]


def test_columns_are_matched_by_name_on_request(landing: Sql, put: Put) -> None:
    put()
    landing("CREATE TABLE BY_NAME (n INTEGER, event_type VARCHAR, other DATE)")
    landing(
        "COPY INTO BY_NAME FROM @STG FILE_FORMAT = (TYPE = PARQUET) MATCH_BY_COLUMN_NAME = CASE_INSENSITIVE"
    )
    assert landing("SELECT * FROM BY_NAME ORDER BY event_type") == [(1, "A", None), (None, "B", None)]
    landing.fails(2019, "COPY INTO BY_NAME FROM @STG FILE_FORMAT = (TYPE = PARQUET)")


def test_a_stage_must_be_there_and_keeps_to_itself(landing: Sql, put: Put, tmp_path: Path) -> None:
    put()
    landing.fails(2003, "LIST @NOWHERE")
    landing.fails(2003, f"PUT 'file://{tmp_path}/x.parquet' @NOWHERE")
    landing.fails(1011, copy("../../../../lock"))
    landing.fails(2002, "CREATE STAGE STG")
    assert "already exists" in landing.one("CREATE STAGE IF NOT EXISTS STG")
    assert [row[1] for row in landing("SHOW STAGES")] == ["STG"]
    landing("CREATE OR REPLACE STAGE STG")
    assert landing("LIST @STG") == []
    landing("DROP STAGE STG")
    landing.fails(2003, "LIST @STG")
