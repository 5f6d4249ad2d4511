"""What runs by the clock: the daily batch; the seed files, off until somebody switches them on."""

from __future__ import annotations

from datetime import date, timedelta

import dagster as dg
from dagster._core.definitions.unresolved_asset_job_definition import UnresolvedAssetJobDefinition
from dagster._core.storage.tags import ASSET_PARTITION_RANGE_END_TAG, ASSET_PARTITION_RANGE_START_TAG

from caves_dagster.batch.reading import Window
from caves_dagster.batch.source import missing
from caves_dagster.shop import Batch, Shop

LATE_DAYS = 7
"""So many days are loaded again each day, for what changed in the source since."""


def seed_schedule(shop: Shop, job: UnresolvedAssetJobDefinition) -> dg.ScheduleDefinition:
    """Writes the shop's seed files every night, when it is switched on."""
    return dg.ScheduleDefinition(
        name=f"{shop.name}_seed_daily",
        job=job,
        cron_schedule="30 4 * * *",
        default_status=dg.DefaultScheduleStatus.STOPPED,
        description="Writes the seed files anew every night. Off by default.",
    )


def batch_schedule(shop: Shop, batch: Batch, job: UnresolvedAssetJobDefinition) -> dg.ScheduleDefinition:
    """Loads the batch tables every morning; skips, saying so, where there is no source."""

    @dg.schedule(
        name=f"{shop.name}_batch_daily",
        job=job,
        cron_schedule="0 5 * * *",
        default_status=dg.DefaultScheduleStatus.RUNNING,
        description=(
            f"Loads the batch tables of {shop.title}: whole ones anew, daily ones from the first day never "
            f"loaded, and the last {LATE_DAYS} days, in one run. Skips where there is no source."
        ),
    )
    def load_daily(context: dg.ScheduleEvaluationContext) -> dg.RunRequest | dg.SkipReason:
        if reason := missing(batch.source):
            return dg.SkipReason(reason)
        today = context.scheduled_execution_time.date()
        daily = [dg.AssetKey(table.table.key) for table in batch.tables if table.day]
        loaded = [context.instance.get_materialized_partitions(key) for key in daily]
        window = days_to_load(set.intersection(*loaded), batch.first_day, today) if loaded else None
        if window is None:
            return dg.RunRequest() if not daily else dg.SkipReason(f"No day since {batch.first_day} is over.")
        return dg.RunRequest(
            tags={
                ASSET_PARTITION_RANGE_START_TAG: window.first.isoformat(),
                ASSET_PARTITION_RANGE_END_TAG: window.last.isoformat(),
            }
        )

    return load_daily


def days_to_load(loaded: set[str], first_day: date, today: date) -> Window | None:
    """From the first day never loaded, or a week back, to yesterday; None while the first day is not over.

    Args:
        loaded: days that were loaded, `YYYY-MM-DD`.
        first_day: the first there is.
        today: the day that is not over yet.
    """
    last = today - timedelta(days=1)
    if last < first_day:
        return None
    days = (first_day + timedelta(days=index) for index in range((last - first_day).days + 1))
    never = next((day for day in days if day.isoformat() not in loaded), last)
    return Window(max(first_day, min(never, last - timedelta(days=LATE_DAYS - 1))), last)
