"""Rows that were landed and wait to be transformed."""

from __future__ import annotations

from caves_dagster.shop import Shop
from caves_dagster.warehouse.connection import Warehouse


def waiting_rows(warehouse: Warehouse, shop: Shop) -> int:
    """Rows in the streams on the shop's RAW table; reading a stream outside of DML does not consume it."""
    streams = [step.stream.full_name for step in shop.transformations if step.source == shop.raw]
    counts = " + ".join(f"(SELECT COUNT(*) FROM {name})" for name in streams) or "0"
    (row,) = warehouse.query(f"SELECT {counts} AS N")
    return int(row["N"])
