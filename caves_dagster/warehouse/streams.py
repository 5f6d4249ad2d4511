"""Streams that lost their place: what they had not passed on is in their table, but they cannot say what."""

from __future__ import annotations

from collections.abc import Sequence

from caves_dagster.errors import StreamStale
from caves_dagster.shop import Transformation
from caves_dagster.warehouse.connection import Warehouse


def streams(warehouse: Warehouse) -> dict[str, bool]:
    """Every stream of the database by `SCHEMA.NAME`, and whether it is stale; needs no virtual warehouse."""
    return {
        f"{row['SCHEMA_NAME']}.{row['NAME']}": str(row["STALE"]).lower() == "true"
        for row in warehouse.query("SHOW STREAMS IN DATABASE")
    }


def waiting(warehouse: Warehouse, steps: Sequence[Transformation]) -> list[Transformation]:
    """The steps whose stream holds rows; needs no virtual warehouse. One may be claimed that holds none."""
    names = [step.stream.full_name for step in steps]
    columns = ", ".join(f"SYSTEM$STREAM_HAS_DATA('{name}') AS S{index}" for index, name in enumerate(names))
    (row,) = warehouse.query(f"SELECT {columns}")
    return [step for index, step in enumerate(steps) if row[f"S{index}"]]


def require_fresh(warehouse: Warehouse, step: Transformation) -> None:
    """Tell a stale stream from whatever else may have failed a transformation.

    Raises:
        StreamStale: the step's stream cannot be read any more.
    """
    if streams(warehouse).get(step.stream.full_name):
        raise StreamStale(
            f"The stream {step.stream.full_name} is stale: its place is older than its table's history.",
            "A rebuild makes it anew and brings what it lost: run `caves rebuild`.",
        )
