"""The seed: made-up history in files, where there is no real one to load."""

import time
from typing import Any

import dagster as dg
from pydantic import Field

from caves_dagster.assets.description import markdown_table
from caves_dagster.batch.seed_files import parse_end_date, write_seed
from caves_dagster.shop import Seed, SeedOptions, Shop

_SAY_SECONDS = 2.0


def seed_key(seed: Seed) -> dg.AssetKey:
    """Asset key of a shop's seed files."""
    return dg.AssetKey(["seed", seed.name])


def seed_config(seed: Seed) -> type[dg.Config]:
    """The seed's options as the launchpad shows them, with the shop's defaults."""
    defaults, folder = seed.defaults, seed.csv

    class SeedConfig(dg.Config):
        """How much history, and which. The same options give the same files, byte by byte."""

        seed: int = Field(defaults.seed, description="Seed of everything that is drawn.")
        days: int = Field(defaults.days, description="Days of sales, up to and with end_date.")
        end_date: str = Field(defaults.end_date.isoformat(), description="Last day of sales, YYYY-MM-DD.")
        customers: int = Field(defaults.customers, description="Number of customers.")
        products: int = Field(defaults.products, description="Number of products.")
        sales: int = Field(defaults.sales, description="Number of sales over all the days.")
        csv: bool = Field(False, description=f"Write CSV files into {folder} too.")

    return SeedConfig


def seed_asset(shop: Shop, seed: Seed) -> dg.AssetsDefinition:
    """The asset of a shop's seed files."""
    config_type = seed_config(seed)
    formats = "SQLite and, on request, CSV" if seed.sqlite else "CSV"

    @dg.asset(
        key=seed_key(seed),
        group_name="seed",
        description=f"Made-up history of {shop.title}: {formats}. The same options give the same bytes.",
        kinds={"sqlite", "csv"} if seed.sqlite else {"csv"},
        metadata={"path": dg.MetadataValue.path(str(seed.sqlite or seed.csv))},
    )
    def write_files(context: dg.AssetExecutionContext, config: config_type) -> dg.MaterializeResult[Any]:  # type: ignore[valid-type]
        chosen: dict[str, Any] = config.model_dump()  # type: ignore[attr-defined]
        with_csv = bool(chosen.pop("csv"))
        options = SeedOptions(**chosen | {"end_date": parse_end_date(chosen["end_date"])})
        began = said = time.monotonic()

        def say(table: str, rows: int) -> None:
            nonlocal said
            if time.monotonic() - said > _SAY_SECONDS:
                said = time.monotonic()
                context.log.info(f"{rows:,} rows of {table} written.")

        written = write_seed(shop, options, with_csv, say)
        context.log.info(f"{sum(written.rows.values()):,} rows in {time.monotonic() - began:.1f} s.")
        return dg.MaterializeResult(
            metadata={
                "dagster/row_count": sum(written.rows.values()),
                "rows": dg.MetadataValue.md(
                    markdown_table([{"TABLE": name, "ROWS": rows} for name, rows in written.rows.items()])
                ),
                "files": [str(path) for path in written.files],
                "bytes": sum(path.stat().st_size for path in written.files),
                "seconds": round(time.monotonic() - began, 3),
                "options": dg.MetadataValue.json(chosen | {"csv": with_csv}),
            }
        )

    return write_files
