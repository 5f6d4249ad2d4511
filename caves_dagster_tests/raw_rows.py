"""Rows of RAW_DATA.RAW_EVENTS_STREAM by hand, inserted as COPY does: content as text, through PARSE_JSON."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import Any
from uuid import UUID, uuid5

from caves_dagster.shop import Shop
from caves_dagster.warehouse.connection import Warehouse

NOON = datetime(2026, 7, 28, 12, 0, tzinfo=UTC)

_INSERT = """
INSERT INTO RAW_DATA.RAW_EVENTS_STREAM (
    EVENT_TYPE, PRODUCT_ID, CUSTOMER_ID, EVENT_METADATA, EVENT_CONTENT, INGESTION_TIME, EVENT_ID, KAFKA_TOPIC,
    KAFKA_PARTITION, KAFKA_OFFSET, KAFKA_TIMESTAMP, BATCH_ID
)
SELECT
    r.VALUE:"event_type"::VARCHAR,
    r.VALUE:"product_id"::INTEGER,
    r.VALUE:"customer_id"::INTEGER,
    PARSE_JSON('{"schema_version": 1}')::OBJECT,
    PARSE_JSON(r.VALUE:"content"::VARCHAR),
    r.VALUE:"ingested"::VARCHAR::TIMESTAMP_LTZ,
    r.VALUE:"event_id"::VARCHAR,
    r.VALUE:"topic"::VARCHAR,
    r.VALUE:"partition"::INTEGER,
    r.VALUE:"offset"::INTEGER,
    r.VALUE:"recorded"::VARCHAR::TIMESTAMP_LTZ,
    r.VALUE:"batch"::VARCHAR
FROM TABLE(FLATTEN(INPUT => PARSE_JSON(%(rows)s))) AS r
"""


@dataclass(frozen=True)
class RawRow:
    """One record of RAW. `content` is JSON text, so that a figure stands as it was written.

    `product_id` is RAW's column where the content has none that fits it; the customer is then left out.
    """

    event_type: str
    content: str
    offset: int
    partition: int = 0
    topic: str = "sales_events"
    recorded: datetime | None = NOON
    ingested: datetime = NOON
    batch: str = "b1"
    product_id: int | None = None

    @property
    def event(self) -> dict[str, Any]:
        """The content, parsed; empty where it is no object."""
        parsed = json.loads(self.content)
        return parsed if isinstance(parsed, dict) else {}

    def changed(self, **fields: Any) -> RawRow:
        """The same record with other content."""
        return replace(self, content=json.dumps(self.event | fields, ensure_ascii=False))

    def as_json(self) -> dict[str, Any]:
        """What `_INSERT` takes."""
        name = f"{self.topic} {self.partition}:{self.offset} {self.content}"
        event = self.event if self.product_id is None else {"product_id": self.product_id}
        return {
            "event_type": self.event_type,
            "product_id": event.get("product_id"),
            "customer_id": event.get("customer_id"),
            "content": self.content,
            "ingested": self.ingested.isoformat(),
            "event_id": str(uuid5(UUID(int=0), name)),
            "topic": self.topic,
            "partition": self.partition,
            "offset": self.offset,
            "recorded": self.recorded.isoformat() if self.recorded else None,
            "batch": self.batch,
        }


@dataclass
class Feed:
    """Makes rows with offsets of their own."""

    offset: int = 0
    rows: list[RawRow] = field(default_factory=list)

    def _row(self, event_type: str, content: dict[str, Any], where: dict[str, Any]) -> RawRow:
        row = RawRow(event_type, json.dumps(content, ensure_ascii=False), self.offset)
        self.offset += 1
        self.rows.append(replace(row, **where))
        return self.rows[-1]

    def order(
        self, order_line_id: object = 67890, where: dict[str, Any] | None = None, **fields: Any
    ) -> RawRow:
        """SPEC's example order, with other fields."""
        content = {
            "order_line_id": order_line_id,
            "customer_id": 42,
            "product_id": 1015,
            "product_name": "Chardonnay Réserve 🥂",
            "category": "Blanc",
            "quantity": 6,
            "unit_price": 18.50,
            "discount": 0.15,
            "total_price": 94.35,
            "bottle_size_liters": 0.75,
            "sales_channel": "E-com",
            "timestamp": "2026-07-28T11:00:00Z",
        }
        return self._row("ORDER_CREATED", content | fields, where or {})

    def adjustment(
        self, adjustment_id: object = 5001, where: dict[str, Any] | None = None, **fields: Any
    ) -> RawRow:
        """A stock movement."""
        content = {
            "adjustment_id": adjustment_id,
            "product_id": 1015,
            "product_name": "Chardonnay Réserve 🥂",
            "category": "Blanc",
            "warehouse": "Lyon",
            "adjustment_type": "RESTOCK",
            "quantity_change": 24,
            "stock_level": 124,
            "timestamp": "2026-07-28T11:00:00Z",
        }
        return self._row("INVENTORY_ADJUSTED", content | fields, where or {})


def insert_raw(warehouse: Warehouse, rows: Sequence[RawRow]) -> None:
    """Insert rows into RAW in one statement, so that its stream gets them too."""
    if rows:
        text = json.dumps([row.as_json() for row in rows], ensure_ascii=False)
        warehouse.execute(_INSERT, {"rows": text})


def consume_all(warehouse: Warehouse, shop: Shop) -> dict[str, int]:
    """Run every transformation once; rows changed by table."""
    from caves_dagster.assets.transformation import transform

    changed: dict[str, int] = {}
    for step in shop.transformations:
        changed |= transform(warehouse, shop, step)
    return changed
