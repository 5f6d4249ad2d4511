"""Versions of rows in every order, and what PRODUCTION has to hold after them, worked out in Python."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterable, Sequence
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

from caves_dagster_tests.conftest import Caves
from caves_dagster_tests.raw_rows import NOON, Feed, RawRow

_LOAD_TIMES = {"STAGED_AT", "LOADED_AT", "UPDATED_AT"}
PRODUCED = ("PRODUCTION.ORDERS", "PRODUCTION.INVENTORY_HISTORY", "PRODUCTION.INVENTORY_CURRENT")
STAGED = ("STAGING.STG_ORDERS", "STAGING.STG_INVENTORY_ADJUSTMENTS")


def rows_of(caves: Caves, table: str, load_times: bool = False) -> list[dict[str, Any]]:
    """A table's rows in an order of their own, load times left out."""
    rows = caves.warehouse.query(f"SELECT * FROM {table}")
    kept = [{k: v for k, v in row.items() if load_times or k not in _LOAD_TIMES} for row in rows]
    return sorted(kept, key=repr)


def _naive(moment: datetime | None) -> datetime:
    return (
        datetime.fromisoformat("1970-01-01")
        if moment is None
        else moment.astimezone(UTC).replace(tzinfo=None)
    )


def event_time(row: RawRow) -> datetime:
    return _naive(datetime.fromisoformat(row.event["timestamp"]))


def _version(row: RawRow) -> tuple[Any, ...]:
    return (event_time(row), _naive(row.recorded), row.topic, row.partition, row.offset)


def _winners(rows: Iterable[RawRow], key: Callable[[RawRow], Any]) -> dict[Any, RawRow]:
    found: dict[Any, RawRow] = {}
    for row in rows:
        if key(row) not in found or _version(row) > _version(found[key(row)]):
            found[key(row)] = row
    return found


def _position(row: RawRow) -> dict[str, Any]:
    return {
        "KAFKA_TOPIC": row.topic,
        "KAFKA_PARTITION": row.partition,
        "KAFKA_OFFSET": row.offset,
        "KAFKA_TIMESTAMP": _naive(row.recorded) if row.recorded else None,
    }


def expected_production(rows: Sequence[RawRow]) -> dict[str, list[dict[str, Any]]]:
    """What PRODUCTION has to hold, worked out in Python; load times left out."""
    orders = _winners(
        (r for r in rows if r.event_type == "ORDER_CREATED"), lambda r: r.event["order_line_id"]
    )
    movements = [r for r in rows if r.event_type == "INVENTORY_ADJUSTED"]
    history = _winners(movements, lambda r: r.event["adjustment_id"])
    credible = [r for r in movements if event_time(r) <= _naive(r.ingested) + timedelta(days=1)]
    current = _winners(credible, lambda r: (r.event["product_id"], r.event["warehouse"]))
    return {
        "PRODUCTION.ORDERS": [
            {
                "ORDER_LINE_ID": key,
                "CUSTOMER_ID": row.event["customer_id"],
                "PRODUCT_ID": row.event["product_id"],
                "PRODUCT_NAME": row.event["product_name"],
                "PRODUCT_CATEGORY": row.event["category"],
                "QUANTITY": row.event["quantity"],
                "UNIT_PRICE": Decimal(str(row.event["unit_price"])).quantize(Decimal("0.01")),
                "DISCOUNT": Decimal(str(row.event["discount"])).quantize(Decimal("0.0001")),
                "TOTAL_AMOUNT": Decimal(str(row.event["total_price"])).quantize(Decimal("0.01")),
                "BOTTLE_SIZE_LITERS": Decimal(str(row.event["bottle_size_liters"])).quantize(
                    Decimal("0.001")
                ),
                "SALES_CHANNEL": row.event["sales_channel"],
                "EVENT_TIME": event_time(row),
                "ORDER_DATE": event_time(row).date(),
                **_position(row),
            }
            for key, row in orders.items()
        ],
        "PRODUCTION.INVENTORY_HISTORY": [
            {
                "ADJUSTMENT_ID": key,
                "PRODUCT_ID": row.event["product_id"],
                "PRODUCT_NAME": row.event["product_name"],
                "PRODUCT_CATEGORY": row.event["category"],
                "WAREHOUSE_LOCATION": row.event["warehouse"],
                "ADJUSTMENT_TYPE": row.event["adjustment_type"],
                "QUANTITY_CHANGE": row.event["quantity_change"],
                "STOCK_LEVEL": row.event["stock_level"],
                "EVENT_TIME": event_time(row),
                **_position(row),
            }
            for key, row in history.items()
        ],
        "PRODUCTION.INVENTORY_CURRENT": [
            {
                "PRODUCT_ID": product,
                "PRODUCT_NAME": row.event["product_name"],
                "PRODUCT_CATEGORY": row.event["category"],
                "WAREHOUSE_LOCATION": warehouse,
                "CURRENT_STOCK_LEVEL": row.event["stock_level"],
                "LAST_ADJUSTMENT_ID": row.event["adjustment_id"],
                "LAST_MOVEMENT_AT": event_time(row),
                **_position(row),
            }
            for (product, warehouse), row in current.items()
        ],
    }


def in_order(tables: dict[str, list[dict[str, Any]]]) -> dict[str, list[dict[str, Any]]]:
    return {table: sorted(rows, key=repr) for table, rows in tables.items()}


def versions(chance: random.Random) -> list[RawRow]:
    """Few keys, many versions of each, event times and record times that often tie."""
    feed = Feed()
    for _ in range(60):
        minute = chance.choice([0, 1, 1, 2, 3])
        offset = chance.choice(["Z", "+00:00"])
        where = {
            "partition": chance.randrange(3),
            "topic": chance.choice(["sales_events", "sales_events", "sales_events_2"]),
            "recorded": chance.choice([None, NOON, NOON, NOON + timedelta(milliseconds=1)]),
            "ingested": NOON + timedelta(seconds=chance.randrange(100)),
        }
        timestamp = f"2026-07-28T11:0{minute}:00{offset}"
        product = chance.choice([1015, 1016])
        if chance.random() < 0.5:
            feed.order(
                chance.randrange(1, 7), where, product_id=product, quantity=feed.offset + 1,
                total_price=round(feed.offset * 1.37, 2), customer_id=feed.offset + 1, timestamp=timestamp,
            )  # fmt: skip
        else:
            ahead = chance.choice([timestamp] * 6 + ["2026-07-29T12:00:00+00:00", "2026-07-30T12:00:00Z"])
            feed.adjustment(
                chance.randrange(1, 9), where, product_id=product, stock_level=feed.offset,
                quantity_change=feed.offset + 1, warehouse=chance.choice(["Lyon", "Nîmes"]), timestamp=ahead,
            )  # fmt: skip
    return feed.rows


def split(chance: random.Random, rows: list[RawRow], count: int) -> list[list[RawRow]]:
    """The rows in any order, some of them repeated, in `count` batches, of which some are empty."""
    shuffled = rows + chance.sample(rows, len(rows) // 5)
    chance.shuffle(shuffled)
    borders = sorted(chance.choices(range(len(shuffled) + 1), k=count - 1))
    return [shuffled[begin:end] for begin, end in zip([0, *borders], [*borders, len(shuffled)], strict=True)]
