"""What makes a wine shop event valid, and the row of RAW_DATA.RAW_EVENTS_STREAM it becomes.

Shape, types and ranges, strictly: a number in a string is not a number. Fields that are not named here are
kept. Whether the figures agree with each other is a data quality check's business, not the contract's.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta

from caves_dagster.contract_types import (
    Amount,
    Count,
    Identifier,
    Integer,
    Level,
    Name,
    Timestamp,
    Uuid,
    moment,
)
from caves_dagster.shop import Contract, InvalidEvent

Category = Literal["Rouge", "Blanc", "Rosé", "Effervescent", "Spiritueux"]
AdjustmentType = Literal["RESTOCK", "SALE_CORRECTION", "RETURN", "DAMAGE", "COUNT"]
SalesChannel = Literal["E-com", "Boutique", "Téléphone", "Salon"]

Fraction = Annotated[float, Meta(ge=0, lt=1)]
Litres = Annotated[float, Meta(gt=0, le=99.999)]
City = Annotated[str, Meta(min_length=1, max_length=100)]
Source = Annotated[str, Meta(max_length=200)]


class Metadata(msgspec.Struct):
    """Who sent the event and when."""

    event_id: Uuid
    timestamp: Timestamp
    source: Source
    schema_version: Literal[1]


class OrderContent(msgspec.Struct):
    """One order line."""

    order_line_id: Identifier
    customer_id: Identifier
    product_id: Identifier
    product_name: Name
    category: Category
    quantity: Count
    unit_price: Amount
    discount: Fraction
    total_price: Amount
    bottle_size_liters: Litres
    sales_channel: SalesChannel
    timestamp: Timestamp


class AdjustmentContent(msgspec.Struct):
    """One stock movement."""

    adjustment_id: Identifier
    product_id: Identifier
    product_name: Name
    category: Category
    warehouse: City
    adjustment_type: AdjustmentType
    quantity_change: Integer
    stock_level: Level
    timestamp: Timestamp


class OrderCreated(msgspec.Struct, tag_field="event_type", tag="ORDER_CREATED"):
    """An order line was sold."""

    event_metadata: Metadata
    event_content: OrderContent


class InventoryAdjusted(msgspec.Struct, tag_field="event_type", tag="INVENTORY_ADJUSTED"):
    """A warehouse's stock of a product changed."""

    event_metadata: Metadata
    event_content: AdjustmentContent


# The parts of an event as text, whole; the contract does not name them all.
_as_sent = msgspec.json.Decoder(dict[str, msgspec.Raw])
_NAMED = {"event_type", "event_metadata", "event_content"}


def row(event: OrderCreated | InventoryAdjusted, value: bytes) -> tuple[Any, ...]:
    """An event to a row in the order of `CONTRACT.columns`.

    Raises:
        InvalidEvent: it breaks a rule that a type cannot tell (`moment`, a movement of nothing).
    """
    content = event.event_content
    # Here and not in the structs' __post_init__, whose errors name the struct and not the field.
    moment(event.event_metadata.timestamp, "$.event_metadata.timestamp")
    if content.timestamp != event.event_metadata.timestamp:
        moment(content.timestamp, "$.event_content.timestamp")
    if isinstance(content, AdjustmentContent) and content.quantity_change == 0:
        raise InvalidEvent("CONTRACT", "a movement of 0 moves nothing", "$.event_content.quantity_change")
    sent = _as_sent.decode(value)
    order = isinstance(content, OrderContent)
    return (
        "ORDER_CREATED" if order else "INVENTORY_ADJUSTED",
        content.product_id,
        content.customer_id if isinstance(content, OrderContent) else None,
        bytes(sent["event_metadata"]),
        bytes(sent["event_content"]),
        _extra(sent),
        event.event_metadata.event_id.lower(),
    )


def _extra(sent: dict[str, msgspec.Raw]) -> bytes | None:
    """The fields beside the three that the contract names, as one JSON object."""
    extra = {name: value for name, value in sent.items() if name not in _NAMED}
    return msgspec.json.encode(extra) if extra else None


CONTRACT = Contract(
    columns={
        "EVENT_TYPE": "string",
        "PRODUCT_ID": "int64",
        "CUSTOMER_ID": "int64",
        "EVENT_METADATA": "string",
        "EVENT_CONTENT": "string",
        "EVENT_EXTRA": "string",
        "EVENT_ID": "string",
    },
    event=OrderCreated | InventoryAdjusted,
    row=row,
)
