"""What is wrong with a declaration is said when it is loaded, by shop and field."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from caves_dagster.declaration import check_shops
from caves_dagster.declared_sql import check_sql
from caves_dagster.definitions import build_definitions
from caves_dagster.errors import CavesError, DeclarationError
from caves_dagster.settings import embedded_settings
from caves_dagster.shop import SQL_ROOT, Contract, Plot, Shop, Table, Transformation, View
from caves_dagster.shops import BUILT_IN, shops
from caves_dagster.shops.caves import CAVES
from caves_dagster.shops.dropship import DROPSHIP

(STEP,) = DROPSHIP.transformations


@pytest.mark.parametrize("shop", BUILT_IN, ids=lambda shop: shop.name)
def test_the_shops_of_this_repository_hold_together(shop: Shop) -> None:
    check_sql(shop)


def test_they_hold_together_beside_each_other() -> None:
    check_shops(BUILT_IN)


def contract(**changes: Any) -> Contract:
    given = DROPSHIP.contract
    return Contract(**{"columns": given.columns, "event": given.event, "row": given.row, **changes})


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"name": "Drop-Ship"}, "Shop 'Drop-Ship', name: "),
        ({"topic": ""}, "topic: it is empty"),
        ({"partitions": 0}, "partitions: it is 0"),
        ({"keyed_by": "ID"}, "keyed_by: 'ID' is no column of the contract. Use one of: EVENT_ID, "),
        ({"facts": (Table("X", "Y"),)}, "facts: no transformation of layer 'production' writes X.Y"),
        ({"transformations": (), "facts": ()}, "transformations: there are none"),
        ({"raw": Table("DROPSHIP_RAW", "X")}, "transformations[0].source: DROPSHIP_RAW.ORDERS_EVENTS is not"),
        ({"batch": None}, "seed: its files belong to no batch half"),
        ({"batch": None, "seed": None}, "history: there is no batch half"),
        ({"contract": contract(columns={"EVENT_ID": "text"})}, "contract.columns: EVENT_ID is 'text'"),
        ({"contract": contract(columns={"PAYLOAD": "string"})}, "contract.columns: EVENT_ID is missing"),
        ({"contract": contract(event=open)}, "contract.event: msgspec takes no events of it"),
        ({"sql": Path("/nowhere")}, "orders_events.sql does not exist. Write it, or correct the name."),
    ],
)
def test_a_field_that_cannot_work_is_refused(changes: dict[str, Any], said: str) -> None:
    with pytest.raises(DeclarationError) as refused:
        check_shops([replace(DROPSHIP, **changes)])
    assert said in str(refused.value)
    assert str(refused.value).startswith("Shop ")


def test_a_stream_that_two_transformations_consume_is_refused() -> None:
    other = replace(STEP, writes=(Table("DROPSHIP", "OTHER"),))
    with pytest.raises(
        DeclarationError, match=r"'dropship', transformations\[1\].stream: transformations\[0\] consumes"
    ):
        check_shops([replace(DROPSHIP, transformations=(STEP, other))])


@pytest.mark.parametrize(
    ("step", "said"),
    [
        (
            replace(STEP, stream=Table("S", "T")),
            "transformations[1].writes: DROPSHIP.ORDERS is written already",
        ),
        (
            Transformation(Table("S", "T"), Table("S", "U"), (Table("S", "V"),), "production"),
            "[1].source: S.U is not",
        ),
        (Transformation(Table("S", "T"), DROPSHIP.raw, (), "production"), "[1].writes: it is empty"),
        (
            Transformation(Table("S", "T"), DROPSHIP.raw, (Table("S", "V"),), "production"),
            "production/v.sql does not exist",
        ),
    ],
)
def test_a_transformation_that_cannot_work_is_refused(step: Transformation, said: str) -> None:
    with pytest.raises(DeclarationError) as refused:
        check_shops([replace(DROPSHIP, transformations=(STEP, step))])
    assert said in str(refused.value)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"topic": "sales_events"}, "topic: 'sales_events' belongs to the shop 'caves', too"),
        ({"name": "caves", "sql": SQL_ROOT}, "'caves'"),
    ],
)
def test_what_two_shops_share_is_refused(changes: dict[str, Any], said: str) -> None:
    with pytest.raises(DeclarationError) as refused:
        check_shops([CAVES, replace(DROPSHIP, **changes)])
    assert said in str(refused.value)


def test_a_topic_used_twice_is_found_when_the_settings_make_it_so() -> None:
    settings = embedded_settings(Path("unused")).model_copy(update={"topics": {"dropship": "sales_events"}})
    with pytest.raises(
        DeclarationError, match=r"Shop 'dropship', topic: 'sales_events' belongs to the shop 'caves'"
    ):
        build_definitions(settings)


# --- the SQL


@pytest.fixture
def copied(tmp_path: Path) -> Shop:
    """Dropship with SQL of its own, which may be spoilt."""
    shutil.copytree(SQL_ROOT / "dropship", tmp_path / "dropship")
    return replace(DROPSHIP, sql=tmp_path)


def spoil(shop: Shop, file: str, old: str, new: str) -> Shop:
    path = shop.folder / file
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new))
    return replace(shop)


@pytest.mark.parametrize(
    ("file", "old", "new", "said"),
    [
        ("production/orders.sql", "'PRODUCT_ID', ", "'PRODUCTS', ", "writes PRODUCTS, which"),
        (
            "dashboard/stock.sql",
            "AS TOTAL_STOCK",
            "AS STOCK",
            "dashboard: dropship/dashboard/stock.sql produces ",
        ),
        (
            "dashboard/stock.sql",
            "GROUP BY CATEGORY",
            "GROUP BY CATEGORY;",
            "is no SELECT without a semicolon",
        ),
        (
            "production/orders.sql",
            " 'INGESTED_AT',",
            "",
            "does not produce INGESTED_AT of DROPSHIP.ORDERS, which is NOT",
        ),
        (
            "production/orders.sql",
            "INTO DROPSHIP.ORDERS",
            "INTO DROPSHIP.O",
            "no INSERT or MERGE into DROPSHIP.ORDERS",
        ),
        ("production/orders.sql", "WHEN NOT MATCHED", "WHENEVER", "orders.sql is not SQL"),
        ("raw/orders_events.sql", "'ORDER_ID': 'VARCHAR', ", "", "does not read ORDER_ID"),
        (
            "raw/orders_events.sql",
            "'ORDER_ID'",
            "'ORDER_ID': 'VARCHAR', 'X'",
            "reads X, which neither the contract",
        ),
        (
            "setup/10_raw.sql",
            "    ORDER_ID STRING NOT NULL COMMENT 'Order the event is about',\n",
            "",
            "contract.columns: DROPSHIP_RAW.ORDERS_EVENTS has no column ORDER_ID",
        ),
        ("setup/10_raw.sql", "ORDERS_STREAM\n", "OTHER_STREAM\n", "transformations[0].stream: "),
        (
            "setup/10_raw.sql",
            "ON TABLE DROPSHIP_RAW.ORDERS_EVENTS",
            "ON TABLE DROPSHIP.ORDERS",
            "is on DROPSHIP.ORDERS, not on",
        ),
        (
            "setup/20_production.sql",
            "EXISTS DROPSHIP.ORDERS (",
            "EXISTS DROPSHIP.O (",
            "creates DROPSHIP.ORDERS",
        ),
        ("setup/20_production.sql", "STOCK_QUANTITY", "STOCK", "batch.tables[1]: "),
    ],
)
def test_sql_that_does_not_do_what_is_declared_is_refused(
    copied: Shop, file: str, old: str, new: str, said: str
) -> None:
    check_sql(copied)
    with pytest.raises(DeclarationError) as refused:
        check_sql(spoil(copied, file, old, new))
    assert str(refused.value).startswith("Shop 'dropship', ")
    assert said in str(refused.value)


def test_a_view_without_the_columns_of_its_plot_is_refused(copied: Shop) -> None:
    (copied.folder / "analytics").mkdir()
    sql = "CREATE OR REPLACE VIEW DROPSHIP.DAYS COMMENT = 'x' AS SELECT SOLD_AT AS DAY FROM DROPSHIP.ORDERS;"
    (copied.folder / "analytics" / "days.sql").write_text(sql)
    view = View("DROPSHIP", "DAYS", Plot("Sales", x="DAY", y="EUROS"), totals=())
    with pytest.raises(
        DeclarationError, match=r"'dropship', views: DROPSHIP.DAYS: .* produces no column EUROS"
    ):
        check_sql(replace(copied, views=(view,)))


# --- where shops come from

MODULE = """
from caves_dagster.shops.dropship import DROPSHIP as SHOP

NOT_A_SHOP = 7
"""


@pytest.mark.parametrize(
    ("source", "said"),
    [
        ("their_shop:NOT_A_SHOP", "CAVES_SHOPS: their_shop:NOT_A_SHOP is a int, not a shop"),
        ("their_shop:NOTHING", "cannot be loaded as a shop (AttributeError"),
        ("no_such_module:SHOP", "cannot be loaded as a shop (ModuleNotFoundError"),
        ("/no/such/folder", "/no/such/folder cannot be loaded as a shop (FileNotFoundError"),
        ("their_shop:SHOP", "Shop 'dropship', name: 'dropship' belongs to the shop 'dropship', too"),
    ],
)
def test_a_source_that_is_no_shop_is_named(
    source: str, said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "their_shop.py").write_text(MODULE)
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(DeclarationError) as refused:
        shops(embedded_settings(tmp_path).model_copy(update={"shops": (source,)}))
    assert said in str(refused.value)


def test_a_shop_that_is_not_to_run_is_gone(tmp_path: Path) -> None:
    settings = embedded_settings(tmp_path).model_copy(update={"without_shops": ("caves",)})
    assert [shop.name for shop in shops(settings)] == ["dropship"]
    keys = {spec.key.path[0] for spec in build_definitions(settings).resolve_all_asset_specs()}
    assert keys == {"seed", "dropship", "dropship_raw", "kafka"}
    with pytest.raises(CavesError, match=r"CAVES_WITHOUT_SHOPS names 'bakery'"):
        shops(settings.model_copy(update={"without_shops": ("bakery",)}))


def test_an_installed_package_brings_its_shop(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As pip leaves it: a module, and an entry point in its metadata."""
    from caves_dagster import shops as module

    (tmp_path / "installed_shop.py").write_text("from caves_dagster.shops.dropship import DROPSHIP as SHOP\n")
    metadata = tmp_path / "installed_shop-1.0.dist-info"
    metadata.mkdir()
    (metadata / "METADATA").write_text("Metadata-Version: 2.1\nName: installed-shop\nVersion: 1.0\n")
    (metadata / "entry_points.txt").write_text("[caves_dagster.shops]\nmine = installed_shop:SHOP\n")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(module, "BUILT_IN", (CAVES,))
    module._installed.cache_clear()
    try:
        assert [shop.name for shop in shops(embedded_settings(tmp_path))] == ["caves", "dropship"]
    finally:
        module._installed.cache_clear()
