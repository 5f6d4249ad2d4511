"""The demo's first part: a shop's history is made up, loaded by a Dagster run, and held against its file."""

from __future__ import annotations

import sqlite3
import warnings
from collections.abc import Mapping
from contextlib import closing
from dataclasses import dataclass
from datetime import timedelta
from decimal import Decimal
from typing import Any

import dagster as dg

from caves_dagster.definitions import build_definitions
from caves_dagster.errors import PlatformError
from caves_dagster.settings import Settings
from caves_dagster.shop import Shop
from caves_dagster.warehouse.connection import Warehouse

HISTORY_DAYS, HISTORY_SALES = 30, 20_000
_QUIET = {"loggers": {"console": {"config": {"log_level": "CRITICAL"}}}}


@dataclass(frozen=True)
class Sold:
    """Sales of one source: rows, and their sum in euros."""

    rows: int
    euros: Decimal


def load_history(settings: Settings, shop: Shop, instance: dg.DagsterInstance) -> None:
    """Make the shop's seed files and load every day of them: two Dagster runs in this process.

    Raises:
        PlatformError: a run failed.
    """
    if shop.seed is None or shop.batch is None:
        return
    options = shop.seed.defaults
    definitions = build_definitions(settings)
    sizes = {"days": HISTORY_DAYS, "sales": HISTORY_SALES}
    first = options.end_date - timedelta(days=HISTORY_DAYS - 1)
    days = {
        "dagster/asset_partition_range_start": first.isoformat(),
        "dagster/asset_partition_range_end": options.end_date.isoformat(),
    }
    by_day = any(table.day for table in shop.batch.tables)
    steps: tuple[tuple[str, Mapping[str, Any], Mapping[str, str]], ...] = (
        (f"{shop.name}_seed", {"ops": {f"seed__{shop.seed.name}": {"config": sizes}}}, {}),
        (f"{shop.name}_batch", {}, days if by_day else {}),
    )
    for name, config, tags in steps:
        job = definitions.resolve_job_def(name)
        with warnings.catch_warnings():
            # Of the integrations: nobody who tries the demo can do anything about them.
            warnings.simplefilter("ignore")
            result = job.execute_in_process(
                run_config={**_QUIET, **config}, tags=dict(tags), instance=instance, raise_on_error=False
            )
        if not result.success:
            failure = next((event for event in result.all_events if event.is_step_failure), None)
            raise PlatformError(f"The run of {name} failed: {failure.message if failure else 'see its log'}.")


def sales_by_source(warehouse: Warehouse) -> dict[str, Sold]:
    """What CONSOLIDATED_SALES says of each source."""
    rows = warehouse.query(
        "SELECT SOURCE, COUNT(*) AS N, SUM(TOTAL_PRICE) AS EUROS "
        "FROM ANALYTICS.CONSOLIDATED_SALES GROUP BY SOURCE ORDER BY SOURCE"
    )
    return {row["SOURCE"]: Sold(int(row["N"]), Decimal(row["EUROS"])) for row in rows}


def history_problems(settings: Settings, warehouse: Warehouse, consolidated: Mapping[str, Sold]) -> list[str]:
    """Where the file, its table, production and the view over both do not agree."""
    with closing(sqlite3.connect(settings.db_path)) as connection:
        cents = connection.execute(
            "SELECT COUNT(*), SUM(CAST(ROUND(total_price * 100) AS INTEGER)) FROM sales"
        )
        count, total = cents.fetchone()
    parts = {
        "BATCH": ("BATCH_DATA.SALES", "TOTAL_PRICE"),
        "STREAMING": ("PRODUCTION.ORDERS", "TOTAL_AMOUNT"),
    }
    problems = []
    tables = {}
    for source, (table, amount) in parts.items():
        (row,) = warehouse.query(f"SELECT COUNT(*) AS N, SUM({amount}) AS EUROS FROM {table}")
        tables[source] = Sold(int(row["N"]), Decimal(row["EUROS"] or 0))
        if consolidated.get(source) != tables[source]:
            problems.append(
                f"CONSOLIDATED_SALES has {consolidated.get(source)} of {table}'s {tables[source]}."
            )
    (row,) = warehouse.query(
        "SELECT COUNT(*) AS N, SUM(TOTAL_PRICE) AS EUROS FROM ANALYTICS.CONSOLIDATED_SALES"
    )
    both = Sold(
        sum(one.rows for one in tables.values()), sum((one.euros for one in tables.values()), Decimal())
    )
    if Sold(int(row["N"]), Decimal(row["EUROS"])) != both:
        problems.append(f"CONSOLIDATED_SALES has {row['N']} sales of {row['EUROS']}, its parts {both}.")
    written = Sold(int(count), Decimal(total) / 100)
    if tables["BATCH"] != written:
        problems.append(f"BATCH_DATA.SALES holds {tables['BATCH']}, the seed's file {written}.")
    return problems
