"""As many events and sales as a test wants, made where they are stored."""

from __future__ import annotations

import json

from caves_dagster_tests.conftest import Caves

_NUMBERS = """
    SELECT a.VALUE::INTEGER * 1000 + b.VALUE::INTEGER AS N
    FROM TABLE(FLATTEN(INPUT => PARSE_JSON(%(thousands)s))) AS a
    CROSS JOIN TABLE(FLATTEN(INPUT => PARSE_JSON(%(ones)s))) AS b
"""
_EVENTS = f"""
INSERT INTO RAW_DATA.RAW_EVENTS_STREAM (
    EVENT_TYPE, PRODUCT_ID, CUSTOMER_ID, EVENT_METADATA, EVENT_CONTENT, INGESTION_TIME, EVENT_ID, KAFKA_TOPIC,
    KAFKA_PARTITION, KAFKA_OFFSET, KAFKA_TIMESTAMP, BATCH_ID
)
SELECT
    CASE WHEN N %% 10 < 7 THEN 'ORDER_CREATED' ELSE 'INVENTORY_ADJUSTED' END,
    1000 + N %% 50,
    1 + N %% 150,
    PARSE_JSON('{{"schema_version": 1}}')::OBJECT,
    PARSE_JSON(
        '{{"product_id": ' || (1000 + N %% 50)::VARCHAR || ', "product_name": "Vin ' || (N %% 50)::VARCHAR
        || '", "category": "Rouge", "timestamp": "2026-07-' || LPAD((1 + N %% 28)::VARCHAR, 2, '0')
        || 'T11:00:00Z", ' || CASE WHEN N %% 10 < 7
            THEN '"order_line_id": ' || N::VARCHAR || ', "customer_id": ' || (1 + N %% 150)::VARCHAR
                || ', "quantity": 6, "unit_price": 18.5, "discount": 0.15, "total_price": 94.35, '
                || '"bottle_size_liters": 0.75, "sales_channel": "E-com"}}'
            ELSE '"adjustment_id": ' || N::VARCHAR || ', "warehouse": "Lyon ' || (N %% 12)::VARCHAR
                || '", "adjustment_type": "RESTOCK", "quantity_change": 24, "stock_level": 9}}'
        END
    ),
    '2026-07-28T12:00:00Z'::TIMESTAMP_LTZ,
    'e' || N::VARCHAR,
    'sales_events',
    N %% 64,
    N,
    '2026-07-28T12:00:00Z'::TIMESTAMP_LTZ,
    'b1'
FROM ({_NUMBERS})
"""
_SALES = f"""
INSERT INTO BATCH_DATA.SALES (SALE_ID, SALE_DATE, CUSTOMER_ID, PRODUCT_ID, QUANTITY_SOLD, TOTAL_PRICE)
SELECT
    N,
    DATEADD('minute', N %% 525600, '2025-07-01'::TIMESTAMP_NTZ),
    1 + N %% 150,
    1000 + N %% 50,
    1 + N %% 6,
    (10 + N %% 90)::DECIMAL(10, 2)
FROM ({_NUMBERS})
"""


def insert_events(caves: Caves, count: int) -> None:
    """Insert events into RAW, seven orders to three movements; a multiple of a thousand."""
    assert caves.warehouse.execute(_EVENTS, _numbers(count)) == count


def insert_sales(caves: Caves, count: int) -> None:
    """Insert a year of sales; a multiple of a thousand."""
    assert caves.warehouse.execute(_SALES, _numbers(count)) == count


def _numbers(count: int) -> dict[str, str]:
    return {"thousands": json.dumps(list(range(count // 1000))), "ones": json.dumps(list(range(1000)))}
