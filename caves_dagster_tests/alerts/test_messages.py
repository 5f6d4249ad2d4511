"""What a message says, and how long it may be."""

from __future__ import annotations

import dagster as dg
import pytest
from dagster._core.definitions.asset_checks.asset_check_evaluation import AssetCheckEvaluation
from dagster_shared.error import SerializableErrorInfo

from caves_dagster.alerts.checks import figures
from caves_dagster.alerts.incidents import Incident, Letter, Level, Report
from caves_dagster.alerts.messages import Message, message, shortened
from caves_dagster.alerts.runs import explanation

NOON = 1_782_820_800.0  # 2026-06-30 12:00:00 UTC
URL = "http://ui.example"


def said(seconds: float = 10.0, over: bool = False, failures: int = 1, level: Level = "ERROR") -> Message:
    """A message about an incident that began at noon."""
    report = Report(
        "duplicates on production/orders", ("offending: 1", "offending keys:\n67890"), "/assets/x"
    )
    incident = Incident("key", NOON, report, level, failures, well_since=NOON + seconds if over else None)
    return message(Letter("log", incident, over), NOON + seconds, URL)


def test_a_beginning_says_what_since_when_figures_and_where_to_look() -> None:
    assert said().text.splitlines() == [
        "Failing: duplicates on production/orders",
        "since 2026-06-30 12:00:00 UTC (10 s), 1 failure",
        "offending: 1",
        "offending keys:",
        "67890",
        "http://ui.example/assets/x",
    ]


def test_an_end_says_from_when_to_when() -> None:
    assert said(600, over=True, failures=3).text.splitlines() == [
        "Over: duplicates on production/orders",
        "from 2026-06-30 12:00:00 UTC to 2026-06-30 12:10:00 UTC (10 min), 3 failures",
        "http://ui.example/assets/x",
    ]


def test_a_warning_is_called_one() -> None:
    assert said(level="WARN").title == "Warning: duplicates on production/orders"


@pytest.mark.parametrize(
    ("seconds", "span"),
    [
        (-5, "0 s"),
        (0.4, "0 s"),
        (119, "119 s"),
        (120, "2 min"),
        (7199, "119 min"),
        (7200, "2 h"),
        (172_800, "2 d"),
    ],
)
def test_a_span_is_told_in_a_unit_that_fits(seconds: float, span: str) -> None:
    assert f"({span})" in said(seconds).text


def test_what_is_long_is_cut() -> None:
    details = shortened(["x" * 100_000] * 50)
    assert sum(map(len, details)) < 3000
    assert all(detail.endswith("…") for detail in details)
    assert shortened(["short", "\n".join("abc")]) == ("short", "a\nb\nc")


def test_figures_and_keys_of_a_check_are_found_whatever_else_it_says() -> None:
    evaluation = AssetCheckEvaluation(
        asset_key=dg.AssetKey(["production", "orders"]),
        check_name="duplicates",
        passed=False,
        metadata={
            "figures": dg.MetadataValue.md("| A | B |"),
            "offending": 1234,
            "share": 0.5,
            "offending_keys": dg.MetadataValue.md("- 67890"),
        },
        description="67890",
    )
    assert figures(evaluation) == (
        "offending: 1,234",
        "share: 0.5",
        "offending keys:\n- 67890",
        "figures:\n| A | B |",
    )


def test_a_check_without_metadata_tells_its_description() -> None:
    evaluation = AssetCheckEvaluation(dg.AssetKey("a"), "c", passed=False, description="nothing was checked")
    assert figures(evaluation) == ("nothing was checked",)


def error(text: str, cause: SerializableErrorInfo | None = None) -> SerializableErrorInfo:
    return SerializableErrorInfo(text, [], "Some", cause)


def test_of_a_chain_of_errors_this_project_s_own_is_told() -> None:
    chain = error(
        "dagster._core.errors.DagsterExecutionStepExecutionError: …",
        error("caves_dagster.errors.StatementFailed: No. Do this.\n", error("snowflake.ProgrammingError: 1")),
    )
    assert explanation(chain) == "StatementFailed: No. Do this."


def test_of_others_the_innermost_is_told() -> None:
    assert explanation(error("outer: a", error("KeyError: 'b'"))) == "KeyError: 'b'"
    assert explanation(None) == ""
