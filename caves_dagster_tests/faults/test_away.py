"""Two minutes without the warehouse, two minutes without the broker, under the whole stack."""

from __future__ import annotations

import sys
import time
from pathlib import Path

import pytest
from rich.console import Console

from caves_dagster_tests.brokers import CACHE
from caves_dagster_tests.faults.away import BROKER, WAREHOUSE, Outage, endure
from caves_dagster_tests.faults.executioner import CI_LIMIT_SECONDS, RATE, conclude
from caves_dagster_tests.faults.ledger import Producer
from caves_dagster_tests.faults.report import Report
from caves_dagster_tests.faults.stack import running_stack
from caves_dagster_tests.faults.watch import Watch

pytestmark = [
    pytest.mark.faults,
    pytest.mark.real_kafka,
    # The connector tries to cancel a statement from a thread of its own, where its failure is nobody's.
    pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning"),
]

AWAY_SECONDS = 120.0
MOST_FAILED_RUNS = 4


@pytest.mark.parametrize("outage", [WAREHOUSE, BROKER], ids=lambda outage: outage.name)
def test_two_minutes_away_lose_nothing_and_start_no_storm_of_runs(tmp_path: Path, outage: Outage) -> None:
    terminal = Console(file=sys.__stdout__, width=120)
    report = Report(1, CI_LIMIT_SECONDS)
    with running_stack(tmp_path / "home", CACHE, batch_max_events=None) as stack:
        producer = Producer(stack.settings.kafka, stack.shop, stack.home / "ledger.jsonl", 1, RATE)
        producer.start()
        with Watch(stack.settings.snowflake) as watch:
            assert watch.await_reached(time.time(), 180.0), "nothing arrived before the outage"
            endured = endure(stack, watch, outage, AWAY_SECONDS)
        conclude(stack, producer.stop(), report)
    terminal.print(endured)
    for line in report.lines():
        terminal.print(line, highlight=False)
    assert report.good, report.lines()
    assert endured.failed <= MOST_FAILED_RUNS
    assert endured.launched <= 2, "one at its beginning, one for rows that wait in a stream"
    said = [reason for reason in endured.reasons if "cannot be reached" in reason or "is started" in reason]
    assert said, "ticks say that it is away, or that the run which it surprised still tries"
    assert endured.failed_ticks == []
    assert endured.recovery_seconds is not None
    assert endured.recovery_seconds <= CI_LIMIT_SECONDS
