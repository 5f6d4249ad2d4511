"""The shops that this installation runs."""

from __future__ import annotations

from dataclasses import replace

from caves_dagster.errors import CavesError
from caves_dagster.settings import Settings
from caves_dagster.shop import Shop
from caves_dagster.shops.caves import CAVES


def shops(settings: Settings) -> tuple[Shop, ...]:
    """Every declared shop, the wine shop's topic as the settings name it."""
    return (replace(CAVES, topic=settings.kafka.topic_name),)


def find_shop(settings: Settings, name: str) -> Shop:
    """The shop called `name`.

    Raises:
        CavesError: there is none; the message lists those there are.
    """
    declared = {shop.name: shop for shop in shops(settings)}
    if name not in declared:
        raise CavesError(f"There is no shop {name!r}.", f"Declared shops: {', '.join(sorted(declared))}.")
    return declared[name]
