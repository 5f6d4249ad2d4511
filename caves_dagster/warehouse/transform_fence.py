"""The lock of what writes STAGING and PRODUCTION: whoever transforms or rebuilds holds it; landing does not.

A stream keeps two of its consumers apart, but not a consumer from a rebuild, which reads tables: each
could insert what the other has not yet committed. Nor is MERGE's own lock enough: under READ COMMITTED a
statement that waited for a lock still sees what was committed before it began, and keys are not enforced.
So a statement of its own takes the lock first, and all that follow see what its last holder committed.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from caves_dagster.errors import WarehouseNotSetUp
from caves_dagster.shop import SQL_ROOT, Shop
from caves_dagster.warehouse.abandoned import transform_transaction
from caves_dagster.warehouse.connection import Warehouse
from caves_dagster.warehouse.scripts import render, statements


@contextmanager
def transforming(warehouse: Warehouse, shop: Shop, *, rebuild: bool = False) -> Iterator[None]:
    """A transaction that holds the fence from its first statement until it ends.

    What its client left open is not ended here, as it may take long: two writers that ended each other's
    would never come to an end. Snowflake ends one that is in the way and whose client is silent after five
    minutes by itself, the local server sooner; Dagster, that of a run which it knows to be killed.

    Raises:
        WriteConflict: another one holds it.
        WarehouseNotSetUp: the fence has no row, so nothing would be locked.
    """
    name = f"CAVES_REBUILD_{shop.name.upper()}" if rebuild else transform_transaction(shop.name)
    (take,) = statements(render(SQL_ROOT, "transform/take_fence.sql", raw=shop.raw))
    with warehouse.transaction(name):
        # Two set-ups at once may have left it two rows, as keys are not enforced: that locks as well.
        if warehouse.execute(take) < 1:
            raise WarehouseNotSetUp(
                f"{shop.raw.schema}.TRANSFORM_FENCE does not hold its row: nothing locks the writers.",
                "Run `caves setup`.",
            )
        yield
