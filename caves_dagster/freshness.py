"""When a table counts as stale, and what keeps it fresh on a quiet topic.

Dagster's freshness sees materialisations only. So whoever reads the topic and finds nothing new says so, at a
slow pace, by a materialisation of zero rows. Where nobody reads the topic, or the broker is away, nobody says
it, and the tables get stale although nothing came.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import timedelta
from typing import Any

import dagster as dg

from caves_dagster.settings import FreshnessSettings
from caves_dagster.shop import Shop


def freshness_policy(settings: FreshnessSettings) -> dg.FreshnessPolicy:
    """The policy of every watched table."""
    return dg.FreshnessPolicy.time_window(
        fail_window=timedelta(minutes=settings.fail_minutes),
        warn_window=timedelta(minutes=settings.warn_minutes),
    )


def watched(shop: Shop) -> list[dg.AssetKey]:
    """The tables that have the policy: RAW, where events arrive, then PRODUCTION's, where they end up."""
    return [dg.AssetKey(table.key) for table in (shop.raw, *shop.production)]


def renewal_seconds(settings: FreshnessSettings) -> float:
    """Age of a materialisation at which a quiet topic renews it."""
    return settings.warn_minutes * 60 / 2


def _in_dagster_mode() -> bool | None:
    return None


def renew(
    instance: dg.DagsterInstance,
    shop: Shop,
    settings: FreshnessSettings,
    seen: dict[str, Any],
    now: float,
    tasks_settled: Callable[[], bool | None] = _in_dagster_mode,
) -> list[dg.AssetMaterialization]:
    """What to report when the topic was read a moment ago and holds nothing that RAW has not.

    Args:
        seen: the sensor's cache; its "fresh_at" spares Dagster's storage the question until it may matter.
        tasks_settled: asks whether, in task mode, all that landed is transformed; gives None in Dagster mode.
    """
    if now - (seen.get("fresh_at") or 0.0) < renewal_seconds(settings):
        return []
    last = last_materialised(instance, shop)
    found = renewals(shop, last, now, settings, tasks_settled)
    seen["fresh_at"] = now if found else last.get(watched(shop)[0], now)
    return found


def last_materialised(instance: dg.DagsterInstance, shop: Shop) -> dict[dg.AssetKey, float]:
    """When each watched table that ever was materialised was so last, seconds since 1970."""
    found = {}
    for record in instance.get_asset_records(watched(shop)):
        last = record.asset_entry.last_materialization
        if last is not None:
            found[record.asset_entry.asset_key] = last.timestamp
    return found


def renewals(
    shop: Shop,
    last: Mapping[dg.AssetKey, float],
    now: float,
    settings: FreshnessSettings,
    tasks_settled: Callable[[], bool | None] = _in_dagster_mode,
) -> list[dg.AssetMaterialization]:
    """A materialisation of zero rows for each table that is up to date with a quiet topic, when it is time.

    A table behind RAW is up to date only if it was materialised after RAW: where its transformation fails, or
    events were landed alone, it is not, and gets stale. In task mode Dagster hears of a transformation some
    time after it, perhaps of one from before the last landing: there the streams tell.

    Args:
        last: what `last_materialised` gives.
        tasks_settled: as `renew` has it; asked only when it is time.
    """
    raw, *behind = watched(shop)
    if raw not in last or now - last[raw] < renewal_seconds(settings):
        return []
    settled = tasks_settled()
    after_raw = [key for key in behind if key in last and (settled or last[key] >= last[raw])]
    current = [raw, *(after_raw if settled is not False else ())]
    return [
        dg.AssetMaterialization(
            key,
            description=f"{shop.topic} was read, and holds nothing new.",
            metadata={"rows": 0, "quiet_topic": True},
        )
        for key in current
    ]
