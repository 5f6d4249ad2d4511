"""The lock of a shop's writers: what lands, from the topic or from the dead letters, lands under it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from caves_dagster.errors import WarehouseNotSetUp, WriteConflict
from caves_dagster.shop import SQL_ROOT, Shop
from caves_dagster.warehouse.abandoned import abort_abandoned, landing_transaction
from caves_dagster.warehouse.connection import Warehouse
from caves_dagster.warehouse.scripts import render, statements


@contextmanager
def fenced(warehouse: Warehouse, shop: Shop) -> Iterator[None]:
    """A transaction that holds the fence: updating its one row takes the lock, COMMIT gives it back.

    What has to be as it was seen before must be read again inside, by a new statement: under READ COMMITTED
    the one that waited for the lock still sees what was committed before it began.

    Raises:
        WriteConflict: another writer holds it. One that died longer ago is ended, for the next try.
        WarehouseNotSetUp: the fence has no row, so nothing would be locked.
    """
    name = landing_transaction(shop.name)
    (take,) = statements(render(SQL_ROOT, "ingest/take_fence.sql", raw=shop.raw))
    try:
        with warehouse.transaction(name):
            # Two set-ups at once may have left it two rows, as keys are not enforced: that locks as well.
            if warehouse.execute(take) < 1:
                raise WarehouseNotSetUp(
                    f"{shop.raw.schema}.INGEST_FENCE does not hold its row: nothing locks the writers.",
                    "Run `caves setup`.",
                )
            yield
    except WriteConflict:
        abort_abandoned(warehouse, name)
        raise
