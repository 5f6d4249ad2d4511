"""The whole graph on one screen."""

from __future__ import annotations

from typing import Any

import dagster as dg

from caves_dagster.assets import shop_assets
from caves_dagster.checks import asset_checks
from caves_dagster.jobs import clean_up_job, pipeline_job
from caves_dagster.resources import resources
from caves_dagster.sensors import Clients, sensors
from caves_dagster.settings import Settings, load_settings
from caves_dagster.shops import shops


def build_definitions(settings: Settings) -> dg.Definitions:
    """Everything Dagster runs, for one set of settings; connects to nothing."""
    clients = Clients.of(settings)
    parts = []
    for shop in shops(settings):
        job = pipeline_job(shop)
        parts.append(
            dg.Definitions(
                assets=_owned(shop_assets(settings, shop), shop.owner),
                asset_checks=asset_checks(shop),
                jobs=[job],
                sensors=sensors(settings, shop, job, clients),
            )
        )
    clean_up, schedule = clean_up_job(settings)
    parts.append(dg.Definitions(jobs=[clean_up], schedules=[schedule], resources=resources(settings)))
    return dg.Definitions.merge(*parts)


def _owned(assets: list[Any], owner: str) -> list[Any]:
    """The assets with who answers for them: policy that holds for all is applied here, once."""
    return list(dg.map_asset_specs(lambda spec: spec.merge_attributes(owners=[owner]), assets))


@dg.definitions
def defs() -> dg.Definitions:
    """What `dagster dev` and `dg dev` load."""
    return build_definitions(load_settings())
