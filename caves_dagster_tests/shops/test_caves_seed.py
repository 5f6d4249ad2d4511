"""The wine shop's made-up history: what holds of it whatever the options."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from datetime import date, datetime, timedelta
from decimal import Decimal
from typing import Any, NamedTuple

import pytest
from hypothesis import given
from hypothesis import strategies as st

from caves_dagster.errors import SettingsError
from caves_dagster.shop import SeedOptions
from caves_dagster.shops.caves import CAVES
from caves_dagster.shops.caves.catalogue import CUSTOMER_IDS, PRODUCTS, SALES_CHANNELS
from caves_dagster.shops.caves.seed import rows

assert CAVES.seed is not None
DEFAULTS = CAVES.seed.defaults


class History(NamedTuple):
    customers: list[tuple[Any, ...]]
    sales: list[tuple[Any, ...]]
    inventory: list[tuple[Any, ...]]


def history(options: SeedOptions) -> History:
    """All rows, read in the order given."""
    made = {name: list(content) for name, content in rows(options).items()}
    return History(**made)


def test_the_defaults_are_the_specification_s() -> None:
    made = history(DEFAULTS)

    assert (DEFAULTS.seed, DEFAULTS.days) == (11, 10)
    assert [row[0] for row in made.customers] == list(CUSTOMER_IDS)
    assert [row[0] for row in made.inventory] == list(range(1000, 1050))
    assert [row[1] for row in made.inventory] == [product.name for product in PRODUCTS]
    days = {row[1][:10] for row in made.sales}
    assert days == {(DEFAULTS.end_date - timedelta(days=n)).isoformat() for n in range(10)}


@given(
    seed=st.integers(),
    days=st.integers(1, 40),
    customers=st.integers(1, 30),
    products=st.integers(1, 50),
    sales=st.integers(0, 400),
)
def test_whatever_the_options_sales_are_in_order_priced_to_the_cent_and_out_of_stock(
    seed: int, days: int, customers: int, products: int, sales: int
) -> None:
    options = SeedOptions(seed, date(2026, 3, 1), days, customers, products, sales)
    made = history(options)

    assert len(made.sales) == sales
    assert [row[0] for row in made.sales] == list(range(1, sales + 1))
    moments = [datetime.fromisoformat(row[1]) for row in made.sales]
    assert moments == sorted(moments)
    prices = {row[0]: Decimal(row[3]) for row in made.inventory}
    for _, moment, customer, product, quantity, total, channel in made.sales:
        assert options.end_date - timedelta(days=days) < date.fromisoformat(moment[:10]) <= options.end_date
        assert 1 <= customer <= customers
        assert quantity >= 1
        assert Decimal(total) == prices[product] * quantity
        assert len(total.partition(".")[2]) == 2
        assert channel in SALES_CHANNELS
    assert all(row[5] >= 0 for row in made.inventory)


def test_stock_is_what_was_bought_less_what_was_sold() -> None:
    """Without sales the opening stock is seen; it is the same draw for the same seed and sizes."""
    made = history(replace(DEFAULTS, sales=3000))
    sold = Counter[int]()
    for row in made.sales:
        sold[row[3]] += row[4]
    opening = {row[0]: row[5] + sold[row[0]] for row in made.inventory}

    left = dict(opening)
    for row in made.sales:
        left[row[3]] -= row[4]
        assert left[row[3]] >= 0, "sold out of nothing"
    assert left == {row[0]: row[5] for row in made.inventory}
    assert 0 in left.values(), "some wines sell out"
    assert len({row[3] for row in made.sales}) == 50


def test_a_history_that_nearly_empties_the_cellar_sells_every_sale() -> None:
    made = history(SeedOptions(3, date(2026, 3, 1), 1, 1, 1, 20_000))
    assert len(made.sales) == 20_000
    assert made.inventory[0][5] >= 0


def test_customers_have_an_address_of_their_own_and_registered_before_the_first_sale() -> None:
    made = history(replace(DEFAULTS, customers=3000))
    first = DEFAULTS.end_date - timedelta(days=DEFAULTS.days - 1)

    assert len({row[2] for row in made.customers}) == 3000
    for _, name, email, registered in made.customers:
        assert len(name) <= 200
        assert email.isascii()
        assert email.endswith("@example.fr")
        assert " " not in email
        assert date.fromisoformat(registered) < first
    assert any(not row[1].isascii() for row in made.customers), "the names are French"


def test_the_same_seed_gives_the_same_rows_and_another_one_others() -> None:
    assert history(DEFAULTS) == history(DEFAULTS)
    other = history(replace(DEFAULTS, seed=12))
    assert other.sales != history(DEFAULTS).sales
    assert other.customers != history(DEFAULTS).customers
    assert history(replace(DEFAULTS, seed=-11)).sales != history(DEFAULTS).sales


@pytest.mark.parametrize(
    ("name", "value"), [("days", 0), ("customers", 0), ("products", 51), ("sales", -1), ("days", 4000)]
)
def test_an_option_out_of_range_is_named(name: str, value: int) -> None:
    with pytest.raises(SettingsError, match=rf"{name} is {value}\. Choose a number from"):
        rows(replace(DEFAULTS, **{name: value}))  # type: ignore[arg-type]
