"""The lock of what writes STAGING and PRODUCTION: whoever transforms or rebuilds holds it; landing does not.

A stream keeps two of its consumers apart, but not a consumer from a rebuild, which reads tables: each
could insert what the other has not yet committed. Nor is MERGE's own lock enough: under READ COMMITTED a
statement that waited for a lock still sees what was committed before it began, and keys are not enforced.
So a statement of its own takes the lock first, and all that follow see what its last holder committed.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from caves_dagster.errors import WarehouseNotSetUp, WriteConflict
from caves_dagster.shop import SQL_ROOT, Shop
from caves_dagster.warehouse.abandoned import abort_abandoned, transform_transaction
from caves_dagster.warehouse.connection import Warehouse
from caves_dagster.warehouse.scripts import render, statements


@contextmanager
def transforming(warehouse: Warehouse, shop: Shop, *, rebuild: bool = False) -> Iterator[None]:
    """A transaction that holds the fence from its first statement until it ends.

    A transformation that its client left open is ended, for the next try. Not so a rebuild, which may take
    long: Snowflake ends one whose client is silent after five minutes by itself, the local server sooner.

    Raises:
        WriteConflict: another one holds it.
        WarehouseNotSetUp: the fence has no row, so nothing would be locked.
    """
    transformation = transform_transaction(shop.name)
    (take,) = statements(render(SQL_ROOT, "transform/take_fence.sql", raw=shop.raw))
    try:
        with warehouse.transaction(f"CAVES_REBUILD_{shop.name.upper()}" if rebuild else transformation):
            # Two set-ups at once may have left it two rows, as keys are not enforced: that locks as well.
            if warehouse.execute(take) < 1:
                raise WarehouseNotSetUp(
                    f"{shop.raw.schema}.TRANSFORM_FENCE does not hold its row: nothing locks the writers.",
                    "Run `caves setup`.",
                )
            yield
    except WriteConflict:
        abort_abandoned(warehouse, transformation)
        raise
