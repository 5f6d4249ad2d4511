"""Dropship's events: made up live, or one for each order of `orders.csv`, always the same one."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, datetime
from typing import Any
from uuid import UUID, uuid5

import msgspec

from caves_dagster.invalid_events import strewn
from caves_dagster.shop import Message
from caves_dagster.shops.dropship.seed import OPTIONS, identifier, inventory

_NAMESPACE = UUID("0d3f3b59-3c1c-4d7a-9e58-5b8f7a3c9a52")
_encode = msgspec.json.Encoder(decimal_format="number").encode


def generate(seed: int, invalid_rate: float, clock: Callable[[], datetime]) -> Iterator[Message]:
    """New orders of the seed's customers for its products, each once; timestamps from the clock."""
    valid, spare = (_live(f"dropship:{seed}{part}", clock) for part in ("", ":invalid"))
    return strewn(valid, spare, invalid_rate)


def _live(seed: str, clock: Callable[[], datetime]) -> Iterator[Message]:
    draw = random.Random(seed)
    products = list(inventory(OPTIONS))
    while True:
        product_id, _, _, price, _ = products[int(draw.random() * len(products))]
        now = clock().astimezone(UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")
        order = {
            "id": str(UUID(int=draw.getrandbits(128), version=4)),
            "product_id": product_id,
            "customer_id": identifier("C", 1 + int(draw.random() * OPTIONS.customers)),
            "quantity": 1 + int(draw.random() * 4),
            "unit_price": msgspec.Raw(price.encode()),
            "sold_at": now,
        }
        yield _message(str(UUID(int=draw.getrandbits(128), version=4)), now, order)


def history(tables: Mapping[str, Any]) -> Iterator[tuple[str, Message]]:
    """One message an order, in the order of time, with the order's name."""
    orders = tables["orders"].sort_by([("sold_at", "ascending"), ("id", "ascending")])
    for order in orders.to_pylist():
        sold_at = f"{order['sold_at'].isoformat(timespec='microseconds')}Z" if order["sold_at"] else None
        event_id = str(uuid5(_NAMESPACE, f"order {order['id']}"))
        yield f"order {order['id']}", _message(event_id, sold_at, order | {"sold_at": sold_at})


def _message(event_id: str, timestamp: str | None, order: dict[str, Any]) -> Message:
    event = {"event_type": "order_created", "event_id": event_id, "timestamp": timestamp, "order": order}
    return Message(order["id"].encode(), _encode(event), event_id)
