"""A million events: how long their rebuild takes, and what it costs to look at the views.

`python -m pytest -m slow -s caves_dagster_tests/test_rebuild_speed.py` prints the figures.
"""

from __future__ import annotations

import time

import pytest

from caves_dagster.assets.analytics import look_at
from caves_dagster.rebuild import drain, rebuild
from caves_dagster_tests.conftest import Caves
from caves_dagster_tests.many import insert_events, insert_sales

pytestmark = [pytest.mark.slow, pytest.mark.timed]

EVENTS = 1_000_000
REBUILD_SECONDS = 60
LOOK_SECONDS = 1.0
"""For all views; 0.2 s where nothing else runs."""


def test_a_million_events_are_rebuilt_within_a_minute_and_looked_at_in_no_time(caves: Caves) -> None:
    insert_events(caves, EVENTS)
    insert_sales(caves, EVENTS)
    drain(caves.warehouse, caves.shop)

    said: list[str] = []
    began = time.monotonic()
    report = rebuild(caves.warehouse, caves.shop, said.append)
    seconds = time.monotonic() - began
    said.append(f"{EVENTS:,} events rebuilt and passed through the streams again in {seconds:.1f} s.")
    assert report.before == report.after
    assert sum(report.after[name] for name in report.after if name.startswith("STAGING.")) == EVENTS
    assert set(report.came_back.values()) == {0}

    looks = {}
    for view in caves.shop.views:
        began = time.monotonic()
        look_at(caves.warehouse, caves.shop, view)
        looks[view.name] = time.monotonic() - began
        said.append(f"{view.name} looked at in {looks[view.name]:.3f} s.")
    said.append(f"All views in {sum(looks.values()):.3f} s.")
    print("\n".join(["", *said]))  # noqa: T201 - the figures are the result
    assert seconds < REBUILD_SECONDS
    assert sum(looks.values()) < LOOK_SECONDS
