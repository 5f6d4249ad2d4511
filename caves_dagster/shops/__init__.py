"""The shops that this installation runs."""

from __future__ import annotations

from dataclasses import replace

from caves_dagster.errors import CavesError
from caves_dagster.settings import Settings
from caves_dagster.shop import Shop
from caves_dagster.shops.caves import CAVES


def shops(settings: Settings) -> tuple[Shop, ...]:
    """Every declared shop; the wine shop's topic and files as the settings name them."""
    batch, seed = CAVES.batch, CAVES.seed
    assert batch is not None
    assert seed is not None
    path = settings.db_path
    source = settings.batch_source or path
    defaults = replace(seed.defaults, end_date=settings.seed_end_date)
    caves = replace(
        CAVES,
        topic=settings.kafka.topic_name,
        batch=replace(batch, source=source, first_day=settings.batch_first_day),
        seed=replace(seed, defaults=defaults, sqlite=path, csv=path.with_suffix("")),
    )
    return (caves,)


def find_shop(settings: Settings, name: str) -> Shop:
    """The shop called `name`.

    Raises:
        CavesError: there is none; the message lists those there are.
    """
    declared = {shop.name: shop for shop in shops(settings)}
    if name not in declared:
        raise CavesError(f"There is no shop {name!r}.", f"Declared shops: {', '.join(sorted(declared))}.")
    return declared[name]
