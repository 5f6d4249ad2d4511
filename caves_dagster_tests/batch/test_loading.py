"""Batch tables on the warehouse: they match the source, day by day or whole, or stay as they were."""

from __future__ import annotations

import sqlite3
import threading
from contextlib import closing
from dataclasses import replace
from datetime import date, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import dagster as dg
import pandas as pd
import pytest

from caves_dagster.assets.batch import BATCH_IO_MANAGER, batch_assets, batch_io_manager
from caves_dagster.batch.seed_files import write_seed
from caves_dagster.warehouse.connection import Warehouse, connection_arguments
from caves_dagster_tests.batch.conftest import DAY, Batches, error_of, metadata_of
from caves_dagster_tests.batch.sources import CUSTOMER, PRODUCT, SALE, SALES, csv_source

# Of dagster and its integrations, not ours.
pytestmark = pytest.mark.filterwarnings("default")


def sale(key: int, day: str = DAY, **changes: Any) -> tuple[Any, ...]:
    changes = {"sale_id": key, "sale_date": f"{day} 10:00:00", **changes}
    return tuple(changes.get(name, value) for name, value in zip(SALES, SALE, strict=True))


@pytest.mark.parametrize("kind", ["sqlite", "csv"])
def test_an_independent_reader_of_the_source_and_the_warehouse_agree_on_every_row(
    batches: Batches, kind: str
) -> None:
    seed = batches.shop.seed
    assert seed is not None
    assert seed.sqlite is not None
    seed.sqlite.unlink()
    options = replace(seed.defaults, sales=5000, days=30)
    write_seed(batches.shop, options, with_csv=True)
    if kind == "csv":
        batches = batches.reading(batch_source=seed.csv)

    first = options.end_date - timedelta(days=29)
    assert batches.load(first=first.isoformat(), last=options.end_date.isoformat()).success

    with closing(sqlite3.connect(seed.sqlite)) as connection:
        found = {
            name: connection.execute(f"SELECT * FROM {name} ORDER BY 1").fetchall()
            for name in ("customers", "inventory", "sales")
        }
    assert len(found["sales"]) == 5000
    assert batches.rows("CUSTOMERS") == [(*row[:3], date.fromisoformat(row[3])) for row in found["customers"]]
    assert batches.rows("INVENTORY") == [
        (*row[:3], Decimal(str(row[3])), Decimal(str(row[4])), row[5]) for row in found["inventory"]
    ]
    assert batches.rows("SALES") == [
        (row[0], datetime.fromisoformat(row[1]), *row[2:5], Decimal(str(row[5])), row[6])
        for row in found["sales"]
    ]
    (sums,) = batches.warehouse.query("SELECT SUM(TOTAL_PRICE) AS S FROM BATCH_DATA.SALES")
    assert sums["S"] == sum(Decimal(str(row[5])) for row in found["sales"])


@pytest.mark.parametrize(
    "moment",
    ["2026-06-30 00:00:00", "2026-06-30 23:59:59.999999", "2026-06-30T12:00:00.000001+00:00"],
)
def test_a_time_is_the_source_s_to_the_microsecond(batches: Batches, moment: str) -> None:
    batches.write(sales=[sale(1, sale_date=moment)])
    assert batches.load("sales").success
    said = moment[:26].replace("T", " ")
    ((found, same),) = batches.rows("SALES", f"SALE_DATE, SALE_DATE = '{said}'::TIMESTAMP_NTZ AS SAME")
    assert (found, same) == (datetime.fromisoformat(said), True)


def test_a_plain_timestamp_has_no_zone_whatever_the_account_s_default(batches: Batches) -> None:
    asked = connection_arguments(batches.settings.snowflake)["session_parameters"]
    assert asked["TIMESTAMP_TYPE_MAPPING"] == "TIMESTAMP_NTZ"
    described = batches.warehouse.query("DESCRIBE TABLE BATCH_DATA.SALES")
    assert {row["NAME"]: row["TYPE"] for row in described}["SALE_DATE"] == "TIMESTAMP_NTZ(9)"


def test_times_of_every_era_are_the_source_s(batches: Batches) -> None:
    """Nanoseconds since 1970 in 64 bits would end in 2262 and begin in 1677."""
    days = {1: "1970-01-01", 2: "1815-06-18", 3: "2200-01-01", 4: "2999-12-31"}
    batches.write(
        customers=[(key, "Z", None, day) for key, day in days.items()],
    )
    assert batches.load("customers").success
    assert [row[3].isoformat() for row in batches.rows("CUSTOMERS")] == list(days.values())


def test_nulls_and_text_arrive_as_they_are(batches: Batches) -> None:
    texts = ["Téléphone 🍷", "it's; DROP TABLE", "", "NULL", "a\nb", "\\n", "%(x)s", None]
    batches.write(sales=[sale(key, sales_channel=text) for key, text in enumerate(texts, 1)])
    assert batches.load("sales").success
    assert [row[6] for row in batches.rows("SALES")] == texts


def test_a_table_loaded_twice_has_the_same_rows(batches: Batches) -> None:
    batches.write(sales=[sale(1), sale(2)])
    for _ in range(2):
        assert batches.load().success
        assert [row[0] for row in batches.rows("SALES")] == [1, 2]
        assert (len(batches.rows("CUSTOMERS")), len(batches.rows("INVENTORY"))) == (1, 1)


def test_a_changed_source_changes_the_tables_to_match(batches: Batches) -> None:
    batches.write(customers=[CUSTOMER, (2, "Zoé", None, None)], sales=[sale(1), sale(2), sale(3)])
    assert batches.load().success
    batches.write(
        customers=[(2, "Zoé Petit", "zoe@example.fr", None), (3, "Luc", None, None)],
        sales=[sale(2, quantity_sold=9), sale(3), sale(4)],
    )
    assert batches.load().success
    assert batches.rows("CUSTOMERS", "CUSTOMER_ID, NAME") == [(2, "Zoé Petit"), (3, "Luc")]
    assert batches.rows("SALES", "SALE_ID, QUANTITY_SOLD") == [(2, 9), (3, 6), (4, 6)]


def test_a_day_is_loaded_alone_and_leaves_the_other_days(batches: Batches) -> None:
    batches.write(sales=[sale(1, "2026-06-28"), sale(2, "2026-06-29"), sale(3, "2026-06-30")])
    assert batches.load("sales", first="2026-06-28", last="2026-06-30").success
    batches.write(sales=[sale(1, "2026-06-28", quantity_sold=9), sale(4, "2026-06-29")])
    assert batches.load("sales", first="2026-06-29").success
    assert batches.rows("SALES", "SALE_ID, QUANTITY_SOLD") == [(1, 6), (3, 6), (4, 6)]


def test_a_sale_whose_day_changed_is_there_once(batches: Batches) -> None:
    batches.write(sales=[sale(1, "2026-06-28"), sale(2, "2026-06-28")])
    assert batches.load("sales", first="2026-06-28").success
    batches.write(sales=[sale(1, "2026-06-29"), sale(2, "2026-06-28")])
    assert batches.load("sales", first="2026-06-29").success
    assert [(row[0], row[1].date().isoformat()) for row in batches.rows("SALES")] == [
        (1, "2026-06-29"),
        (2, "2026-06-28"),
    ]
    assert batches.load("sales", first="2026-06-28").success
    assert [row[0] for row in batches.rows("SALES")] == [1, 2]


def test_a_day_without_sales_is_said_and_takes_away_what_was_there(batches: Batches) -> None:
    batches.write(sales=[sale(1, "2026-06-29"), sale(2)])
    assert batches.load("sales", first="2026-06-29", last=DAY).success
    batches.write(sales=[sale(1, "2026-06-29")])

    result = batches.load("sales")

    assert result.success
    figures = metadata_of(result, "sales")
    assert figures["dagster/partition_row_count"] == figures["rows_loaded"] == 0
    assert (figures["rows_before"], figures["rows_in_source"]) == (1, 1)
    assert [row[0] for row in batches.rows("SALES")] == [1]


def test_a_source_without_rows_empties_the_tables(batches: Batches) -> None:
    assert batches.load().success
    batches.write(customers=[], inventory=[], sales=[])
    assert batches.load().success
    assert [batches.rows(table) for table in ("CUSTOMERS", "INVENTORY", "SALES")] == [[], [], []]


@pytest.mark.parametrize(
    ("tables", "words"),
    [
        ({"sales": [sale(2), sale(3, quantity_sold=-1)]}, "quantity_sold is '-1'"),
        ({"sales": [sale(2), sale(2)]}, "sale_id more than once: 2"),
        ({"sales": [sale(2, sale_date="soon")]}, "sale_date is 'soon'"),
        ({"customers": [(1, None, None, None)]}, "name is NULL"),
        ({"customers": [(1, "x" * 201, None, None)]}, "at most 200 characters"),
        ({"inventory": [(*PRODUCT[:3], "cher", *PRODUCT[4:])]}, "price_per_unit is 'cher'"),
    ],
)
def test_a_source_that_is_refused_leaves_the_table_as_it_was(
    batches: Batches, tables: dict[str, Any], words: str
) -> None:
    assert batches.load().success
    (name,) = tables
    before = batches.rows(name.upper())
    batches.write(**tables)

    assert words in error_of(batches.load(name))

    assert batches.rows(name.upper()) == before != []


def test_a_source_that_is_missing_leaves_the_table_as_it_was(batches: Batches, tmp_path: Path) -> None:
    assert batches.load().success
    batches.batch.source.unlink()
    assert "There is no batch source at" in error_of(batches.load("customers"))
    assert len(batches.rows("CUSTOMERS")) == 1


def test_tables_that_are_not_set_up_are_said_with_the_remedy(batches: Batches) -> None:
    batches.warehouse.execute("DROP TABLE BATCH_DATA.CUSTOMERS")
    assert "`caves setup`" in error_of(batches.load("customers"))
    batches.warehouse.execute("DELETE FROM BATCH_DATA.LOAD_FENCE")
    assert "LOAD_FENCE does not hold its row" in error_of(batches.load("inventory"))
    assert batches.rows("INVENTORY") == []


def test_a_load_changes_rows_and_not_the_table(batches: Batches) -> None:
    """Its comments, and streams on it, would go with a table that is replaced."""
    batches.warehouse.execute(
        "CREATE STREAM IF NOT EXISTS BATCH_DATA.S ON TABLE BATCH_DATA.SALES APPEND_ONLY = TRUE COMMENT = 'c'"
    )
    described = batches.warehouse.query("DESCRIBE TABLE BATCH_DATA.SALES")
    assert batches.load("sales").success
    assert batches.warehouse.query("DESCRIBE TABLE BATCH_DATA.SALES") == described
    assert len(batches.warehouse.query("SELECT * FROM BATCH_DATA.S")) == 1


def test_nothing_is_left_behind(batches: Batches) -> None:
    assert batches.load().success
    tables = {row["name".upper()] for row in batches.warehouse.query("SHOW TABLES IN SCHEMA BATCH_DATA")}
    assert tables == {"CUSTOMERS", "INVENTORY", "SALES", "LOAD_FENCE"}
    assert batches.warehouse.query("SHOW STAGES IN SCHEMA BATCH_DATA") == []


def test_two_loads_at_once_take_turns(batches: Batches) -> None:
    """The one that comes second waits for the lock, and then sees and takes away what the first put in."""
    batches.write(sales=[sale(key) for key in range(1, 2001)])
    results: list[bool] = []

    def load() -> None:
        results.append(replace(batches, instance=instances.pop()).load("sales").success)

    with dg.DagsterInstance.ephemeral() as one, dg.DagsterInstance.ephemeral() as other:
        instances = [one, other]
        threads = [threading.Thread(target=load) for _ in range(2)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert results == [True, True]
    assert len(batches.rows("SALES")) == 2000


def test_a_load_waits_for_the_lock_and_gives_up_after_a_minute_not_before(
    batches: Batches, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another load holds the lock for longer than a first try."""
    with Warehouse(batches.settings.snowflake) as other:
        other.execute("BEGIN TRANSACTION NAME CAVES_LOAD_BATCH_DATA")
        other.execute("UPDATE BATCH_DATA.LOAD_FENCE SET EPOCH = EPOCH + 1")
        timer = threading.Timer(2.0, lambda: other.execute("COMMIT"))
        timer.start()
        assert batches.load("customers").success
        timer.join()
    assert len(batches.rows("CUSTOMERS")) == 1


def test_what_a_run_shows_is_what_happened(batches: Batches) -> None:
    batches.write(
        sales=[
            sale(1, "2026-06-29", total_price="10.25"),
            sale(2, total_price="0.50"),
            sale(3, total_price="0.25"),
        ]
    )
    result = batches.load(first="2026-06-28", last=DAY)
    by_day = {
        event.materialization.partition: {k: v.value for k, v in event.materialization.metadata.items()}
        for event in result.get_asset_materialization_events()
        if event.materialization.asset_key.path[-1] == "sales"
    }
    assert {day: row["dagster/partition_row_count"] for day, row in by_day.items()} == {
        "2026-06-28": 0,
        "2026-06-29": 1,
        "2026-06-30": 2,
    }
    assert [row["day_total_price"] for row in by_day.values()] == [0.0, 10.25, 0.75]
    for row in by_day.values():
        assert (row["rows_in_source"], row["rows_loaded"], row["rows_before"]) == (3, 3, 0)
        assert (row["total_quantity_sold"], row["total_total_price"]) == (18.0, 11.0)
        assert str(row["sample"]).count("\n") == 1 + 3
        assert row["source"] == str(batches.batch.source)
    inventory = metadata_of(result, "inventory")
    assert (inventory["dagster/row_count"], inventory["total_stock_quantity"]) == (1, 12.0)


def test_rows_that_no_day_will_load_are_said(batches: Batches) -> None:
    tomorrow = (datetime.now().astimezone() + timedelta(days=2)).date().isoformat()
    batches.write(sales=[sale(1, "2024-12-31"), sale(2), sale(3, tomorrow)])
    figures = metadata_of(batches.load("sales"), "sales")
    assert (figures["rows_before_first_day"], figures["rows_of_days_to_come"]) == (1, 1)
    earlier = batches.reading(batch_first_day=date(2024, 12, 1))
    assert metadata_of(earlier.load("sales"), "sales")["rows_before_first_day"] == 0


def test_a_csv_folder_loads_as_a_sqlite_file_does(batches: Batches, tmp_path: Path) -> None:
    folder = csv_source(tmp_path / "csv", {"customers": [CUSTOMER], "inventory": [PRODUCT], "sales": [SALE]})
    assert batches.load().success
    before = [batches.rows(table) for table in ("CUSTOMERS", "INVENTORY", "SALES")]
    assert batches.reading(batch_source=folder).load().success
    assert [batches.rows(table) for table in ("CUSTOMERS", "INVENTORY", "SALES")] == before


def test_an_asset_downstream_gets_the_table_as_a_frame(batches: Batches) -> None:
    assert batches.load("customers").success
    seen: list[pd.DataFrame] = []
    key = dg.AssetKey(["batch_data", "customers"])

    @dg.asset(ins={"customers": dg.AssetIn(key, input_manager_key=BATCH_IO_MANAGER)})
    def reader(customers: pd.DataFrame) -> None:
        seen.append(customers)

    result = dg.materialize(
        [*batch_assets(batches.shop, batches.batch), reader],
        selection=[reader],
        resources={BATCH_IO_MANAGER: batch_io_manager(batches.settings, [batches.shop])},
    )
    assert result.success
    assert seen[0]["name"].tolist() == [CUSTOMER[1]]
