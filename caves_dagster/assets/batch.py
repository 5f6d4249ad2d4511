"""The batch half: tables loaded from a SQLite file or CSV files, whole or day by day."""

import time
from collections.abc import Callable, Iterable
from datetime import date
from functools import cache
from typing import Any

import dagster as dg

from caves_dagster.assets.description import markdown_table, table_spec
from caves_dagster.assets.seed import seed_key
from caves_dagster.batch.reading import Loaded, Window, read_table
from caves_dagster.settings import Settings
from caves_dagster.shop import Batch, BatchTable, Shop

BATCH_IO_MANAGER = "batch_io_manager"
_SAMPLE_ROWS = 5


def batch_io_manager(settings: Settings, shops: Iterable[Shop]) -> dg.IOManagerDefinition:
    """The IO manager of every shop's batch tables. No config fields: the UI must not show a secret."""
    tables = [table for shop in shops if shop.batch for table in shop.batch.tables]

    @dg.io_manager(description="dagster-snowflake-pandas' IO manager, exchanging rows in one transaction.")
    def manager(context: dg.InitResourceContext) -> dg.IOManager:
        def make() -> dg.IOManager:
            from caves_dagster.batch.io_manager import BatchIOManager

            return BatchIOManager(settings.snowflake, tables).create_io_manager(context)

        return _MadeWhenUsed(make)

    return manager


class _MadeWhenUsed(dg.IOManager):
    """Importing the IO manager takes seconds, and Dagster initialises it for who only depends on its tables.

    So it does in every run of the pipeline, as a view over both halves is in it.
    """

    def __init__(self, make: Callable[[], dg.IOManager]) -> None:
        self._make = cache(make)

    def handle_output(self, context: dg.OutputContext, obj: Any) -> None:
        """Store."""
        self._make().handle_output(context, obj)

    def load_input(self, context: dg.InputContext) -> Any:
        """Load."""
        return self._make().load_input(context)


def batch_assets(shop: Shop, batch: Batch) -> list[dg.AssetsDefinition]:
    """One asset a batch table."""
    return [_batch_asset(shop, batch, table) for table in batch.tables]


def daily_partitions(batch: Batch) -> dg.DailyPartitionsDefinition:
    """The days of a table that is loaded by day: from the first one to yesterday, UTC."""
    return dg.DailyPartitionsDefinition(start_date=batch.first_day.isoformat())


def _batch_asset(shop: Shop, batch: Batch, table: BatchTable) -> dg.AssetsDefinition:
    upstream = [seed_key(shop.seed)] if shop.seed else []
    spec = table_spec(shop, table.table, "batch", upstream)
    by_day = {"partition_expr": table.day} if table.day else {}

    # Not dg.asset, whose backfill_policy warns of being new.
    @dg.multi_asset(
        name=f"{shop.name}_{table.source_name}",
        outs={
            "rows": dg.AssetOut.from_spec(
                spec.replace_attributes(kinds={"snowflake", "pandas"}, deps=[]).merge_attributes(
                    metadata=by_day
                ),
                io_manager_key=BATCH_IO_MANAGER,
            )
        },
        deps=spec.deps,
        partitions_def=daily_partitions(batch) if table.day else None,
        # A year is one run: one pass over the source, one transaction.
        backfill_policy=dg.BackfillPolicy.single_run(),
        pool=f"{shop.name}_batch",
    )
    def load(context: dg.AssetExecutionContext) -> dg.Output[Any]:
        import pandas as pd

        began = time.monotonic()
        window = _window(context) if table.day else None
        loaded = read_table(shop, batch, table, window)
        rows = loaded.rows
        context.log.info(
            f"{rows.num_rows:,} of {loaded.in_source:,} rows of {table.source_name} read from {batch.source} "
            f"in {time.monotonic() - began:.1f} s."
        )
        if not rows.num_rows:
            of = f" of {window.first} to {window.last}" if window else ""
            context.log.warning(f"The source has no rows{of}: {table.table.full_name} will have none either.")
        metadata = _figures(table, loaded) | {"source": str(batch.source)}
        if window is not None:
            metadata |= _outside(context, batch, loaded)
            _say_by_day(context, table, loaded)
        else:
            metadata["dagster/row_count"] = rows.num_rows
        return dg.Output(rows.to_pandas(types_mapper=pd.ArrowDtype), output_name="rows", metadata=metadata)

    return load


def _window(context: dg.AssetExecutionContext) -> Window:
    """The days of the run: one partition, or a range of them."""
    keys = context.partition_key_range
    return Window(date.fromisoformat(keys.start), date.fromisoformat(keys.end))


def _figures(table: BatchTable, loaded: Loaded) -> dict[str, Any]:
    """Counts, totals and a few rows."""
    sample = loaded.rows.slice(0, _SAMPLE_ROWS).to_pylist()
    return {
        "rows_in_source": loaded.in_source,
        "sample": dg.MetadataValue.md(
            markdown_table([{name.upper(): value for name, value in row.items()} for row in sample])
        ),
        **_totals(table, loaded.rows),
    }


def _totals(table: BatchTable, rows: Any) -> dict[str, Any]:
    import pyarrow.compute as pc

    sums = {name: pc.sum(rows.column(name.lower())).as_py() or 0 for name in table.totals}
    return {f"total_{name.lower()}": float(value) for name, value in sums.items()}


def _outside(context: dg.AssetExecutionContext, batch: Batch, loaded: Loaded) -> dict[str, Any]:
    """Rows of the source that belong to no partition: said, because nobody would miss them."""
    too_old = sum(count for day, count in loaded.days.items() if day < batch.first_day)
    newest = context.assets_def.partitions_def.get_last_partition_key()
    too_new = sum(count for day, count in loaded.days.items() if not newest or day.isoformat() > newest)
    if too_old:
        context.log.warning(
            f"{too_old:,} rows of the source are older than {batch.first_day} and are never loaded: "
            "set CAVES_BATCH_FIRST_DAY to an earlier day."
        )
    if too_new:
        context.log.warning(f"{too_new:,} rows of the source are of days that are not over: loaded later.")
    return {"rows_before_first_day": too_old, "rows_of_days_to_come": too_new}


def _say_by_day(context: dg.AssetExecutionContext, table: BatchTable, loaded: Loaded) -> None:
    """Each partition's own count and totals, on its own materialisation."""
    import pyarrow as pa
    import pyarrow.compute as pc

    assert table.day is not None
    days = pc.cast(loaded.rows.column(table.day.lower()), pa.date32())
    aggregated = (
        loaded.rows.append_column("_day", days)
        .group_by("_day")
        .aggregate([(name.lower(), "sum") for name in table.totals] + [([], "count_all")])
        .to_pylist()
    )
    found = {row["_day"].isoformat(): row for row in aggregated}
    for key in context.partition_keys:
        row = found.get(key, {})
        totals = {f"day_{name.lower()}": float(row.get(f"{name.lower()}_sum") or 0) for name in table.totals}
        context.add_asset_metadata(
            {"dagster/partition_row_count": row.get("count_all", 0), **totals}, partition_key=key
        )
