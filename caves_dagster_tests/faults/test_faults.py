"""The short form of the fault suite: thirty kills of one seed, on a stack of the test's own."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest
from rich.console import Console

from caves_dagster_tests.brokers import CACHE, require_kafka
from caves_dagster_tests.faults.executioner import CI_LIMIT_SECONDS, carry_out
from caves_dagster_tests.faults.plan import Target, make_plan
from caves_dagster_tests.faults.stack import running_stack
from caves_dagster_tests.local.conftest import processes_of

pytestmark = [
    pytest.mark.faults,
    pytest.mark.real_kafka,
    # The connector tries to cancel a statement from a thread of its own, where its failure is nobody's.
    pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning"),
]

KILLS = 30
SEED = 1


@pytest.fixture(autouse=True)
def java_and_maven() -> None:
    """Skips, or on CI fails, where there is no Java or no Maven."""
    require_kafka(on_ci=os.environ.get("CI", "").lower() in ("true", "1"))


def test_nothing_is_lost_or_doubled_and_everything_recovers_whatever_is_killed(
    tmp_path: Path,
) -> None:
    home = tmp_path / "home"
    # At once, past pytest's capture: six minutes without a word look like a test that hangs.
    terminal = Console(file=sys.__stdout__, width=120)
    with running_stack(home, CACHE) as stack:
        report = carry_out(
            stack,
            make_plan(SEED, KILLS),
            SEED,
            CI_LIMIT_SECONDS,
            say=lambda line: terminal.print(line, markup=False),
        )
    report.print(terminal)
    assert {one.kill.target for one in report.kills} == set(Target)
    assert report.acknowledged > 0
    assert report.dead_letters > 0
    assert report.good, "\n".join(report.lines())
    assert processes_of(home) == []
