"""Les Caves d'Albert: a wine merchant's orders and stock movements."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import datetime

from caves_dagster.shop import Message, Shop, Table, Transformation
from caves_dagster.shops.caves.contract import CONTRACT


def _generate(seed: int, invalid_rate: float, clock: Callable[[], datetime]) -> Iterator[Message]:
    from caves_dagster.shops.caves.events import generate

    return generate(seed, invalid_rate, clock)


_RAW = Table("RAW_DATA", "RAW_EVENTS_STREAM")
_STG_ORDERS = Table("STAGING", "STG_ORDERS")
_STG_ADJUSTMENTS = Table("STAGING", "STG_INVENTORY_ADJUSTMENTS")

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
        ),
        Transformation(
            stream=Table("STAGING", "STREAM_STG_ORDERS"),
            source=_STG_ORDERS,
            writes=(Table("PRODUCTION", "ORDERS"),),
            layer="production",
        ),
        Transformation(
            stream=Table("STAGING", "STREAM_STG_INVENTORY_FOR_HISTORY"),
            source=_STG_ADJUSTMENTS,
            writes=(Table("PRODUCTION", "INVENTORY_HISTORY"),),
            layer="production",
        ),
        Transformation(
            stream=Table("STAGING", "STREAM_STG_INVENTORY_FOR_CURRENT"),
            source=_STG_ADJUSTMENTS,
            writes=(Table("PRODUCTION", "INVENTORY_CURRENT"),),
            layer="production",
        ),
    ),
    views=(
        Table("ANALYTICS", "DAILY_SALES"),
        Table("ANALYTICS", "TOP_WINES"),
        Table("ANALYTICS", "STOCK_BY_CATEGORY"),
    ),
    generate=_generate,
    owner="team:caves",
)
