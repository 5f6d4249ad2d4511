"""Dropship's made-up customers, products and orders: the same options give the same rows on every machine."""

from __future__ import annotations

import random
import unicodedata
from collections.abc import Iterable, Iterator, Mapping
from datetime import UTC, date, datetime, time, timedelta
from typing import Any

from caves_dagster.shop import SeedOptions

Row = tuple[Any, ...]
OPTIONS = SeedOptions(seed=42, end_date=date(2026, 6, 30), days=30, customers=1000, products=200, sales=5000)
_COUNTRIES = dict(fr_FR="France", de_DE="Germany", it_IT="Italy", es_ES="Spain", en_GB="United Kingdom")
# Least and most a piece costs, whole euros.
_CATEGORIES = {"T-shirts": (9, 29), "Jeans": (29, 99), "Dresses": (29, 129), "Shoes": (39, 159)}
_CUTS = ("Classic", "Slim", "Relaxed", "Oversized", "Cropped")
_COLOURS = ("Black", "White", "Navy", "Olive", "Sand", "Burgundy", "Denim", "Grey")


def rows(options: SeedOptions) -> Mapping[str, Iterable[Row]]:
    """Rows of each file, in the order of its columns.

    Raises:
        SettingsError: an option is out of range.
    """
    options.require(customers=(1, 1_000_000), products=(1, 100_000), sales=(0, 100_000_000), days=(1, 3660))
    return {"customers": _customers(options), "inventory": inventory(options), "orders": _orders(options)}


def identifier(kind: str, number: int) -> str:
    """The id of a customer (C), product (P) or order (O)."""
    return f"{kind}{number:06d}"


def _customers(options: SeedOptions) -> Iterator[Row]:
    """id, name, email, city, country."""
    from faker import Faker

    fakes = [(country, Faker(locale)) for locale, country in _COUNTRIES.items()]
    for country, fake in fakes:
        fake.seed_instance(f"dropship:{options.seed}:{country}")
    draw = random.Random(f"dropship:{options.seed}:customers")
    for number in range(1, options.customers + 1):
        country, fake = fakes[int(draw.random() * len(fakes))]
        name = f"{fake.first_name()} {fake.last_name()}"
        plain = unicodedata.normalize("NFKD", name.lower().replace(" ", ".")).encode("ascii", "ignore")
        yield identifier("C", number), name, f"{plain.decode()}.{number}@example.com", fake.city(), country


def inventory(options: SeedOptions) -> Iterator[Row]:
    """id, product_name, category, price, stock_quantity."""
    draw = random.Random(f"dropship:{options.seed}:products")
    for number in range(1, options.products + 1):
        category, (least, most) = list(_CATEGORIES.items())[int(draw.random() * len(_CATEGORIES))]
        cut, colour = (some[int(draw.random() * len(some))] for some in (_CUTS, _COLOURS))
        price = f"{least + int(draw.random() * (most - least))}.{'99' if draw.random() < 0.7 else '50'}"
        yield identifier("P", number), f"{cut} {category} {colour}", category, price, int(draw.random() * 500)


def _orders(options: SeedOptions) -> Iterator[Row]:
    """id, product_id, customer_id, quantity, unit_price, sold_at; ascending in time."""
    draw = random.Random(f"dropship:{options.seed}:orders")
    products = list(inventory(options))
    end = datetime.combine(options.end_date, time(), UTC) + timedelta(days=1)
    seconds = sorted(int(draw.random() * options.days * 86400) + 1 for _ in range(options.sales))
    for number, before in enumerate(reversed(seconds), start=1):
        product_id, _, _, price, _ = products[int(draw.random() * len(products))]
        customer_id = identifier("C", 1 + int(draw.random() * options.customers))
        sold_at = (end - timedelta(seconds=before)).strftime("%Y-%m-%dT%H:%M:%SZ")
        quantity = 1 + int(draw.random() * 4)
        yield identifier("O", number), product_id, customer_id, quantity, price, sold_at
