"""The Kafka topic as an external asset, so that the graph begins where the data does."""

from __future__ import annotations

import dagster as dg

from caves_dagster.shop import Shop


def topic_key(shop: Shop) -> dg.AssetKey:
    """Asset key of a shop's topic: `kafka/<topic>`, with what Dagster does not allow in a key replaced."""
    return dg.AssetKey(["kafka", shop.topic.replace(".", "_").replace("-", "_")])


def topic_spec(shop: Shop) -> dg.AssetSpec:
    """The topic; its lag is observed by the Kafka sensor, at most once a minute."""
    return dg.AssetSpec(
        topic_key(shop),
        group_name="kafka",
        description=f"Kafka topic `{shop.topic}`: the live events of {shop.title}.",
        kinds={"kafka"},
        metadata={"topic": shop.topic},
    )
