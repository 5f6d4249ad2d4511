"""What runs by the clock in a shop's batch half: the seed files, off until somebody switches them on."""

from __future__ import annotations

import dagster as dg
from dagster._core.definitions.unresolved_asset_job_definition import UnresolvedAssetJobDefinition

from caves_dagster.shop import Shop


def seed_schedule(shop: Shop, job: UnresolvedAssetJobDefinition) -> dg.ScheduleDefinition:
    """Writes the shop's seed files every night, when it is switched on."""
    return dg.ScheduleDefinition(
        name=f"{shop.name}_seed_daily",
        job=job,
        cron_schedule="30 4 * * *",
        default_status=dg.DefaultScheduleStatus.STOPPED,
        description="Writes the seed files anew every night. Off by default.",
    )
