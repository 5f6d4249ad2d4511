"""The wine shop's list."""

from __future__ import annotations

from collections import Counter
from decimal import Decimal
from typing import get_args

import pytest

from caves_dagster.shops.caves.catalogue import (
    ADJUSTMENT_TYPES,
    CATEGORIES,
    CUSTOMER_IDS,
    PRODUCTS,
    SALES_CHANNELS,
    WAREHOUSES,
    Product,
)
from caves_dagster.shops.caves.contract import AdjustmentType, Category, SalesChannel


def test_fifty_products_are_numbered_from_1000() -> None:
    assert [product.product_id for product in PRODUCTS] == list(range(1000, 1050))
    assert len({product.name for product in PRODUCTS}) == 50
    assert set(CUSTOMER_IDS) == set(range(1, 151))


def test_the_chardonnay_is_number_1015() -> None:
    chardonnay = Product(1015, "Chardonnay Réserve 🥂", "Blanc", Decimal("18.50"), Decimal("0.75"))
    assert chardonnay in PRODUCTS


def test_names_end_with_the_emoji_of_their_category() -> None:
    assert set(Counter(product.category for product in PRODUCTS)) == set(CATEGORIES)
    assert all(product.name.endswith(f" {CATEGORIES[product.category]}") for product in PRODUCTS)


@pytest.mark.parametrize("product", PRODUCTS, ids=lambda product: str(product.product_id))
def test_prices_have_cents_and_sizes_are_bottles(product: Product) -> None:
    assert product.price.as_tuple().exponent == -2
    assert 5 < product.price < 200
    assert Decimal("0.2") < product.bottle_size_liters < 3


def test_the_contract_s_lists_are_the_catalogue_s() -> None:
    assert set(get_args(Category)) == set(CATEGORIES)
    assert set(get_args(AdjustmentType)) == set(ADJUSTMENT_TYPES)
    assert set(get_args(SalesChannel)) == set(SALES_CHANNELS)
    assert len(set(WAREHOUSES)) >= 10
