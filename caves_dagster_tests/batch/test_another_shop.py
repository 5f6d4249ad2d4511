"""A shop of another trade has a seed and a batch half by declaring them: CSV only, text keys, two schemas."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from datetime import date
from pathlib import Path
from typing import Any

import dagster as dg
import pytest

from caves_dagster.assets.batch import BATCH_IO_MANAGER, batch_assets, batch_io_manager
from caves_dagster.assets.seed import seed_asset
from caves_dagster.deploy.carry_out import set_up
from caves_dagster.shop import Batch, BatchTable, Seed, SeedOptions, Shop, Table
from caves_dagster.shops.caves import CAVES
from caves_dagster_tests.batch.conftest import Batches

pytestmark = pytest.mark.filterwarnings("default")

DDL = """
CREATE SCHEMA IF NOT EXISTS BAKERY;
CREATE TABLE IF NOT EXISTS BAKERY.LOAVES (
    ID VARCHAR NOT NULL COMMENT 'Loaf',
    PRICE DECIMAL(10, 2) NOT NULL COMMENT 'Euros',
    BAKED_AT TIMESTAMP_NTZ COMMENT 'When, UTC',
    PRIMARY KEY (ID)
) COMMENT = 'Loaves of every kind';
"""


def _rows(options: SeedOptions) -> Mapping[str, Iterable[tuple[Any, ...]]]:
    day = options.end_date.isoformat()
    return {"loaves": ((f"L-{n:04d}", f"{n}.50", f"{day}T05:00:00Z") for n in range(options.sales))}


@pytest.fixture
def bakery(tmp_path: Path) -> Shop:
    """Declared, with its SQL in a folder of its own."""
    (tmp_path / "sql" / "bakery" / "setup").mkdir(parents=True)
    (tmp_path / "sql" / "bakery" / "setup" / "10_bakery.sql").write_text(DDL)
    folder = tmp_path / "data" / "seed"
    table = BatchTable(Table("BAKERY", "LOAVES"), key="ID", day="BAKED_AT", totals=("PRICE",))
    return replace(
        CAVES,
        name="bakery",
        title="Bakery",
        topic="loaves",
        raw=Table("BAKERY_RAW", "EVENTS"),
        transformations=(),
        views=(),
        sql=tmp_path / "sql",
        batch=Batch(source=folder, first_day=date(2026, 6, 1), tables=(table,)),
        seed=Seed("bread", SeedOptions(42, date(2026, 6, 2), 1, 0, 0, 30), _rows, csv=folder),
    )


def test_it_is_seeded_and_loaded_as_the_wine_shop_is(batches: Batches, bakery: Shop) -> None:
    assert bakery.seed is not None
    assert bakery.batch is not None
    set_up(batches.warehouse, bakery)
    assert dg.materialize([seed_asset(bakery, bakery.seed)]).success
    assert [path.name for path in bakery.seed.csv.iterdir()] == ["loaves.csv"]

    result = dg.materialize(
        batch_assets(bakery, bakery.batch),
        partition_key="2026-06-02",
        resources={BATCH_IO_MANAGER: batch_io_manager(batches.settings, [batches.shop, bakery])},
    )

    assert result.success
    rows = batches.warehouse.query("SELECT * FROM BAKERY.LOAVES ORDER BY ID")
    assert len(rows) == 30
    assert rows[1]["ID"] == "L-0001"
    assert (str(rows[1]["PRICE"]), rows[1]["BAKED_AT"].isoformat()) == ("1.50", "2026-06-02T05:00:00")
    assert batches.rows("SALES") == [], "the wine shop's tables are its own"
