"""A million events: how long their rebuild takes, and what it costs to look at the views.

`python -m pytest -m slow -s caves_dagster_tests/test_rebuild_speed.py` prints the figures.
"""

from __future__ import annotations

import json
import time

import pytest

from caves_dagster.assets.analytics import look_at
from caves_dagster.rebuild import drain, rebuild
from caves_dagster_tests.conftest import Caves

pytestmark = pytest.mark.slow

EVENTS = 1_000_000
REBUILD_SECONDS = 60
LOOK_SECONDS = 1.0
"""For all views; 0.2 s where nothing else runs."""

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


def test_a_million_events_are_rebuilt_within_a_minute_and_looked_at_in_no_time(caves: Caves) -> None:
    numbers = {
        "thousands": json.dumps(list(range(EVENTS // 1000))),
        "ones": json.dumps(list(range(1000))),
    }
    assert caves.warehouse.execute(_EVENTS, numbers) == EVENTS
    assert caves.warehouse.execute(_SALES, numbers) == EVENTS
    drain(caves.warehouse, caves.shop)

    said: list[str] = []
    began = time.monotonic()
    report = rebuild(caves.warehouse, caves.shop, said.append)
    seconds = time.monotonic() - began
    said.append(f"{EVENTS:,} events rebuilt and passed through the streams again in {seconds:.1f} s.")
    assert report.before == report.after
    assert sum(report.after[name] for name in report.after if name.startswith("STAGING.")) == EVENTS
    assert set(report.came_back.values()) == {0}

    looks = {}
    for view in caves.shop.views:
        began = time.monotonic()
        look_at(caves.warehouse, caves.shop, view)
        looks[view.name] = time.monotonic() - began
        said.append(f"{view.name} looked at in {looks[view.name]:.3f} s.")
    said.append(f"All views in {sum(looks.values()):.3f} s.")
    print("\n".join(["", *said]))  # noqa: T201 - the figures are the result
    assert seconds < REBUILD_SECONDS
    assert sum(looks.values()) < LOOK_SECONDS
