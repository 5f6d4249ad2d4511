"""Transactions that a dead client left open: ended, not waited for.

Snowflake keeps the transaction of a client that was killed, and with it its locks, for hours; whoever wants
the same lock would wait in vain. Ours carry a name, so they are found and aborted by whoever waits for them.
"""

from __future__ import annotations

import logging

from caves_dagster.warehouse.connection import Warehouse

log = logging.getLogger(__name__)

ABANDONED_AFTER_SECONDS = 120
"""Far longer than a landing takes. Ending one that still lives costs its writer a retry, and no data."""


def landing_transaction(shop: str) -> str:
    """Name of the transactions that land a shop's events."""
    return f"CAVES_LANDING_{shop}".upper()


def transform_transaction(shop: str) -> str:
    """Name of the transactions that fill a shop's STAGING and PRODUCTION."""
    return f"CAVES_TRANSFORM_{shop}".upper()


def abort_abandoned(warehouse: Warehouse, name: str, older_than: float = ABANDONED_AFTER_SECONDS) -> int:
    """Abort this user's open transactions called `name` that began long ago; returns how many.

    The server's own clock tells their age.
    """
    (now,) = warehouse.query("SELECT CURRENT_TIMESTAMP() AS NOW")
    aborted = 0
    for row in warehouse.query("SHOW TRANSACTIONS"):
        age = (now["NOW"] - row["STARTED_ON"]).total_seconds()
        if str(row["NAME"]).upper() == name.upper() and age > older_than:
            log.warning("Ending transaction %s of a dead writer, open for %.0f s.", row["ID"], age)
            warehouse.query("SELECT SYSTEM$ABORT_TRANSACTION(%(id)s)", {"id": int(row["ID"])})
            aborted += 1
    return aborted
