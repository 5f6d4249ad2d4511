"""What the tests of loading share: an empty database, a source of their own, and runs of the batch assets."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import dagster as dg
import pytest

from caves_dagster.assets.batch import BATCH_IO_MANAGER, batch_assets, batch_io_manager
from caves_dagster.deploy.carry_out import set_up
from caves_dagster.local.platform import Platform
from caves_dagster.settings import Settings, embedded_settings
from caves_dagster.shop import Batch, Shop
from caves_dagster.shops import find_shop
from caves_dagster.warehouse.connection import Warehouse
from caves_dagster_tests.batch.sources import CUSTOMER, PRODUCT, SALE, Rows, sqlite_source

DAY = "2026-06-30"
"""Of the only sale in `sources.py`."""


@dataclass
class Batches:
    """The wine shop's batch half on a database of the test's own."""

    settings: Settings
    shop: Shop
    warehouse: Warehouse
    instance: dg.DagsterInstance

    @property
    def batch(self) -> Batch:
        """Its declaration."""
        assert self.shop.batch is not None
        return self.shop.batch

    def write(self, **tables: Rows) -> None:
        """Make the SQLite source anew; what is not given has the one row of `sources.py`."""
        rows: Mapping[str, Rows] = {"customers": [CUSTOMER], "inventory": [PRODUCT], "sales": [SALE]}
        sqlite_source(self.batch.source, {**rows, **tables})

    def reading(self, **settings: Any) -> Batches:
        """The same under other settings, of the source or the first day."""
        changed = self.settings.model_copy(update=settings)
        return replace(self, settings=changed, shop=find_shop(changed, "caves"))

    def load(self, *names: str, first: str = DAY, last: str = "") -> dg.ExecuteInProcessResult:
        """Load tables as Dagster does: all of them, or those named; of sales the days given."""
        chosen = names or ("customers", "inventory", "sales")
        days = {
            "dagster/asset_partition_range_start": first,
            "dagster/asset_partition_range_end": last or first,
        }
        return dg.materialize(
            batch_assets(self.shop, self.batch),
            selection=dg.AssetSelection.assets(*(dg.AssetKey(["batch_data", name]) for name in chosen)),
            resources={BATCH_IO_MANAGER: batch_io_manager(self.settings, [self.shop])},
            instance=self.instance,
            tags=days if "sales" in chosen else {},
            raise_on_error=False,
        )

    def rows(self, table: str, columns: str = "*") -> list[tuple[Any, ...]]:
        """A batch table's rows, by key."""
        found = self.warehouse.query(f"SELECT {columns} FROM BATCH_DATA.{table} ORDER BY 1")
        return [tuple(row.values()) for row in found]


@pytest.fixture
def batches(platform: Platform, tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Batches]:
    """Tables that are empty, and a source with one row a table."""
    plain = "".join(letter if letter.isascii() and letter.isalnum() else "_" for letter in request.node.name)
    settings = embedded_settings(platform.home)
    snowflake = settings.snowflake.model_copy(update={"database": f"B_{plain[-60:]}".upper()})
    settings = settings.model_copy(update={"snowflake": snowflake, "db_path": tmp_path / "source.db"})
    shop = find_shop(settings, "caves")
    with Warehouse(snowflake) as warehouse, dg.DagsterInstance.ephemeral() as instance:
        set_up(warehouse, shop)
        made = Batches(settings, shop, warehouse, instance)
        made.write()
        yield made
        warehouse.execute(f"DROP DATABASE {snowflake.database}")


def error_of(result: dg.ExecuteInProcessResult) -> str:
    """Why a run failed, as its event log says it: the message of the innermost error."""
    assert not result.success
    (failure, *_) = [event for event in result.all_events if event.is_step_failure]
    error = failure.step_failure_data.error
    assert error is not None
    while error.cause is not None and "CavesError" not in str(error.cls_name):
        if error.cls_name and error.cls_name.endswith(("Refused", "Failed", "NotSetUp", "Unreachable")):
            break
        error = error.cause
    return error.message


def metadata_of(result: dg.ExecuteInProcessResult, name: str) -> dict[str, Any]:
    """What the last materialisation of a batch table says of itself."""
    events = [
        event.materialization
        for event in result.get_asset_materialization_events()
        if event.materialization.asset_key.path[-1] == name
    ]
    return {key: value.value for key, value in events[-1].metadata.items()}
