"""`make bench-batch`: a million sales over a year, written, loaded, and loaded again by day; time and memory.

Each load is one `dagster asset materialize` in a process of its own, start-up and imports included. Exits 1
when one takes longer or more than it may.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import replace
from datetime import date
from pathlib import Path

import psutil
from rich.console import Console
from rich.table import Table

from caves_dagster.batch.seed_files import write_seed
from caves_dagster.deploy.carry_out import set_up
from caves_dagster.local.platform import running_platform
from caves_dagster.settings import embedded_environment, embedded_settings
from caves_dagster.shops import find_shop
from caves_dagster.warehouse.connection import Warehouse

SALES, DAYS = 1_000_000, 365
MEGABYTE = 10**6
MEMORY_LIMIT = 1000 * MEGABYTE


def measure(home: Path, sales: int) -> Iterator[tuple[str, float, int, float]]:
    """(what, seconds, peak bytes, seconds allowed) of each step.

    Raises:
        RuntimeError: a load failed.
        AssertionError: the warehouse does not hold what was written.
    """
    with running_platform(home):
        settings = embedded_settings(home)
        shop = find_shop(settings, "caves")
        assert shop.seed is not None
        assert shop.batch is not None
        options = replace(shop.seed.defaults, sales=sales, days=DAYS)
        began = time.monotonic()
        write_seed(shop, options)
        yield f"{sales:,} sales written to SQLite", time.monotonic() - began, 0, 60.0
        first = date.fromordinal(options.end_date.toordinal() - DAYS + 1)
        days = f"{first}...{options.end_date}"
        (home / "dagster").mkdir()
        environment = embedded_environment(home) | {"DAGSTER_HOME": str(home / "dagster")}
        with Warehouse(settings.snowflake) as warehouse:
            set_up(warehouse, shop)
            for what, allowed in (
                ("loaded into empty tables", 60.0),
                (f"loaded again, {DAYS} daily partitions in one run", 120.0),
            ):
                seconds, peak = _load(days, environment, home / "load.log")
                (row,) = warehouse.query(
                    "SELECT COUNT(*) AS N, COUNT(DISTINCT SALE_ID) AS K FROM BATCH_DATA.SALES"
                )
                assert (row["N"], row["K"]) == (sales, sales), row
                yield what, seconds, peak, allowed


def _load(days: str, environment: Mapping[str, str], log: Path) -> tuple[float, int]:
    """Load a range of days; seconds, and the most memory the process was seen to hold, in bytes."""
    arguments = [
        "-m",
        "caves_dagster.definitions",
        "--select",
        "key:batch_data/sales",
        "--partition-range",
        days,
    ]
    began, peak = time.monotonic(), 0
    with log.open("wb") as output:
        process = psutil.Popen(
            [sys.executable, "-m", "dagster", "asset", "materialize", *arguments],
            env=dict(environment),
            stdout=output,
            stderr=subprocess.STDOUT,
        )
        while process.poll() is None:
            with suppress(psutil.Error):
                peak = max(peak, process.memory_info().rss)
            time.sleep(0.02)
    if process.returncode:
        raise RuntimeError(f"The load failed: {log.read_text()[-3000:]}")
    return time.monotonic() - began, peak


def main() -> int:
    """Print the table; 1 when a limit is exceeded."""
    console = Console()
    table = Table("what", "seconds", "allowed", "peak MB", "allowed MB")
    exceeded = False
    with tempfile.TemporaryDirectory(prefix="caves-bench-") as folder:
        for what, seconds, peak, allowed in measure(Path(folder), SALES):
            exceeded |= seconds > allowed or peak > MEMORY_LIMIT
            memory = f"{peak / MEGABYTE:,.0f}" if peak else ""
            limit = f"{MEMORY_LIMIT / MEGABYTE:,.0f}" if peak else ""
            table.add_row(what, f"{seconds:.1f}", f"{allowed:.0f}", memory, limit)
            console.print(f"{what}: {seconds:.1f} s")
    console.print(table)
    return 1 if exceeded else 0


if __name__ == "__main__":
    sys.exit(main())
