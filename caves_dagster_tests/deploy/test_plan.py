"""What a plan does with what it finds, without a database."""

from __future__ import annotations

from dataclasses import replace

import pytest

from caves_dagster.deploy.declared import Declared, declared, declared_in_detail, sql_hash, view_query
from caves_dagster.deploy.found import (
    NOTHING,
    Found,
    FoundColumn,
    FoundStream,
    FoundTable,
    FoundView,
)
from caves_dagster.deploy.plan import Plan, plan
from caves_dagster.deploy.step import Action, Step
from caves_dagster.errors import DeploymentRefused
from caves_dagster.shops.caves import CAVES
from caves_dagster.warehouse.ddl import Column
from caves_dagster.warehouse.stored import is_wider

TABLE = Declared(
    "table",
    "S.T",
    "CREATE TABLE IF NOT EXISTS S.T (…)",
    columns=(
        Column("A", "INTEGER", "l'a", nullable=False),
        Column("B", "VARCHAR(10)", "", nullable=True),
    ),
    comment="ce que c'est",
)
COLUMNS = {"A": FoundColumn("NUMBER(38, 0)", False, "l'a"), "B": FoundColumn("TEXT(10)", True)}


def found(columns: dict[str, FoundColumn], rows: int = 3) -> Found:
    """A database with the table, its comment as declared."""
    return Found(frozenset({"S"}), tables={"S.T": FoundTable(rows, TABLE.comment, columns)})


def only(one: Declared, has: Found) -> Step:
    """The only step of the plan for one object."""
    (step,) = plan([one], has).steps
    return step


def column(added: Column, *, rows: int, fills: tuple[tuple[str, str], ...] = ()) -> Plan:
    """The plan for a table whose DDL has gained a column."""
    return plan([replace(TABLE, columns=(*TABLE.columns, added), fills=fills)], found(COLUMNS, rows))


def test_an_empty_database_gets_every_statement_in_its_order() -> None:
    made = plan(declared(CAVES), NOTHING)

    assert {step.action for step in made.steps} == {Action.CREATE}
    assert made.statements == tuple(one.sql for one in declared(CAVES))


def test_a_database_that_is_as_the_sql_says_is_left_alone() -> None:
    assert only(TABLE, found(COLUMNS)).action is Action.UNCHANGED
    assert not plan([TABLE], found(COLUMNS)).drift


def test_a_gained_column_is_added_with_its_comment() -> None:
    (step,) = column(Column("C", "DECIMAL(5, 2)", "prix d'achat", nullable=True), rows=3).steps

    assert (step.action, step.name) == (Action.ADD_COLUMN, "S.T.C")
    assert step.statements == (
        "ALTER TABLE S.T ADD COLUMN IF NOT EXISTS C DECIMAL(5, 2)",
        "COMMENT ON COLUMN S.T.C IS 'prix d''achat'",
    )


def test_a_gained_column_that_is_not_null_needs_a_default_where_there_are_rows() -> None:
    required = Column("C", "INTEGER", "", nullable=False)

    (step,) = column(required, rows=0).steps
    assert step.statements == ("ALTER TABLE S.T ADD COLUMN IF NOT EXISTS C INTEGER NOT NULL",)
    (step,) = column(replace(required, default="0"), rows=3).steps
    assert step.statements == ("ALTER TABLE S.T ADD COLUMN C INTEGER DEFAULT 0 NOT NULL",)
    (step,) = column(required, rows=3).steps
    assert (step.action, step.statements) == (Action.DECIDE, ())
    assert "3 rows" in step.detail
    assert "fill/t.c.sql" in step.remedy


def test_a_file_that_fills_it_does_instead_even_when_the_last_deployment_was_killed() -> None:
    required = Column("C", "INTEGER", "", nullable=False)
    fills = (("C", "UPDATE S.T SET C = 1 WHERE C IS NULL"),)
    filled = [fills[0][1], "ALTER TABLE S.T ALTER COLUMN C SET NOT NULL"]

    statements = column(required, rows=3, fills=fills).statements
    assert list(statements) == ["ALTER TABLE S.T ADD COLUMN IF NOT EXISTS C INTEGER", *filled]
    table = replace(TABLE, columns=(*TABLE.columns, required), fills=fills)
    half_done = found({**COLUMNS, "C": FoundColumn("NUMBER(38, 0)", True)})
    assert list(plan([table], half_done).statements) == filled


@pytest.mark.parametrize(
    ("change", "action", "statement"),
    [
        ({"B": FoundColumn("TEXT(5)", True)}, Action.WIDEN_COLUMN,
         "ALTER TABLE S.T ALTER COLUMN B SET DATA TYPE VARCHAR(10)"),
        ({"B": FoundColumn("TEXT(10)", False)}, Action.ALLOW_NULL,
         "ALTER TABLE S.T ALTER COLUMN B DROP NOT NULL"),
        ({"B": FoundColumn("TEXT(10)", True, "old")}, Action.COMMENT, "COMMENT ON COLUMN S.T.B IS ''"),
        ({"B": FoundColumn("TEXT(20)", True)}, Action.DECIDE, ""),
        ({"B": FoundColumn("NUMBER(38, 0)", True)}, Action.DECIDE, ""),
        ({"A": FoundColumn("NUMBER(38, 0)", True, "l'a")}, Action.DECIDE, ""),
        ({"D": FoundColumn("FLOAT", False)}, Action.DECIDE, ""),
        ({"D": FoundColumn("FLOAT", True)}, Action.KEPT, ""),
        ({"D": FoundColumn("FLOAT", False, has_default=True)}, Action.KEPT, ""),
    ],
)  # fmt: skip
def test_a_column_that_differs(change: dict[str, FoundColumn], action: Action, statement: str) -> None:
    step = only(TABLE, found(COLUMNS | change))

    assert step.action is action
    assert step.statements == ((statement,) if statement else ())
    assert bool(step.remedy) is (action is Action.DECIDE)


def test_a_column_that_was_perhaps_renamed_is_neither_added_nor_dropped_unasked() -> None:
    has = {"A": COLUMNS["A"], "BB": COLUMNS["B"]}

    made = plan([TABLE], found(has))

    assert [step.action for step in made.steps] == [Action.DECIDE, Action.ADD_COLUMN]
    assert "RENAME COLUMN BB TO B" in made.steps[0].remedy
    with pytest.raises(DeploymentRefused, match=r"Nothing was deployed: S\.T\.BB .*RENAME COLUMN BB TO B"):
        made.require_safe()


def test_the_comment_of_a_table_follows_its_ddl() -> None:
    has = Found(frozenset({"S"}), tables={"S.T": FoundTable(0, "before", COLUMNS)})

    assert only(TABLE, has).statements == ("COMMENT ON TABLE S.T IS 'ce que c''est'",)


def test_a_view_is_replaced_only_where_it_differs() -> None:
    text = "CREATE OR REPLACE VIEW S.V COMMENT = 'c' AS SELECT a, 'x y' AS b FROM s.t AS q"
    view = Declared("view", "S.V", text, comment="c", query=view_query(text))

    def has(query: str | None, comment: str = "c") -> Found:
        seen = None if query is None else view_query(query)
        return Found(frozenset({"S"}), views={"S.V": FoundView(seen, comment)})

    same = "create view db.S.V (x) as select A, 'x y' as B from \"DB\".S.T Q;"
    assert only(view, has(same)).action is Action.UNCHANGED
    for other in ("SELECT a, 'x  y' AS b FROM s.t AS q", None):
        assert only(view, has(other)).statements == (text,)
    assert only(view, has(same, "another")).statements == (text,)


def test_a_stream_is_never_replaced() -> None:
    stream = Declared("stream", "S.S", "CREATE STREAM IF NOT EXISTS S.S …", on="S.T")

    def action(on: str = "S.T", mode: str = "APPEND_ONLY", stale: bool = False) -> tuple[Action, int]:
        step = only(stream, Found(frozenset({"S"}), streams={"S.S": FoundStream(on, mode, stale)}))
        return step.action, len(step.statements)

    assert action() == (Action.UNCHANGED, 0)
    assert action(stale=True) == (Action.KEPT, 0)
    assert action(on="S.U") == (Action.DECIDE, 0)
    assert action(mode="DEFAULT") == (Action.DECIDE, 0)


def test_what_cannot_be_compared_runs_each_time_and_is_no_drift() -> None:
    step = only(Declared("statement", "ALTER SESSION", "ALTER SESSION SET X = 1"), NOTHING)

    assert (step.action, Plan((step,)).drift, Plan((step,)).changes) == (Action.RUN, (), ())


def test_a_table_where_a_view_is_expected_is_left_alone() -> None:
    view = Declared("view", "S.T", "CREATE OR REPLACE VIEW S.T AS SELECT 1")

    assert only(view, found(COLUMNS)).action is Action.DECIDE


@pytest.mark.parametrize(
    ("stored", "wanted", "wider"),
    [
        ("TEXT(5)", "TEXT(6)", True),
        ("TEXT(6)", "TEXT(5)", False),
        ("NUMBER(10, 2)", "NUMBER(12, 2)", True),
        ("NUMBER(10, 2)", "NUMBER(12, 3)", False),
        ("NUMBER(10, 2)", "TEXT(12)", False),
        ("FLOAT", "NUMBER(38, 0)", False),
        ("BINARY", "BINARY", False),
    ],
)
def test_which_types_are_wider(stored: str, wanted: str, wider: bool) -> None:
    assert is_wider(stored, wanted) is wider


def test_every_setup_statement_is_understood_and_the_hash_is_of_them() -> None:
    assert {one.kind for one in declared(CAVES)} == {"schema", "table", "row", "stage", "stream", "view"}
    assert all(one.columns for one in declared_in_detail(CAVES) if one.kind == "table")
    assert all(one.on for one in declared(CAVES) if one.kind == "stream")
    assert len(sql_hash(CAVES)) == 64
