"""The wine shop's made-up history: customers, ten days of sales (or a year), and the stock that is left.

The same options give the same rows on every machine: everything is drawn from `random.Random.random`, whose
numbers Python keeps the same, and from Faker in its locked version. Batch sales know no discount, so
`total_price` is price × quantity, in exact cents.
"""

from __future__ import annotations

import random
import unicodedata
from bisect import bisect
from collections.abc import Iterable, Iterator, Mapping
from datetime import timedelta
from itertools import accumulate
from typing import Any

from caves_dagster.shop import SeedOptions
from caves_dagster.shops.caves.catalogue import PRODUCTS, SALES_CHANNELS

Row = tuple[Any, ...]

LOCALE = "fr_FR"
_QUANTITIES = (1, 1, 2, 2, 3, 3, 4, 6, 6, 6, 12, 12)
# Bottles bought in per sale to come: a third more than a sale takes on average, so that some wines sell out.
_STOCK_PER_SALE = 6.5
_LEAST_STOCK = 24
# Monday to Sunday: a merchant's week.
_WEEK = (4, 8, 9, 10, 14, 18, 5)
_OPENS, _CLOSES = 9 * 3600, 20 * 3600
_REGISTERED_DAYS = 5 * 365


def rows(options: SeedOptions) -> Mapping[str, Iterable[Row]]:
    """Rows of each table, in the order of its columns; the stock is right once the sales have been read.

    Raises:
        SettingsError: an option is out of range.
    """
    options.require(
        days=(1, 3660), customers=(1, 1_000_000), products=(1, len(PRODUCTS)), sales=(0, 100_000_000)
    )
    history = _History(options)
    return {
        "customers": _customers(options),
        "sales": history.sales(),
        "inventory": history.inventory(),
    }


def _customers(options: SeedOptions) -> Iterator[Row]:
    """customer_id, name, email, registration_date; all registered before the first sale."""
    from faker import Faker

    fake = Faker(LOCALE)
    fake.seed_instance(f"caves:{options.seed}:customers")
    draw = random.Random(f"caves:{options.seed}:registrations")
    first_sale = options.end_date - timedelta(days=options.days - 1)
    taken: set[str] = set()
    for customer_id in range(1, options.customers + 1):
        first_name, last_name = fake.first_name(), fake.last_name()
        address = f"{_plain(first_name)}.{_plain(last_name)}"
        if address in taken:
            address += str(customer_id)
        taken.add(address)
        registered = first_sale - timedelta(days=1 + int(draw.random() * _REGISTERED_DAYS))
        # A domain that is reserved: nobody is written to by mistake.
        yield customer_id, f"{first_name} {last_name}", f"{address}@example.fr", registered.isoformat()


def _plain(name: str) -> str:
    """A name as it stands in an e-mail address: `Élodie Le Gall` is `elodie-le-gall`."""
    letters = unicodedata.normalize("NFKD", name).encode("ascii", "ignore").decode().lower()
    return "-".join("".join(letter if letter.isalnum() else " " for letter in letters).split())


class _History:
    """Sales in the order of time, each out of what is left of its wine."""

    def __init__(self, options: SeedOptions) -> None:
        self._options = options
        self._random = random.Random(f"caves:{options.seed}:sales")
        self._products = PRODUCTS[: options.products]
        self._left = [self._opening_stock() for _ in self._products]

    def _opening_stock(self) -> int:
        """Bottles at the start, between half and one and a half times a wine's share of what will be sold."""
        share = _STOCK_PER_SALE * self._options.sales / len(self._products)
        return _LEAST_STOCK + int(share * (0.5 + self._random.random()))

    def sales(self) -> Iterator[Row]:
        """sale_id, sale_date, customer_id, product_id, quantity_sold, total_price, sales_channel."""
        draw = self._random.random
        left, products, customers = self._left, self._products, self._options.customers
        available = list(range(len(products)))
        prices = [int(product.price * 100) for product in products]
        in_stock, to_come = sum(left), self._options.sales
        for sale_id, moment in enumerate(self._moments(), start=1):
            place = int(draw() * len(available))
            wine = available[place]
            wanted = _QUANTITIES[int(draw() * len(_QUANTITIES))]
            # What is left, and never so much that a later sale would find no bottle at all.
            quantity = min(wanted, left[wine], in_stock - to_come + 1)
            left[wine] -= quantity
            in_stock -= quantity
            to_come -= 1
            if not left[wine]:
                del available[place]
            euros, cents = divmod(prices[wine] * quantity, 100)
            yield (
                sale_id,
                moment,
                1 + int(draw() * customers),
                products[wine].product_id,
                quantity,
                f"{euros}.{cents:02d}",
                SALES_CHANNELS[int(draw() * len(SALES_CHANNELS))],
            )

    def _moments(self) -> Iterator[str]:
        """When each sale took place, UTC, ascending, `YYYY-MM-DD HH:MM:SS`."""
        draw, days = self._random.random, self._options.days
        calendar = [self._options.end_date - timedelta(days=days - 1 - index) for index in range(days)]
        weights = list(accumulate(_WEEK[day.weekday()] for day in calendar))
        counts = [0] * days
        for _ in range(self._options.sales):
            counts[bisect(weights, draw() * weights[-1])] += 1
        for day, count in zip(calendar, counts, strict=True):
            for second in sorted(_OPENS + int(draw() * (_CLOSES - _OPENS)) for _ in range(count)):
                yield f"{day.isoformat()} {second // 3600:02d}:{second // 60 % 60:02d}:{second % 60:02d}"

    def inventory(self) -> Iterator[Row]:
        """product_id, name, category, price_per_unit, bottle_size_liters, and the stock that is left."""
        for product, left in zip(self._products, self._left, strict=True):
            yield (
                product.product_id,
                product.name,
                product.category,
                str(product.price),
                f"{product.bottle_size_liters:.3f}",
                left,
            )
