"""The consumer's lease in Dagster's storage: while it is fresh, the sensors launch nothing that it does.

It stands where the daemon keeps its cursors, so that an idle shop's lease wakes no warehouse.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import Literal

import dagster as dg

from caves_dagster.shop import Shop

LEASE_SECONDS = 15.0
"""Age at which it has run out."""
RENEW_SECONDS = 5.0

Work = Literal["landing", "transforming"]


def renew_lease(instance: dg.DagsterInstance, shop: Shop, works: Collection[Work], now: float) -> None:
    """Say that a consumer does this work for the shop, `now` in seconds since 1970."""
    instance.daemon_cursor_storage.set_cursor_values({_key(shop, work): f"{now:.3f}" for work in works})


def give_lease_up(instance: dg.DagsterInstance, shop: Shop, works: Collection[Work], now: float) -> None:
    """Let it run out as soon as another instance, which may hold it too, would have renewed it."""
    renew_lease(instance, shop, works, now - LEASE_SECONDS + RENEW_SECONDS + 1.0)


def held_lease(instance: dg.DagsterInstance, shop: Shop, work: Work, now: float) -> str:
    """Why a sensor need not launch this work, or "" where no consumer does it."""
    key = _key(shop, work)
    value = instance.daemon_cursor_storage.get_cursor_values({key}).get(key)
    age = now - float(value) if value else LEASE_SECONDS
    # A clock that is far ahead must not hold it long after its consumer.
    if abs(age) >= LEASE_SECONDS:
        return ""
    return f"The consumer is {work} (its lease was renewed {max(0.0, age):.0f} s ago)."


def _key(shop: Shop, work: Work) -> str:
    return f"caves/{shop.name}/consumer/{work}"
