"""The wine shop's sales history as events of its topic: each sale an ORDER_CREATED, always the same one.

Ids follow from the sale: the event's is a UUID of version 5, the order line's `FIRST_ORDER_LINE` + sale_id.
Live events draw theirs from below that; the shop's own systems, with small numbers, count there too.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any
from uuid import UUID, uuid5

import msgspec

from caves_dagster.shop import Message
from caves_dagster.shops.caves.events import SCHEMA_VERSION

if TYPE_CHECKING:
    import pyarrow as pa

FIRST_ORDER_LINE = 2**62
SOURCE = "caves-albert-history"
_NAMESPACE = UUID("5e7ab3c1-6f0d-4b53-9c39-6f1f3d3b8a11")
_ROWS_AT_ONCE = 10_000

_encode = msgspec.json.Encoder(decimal_format="number").encode


def messages(tables: Mapping[str, pa.Table]) -> Iterator[tuple[str, Message]]:
    """One message a sale, in the order of time, with the sale's name.

    Name, category and price of a product the inventory does not know are left out: not a valid event.
    """
    products = {row["product_id"]: row for row in tables["inventory"].to_pylist()}
    sales = tables["sales"].sort_by([("sale_date", "ascending"), ("sale_id", "ascending")])
    for batch in sales.to_batches(max_chunksize=_ROWS_AT_ONCE):
        for sale in batch.to_pylist():
            yield f"sale_id {sale['sale_id']}", _message(sale, products.get(sale["product_id"], {}))


def _message(sale: Mapping[str, Any], product: Mapping[str, Any]) -> Message:
    event_id = str(uuid5(_NAMESPACE, f"sale {sale['sale_id']}"))
    timestamp = f"{sale['sale_date'].isoformat(timespec='microseconds')}Z"
    content = {
        "order_line_id": FIRST_ORDER_LINE + sale["sale_id"],
        "customer_id": sale["customer_id"],
        "product_id": sale["product_id"],
        "product_name": product.get("product_name"),
        "category": product.get("category"),
        "quantity": sale["quantity_sold"],
        "unit_price": product.get("price_per_unit"),
        "discount": 0,
        "total_price": sale["total_price"],
        "bottle_size_liters": product.get("bottle_size_liters"),
        "sales_channel": sale["sales_channel"],
        "timestamp": timestamp,
    }
    metadata = {
        "event_id": event_id,
        "timestamp": timestamp,
        "source": SOURCE,
        "schema_version": SCHEMA_VERSION,
    }
    event = {"event_type": "ORDER_CREATED", "event_metadata": metadata, "event_content": content}
    return Message(b"%d" % sale["product_id"], _encode(event), event_id)
