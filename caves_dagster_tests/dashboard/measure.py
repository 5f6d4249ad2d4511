"""How long the page takes over a million orders: `python -m caves_dagster_tests.dashboard.measure`."""

from __future__ import annotations

import argparse
import json
import os
import statistics
import tempfile
import time
from datetime import UTC, datetime
from pathlib import Path

from rich.console import Console

from caves_dagster.dashboard.period import period, today
from caves_dagster.dashboard.snapshots import Snapshots
from caves_dagster.deploy.carry_out import set_up
from caves_dagster.local.platform import running_platform
from caves_dagster.settings import Settings, embedded_settings
from caves_dagster.shops import find_shop
from caves_dagster.warehouse.connection import Warehouse
from caves_dagster_tests.dashboard.rows import insert_orders
from caves_dagster_tests.dashboard.site import browser, looking, serving

REFRESHES = 10
BROWSERS = 7
SHOWN = {"figures": ".boxes .figure", "chart": ".marks"}
# Milliseconds since the address was opened, at the end of the frame in which it is drawn.
_WHEN_SHOWN = """
window.shown = {};
const found = new Set();
new MutationObserver(() => {
  for (const [what, selector] of Object.entries(SELECTORS))
    if (!found.has(what) && document.querySelector(selector)) {
      found.add(what);
      requestAnimationFrame(() => setTimeout(() => { shown[what] = performance.now(); }));
    }
}).observe(document, {childList: true, subtree: true});
""".replace("SELECTORS", json.dumps(SHOWN))
console = Console(highlight=False, soft_wrap=True)


def main() -> None:
    """Fill, ask, and look."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--orders", type=int, default=1_000_000)
    orders = parser.parse_args().orders
    with tempfile.TemporaryDirectory(prefix="caves-dashboard-") as folder, running_platform(Path(folder)):
        settings = embedded_settings(Path(folder))
        with Warehouse(settings.snowflake) as warehouse:
            for shop in ("caves", "dropship"):
                set_up(warehouse, find_shop(settings, shop))
            # A year of them.
            insert_orders(warehouse, orders, 365 * 86_400 / orders, f"{datetime.now(UTC):%Y-%m-%d %H:%M:%S}")
        console.print(f"{orders:,} orders; load {os.getloadavg()[0]:.1f} on {os.cpu_count()} processors.")
        _refreshes(settings)
        _first_pages(settings)
        console.print(f"Load at the end {os.getloadavg()[0]:.1f}.")


def _refreshes(settings: Settings) -> None:
    """What a refresh waits for: Kafka, positions and figures."""
    # Each is due.
    dashboard = settings.dashboard.model_copy(update={"idle_seconds": 1.0})
    settings = settings.model_copy(update={"dashboard": dashboard})
    for name in ("all", "30d"):
        clock = iter(range(0, 10**6, 60))
        snapshots = Snapshots(settings, lambda clock=clock: float(next(clock)))  # type: ignore[misc]
        seconds = []
        for _ in range(REFRESHES):
            begin = time.perf_counter()
            found = snapshots.get(find_shop(settings, "caves"), period(name, (), today()))
            seconds.append(time.perf_counter() - begin)
            assert found.figures is not None, found.warehouse_error
        snapshots.close()
        median = statistics.median(seconds[1:])
        console.print(f"Refresh, {name}: the first {seconds[0]:.2f} s, then {median:.2f} s (median).")


def _first_pages(settings: Settings) -> None:
    """From the address to the figures and the chart, in a new browser each time, by its own clock.

    They are so far apart that the figures of the one before are too old for the next one.
    """
    seconds = settings.dashboard.refresh_seconds
    with browser() as chromium, serving(settings.home, CAVES_DASHBOARD_REFRESH_SECONDS=str(seconds)) as site:
        took: dict[str, list[float]] = {what: [] for what in SHOWN}
        for _ in range(BROWSERS):
            with looking(chromium, site.address, script=_WHEN_SHOWN) as look:
                look.page.wait_for_function(f"Object.keys(shown).length == {len(SHOWN)}")
                for what, milliseconds in look.page.evaluate("shown").items():
                    took[what].append(milliseconds / 1000)
            time.sleep(seconds + 1)
        for what, found in took.items():
            each = ", ".join(f"{one:.2f}" for one in found)
            console.print(f"First page, {what}: {statistics.median(found):.2f} s (median of {each}).")


if __name__ == "__main__":
    main()
