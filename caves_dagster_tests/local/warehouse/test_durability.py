"""kill -9 and restart: what was committed is there, what was not is not."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from caves_dagster_tests.local.warehouse.conftest import Server, Sql


def test_committed_work_survives_kill_9_and_open_work_does_not(own_server: Server, tmp_path: Path) -> None:
    own_server.start()
    sql = Sql(own_server.connect())
    sql("CREATE DATABASE OTHER_DB")
    sql("CREATE TABLE OTHER_DB.PUBLIC.T AS SELECT 1 AS a")
    sql("USE SCHEMA CAVES_ALBERT_DB.PUBLIC")
    sql("CREATE TABLE RAW (id INTEGER COMMENT 'clé', name VARCHAR(3)) COMMENT = 'brut'")
    sql("CREATE STREAM S ON TABLE RAW APPEND_ONLY = TRUE")
    sql("CREATE TABLE OUT (id INTEGER)")
    sql("CREATE VIEW V AS SELECT COUNT(*) AS n FROM RAW")
    sql("CREATE STAGE STG")
    pq.write_table(pa.table({"ID": [5]}), tmp_path / "x.parquet")
    sql(f"PUT 'file://{tmp_path}/x.parquet' @STG AUTO_COMPRESS = FALSE")
    sql("INSERT INTO RAW VALUES (1, 'a'), (2, 'b')")
    sql("INSERT INTO OUT SELECT id FROM S")
    sql("INSERT INTO RAW VALUES (3, 'c')")
    sql("BEGIN")
    sql("INSERT INTO RAW VALUES (4, 'd')")
    sql("INSERT INTO OUT SELECT id FROM S")
    own_server.kill()

    own_server.start()
    again = Sql(own_server.connect())
    assert again("SELECT id FROM OUT ORDER BY id") == [(1,), (2,)]
    assert again("SELECT id FROM S") == [(3,)]
    assert again.one("SELECT n FROM V") == 3
    assert again("SELECT a FROM OTHER_DB.PUBLIC.T") == [(1,)]
    assert again("SHOW TABLES LIKE 'RAW'")[0][5] == "brut"
    assert [row[0] for row in again("LIST @STG")] == ["stg/x.parquet"]
    again.fails(100078, "INSERT INTO RAW VALUES (9, 'long')")
    again("COPY INTO RAW (id) FROM (SELECT $1:ID::INTEGER FROM @STG) FILE_FORMAT = (TYPE = PARQUET)")
    again("INSERT INTO OUT SELECT id FROM S")
    assert again("SELECT id FROM OUT ORDER BY id") == [(1,), (2,), (3,), (5,)]
    assert again("SELECT id FROM S") == []


def test_a_stream_hides_no_row_after_a_restart(own_server: Server) -> None:
    """Marks of transactions must not repeat: old rows with the mark of a new transaction would be hidden."""
    own_server.start()
    sql = Sql(own_server.connect())
    sql("CREATE TABLE RAW (id INTEGER)")
    sql("CREATE STREAM S ON TABLE RAW APPEND_ONLY = TRUE")
    for number in range(3):
        sql("BEGIN")
        sql(f"INSERT INTO RAW VALUES ({number})")
        sql("COMMIT")
    for _ in range(3):
        own_server.kill()
        own_server.start()
        again = Sql(own_server.connect())
        again("BEGIN")
        assert again.one("SELECT COUNT(*) FROM S") == 3
        again("ROLLBACK")


def test_temporary_objects_do_not_survive(own_server: Server) -> None:
    own_server.start()
    sql = Sql(own_server.connect())
    sql("CREATE TEMPORARY TABLE T (a INTEGER)")
    sql("CREATE TEMPORARY STAGE G")
    own_server.kill()
    own_server.start()
    again = Sql(own_server.connect())
    assert again("SHOW STAGES") == []
    again.fails(2003, "SELECT * FROM T")


def test_load_history_survives(own_server: Server, tmp_path: Path) -> None:
    own_server.start()
    sql = Sql(own_server.connect())
    sql("CREATE TABLE T (id INTEGER)")
    sql("CREATE STAGE STG")
    pq.write_table(pa.table({"ID": [5]}), tmp_path / "x.parquet")
    sql(f"PUT 'file://{tmp_path}/x.parquet' @STG AUTO_COMPRESS = FALSE")
    load = "COPY INTO T (id) FROM (SELECT $1:ID::INTEGER FROM @STG) FILE_FORMAT = (TYPE = PARQUET)"
    assert sql(load)[0][1] == "LOADED"
    own_server.kill()
    own_server.start()
    assert Sql(own_server.connect())(load)[0][1] == "LOAD_SKIPPED"
