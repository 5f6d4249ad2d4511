"""How long all checks take over a million orders, and what those of a run take beside them.

`python -m pytest -m slow -s caves_dagster_tests/checks/test_speed.py` prints the figures.
"""

from __future__ import annotations

import sys
import time
from datetime import UTC, datetime, timedelta

import pytest

from caves_dagster.checks.catalogue import shop_checks
from caves_dagster.checks.check import run_check
from caves_dagster.checks.report import validate
from caves_dagster.rebuild import drain
from caves_dagster_tests.conftest import Caves
from caves_dagster_tests.many import insert_events, insert_sales
from caves_dagster_tests.raw_rows import Feed, insert_raw

pytestmark = [pytest.mark.slow, pytest.mark.timed]

EVENTS = 1_430_000
ORDERS = 1_001_000
VALIDATION_SECONDS = 20.0
RUN_SECONDS = 5.0
"""For the checks of a run that brought ten events, beside a million: what a window is for."""


def say(line: str) -> None:
    """Print."""
    sys.stdout.write(f"{line}\n")


def test_a_million_orders_are_validated_within_20_seconds(caves: Caves) -> None:
    insert_events(caves, EVENTS)
    insert_sales(caves, 1_000_000)
    drain(caves.warehouse, caves.shop)
    assert caves.count("PRODUCTION.ORDERS") == ORDERS

    report = validate(caves.settings, caves.shop, caves.warehouse)

    found = {outcome.name: outcome for _, outcome in report.found}
    seconds = sum(outcome.seconds for outcome in found.values())
    for name, outcome in sorted(found.items(), key=lambda one: -one[1].seconds)[:12]:
        say(f"{name:28} {outcome.seconds:6.2f} s {outcome.status} {outcome.said[:90]}")
    say(f"{len(found)} checks over {ORDERS:,} orders: {seconds:.1f} s")
    # The events were made where they are: they are of no batch, and the first has the key 0.
    assert {name for name, one in found.items() if one.status == "FAIL"} == {
        "offsets_accounted_for",
        "recent_activity",
        "orders_in_range",
    }
    assert found["orders_in_range"].offending_keys == ["orders: 0"]
    assert seconds <= VALIDATION_SECONDS

    feed = Feed(offset=EVENTS)
    insert_raw(caves.warehouse, [feed.order(EVENTS + number) for number in range(10)])
    drain(caves.warehouse, caves.shop)
    since, began = datetime.now(UTC) - timedelta(minutes=5), time.monotonic()
    for check in shop_checks(caves.settings, caves.shop):
        if check.in_runs and check.asset in caves.shop.tables:
            run_check(caves.warehouse, caves.shop, check, since)
    seconds = time.monotonic() - began
    say(f"those of a run that brought 10 events: {seconds:.1f} s")
    assert seconds <= RUN_SECONDS
