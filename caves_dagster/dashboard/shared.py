"""What all browsers share: the shops, and the snapshots of this process. Made once."""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence

from caves_dagster.dashboard.period import CHOSEN, Period, period, today
from caves_dagster.dashboard.snapshots import Snapshots
from caves_dagster.dashboard.words import LANGUAGES, WORDS, Language
from caves_dagster.settings import load_settings
from caves_dagster.shop import Shop
from caves_dagster.shops import find_shop, shops

PERIODS = list(WORDS["en"].periods)
"""What the periods are called in the page's address; the first is shown unless it asks for another."""


@functools.cache
def snapshots() -> Snapshots:
    """What one browser has been told, the others are told too."""
    return Snapshots(load_settings())


@functools.cache
def declared(only: str) -> dict[str, Shop]:
    """The shops to be shown by their names.

    Args:
        only: the one shop; "" for each of them.
    """
    settings = load_settings()
    chosen = [find_shop(settings, only)] if only else shops(settings)
    return {shop.name: shop for shop in chosen}


def asked(address: Mapping[str, str], key: str, options: Sequence[str], default: str) -> str:
    """What the parameters of the page's address ask for, if there is such a thing."""
    value = address.get(key, default)
    return value if value in options else default


def asked_language(address: Mapping[str, str], browsers: str | None) -> Language:
    """The language that the page's address asks for, or else the browser's first (such as `fr-CH`)."""
    own = "fr" if (browsers or "").lower().startswith("fr") else "en"
    return "fr" if asked(address, "language", list(LANGUAGES), own) == "fr" else "en"


def first_selection(only: str, address: Mapping[str, str]) -> tuple[Shop, Period] | None:
    """What a browser that comes to this address is shown first; None where it names days of its own."""
    name = asked(address, "period", PERIODS, PERIODS[0])
    if name == CHOSEN:
        return None
    there = declared(only)
    names = list(there)
    return there[asked(address, "shop", names, names[0])], period(name, (), today())
