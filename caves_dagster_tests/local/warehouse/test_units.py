"""The parts that need no server: reading statements, judging JSON, keeping results, writing bind values."""

from __future__ import annotations

import json

import duckdb
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from caves_dagster.local.warehouse import bindings, commands, functions, results
from caves_dagster.local.warehouse.errors import StatementError
from caves_dagster.local.warehouse.variant import why_not_json

_json = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=10,
)


@given(_json, st.booleans())
def test_whatever_json_writes_is_json(value: object, ascii_only: bool) -> None:
    assert why_not_json(json.dumps(value, ensure_ascii=ascii_only)) is None


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ('{"a":1,"a":2}', "duplicate"),
        ('{"a":null,"a":null}', "duplicate"),
        ('{"\\u0061":1,"a":2}', "duplicate"),
        ('[{"b":{"a":1,"a":1}}]', "duplicate"),
        ('{"a":1,}', "double quotes"),
        ("NaN", "NaN"),
        ("[1e400]", "out of range"),
        ('["null", 1e999]', "out of range"),
        ("[" * 100_000, "deep"),
        ('"\x01"', "control"),
        ("nul", "Expecting"),
    ],
)
def test_what_is_not_json_is_told_why(text: str, reason: str) -> None:
    assert reason in str(why_not_json(text))


def test_statements_sqlglot_does_not_know_are_read() -> None:
    assert commands.read("BEGIN TRANSACTION NAME nightly;") == commands.Begin("NIGHTLY")
    assert commands.read('DROP STREAM IF EXISTS a."b c"') == commands.DropStream(["A", "b c"], exists=True)
    assert commands.read("REMOVE @s/run-1/x.parquet") == commands.Remove("@s/run-1/x.parquet", None)
    assert commands.read("rm '@a.b.c/x y' PATTERN = '.*'") == commands.Remove("@a.b.c/x y", ".*")
    assert commands.read("ALTER SESSION SET LOCK_TIMEOUT = 30, X = 'é'") == commands.AlterSession(
        {"LOCK_TIMEOUT": "30", "X": "é"}
    )
    assert commands.read("SHOW STREAMS LIKE 'x' IN SCHEMA a.b LIMIT 5") == commands.Show(
        "STREAMS", "x", "SCHEMA", ["A", "B"], None, 5
    )
    assert commands.read("SELECT 'CREATE STREAM'") is None
    with pytest.raises(StatementError):
        commands.read("CREATE STREAM s ON VIEW v")


def test_placeholders_in_strings_are_not_placeholders() -> None:
    values = [{"type": "TEXT", "value": "it's \\ ?"}]
    assert bindings.inline("SELECT '?', ? -- ?", values) == "SELECT '?', 'it''s \\\\ ?' -- ?"
    with pytest.raises(StatementError):
        bindings.inline("SELECT ?, ?", values)


def test_results_are_forgotten_beyond_their_bounds() -> None:
    kept = results.Recent(most=3, most_bytes=1000)
    for number in range(10):
        result = results.rows({"a": "BIGINT"}, [(number,)])
        result.query_id = str(number)
        kept.keep(result)
    assert len(kept) == 3
    assert kept.find("0") is None
    assert kept.find("9") is not None
    kept.keep(results.Result(pa.table({"a": ["x" * 5000]}), ["VARCHAR"], query_id="large"))
    assert kept.find("large") is None
    for number in range(3):
        kept.keep(results.Result(pa.table({"a": ["x" * 600]}), ["VARCHAR"], query_id=f"mid{number}"))
    assert kept.find("mid2") is not None
    assert kept.find("mid0") is None


@pytest.mark.parametrize("name", ["_fs_flatten", "joined"])
def test_flatten_of_a_column_unnests_row_by_row(name: str) -> None:
    """Not by a join of every input with its own elements: that took 82 s for 100,000 batches instead of 5."""
    duck = duckdb.connect(config={"lambda_syntax": "ENABLE_SINGLE_ARROW"})
    functions.create(duck, "memory")
    duck.execute("CREATE TABLE B (id INTEGER, parts JSON)")
    # The very same elements, with the input as a row of its own: what DuckDB cannot do without a join.
    duck.execute(
        "CREATE MACRO joined(input) AS TABLE SELECT e.INDEX, e.VALUE "
        "FROM (SELECT unnest(_caves_elements(j)) AS e FROM (SELECT to_json(input) AS j))"
    )
    ((_, plan),) = duck.execute(
        f"EXPLAIN SELECT id, f.INDEX, f.VALUE FROM B, {name}(B.parts) AS f"
    ).fetchall()
    assert "Unnest" in plan
    assert ("Join" in plan) == (name == "joined")
