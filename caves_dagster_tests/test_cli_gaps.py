"""`caves gaps`: a loss is accepted by somebody who has seen it, and nothing else with it."""

from __future__ import annotations

import json
from types import SimpleNamespace

import pytest
import typer
from typer.testing import CliRunner, Result

from caves_dagster.cli import app
from caves_dagster.errors import NotConfirmed
from caves_dagster.warehouse.scripts import render, statements
from caves_dagster_tests.conftest import Caves
from caves_dagster_tests.ingest.accounting import environment

OPEN = "SELECT OFFSET_FROM FROM RAW_DATA.INGEST_GAPS WHERE ACKNOWLEDGED_AT IS NULL ORDER BY OFFSET_FROM"


def _gap(caves: Caves, offset: int, reason: str) -> None:
    """One as ingestion records it."""
    (sql,) = statements(render(caves.shop.sql, "ingest/write_gaps.sql", raw=caves.shop.raw))
    gap = {"partition": 0, "from": offset, "to": offset + 5, "reason": reason}
    names = {"cluster_id": "here", "topic": caves.shop.topic, "topic_id": "", "now": "2026-11-28 12:00:00"}
    caves.warehouse.execute(sql, names | {"gaps": json.dumps([gap])})


def _open(caves: Caves) -> list[int]:
    return [row["OFFSET_FROM"] for row in caves.warehouse.query(OPEN)]


def _run(caves: Caves, *arguments: str) -> Result:
    """Run `caves gaps` in this process; nobody is at its input."""
    return CliRunner().invoke(app, ["gaps", *arguments], env=environment(caves, COLUMNS="200"))


def test_what_is_accepted_is_shown_and_everything_else_stays_open(caves: Caves) -> None:
    for offset, reason in ((10, "RETENTION"), (20, "RETENTION"), (30, "NEW_CLUSTER")):
        _gap(caves, offset, reason)

    result = _run(caves, "acknowledge", "--reason", "RETENTION", "--by", "albert", "--yes")

    assert result.exit_code == 0, result.output
    assert "Gaps of caves (RETENTION) acknowledged by albert: 2." in result.stdout
    assert all(f" {offset} " in result.stdout for offset in (10, 20))
    assert " 30 " not in result.stdout
    assert _open(caves) == [30]
    listed = _run(caves, "list").stdout
    assert listed.count("by albert") == listed.count("RETENTION") == 2
    again = _run(caves, "acknowledge", "--reason", "RETENTION", "--yes")
    assert "no open gap of caves for this reason: RETENTION" in again.stdout


def test_a_gap_that_is_found_while_somebody_makes_up_his_mind_stays_open(
    caves: Caves, monkeypatch: pytest.MonkeyPatch
) -> None:
    _gap(caves, 10, "RETENTION")

    def confirm(question: str, abort: bool) -> None:
        _gap(caves, 20, "RETENTION")

    monkeypatch.setattr(typer, "confirm", confirm)
    terminal = SimpleNamespace(stdin=SimpleNamespace(isatty=lambda: True))
    monkeypatch.setattr("caves_dagster.cli.gaps.sys", terminal)
    result = _run(caves, "acknowledge", "--reason", "RETENTION")
    assert "acknowledged by" in result.stdout, result.output
    assert _open(caves) == [20]


def test_without_anybody_to_ask_nothing_is_accepted(caves: Caves) -> None:
    _gap(caves, 10, "RETENTION")
    result = _run(caves, "acknowledge", "--reason", "RETENTION")
    assert isinstance(result.exception, NotConfirmed), result.output
    assert "--yes" in str(result.exception)
    assert _open(caves) == [10]
