"""The shops that this installation runs: those of this repository, and those of the user's own.

The user's come from packages with an entry point in the group `caves_dagster.shops`, and from CAVES_SHOPS:
`package.module:ATTRIBUTE`, or a folder as `caves new-shop` writes it.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable
from dataclasses import replace
from functools import cache
from importlib import import_module
from importlib.metadata import entry_points
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from types import ModuleType

from caves_dagster.declaration import check_shops
from caves_dagster.errors import CavesError, DeclarationError
from caves_dagster.settings import Settings
from caves_dagster.shop import Shop
from caves_dagster.shops.caves import CAVES
from caves_dagster.shops.dropship import DROPSHIP

BUILT_IN = (CAVES, DROPSHIP)
ENTRY_POINTS = "caves_dagster.shops"
ATTRIBUTE = "SHOP"
"""What a folder's `__init__.py` calls its shop."""


def shops(settings: Settings) -> tuple[Shop, ...]:
    """Every declared shop, with its topic and files as the settings name them.

    Raises:
        CavesError: a shop cannot be loaded or is not declared as it has to be, or the settings name one that
            there is not.
    """
    declared = [*BUILT_IN, *_installed(), *(_named(source) for source in settings.shops)]
    names = [shop.name for shop in declared]
    without = settings.without_shops
    for setting, chosen in (("CAVES_TOPICS", settings.topics), ("CAVES_WITHOUT_SHOPS", without)):
        for name in chosen:
            if name not in names:
                raise _no_shop(f"{setting} names {name!r}, which is no shop.", names)
    found = tuple(_configured(shop, settings) for shop in declared if shop.name not in without)
    check_shops(found)
    return found


def find_shop(settings: Settings, name: str | None = None) -> Shop:
    """The shop called `name`, or the first one where none is named.

    Raises:
        CavesError: there is none; the message lists those there are.
    """
    declared = {shop.name: shop for shop in shops(settings)}
    chosen = next(iter(declared), "") if name is None else name
    if chosen not in declared:
        raise _no_shop(f"There is no shop {chosen!r}.", declared)
    return declared[chosen]


def topics(settings: Settings, most_partitions: int = 64) -> dict[str, int]:
    """Partitions by topic, as a broker of this project makes the shops' topics."""
    return {shop.topic: min(shop.partitions, most_partitions) for shop in shops(settings)}


def shop_in(folder: Path) -> Shop:
    """The shop declared in a folder.

    Raises:
        DeclarationError: it cannot be loaded, or is no shop.
    """
    return _loaded(str(folder), lambda: getattr(_package(folder.expanduser().resolve()), ATTRIBUTE))


def _configured(shop: Shop, settings: Settings) -> Shop:
    """A shop's own settings first, then those that every shop has."""
    if shop.configured is not None:
        shop = shop.configured(shop, settings)
    return replace(shop, topic=settings.topics.get(shop.name, shop.topic))


def _no_shop(problem: str, declared: Iterable[str]) -> CavesError:
    return CavesError(problem, f"Declared shops: {', '.join(sorted(declared)) or 'none'}.")


@cache
def _installed() -> tuple[Shop, ...]:
    """The shops of installed packages."""
    found = sorted(entry_points(group=ENTRY_POINTS), key=lambda point: point.name)
    return tuple(_loaded(f"The entry point {point.name} = {point.value}", point.load) for point in found)


@cache
def _named(source: str) -> Shop:
    """A shop as CAVES_SHOPS names it."""
    module, colon, attribute = source.partition(":")
    if colon and "/" not in source:
        return _loaded(f"CAVES_SHOPS: {source}", lambda: getattr(import_module(module), attribute))
    return shop_in(Path(source))


def _package(folder: Path) -> ModuleType:
    """The package in a folder, wherever that is."""
    file = folder / "__init__.py"
    if not file.is_file():
        raise FileNotFoundError(f"there is no {file}")
    name = f"caves_shop_{folder.name}"
    spec = spec_from_file_location(name, file, submodule_search_locations=[str(folder)])
    assert spec is not None
    assert spec.loader is not None
    for loaded in [one for one in sys.modules if one == name or one.startswith(f"{name}.")]:
        del sys.modules[loaded]
    module = sys.modules[name] = module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def _loaded(where: str, load: Callable[[], object]) -> Shop:
    """What somebody else's code declares.

    Raises:
        DeclarationError: it is no shop, or the code fails; the message says why.
    """
    try:
        shop = load()
    except Exception as error:
        raise DeclarationError(
            f"{where} cannot be loaded as a shop ({type(error).__name__}: {error}).",
            "Name package.module:ATTRIBUTE, or a folder written by `caves new-shop`.",
        ) from error
    if not isinstance(shop, Shop):
        raise DeclarationError(
            f"{where} is a {type(shop).__name__}, not a shop.", "Declare a caves_dagster.shop.Shop."
        )
    return shop
