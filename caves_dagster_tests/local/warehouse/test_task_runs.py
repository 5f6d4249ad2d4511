"""Tasks that run: in what order, on what condition, what the history says, what a restart leaves."""

from __future__ import annotations

import datetime as dt
import itertools
import signal
import time
from collections.abc import Callable
from typing import Any

import pytest

from caves_dagster_tests.local.warehouse.conftest import DATABASE, Server, Sql

SKIPPED = ("0040003", "Conditional expression for task evaluated to false.")
SLOW = "SELECT COUNT(*) FROM RANGE(100000000) a, RANGE(10000) b"
"""Takes minutes; only ever cancelled."""


def _history(sql: Sql, arguments: str = "") -> list[dict[str, Any]]:
    """The runs of the current schema's tasks, oldest first."""
    rows = sql(
        f"SELECT h.* FROM TABLE({DATABASE}.INFORMATION_SCHEMA.TASK_HISTORY({arguments})) AS h "
        "WHERE SCHEMA_NAME = CURRENT_SCHEMA() ORDER BY QUERY_START_TIME"
    )
    names = [column.name for column in sql.cursor.description]
    return [dict(zip(names, row, strict=True)) for row in rows]


def _wait(until: Callable[[], Any], seconds: float = 60) -> Any:
    deadline = time.monotonic() + seconds
    while not (found := until()):
        assert time.monotonic() < deadline
        time.sleep(0.02)
    return found


def _over(sql: Sql, *roots: str) -> list[dict[str, Any]]:
    """Run graphs, to their ends; the rows of all runs so far."""
    for root in roots:
        assert sql(f"EXECUTE TASK {root}") == [(f"Task {root} is scheduled to run immediately.",)]
    return _quiet(sql)


def _quiet(sql: Sql) -> list[dict[str, Any]]:
    """The rows, once nothing runs or waits: a graph that runs always has a row that says so."""
    rows: list[dict[str, Any]] = []

    def quiet() -> bool:
        rows[:] = [row for row in _history(sql) if not _is_to_come(row)]
        return all(row["STATE"] not in ("SCHEDULED", "EXECUTING") for row in rows)

    _wait(quiet)
    return rows


def _all_states(sql: Sql) -> list[str]:
    return [row["STATE"] for row in _history(sql)]


def _is_to_come(row: dict[str, Any]) -> bool:
    return bool(row["STATE"] == "SCHEDULED" and row["SCHEDULED_TIME"] > dt.datetime.now(dt.UTC))


def _states(rows: list[dict[str, Any]]) -> dict[str, str]:
    return {row["NAME"]: row["STATE"] for row in rows}


@pytest.fixture
def base(sql: Sql) -> Sql:
    """RAW with a stream S, OUT, and a table LOG of what ran."""
    sql("CREATE TABLE RAW (id INTEGER)")
    sql("CREATE STREAM S ON TABLE RAW APPEND_ONLY = TRUE")
    sql("CREATE TABLE OUT (id INTEGER)")
    sql("CREATE TABLE LOG (name VARCHAR, at TIMESTAMP_LTZ)")
    return sql


def _log(name: str) -> str:
    return f"INSERT INTO LOG SELECT '{name}', CURRENT_TIMESTAMP()"


def test_a_graph_runs_each_task_after_its_predecessors(base: Sql, schema: str) -> None:
    base(f"CREATE TASK R SCHEDULE = '1 MINUTE' AS {_log('R')}")
    base(f"CREATE TASK Z AFTER R AS {_log('Z')}")
    base(f"CREATE TASK B AFTER R AS {_log('B')}")
    base(f"CREATE TASK A AFTER Z, B AS {_log('A')}")
    base(f"CREATE TASK OFF AFTER R AS {_log('OFF')}")
    base(f"CREATE TASK BELOW_OFF AFTER OFF AS {_log('BELOW_OFF')}")
    base(f"CREATE TASK BESIDE_OFF AFTER OFF, B AS {_log('BESIDE_OFF')}")
    for name in ("Z", "B", "A", "BELOW_OFF", "BESIDE_OFF"):
        base(f"ALTER TASK {name} RESUME")
    rows = _over(base, "R")
    ran = [name for (name,) in base("SELECT name FROM LOG ORDER BY at")]
    assert sorted(ran) == ["A", "B", "BESIDE_OFF", "R", "Z"]
    assert ran[0] == "R"
    assert ran.index("A") > max(ran.index("Z"), ran.index("B"))
    assert _states(rows) == dict.fromkeys(ran, "SUCCEEDED")
    assert len({row["RUN_ID"] for row in rows}) == len({row["ROOT_TASK_ID"] for row in rows}) == 1
    first = rows[0]
    assert (first["DATABASE_NAME"], first["SCHEMA_NAME"], first["QUERY_TEXT"]) == (
        DATABASE,
        schema,
        _log("R"),
    )
    assert (first["SCHEDULED_FROM"], first["ATTEMPT_NUMBER"]) == ("EXECUTE TASK", 1)
    assert first["RUN_ID"] == int(first["SCHEDULED_TIME"].timestamp() * 1000)
    assert first["SCHEDULED_TIME"] <= first["QUERY_START_TIME"] <= first["COMPLETED_TIME"]
    assert (first["ERROR_CODE"], first["ERROR_MESSAGE"], first["RETURN_VALUE"]) == (None, None, None)
    assert len({row["QUERY_ID"] for row in rows}) == 5
    assert "cannot execute" in base.fails(91089, "EXECUTE TASK A").lower()
    base.fails(2003, "EXECUTE TASK NOWHERE")


def test_when_decides_and_consumes_nothing(base: Sql) -> None:
    base(
        "CREATE TASK R SCHEDULE = '1 MINUTE' WHEN SYSTEM$STREAM_HAS_DATA('S') "
        "AS INSERT INTO OUT SELECT id FROM S"
    )
    base("CREATE TASK NEVER AFTER R WHEN 1 = 2 AS SELECT 1")
    base("CREATE TASK BELOW AFTER NEVER AS SELECT 1")
    base("ALTER TASK NEVER RESUME")
    base("ALTER TASK BELOW RESUME")
    (row,) = _over(base, "R")
    assert (row["STATE"], row["ERROR_CODE"], row["ERROR_MESSAGE"]) == ("SKIPPED", *SKIPPED)
    assert row["CONDITION_TEXT"] == "SYSTEM$STREAM_HAS_DATA('S')"
    assert (row["QUERY_ID"], row["QUERY_START_TIME"]) == (None, None)
    assert row["COMPLETED_TIME"] is not None
    base("INSERT INTO RAW VALUES (1), (2)")
    rows = _over(base, "R")
    assert sorted((r["NAME"], r["STATE"]) for r in rows) == [
        ("NEVER", "SKIPPED"),
        ("R", "SKIPPED"),
        ("R", "SUCCEEDED"),
    ]
    assert base("SELECT id FROM OUT ORDER BY id") == [(1,), (2,)]
    assert base("SELECT * FROM S") == []


def test_a_failure_is_recorded_rolled_back_and_stops_what_comes_after(base: Sql) -> None:
    base("INSERT INTO RAW VALUES (1)")
    base(
        """CREATE TASK R SCHEDULE = '1 MINUTE' AS
        BEGIN
            BEGIN TRANSACTION;
            INSERT INTO OUT SELECT id FROM S;
            INSERT INTO OUT SELECT 'x'::INTEGER;
            COMMIT;
        EXCEPTION
            WHEN OTHER THEN
                ROLLBACK;
                RAISE;
        END"""
    )
    base(f"CREATE TASK A AFTER R AS {_log('A')}")
    base("ALTER TASK A RESUME")
    (row,) = _over(base, "R")
    assert (row["STATE"], row["ERROR_CODE"]) == ("FAILED", "100038")
    assert row["ERROR_MESSAGE"].startswith(
        "Uncaught exception of type 'STATEMENT_ERROR' on line 4 at position"
    )
    assert base("SELECT * FROM OUT") == []
    assert base("SELECT id FROM S") == [(1,)]
    assert base("SELECT * FROM LOG") == []
    base("ALTER TASK R MODIFY AS INSERT INTO OUT SELECT id FROM S")
    _over(base, "R")
    assert base("SELECT id FROM OUT") == [(1,)]
    assert base("SELECT name FROM LOG") == [("A",)]
    assert [r["ERROR_CODE"] for r in _history(base, "ERROR_ONLY => TRUE")] == ["100038"]
    versions = [r["GRAPH_VERSION"] for r in _history(base, "TASK_NAME => 'R'")]
    assert versions == sorted(set(versions))


def test_a_root_is_suspended_after_failures_in_a_row(base: Sql) -> None:
    base("CREATE TASK R SCHEDULE = '1 HOUR' SUSPEND_TASK_AFTER_NUM_FAILURES = 2 AS SELECT 1")
    base("CREATE TASK A AFTER R AS INSERT INTO OUT SELECT id / (id - 1) FROM RAW")
    base("SELECT SYSTEM$TASK_DEPENDENTS_ENABLE('R')")
    base("INSERT INTO RAW VALUES (1)")
    _over(base, "R")
    base("DELETE FROM RAW")
    _over(base, "R")
    base("INSERT INTO RAW VALUES (1)")
    _over(base, "R")
    assert base("SHOW TASKS LIKE 'R'")[0][10] == "started"
    _over(base, "R")
    shown = base("SHOW TASKS LIKE 'R'")[0]
    assert (shown[10], shown[-1]) == ("suspended", "SUSPENDED_DUE_TO_ERRORS")
    assert base("SHOW TASKS LIKE 'A'")[0][10] == "started"


def test_what_failed_is_tried_again_as_often_as_the_root_says(base: Sql) -> None:
    base(f"CREATE TASK R SCHEDULE = '1 HOUR' TASK_AUTO_RETRY_ATTEMPTS = 2 AS {_log('R')}")
    base("CREATE TASK A AFTER R AS INSERT INTO NOWHERE VALUES (1)")
    base("ALTER TASK A RESUME")
    rows = _over(base, "R")
    assert [(r["NAME"], r["STATE"], r["ATTEMPT_NUMBER"]) for r in rows] == [
        ("R", "SUCCEEDED", 1),
        ("A", "FAILED", 1),
        ("A", "FAILED", 2),
        ("A", "FAILED", 3),
    ]
    assert base.one("SELECT COUNT(*) FROM LOG") == 1


def test_a_task_runs_in_a_session_of_its_own(base: Sql, schema: str) -> None:
    base("CREATE TABLE SEEN (who VARCHAR, session VARCHAR, db VARCHAR, sch VARCHAR, wh VARCHAR)")
    base(
        "CREATE TASK R WAREHOUSE = TASK_WH SCHEDULE = '1 MINUTE' AS INSERT INTO SEEN SELECT CURRENT_USER(), "
        "CURRENT_SESSION(), CURRENT_DATABASE(), CURRENT_SCHEMA(), CURRENT_WAREHOUSE()"
    )
    base("BEGIN")
    base("INSERT INTO OUT VALUES (1)")
    base("EXECUTE TASK R")
    _wait(lambda: base.one("SELECT COUNT(*) FROM TABLE(INFORMATION_SCHEMA.TASK_HISTORY())") >= 0)
    base("ROLLBACK")
    _quiet(base)
    ((who, session, *rest),) = base("SELECT * FROM SEEN")
    assert who == "SYSTEM"
    assert session != base.one("SELECT CURRENT_SESSION()")
    assert rest == [DATABASE, schema, "TASK_WH"]
    assert base("SELECT * FROM OUT") == []


def test_one_run_of_a_graph_at_a_time(base: Sql, other: Sql) -> None:
    """A run that overlapped another would fail with a conflict."""
    base("INSERT INTO OUT VALUES (0)")
    base("CREATE TASK R SCHEDULE = '1 MINUTE' AS UPDATE OUT SET id = id + 1")
    rows = _over(base, *["R"] * 5)
    assert [row["STATE"] for row in rows] == ["SUCCEEDED"] * 5
    spans = [(row["QUERY_START_TIME"], row["COMPLETED_TIME"]) for row in rows]
    assert all(end <= start for (_, end), (start, _) in itertools.pairwise(spans))
    assert base("SELECT id FROM OUT") == [(5,)]


def test_a_task_that_takes_too_long_is_cancelled(base: Sql) -> None:
    base(f"CREATE TASK R SCHEDULE = '1 MINUTE' USER_TASK_TIMEOUT_MS = 300 AS CREATE TABLE BIG AS {SLOW}")
    (row,) = _over(base, "R")
    assert (row["STATE"], row["ERROR_CODE"]) == ("FAILED", "000630")
    assert "timeout of 0.3 second(s)" in row["ERROR_MESSAGE"]


def test_the_history_is_filtered_and_limited(base: Sql) -> None:
    base("CREATE TASK R SCHEDULE = '1 HOUR' AS SELECT 1")
    base("CREATE TASK R2 SCHEDULE = '1 MINUTE' AS SELECT 1")
    _over(base, "R", "R", "R2")
    assert len(_history(base)) == 3
    assert [row["NAME"] for row in _history(base, "TASK_NAME => 'r2'")] == ["R2"]
    assert len(_history(base, "RESULT_LIMIT => 10000")) == 3
    base("ALTER TASK R RESUME")
    (coming,) = [row for row in _history(base) if row["STATE"] == "SCHEDULED"]
    ahead = coming["SCHEDULED_TIME"] - dt.datetime.now(dt.UTC)
    assert dt.timedelta(minutes=59) < ahead <= dt.timedelta(hours=1)
    assert (coming["NAME"], coming["SCHEDULED_FROM"], coming["QUERY_ID"]) == ("R", "SCHEDULE", None)
    past = "SCHEDULED_TIME_RANGE_START => DATEADD('hour', -1, CURRENT_TIMESTAMP())"
    assert len(_history(base, past)) == 4
    assert len(_history(base, f"{past}, SCHEDULED_TIME_RANGE_END => CURRENT_TIMESTAMP()")) == 3
    assert _history(base, "SCHEDULED_TIME_RANGE_END => DATEADD('hour', -1, CURRENT_TIMESTAMP())") == []
    assert base.one("SELECT COUNT(*) FROM TABLE(INFORMATION_SCHEMA.TASK_HISTORY(TASK_NAME => 'R2'))") >= 1
    base("ALTER TASK R SUSPEND")
    base.fails(1003, "SELECT * FROM TABLE(INFORMATION_SCHEMA.TASK_HISTORY(RESULT_LIMIT => 0))")
    base.fails(1003, "SELECT * FROM TABLE(INFORMATION_SCHEMA.TASK_HISTORY(WHAT => 0))")
    base.fails(2, "SELECT * FROM TABLE(PUBLIC.TASK_HISTORY())")


def test_tasks_their_state_and_history_survive_kill_9(own_server: Server) -> None:
    own_server.start()
    sql = Sql(own_server.connect(schema="PUBLIC"))
    sql("CREATE TABLE OUT (id INTEGER)")
    sql("CREATE TASK DONE SCHEDULE = '1 HOUR' AS INSERT INTO OUT VALUES (1)")
    sql(f"CREATE TASK LONG SCHEDULE = '1 HOUR' AS CREATE TABLE BIG AS {SLOW}")
    sql("ALTER TASK DONE RESUME")
    _over(sql, "DONE")
    shown = sql("SHOW TASKS")
    sql("EXECUTE TASK LONG")
    _wait(lambda: _states(_history(sql)).get("LONG") == "EXECUTING")
    own_server.kill()

    own_server.start()
    again = Sql(own_server.connect(schema="PUBLIC"))
    assert again("SHOW TASKS") == shown
    rows = _quiet(again)
    assert _states(rows) == {"DONE": "SUCCEEDED", "LONG": "FAILED"}
    assert [(row["ERROR_CODE"], row["ERROR_MESSAGE"]) for row in rows if row["NAME"] == "LONG"] == [
        ("000604", "The server ended while the task ran.")
    ]
    _over(again, "DONE")
    assert again("SELECT id FROM OUT") == [(1,), (1,)]


@pytest.mark.slow
def test_a_server_that_is_stopped_cancels_what_runs_and_takes_up_what_waits(own_server: Server) -> None:
    own_server.start()
    sql = Sql(own_server.connect(schema="PUBLIC"))
    sql(f"CREATE TASK LONG SCHEDULE = '1 HOUR' AS CREATE TABLE BIG AS {SLOW}")
    sql("EXECUTE TASK LONG")
    sql("EXECUTE TASK LONG")
    _wait(lambda: "EXECUTING" in [row["STATE"] for row in _history(sql)])
    assert own_server.stop(signal.SIGTERM) == 0

    own_server.start()
    again = Sql(own_server.connect(schema="PUBLIC"))
    rows = _wait(lambda: _history(again) if "EXECUTING" in _all_states(again) else None)
    assert sorted((row["STATE"], row["ERROR_CODE"]) for row in rows) == [
        ("EXECUTING", None),
        ("FAILED", "000604"),
    ]
    assert own_server.stop(signal.SIGTERM) == 0


@pytest.mark.slow
def test_a_resumed_root_runs_by_its_schedule_and_a_suspended_one_does_not(base: Sql) -> None:
    base(f"CREATE TASK R SCHEDULE = '10 SECONDS' AS {_log('R')}")
    base(f"CREATE TASK A AFTER R AS {_log('A')}")
    base("SELECT SYSTEM$TASK_DEPENDENTS_ENABLE('R')")
    resumed = dt.datetime.now(dt.UTC)
    time.sleep(22)
    base("ALTER TASK R SUSPEND")
    rows = _quiet(base)
    assert [row["NAME"] for row in rows] == ["R", "A", "R", "A"]
    assert {(row["STATE"], row["SCHEDULED_FROM"]) for row in rows} == {("SUCCEEDED", "SCHEDULE")}
    waits = [(row["SCHEDULED_TIME"] - resumed).total_seconds() for row in rows]
    assert waits == pytest.approx([10, 10, 20, 20], abs=1)
    assert rows[0]["NEXT_SCHEDULED_TIME"] == rows[2]["SCHEDULED_TIME"]
    assert all(row["QUERY_START_TIME"] >= row["SCHEDULED_TIME"] for row in rows)
    time.sleep(11)
    assert base.one("SELECT COUNT(*) FROM LOG") == 4
