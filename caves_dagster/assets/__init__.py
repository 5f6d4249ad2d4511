"""The asset graph of a shop, left to right: seed and batch; topic, raw, staging, production, analytics."""

from __future__ import annotations

import dagster as dg

from caves_dagster.assets.analytics import analytics_assets
from caves_dagster.assets.batch import batch_assets
from caves_dagster.assets.raw import raw_asset
from caves_dagster.assets.seed import seed_asset
from caves_dagster.assets.topic import topic_spec
from caves_dagster.assets.transformation import transformation_asset
from caves_dagster.settings import Settings
from caves_dagster.shop import Shop


def shop_assets(settings: Settings, shop: Shop) -> list[dg.AssetsDefinition | dg.AssetSpec]:
    """Everything a shop's declaration makes appear in the graph."""
    return [
        *([seed_asset(shop, shop.seed)] if shop.seed else []),
        *(batch_assets(shop, shop.batch) if shop.batch else []),
        topic_spec(shop),
        raw_asset(settings, shop),
        *(transformation_asset(shop, step) for step in shop.transformations),
        *analytics_assets(shop),
    ]
