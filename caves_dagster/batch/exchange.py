"""A batch table's rows exchanged for new ones, in one transaction: readers see the old or the new.

The table itself stays: its identity, grants, comments and streams on it. The new rows come from a loading
table, which only the session that filled it sees, and which goes with it.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from tenacity import (
    Retrying,
    before_sleep_log,
    retry_if_exception_type,
    stop_after_delay,
    wait_random_exponential,
)

from caves_dagster.batch.reading import Window
from caves_dagster.errors import LandingRefused, WarehouseNotSetUp, WriteConflict
from caves_dagster.shop import SQL_ROOT, BatchTable
from caves_dagster.warehouse.abandoned import abort_abandoned
from caves_dagster.warehouse.connection import Warehouse
from caves_dagster.warehouse.scripts import render, statements

log = logging.getLogger(__name__)


def exchange(
    warehouse: Warehouse,
    table: BatchTable,
    loading: str,
    columns: Sequence[str],
    rows: int,
    window: Window | None,
) -> int:
    """Exchange the table's rows, or those of the window's days, for the loading table's; rows taken away.

    Raises:
        WriteConflict: other loads held the table for a minute.
        LandingRefused: not every row arrived; nothing was changed.
        WarehouseNotSetUp: the lock's row is missing; nothing was changed.
    """
    day = table.day if window is not None else None
    names = {
        "table": table.table.full_name,
        "loading": loading,
        "key": table.key,
        "day": day,
        "columns": columns,
    }
    *deletes, insert = statements(render(SQL_ROOT, "batch/exchange.sql", **names))
    days = {"first": window.first, "last": window.last} if window is not None else None
    # Not when the warehouse went away: the loading table went with the session.
    for attempt in Retrying(
        retry=retry_if_exception_type(WriteConflict),
        wait=wait_random_exponential(multiplier=0.1, max=5),
        stop=stop_after_delay(60),
        before_sleep=before_sleep_log(log, logging.WARNING),
        reraise=True,
    ):
        with attempt, _fenced(warehouse, table.table.schema):
            # One with days, one without: the connector binds only what is given.
            taken = sum(warehouse.execute(sql, days if "%(" in sql else None) for sql in deletes)
            put = warehouse.execute(insert)
            if put != rows:
                raise LandingRefused(
                    f"{put:,} of {rows:,} rows arrived in {table.table.full_name}: rolled back.",
                    "Load again.",
                )
    return taken


@contextmanager
def _fenced(warehouse: Warehouse, schema: str) -> Iterator[None]:
    """A transaction that holds the lock of the shop's batch loads.

    Without it, of two loads at once the second would not see, and so not take away, what the first put in:
    under READ COMMITTED a DELETE that waited sees what was committed before it began, and keys are not
    enforced.
    """
    name = f"CAVES_LOAD_{schema}".upper()
    (take,) = statements(render(SQL_ROOT, "batch/take_fence.sql", schema=schema))
    try:
        with warehouse.transaction(name):
            if warehouse.execute(take) < 1:
                raise WarehouseNotSetUp(
                    f"{schema}.LOAD_FENCE does not hold its row: nothing locks the loads.",
                    "Run `caves setup`.",
                )
            yield
    except WriteConflict:
        abort_abandoned(warehouse, name)
        raise
