"""What makes an order event valid, and the row of DROPSHIP_RAW.ORDERS_EVENTS it becomes."""

from __future__ import annotations

from typing import Any

import msgspec

from caves_dagster.contract_types import Amount, Count, Name, Timestamp, moment, utc
from caves_dagster.shop import Contract


class Order(msgspec.Struct):
    """One product ordered by one customer; ids of up to 200 characters."""

    id: Name
    product_id: Name
    customer_id: Name
    quantity: Count
    unit_price: Amount
    sold_at: Timestamp


class OrderCreated(msgspec.Struct, tag_field="event_type", tag="order_created"):
    """An order was placed, or is said anew: the event with the latest timestamp counts."""

    event_id: Name
    timestamp: Timestamp
    order: Order


def row(event: OrderCreated, value: bytes) -> tuple[Any, ...]:
    """An event to a row in the order of `CONTRACT.columns`; raises `InvalidEvent` for an impossible date."""
    created_at = moment(event.timestamp, "$.timestamp")
    moment(event.order.sold_at, "$.order.sold_at")
    return event.event_id, "order_created", event.order.id, value, utc(created_at)


CONTRACT = Contract(
    columns={
        "EVENT_ID": "string",
        "EVENT_TYPE": "string",
        "ORDER_ID": "string",
        "PAYLOAD": "string",
        "CREATED_AT": "string",
    },
    event=OrderCreated,
    row=row,
)
