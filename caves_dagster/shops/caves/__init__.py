"""Les Caves d'Albert: a wine merchant's orders and stock movements."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import replace
from datetime import date, datetime
from typing import Any

from caves_dagster.settings import PROJECT_ROOT, Settings
from caves_dagster.shop import (
    Batch,
    BatchTable,
    Dashboard,
    Message,
    Seed,
    SeedOptions,
    Shop,
    Table,
    Transformation,
)
from caves_dagster.shops.caves.checks import CHECKS
from caves_dagster.shops.caves.contract import CONTRACT
from caves_dagster.shops.caves.views import VIEWS


def _generate(seed: int, invalid_rate: float, clock: Callable[[], datetime]) -> Iterator[Message]:
    from caves_dagster.shops.caves.events import generate

    return generate(seed, invalid_rate, clock)


def _seed_rows(options: SeedOptions) -> Mapping[str, Iterable[tuple[Any, ...]]]:
    from caves_dagster.shops.caves.seed import rows

    return rows(options)


def _history(tables: Mapping[str, Any]) -> Iterator[tuple[str, Message]]:
    from caves_dagster.shops.caves.history import messages

    return messages(tables)


def _configured(shop: Shop, settings: Settings) -> Shop:
    """KAFKA_TOPIC_NAME, DB_PATH and the CAVES_BATCH_ and CAVES_SEED_ settings are this shop's."""
    assert shop.batch is not None
    assert shop.seed is not None
    path = settings.db_path
    defaults = replace(shop.seed.defaults, end_date=settings.seed_end_date)
    return replace(
        shop,
        topic=settings.kafka.topic_name,
        batch=replace(shop.batch, source=settings.batch_source or path, first_day=settings.batch_first_day),
        seed=replace(shop.seed, defaults=defaults, sqlite=path, csv=path.with_suffix("")),
    )


_DATABASE = PROJECT_ROOT / "test_data" / "wine_data.db"
_RAW = Table("RAW_DATA", "RAW_EVENTS_STREAM")
_STG_ORDERS = Table("STAGING", "STG_ORDERS")
_STG_ADJUSTMENTS = Table("STAGING", "STG_INVENTORY_ADJUSTMENTS")
_ORDERS = Table("PRODUCTION", "ORDERS")
_HISTORY = Table("PRODUCTION", "INVENTORY_HISTORY")
_CUSTOMERS = Table("BATCH_DATA", "CUSTOMERS")
_INVENTORY = Table("BATCH_DATA", "INVENTORY")

CAVES = Shop(
    name="caves",
    title="Les Caves d'Albert",
    topic="sales_events",
    raw=_RAW,
    contract=CONTRACT,
    transformations=(
        Transformation(
            stream=Table("RAW_DATA", "STREAM_RAW_EVENTS"),
            source=_RAW,
            writes=(_STG_ORDERS, _STG_ADJUSTMENTS),
            layer="staging",
            task="TASK_RAW_TO_STAGING_DISTRIBUTOR",
        ),
        Transformation(
            stream=Table("STAGING", "STREAM_STG_ORDERS"),
            source=_STG_ORDERS,
            writes=(_ORDERS,),
            layer="production",
            waits_since="STAGED_AT",
            task="TASK_STAGING_TO_PROD_ORDERS",
        ),
        Transformation(
            stream=Table("STAGING", "STREAM_STG_INVENTORY_FOR_HISTORY"),
            source=_STG_ADJUSTMENTS,
            writes=(_HISTORY,),
            layer="production",
            waits_since="STAGED_AT",
            task="TASK_STAGING_TO_PROD_INVENTORY_HISTORY",
        ),
        Transformation(
            stream=Table("STAGING", "STREAM_STG_INVENTORY_FOR_CURRENT"),
            source=_STG_ADJUSTMENTS,
            writes=(Table("PRODUCTION", "INVENTORY_CURRENT"),),
            layer="production",
            waits_since="STAGED_AT",
            task="TASK_STAGING_TO_PROD_INVENTORY_CURRENT",
        ),
    ),
    views=VIEWS,
    owner="team:caves",
    generate=_generate,
    facts=(_ORDERS, _HISTORY),
    # The embedded broker keeps 5 MiB of each.
    partitions=64,
    batch=Batch(
        source=_DATABASE,
        first_day=date(2025, 1, 1),
        tables=(
            BatchTable(_CUSTOMERS, key="CUSTOMER_ID", at_least={"CUSTOMER_ID": 1}),
            BatchTable(
                _INVENTORY,
                key="PRODUCT_ID",
                at_least={"PRODUCT_ID": 1, "PRICE_PER_UNIT": 0, "BOTTLE_SIZE_LITERS": 0, "STOCK_QUANTITY": 0},
                totals=("STOCK_QUANTITY",),
            ),
            BatchTable(
                Table("BATCH_DATA", "SALES"),
                key="SALE_ID",
                day="SALE_DATE",
                at_least={
                    "SALE_ID": 1,
                    "CUSTOMER_ID": 1,
                    "PRODUCT_ID": 1,
                    "QUANTITY_SOLD": 1,
                    "TOTAL_PRICE": 0,
                },
                totals=("QUANTITY_SOLD", "TOTAL_PRICE"),
                references={"CUSTOMER_ID": _CUSTOMERS, "PRODUCT_ID": _INVENTORY},
            ),
        ),
    ),
    checks=CHECKS,
    dashboard=Dashboard(sales=True, stock=True),
    keyed_by="PRODUCT_ID",
    history=_history,
    configured=_configured,
    seed=Seed(
        name="wine_data",
        defaults=SeedOptions(
            seed=11, end_date=date(2026, 6, 30), days=10, customers=150, products=50, sales=500
        ),
        rows=_seed_rows,
        csv=_DATABASE.with_suffix(""),
        sqlite=_DATABASE,
    ),
)
