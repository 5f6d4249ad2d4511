"""Tasks: their DDL, the rules of a graph, what SHOW and DESCRIBE say of them."""

from __future__ import annotations

import datetime as dt
import json
from typing import Any

import pytest

from caves_dagster.local.warehouse.errors import StatementError
from caves_dagster.local.warehouse.names import Name
from caves_dagster.local.warehouse.tasks import Task, interval
from caves_dagster_tests.local.warehouse.conftest import DATABASE, Sql


def _tasks(sql: Sql, what: str = "SHOW TASKS") -> list[dict[str, Any]]:
    rows = sql(what)
    names = [column.name for column in sql.cursor.description]
    return [dict(zip(names, row, strict=True)) for row in rows]


def _states(sql: Sql) -> dict[str, str]:
    return {task["name"]: task["state"] for task in _tasks(sql)}


@pytest.fixture
def graph(sql: Sql) -> Sql:
    """A root R with a schedule, A and B after it, C after both."""
    sql("CREATE TASK R WAREHOUSE = COMPUTE_WH SCHEDULE = '1 MINUTE' AS SELECT 1")
    sql("CREATE TASK A WAREHOUSE = COMPUTE_WH AFTER R AS SELECT 1")
    sql("CREATE TASK B WAREHOUSE = COMPUTE_WH AFTER R AS SELECT 1")
    sql("CREATE TASK C WAREHOUSE = COMPUTE_WH AFTER A, B AS SELECT 1")
    return sql


def test_a_new_task_is_suspended_and_shown_with_what_it_was_declared_as(sql: Sql, schema: str) -> None:
    sql("CREATE TABLE RAW (id INTEGER)")
    sql("CREATE STREAM S ON TABLE RAW APPEND_ONLY = TRUE")
    sql("CREATE TASK R SCHEDULE = '1 MINUTE' AS SELECT 1")
    before = dt.datetime.now(dt.UTC)
    sql(
        f"""CREATE TASK IF NOT EXISTS {DATABASE}.{schema}.T
            WAREHOUSE = COMPUTE_WH
            ALLOW_OVERLAPPING_EXECUTION = FALSE
            SUSPEND_TASK_AFTER_NUM_FAILURES = 3, USER_TASK_TIMEOUT_MS = 60000
            TIMEZONE = 'UTC'
            COMMENT = 'l''été'
        AFTER {DATABASE}.{schema}.R
        WHEN SYSTEM$STREAM_HAS_DATA('S') AND CAST('true' AS BOOLEAN)
        AS
        -- what it does
        INSERT INTO RAW SELECT id FROM S;"""
    )
    task = {found["name"]: found for found in _tasks(sql)}["T"]
    assert abs(task["created_on"] - before) < dt.timedelta(minutes=1)
    assert task["state"] == "suspended"
    assert (task["database_name"], task["schema_name"]) == (DATABASE, schema)
    assert json.loads(task["predecessors"]) == [f"{DATABASE}.{schema}.R"]
    assert task["condition"] == "SYSTEM$STREAM_HAS_DATA('S') AND CAST('true' AS BOOLEAN)"
    assert task["definition"] == "INSERT INTO RAW SELECT id FROM S"
    assert (task["warehouse"], task["comment"], task["schedule"]) == ("COMPUTE_WH", "l'été", None)
    assert task["allow_overlapping_execution"] == "false"
    assert _tasks(sql, "DESCRIBE TASK T") == [task]
    assert json.loads(_tasks(sql, "SHOW TASKS LIKE 'r'")[0]["predecessors"]) == []
    assert _tasks(sql, f"SHOW TASKS LIKE 'T' IN SCHEMA {DATABASE}.{schema}") == [task]
    assert task in _tasks(sql, f"SHOW TASKS IN DATABASE {DATABASE}")


def test_created_again_replaced_altered_and_dropped(graph: Sql) -> None:
    first = _tasks(graph, "DESCRIBE TASK A")[0]
    graph.fails(2002, "CREATE TASK A AFTER R AS SELECT 2")
    graph("CREATE TASK IF NOT EXISTS A AFTER R AS SELECT 2")
    assert _tasks(graph, "DESCRIBE TASK A")[0] == first
    graph("ALTER TASK A RESUME")
    graph("CREATE OR ALTER TASK A WAREHOUSE = W2 COMMENT = 'new' AFTER R AS SELECT 3")
    altered = _tasks(graph, "DESCRIBE TASK A")[0]
    assert altered["id"] == first["id"]
    assert (altered["state"], altered["definition"], altered["comment"]) == ("started", "SELECT 3", "new")
    graph("CREATE OR REPLACE TASK A AFTER R AS SELECT 4")
    replaced = _tasks(graph, "DESCRIBE TASK A")[0]
    assert replaced["id"] != first["id"]
    assert (replaced["state"], replaced["warehouse"], replaced["comment"]) == ("suspended", None, "")
    graph("CREATE OR ALTER TASK NEW AFTER R AS SELECT 5")
    graph("DROP TASK NEW")
    graph.fails(2003, "DROP TASK NEW")
    graph("DROP TASK IF EXISTS NEW")
    graph("ALTER TASK IF EXISTS NEW RESUME")
    graph.fails(2003, "ALTER TASK NEW RESUME")
    graph.fails(2003, "DESCRIBE TASK NEW")


def test_altered_part_by_part(sql: Sql) -> None:
    sql("CREATE TASK T SCHEDULE = '1 MINUTE' COMMENT = 'a' AS SELECT 1")
    sql("ALTER TASK T SET SCHEDULE = '5 MINUTES' WAREHOUSE = W COMMENT = 'b'")
    sql("ALTER TASK T MODIFY AS SELECT 2")
    sql("ALTER TASK T MODIFY WHEN 1 = 1")
    task = _tasks(sql)[0]
    assert (task["schedule"], task["warehouse"], task["comment"]) == ("5 MINUTES", "W", "b")
    assert (task["definition"], task["condition"]) == ("SELECT 2", "1 = 1")
    sql("ALTER TASK T REMOVE WHEN")
    sql("ALTER TASK T UNSET WAREHOUSE, COMMENT")
    task = _tasks(sql)[0]
    assert (task["condition"], task["warehouse"], task["comment"]) == (None, None, "")


def test_a_graph_changes_only_while_its_root_is_suspended(graph: Sql, schema: str) -> None:
    graph("SELECT SYSTEM$TASK_DEPENDENTS_ENABLE('R')")
    assert set(_states(graph).values()) == {"started"}
    for statement in (
        "ALTER TASK C SUSPEND",
        "ALTER TASK A SET COMMENT = 'x'",
        "ALTER TASK R SET SCHEDULE = '2 MINUTES'",
        "ALTER TASK C REMOVE AFTER A",
        "CREATE TASK D AFTER C AS SELECT 1",
        "CREATE OR REPLACE TASK R SCHEDULE = '1 MINUTE' AS SELECT 1",
        "CREATE OR ALTER TASK A AFTER R AS SELECT 1",
        "DROP TASK A",
    ):
        message = graph.fails(91421, statement)
        expected = f"Unable to update graph with root task {DATABASE}.{schema}.R since that root task is not"
        assert expected in message
    graph("ALTER TASK R RESUME")
    graph("ALTER TASK R SUSPEND")
    assert _states(graph) == {"A": "started", "B": "started", "C": "started", "R": "suspended"}
    assert _tasks(graph, "DESCRIBE TASK R")[0]["last_suspended_reason"] == "USER_SUSPENDED"
    graph("ALTER TASK C SUSPEND")
    graph("ALTER TASK C REMOVE AFTER A")
    assert _states(graph)["C"] == "suspended"


def test_graphs_that_cannot_be(graph: Sql, schema: str) -> None:
    graph("CREATE TASK R2 SCHEDULE = '1 MINUTE' AS SELECT 1")
    assert "more than one root" in graph.fails(91420, "CREATE TASK D AFTER R2, A AS SELECT 1")
    assert "after itself" in graph.fails(91420, "ALTER TASK A ADD AFTER C")
    assert "after itself" in graph.fails(91420, "ALTER TASK R ADD AFTER C")
    assert "schedule" in graph.fails(91422, "CREATE TASK D SCHEDULE = '1 MINUTE' AFTER A AS SELECT 1")
    graph.fails(2003, "CREATE TASK D AFTER NOWHERE AS SELECT 1")
    assert "same schema" in graph.fails(91419, f"CREATE TASK PUBLIC.D AFTER {schema}.A AS SELECT 1")
    graph("CREATE TASK LONE AS SELECT 1")
    assert "neither a schedule" in graph.fails(91088, "ALTER TASK LONE RESUME")


def test_a_task_whose_only_predecessor_goes_becomes_a_suspended_root(graph: Sql) -> None:
    graph("ALTER TASK C RESUME")
    graph("DROP TASK A")
    assert _states(graph)["C"] == "started"
    graph("DROP TASK B")
    orphan = _tasks(graph, "DESCRIBE TASK C")[0]
    assert (orphan["state"], orphan["predecessors"]) == ("suspended", "[]")
    assert orphan["last_suspended_reason"] == "CHILD_BECAME_ROOT"


@pytest.mark.parametrize(
    ("statement", "reason"),
    [
        ("CREATE TASK T SCHEDULE = 'USING CRON * * * * * UTC' AS SELECT 1", "cron"),
        ("CREATE TASK T SCHEDULE = '5 SECONDS' AS SELECT 1", "SCHEDULE"),
        ("CREATE TASK T SCHEDULE = 'daily' AS SELECT 1", "SCHEDULE"),
        ("CREATE TASK T SCHEDULE = '1 MINUTE' ALLOW_OVERLAPPING_EXECUTION = TRUE AS SELECT 1", "overlapping"),
        ("CREATE TASK T SCHEDULE = '1 MINUTE' TIMEZONE = 'Europe/Paris' AS SELECT 1", "time zone"),
        ("CREATE TASK T SCHEDULE = '1 MINUTE' TASK_AUTO_RETRY_ATTEMPTS = 99 AS SELECT 1", "TASK_AUTO_RETRY"),
        ("CREATE TASK T FINALIZE = R AS SELECT 1", "FINALIZE"),
        ("CREATE TASK T CLONE U", "CLONE"),
        ("CREATE TASK T SCHEDULE = '1 MINUTE'", "AS"),
        ("CREATE TASK T SCHEDULE = '1 MINUTE' AS CALL P()", "CALL P"),
        ("CREATE TASK T SCHEDULE = '1 MINUTE' AS BEGIN LET x := 1; END", "LET"),
        ("ALTER TASK T SWAP WITH U", "SWAP"),
        ("EXECUTE TASK T RETRY LAST", "RETRY LAST"),
    ],
)
def test_what_is_not_supported_is_refused_by_name(sql: Sql, statement: str, reason: str) -> None:
    errno = {"SCHEDULE": 1008, "TASK_AUTO_RETRY": 1008, "AS": 1003}.get(reason, 2)
    assert reason in sql.fails(errno, statement)
    assert _tasks(sql) == []


def test_tasks_go_with_their_schema_and_their_database(sql: Sql, schema: str) -> None:
    sql("CREATE TASK T SCHEDULE = '1 MINUTE' AS SELECT 1")
    sql(f"DROP SCHEMA {schema}")
    sql(f"CREATE SCHEMA {schema}")
    assert _tasks(sql) == []
    sql(f"CREATE DATABASE {schema}_DB")
    sql(f"CREATE TASK {schema}_DB.PUBLIC.T SCHEDULE = '1 MINUTE' AS SELECT 1")
    sql(f"ALTER TASK {schema}_DB.PUBLIC.T RESUME")
    sql(f"USE DATABASE {DATABASE}")
    sql(f"DROP DATABASE {schema}_DB")
    sql(f"CREATE DATABASE {schema}_DB")
    assert _tasks(sql, f"SHOW TASKS IN DATABASE {schema}_DB") == []
    sql(f"DROP DATABASE {schema}_DB")


def test_a_schedule_counts_from_when_the_task_was_resumed() -> None:
    begun = dt.datetime(2026, 1, 1, 10, 3, 30, tzinfo=dt.UTC)
    task = Task(Name("D", "S", "T"), "SELECT 1", schedule="10 MINUTES")
    assert task.next_run(begun) is None
    started = Task(
        Name("D", "S", "T"), "SELECT 1", schedule="10 MINUTES", started=True, started_on=begun.isoformat()
    )
    for minutes_after, expected in [(0, 10), (9.99, 10), (10, 20), (57, 60)]:
        due = started.next_run(begun + dt.timedelta(minutes=minutes_after))
        assert due == begun + dt.timedelta(minutes=expected)


@pytest.mark.parametrize(
    ("schedule", "seconds"),
    [
        ("1 MINUTE", 60),
        ("30 seconds", 30),
        ("10 S", 10),
        ("2 HOURS", 7200),
        ("5 M", 300),
        ("11520 MINUTE", 691200),
    ],
)
def test_intervals(schedule: str, seconds: int) -> None:
    assert interval(schedule) == dt.timedelta(seconds=seconds)


@pytest.mark.parametrize(
    "schedule", ["", "MINUTE", "0 MINUTE", "-1 MINUTE", "1.5 MINUTES", "9 SECONDS", "9 DAYS"]
)
def test_what_is_no_interval(schedule: str) -> None:
    with pytest.raises(StatementError, match="SCHEDULE"):
        interval(schedule)
