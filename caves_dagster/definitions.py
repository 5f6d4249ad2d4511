"""The whole graph on one screen."""

from __future__ import annotations

from typing import Any

import dagster as dg

from caves_dagster.alerts.sensors import alert_sensors
from caves_dagster.assets import shop_assets
from caves_dagster.assets.batch import BATCH_IO_MANAGER, batch_io_manager
from caves_dagster.checks.assets import asset_checks, validation_only
from caves_dagster.checks.catalogue import require_known
from caves_dagster.checks.job import validation_job
from caves_dagster.declared_sql import check_sql
from caves_dagster.freshness import freshness_policy, watched
from caves_dagster.jobs import batch_job, clean_up_job, pipeline_job, seed_job
from caves_dagster.rebuild_job import rebuild_job
from caves_dagster.replay_job import replay_job
from caves_dagster.resources import resources
from caves_dagster.schedules import batch_schedule, seed_schedule
from caves_dagster.sensor_clients import Clients
from caves_dagster.sensors import sensors
from caves_dagster.settings import Settings, load_settings
from caves_dagster.shop import SQL_ROOT, Shop
from caves_dagster.shops import shops


def build_definitions(settings: Settings) -> dg.Definitions:
    """Everything Dagster runs, for one set of settings; connects to nothing.

    Raises:
        CavesError: a shop is not declared as it has to be.
    """
    clients = Clients.of(settings)
    parts = []
    require_known(settings, shops(settings))
    for shop in shops(settings):
        # A test holds the SQL of this repository against its declarations.
        if shop.sql != SQL_ROOT:
            check_sql(shop)
        left_out = validation_only(settings, shop)
        job = pipeline_job(shop, left_out)
        validation, hourly = validation_job(settings, shop)
        parts.append(
            dg.Definitions(
                assets=_under_policy(settings, shop, shop_assets(settings, shop)),
                asset_checks=asset_checks(settings, shop),
                jobs=[job, rebuild_job(shop), replay_job(settings, shop), validation],
                schedules=[hourly],
                sensors=sensors(settings, shop, job, clients),
            )
        )
        if shop.batch:
            job = batch_job(shop, shop.batch, left_out)
            parts.append(dg.Definitions(jobs=[job], schedules=[batch_schedule(shop, shop.batch, job)]))
        if shop.seed:
            job = seed_job(shop, shop.seed)
            parts.append(dg.Definitions(jobs=[job], schedules=[seed_schedule(shop, job)]))
    parts.append(dg.Definitions(sensors=alert_sensors(settings, shops(settings))))
    clean_up, schedule = clean_up_job(settings)
    parts.append(
        dg.Definitions(
            jobs=[clean_up],
            schedules=[schedule],
            resources=resources(settings) | {BATCH_IO_MANAGER: batch_io_manager(settings, shops(settings))},
            # One process a run, for what is materialised by hand too: each one pays the imports.
            executor=dg.in_process_executor,
        )
    )
    return dg.Definitions.merge(*parts)


def _under_policy(settings: Settings, shop: Shop, assets: list[Any]) -> list[Any]:
    """The assets with their owner and freshness: policy that holds for all is applied here, once."""
    policy, fresh = freshness_policy(settings.freshness), set(watched(shop))

    def apply(spec: dg.AssetSpec) -> dg.AssetSpec:
        owned = spec.merge_attributes(owners=[shop.owner])
        return dg.apply_freshness_policy(owned, policy) if spec.key in fresh else owned

    return list(dg.map_asset_specs(apply, assets))


@dg.definitions
def defs() -> dg.Definitions:
    """What `dagster dev` and `dg dev` load."""
    return build_definitions(load_settings())
