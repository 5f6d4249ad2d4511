"""Dropship: a clothing dropshipper's orders, from one topic and three CSV files."""

from __future__ import annotations

from dataclasses import replace
from datetime import date

from caves_dagster.settings import PROJECT_ROOT, Settings
from caves_dagster.shop import Batch, BatchTable, Dashboard, Seed, Shop, ShopCheck, Table, Transformation
from caves_dagster.shops.dropship.contract import CONTRACT
from caves_dagster.shops.dropship.events import generate, history
from caves_dagster.shops.dropship.seed import OPTIONS, rows

_FILES = PROJECT_ROOT / "data" / "seed"
_RAW = Table("DROPSHIP_RAW", "ORDERS_EVENTS")
_STREAM = Table("DROPSHIP_RAW", "ORDERS_STREAM")
_ORDERS = Table("DROPSHIP", "ORDERS")
_CUSTOMERS = Table("DROPSHIP", "CUSTOMERS")
_INVENTORY = Table("DROPSHIP", "INVENTORY")


def _configured(shop: Shop, settings: Settings) -> Shop:
    """CAVES_SEED_DIR is this shop's; the seed ends on the same day as every other."""
    assert shop.batch is not None
    assert shop.seed is not None
    defaults = replace(shop.seed.defaults, end_date=settings.seed_end_date)
    return replace(
        shop,
        batch=replace(shop.batch, source=settings.seed_dir),
        seed=replace(shop.seed, csv=settings.seed_dir, defaults=defaults),
    )


DROPSHIP = Shop(
    name="dropship",
    title="Dropship",
    topic="orders_topic",
    partitions=3,
    raw=_RAW,
    contract=CONTRACT,
    keyed_by="ORDER_ID",
    transformations=(Transformation(_STREAM, _RAW, (_ORDERS,), "production", task="INGEST_ORDERS_TASK"),),
    owner="team:dropship",
    generate=generate,
    facts=(_ORDERS,),
    checks=(
        ShopCheck("orders_in_range", "Every order has all it needs, in range.", _ORDERS, windowed=True),
        ShopCheck("orders_known_products", "Every order names a product there is.", _ORDERS, windowed=True),
        ShopCheck("orders_known_customers", "Every order names a customer there is.", _ORDERS, windowed=True),
    ),
    dashboard=Dashboard(sales=True, stock=True),
    batch=Batch(
        source=_FILES,
        first_day=date(2025, 1, 1),
        tables=(
            BatchTable(_CUSTOMERS, key="ID"),
            BatchTable(_INVENTORY, key="ID", at_least={"PRICE": 0, "STOCK_QUANTITY": 0}, totals=("PRICE",)),
        ),
        replayed=(
            BatchTable(
                _ORDERS,
                key="ID",
                columns=("ID", "PRODUCT_ID", "CUSTOMER_ID", "QUANTITY", "UNIT_PRICE", "SOLD_AT"),
            ),
        ),
    ),
    seed=Seed(name="dropship", defaults=OPTIONS, rows=rows, csv=_FILES),
    history=history,
    configured=_configured,
)
