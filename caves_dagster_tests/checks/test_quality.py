"""All checks on sound data, and each rule seen to fail, with the keys, when rows are spoilt.

The corruptions are made in a transaction that is rolled back; the checks run inside it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from caves_dagster.assets.transformation import transform
from caves_dagster.checks.catalogue import shop_checks
from caves_dagster.checks.check import Check, Outcome, run_check
from caves_dagster.checks.report import validate
from caves_dagster.ingest.run import Ingestion
from caves_dagster.local.platform import Platform
from caves_dagster.warehouse.connection import Warehouse
from caves_dagster_tests.brokers import Broker
from caves_dagster_tests.conftest import Caves, caves_on
from caves_dagster_tests.raw_rows import consume_all

_LOAD = (
    "INSERT INTO BATCH_DATA.CUSTOMERS SELECT CUSTOMER_ID, MAX('A'), MAX('a@b'), MAX('2026-01-01'::DATE)"
    " FROM PRODUCTION.ORDERS GROUP BY CUSTOMER_ID",
    "INSERT INTO BATCH_DATA.INVENTORY SELECT PRODUCT_ID, MAX(PRODUCT_NAME), MAX(PRODUCT_CATEGORY), 1, 0.75, 1"
    " FROM (SELECT PRODUCT_ID, PRODUCT_NAME, PRODUCT_CATEGORY FROM PRODUCTION.ORDERS UNION ALL"
    " SELECT PRODUCT_ID, PRODUCT_NAME, PRODUCT_CATEGORY FROM PRODUCTION.INVENTORY_HISTORY)"
    " GROUP BY PRODUCT_ID",
    "INSERT INTO BATCH_DATA.SALES SELECT ORDER_LINE_ID, EVENT_TIME, CUSTOMER_ID, PRODUCT_ID, QUANTITY,"
    " TOTAL_AMOUNT, SALES_CHANNEL FROM PRODUCTION.ORDERS",
)
_OTHER = {"task_status", "low_stock", "customers_totals", "inventory_totals", "sales_totals"}
"""Of what is not in these tables: sensors, a threshold, source files; they have tests of their own."""


@pytest.fixture(scope="module")
def sound(platform: Platform, embedded_broker: Broker) -> Iterator[Caves]:
    """Events wholly consumed, and a batch half that knows their products and customers."""
    with caves_on(platform, embedded_broker, "quality") as caves:
        caves.publish(caves.events(200, seed=3))
        Ingestion(caves.settings, caves.shop, caves.kafka, caves.warehouse, "test").run()
        consume_all(caves.warehouse, caves.shop)
        for statement in _LOAD:
            caves.warehouse.execute(statement)
        yield caves


def _checks(caves: Caves) -> list[Check]:
    return [one for one in shop_checks(caves.settings, caves.shop) if one.name not in _OTHER]


def _outcomes(caves: Caves, since: datetime | None = None) -> dict[str, Outcome]:
    return {one.name: run_check(caves.warehouse, caves.shop, one, since) for one in _checks(caves)}


def test_sound_data_passes_every_check(sound: Caves) -> None:
    for since in (None, datetime.now(UTC) - timedelta(hours=1)):
        outcomes = _outcomes(sound, since)
        assert {name: one.status for name, one in outcomes.items()} == dict.fromkeys(outcomes, "PASS")
        assert len(outcomes) > 30
        assert all(sum(row["CHECKED"] for row in one.rows) > 0 for one in outcomes.values())


def test_a_window_that_holds_nothing_is_a_warning_but_in_a_run(sound: Caves) -> None:
    outcomes = _outcomes(sound, datetime.now(UTC) + timedelta(hours=1))

    windowed = {one.name for one in _checks(sound) if one.windowed}
    # Nobody has seen anything there; in a run, which brings what it brings, that is no fault.
    assert {name for name, one in outcomes.items() if one.status != "PASS"} == windowed
    for check in (one for one in _checks(sound) if one.windowed):
        later = datetime.now(UTC) + timedelta(hours=1)
        assert run_check(sound.warehouse, sound.shop, check, later, in_run=True).status == "PASS"
    looked_at = {name: sum(row["CHECKED"] for row in one.rows) for name, one in outcomes.items()}
    assert looked_at["orders_complete"] == looked_at["duplicates"] == looked_at["raw_vs_prod_counts"] == 0
    assert looked_at["stock_is_last_movement"] > 0


# --- corruptions ---

_ORDERS, _MOVEMENTS, _STOCK = (
    "PRODUCTION.ORDERS",
    "PRODUCTION.INVENTORY_HISTORY",
    "PRODUCTION.INVENTORY_CURRENT",
)
_KEY = {_ORDERS: "ORDER_LINE_ID", _MOVEMENTS: "ADJUSTMENT_ID"}


def _first(warehouse: Warehouse, sql: str) -> Any:
    (row,) = warehouse.query(sql)
    return next(iter(row.values()))


def _set(table: str, change: str) -> Callable[[Warehouse], str]:
    """Changes the first row of a table; gives its key."""

    def corrupt(warehouse: Warehouse) -> str:
        key = _first(warehouse, f"SELECT MIN({_KEY[table]}) FROM {table}")
        warehouse.execute(f"UPDATE {table} SET {change} WHERE {_KEY[table]} = {key}")
        return str(key)

    return corrupt


def _delete(table: str, key: str) -> Callable[[Warehouse], str]:
    """Deletes the row of a batch table that the first order names."""

    def corrupt(warehouse: Warehouse) -> str:
        named = _first(warehouse, f"SELECT {key} FROM {_ORDERS} ORDER BY ORDER_LINE_ID LIMIT 1")
        warehouse.execute(f"DELETE FROM {table} WHERE {key} = {named}")
        return f"names {named}"

    return corrupt


def _stock(change: str) -> Callable[[Warehouse], str]:
    def corrupt(warehouse: Warehouse) -> str:
        (row,) = warehouse.query(
            f"SELECT PRODUCT_ID, WAREHOUSE_LOCATION FROM {_STOCK}"
            " ORDER BY PRODUCT_ID, WAREHOUSE_LOCATION LIMIT 1"
        )
        warehouse.execute(
            f"{change} WHERE PRODUCT_ID = %(product)s AND WAREHOUSE_LOCATION = %(city)s",
            {"product": row["PRODUCT_ID"], "city": row["WAREHOUSE_LOCATION"]},
        )
        return f"{row['PRODUCT_ID']} {row['WAREHOUSE_LOCATION']}"

    return corrupt


_CASES: dict[str, tuple[Callable[[Warehouse], str], set[str]]] = {
    # what: how, and the checks that have to fail
    "customer of an order lost": (
        _set(_ORDERS, "CUSTOMER_ID = NULL"),
        {"orders_complete", "orders_as_staged"},
    ),
    "order without a date": (_set(_ORDERS, "ORDER_DATE = NULL"), {"orders_complete"}),
    "no bottles": (
        _set(_ORDERS, "QUANTITY = 0, TOTAL_AMOUNT = 0"),
        {"orders_in_range", "orders_as_staged", "raw_vs_prod_counts"},
    ),
    "price below zero": (
        _set(_ORDERS, "UNIT_PRICE = -UNIT_PRICE"),
        {"orders_in_range", "orders_price_arithmetic", "orders_as_staged"},
    ),
    "discount of all": (
        _set(_ORDERS, "DISCOUNT = 1"),
        {"orders_in_range", "orders_price_arithmetic", "orders_as_staged"},
    ),
    "unknown category": (
        _set(_ORDERS, "PRODUCT_CATEGORY = 'Orange'"),
        {"orders_in_range", "orders_as_staged"},
    ),
    "a cent more": (
        _set(_ORDERS, "TOTAL_AMOUNT = TOTAL_AMOUNT + 0.01"),
        {"orders_price_arithmetic", "orders_as_staged", "raw_vs_prod_counts"},
    ),
    "time moved within its day": (
        _set(_ORDERS, "EVENT_TIME = DATEADD('second', 1, DATE_TRUNC('day', EVENT_TIME))"),
        {"orders_as_staged", "raw_vs_prod_counts"},
    ),
    "time moved to another day": (
        _set(_ORDERS, "EVENT_TIME = DATEADD('day', -1, EVENT_TIME)"),
        {"orders_in_range", "orders_as_staged", "raw_vs_prod_counts"},
    ),
    "date moved": (_set(_ORDERS, "ORDER_DATE = DATEADD('day', -1, ORDER_DATE)"), {"orders_in_range"}),
    "wine renamed": (_set(_ORDERS, "PRODUCT_NAME = 'Eau'"), {"orders_as_staged"}),
    "another product": (
        _set(_ORDERS, "PRODUCT_ID = 7"),
        {"orders_known_products", "orders_as_staged"},
    ),
    "another customer": (
        _set(_ORDERS, "CUSTOMER_ID = 999999"),
        {"orders_known_customers", "orders_as_staged"},
    ),
    "movement without a type": (
        _set(_MOVEMENTS, "ADJUSTMENT_TYPE = NULL"),
        {"movements_complete", "movements_as_staged"},
    ),
    "movement of an unknown type": (
        _set(_MOVEMENTS, "ADJUSTMENT_TYPE = 'LENT'"),
        {"movements_in_range", "movements_as_staged"},
    ),
    "movement of nothing": (
        _set(_MOVEMENTS, "QUANTITY_CHANGE = 0"),
        {"movements_in_range", "movements_as_staged", "raw_vs_prod_counts"},
    ),
    "movement of an unknown product": (
        _set(_MOVEMENTS, "PRODUCT_ID = 7"),
        {"movements_known_products", "movements_as_staged"},
    ),
    "movement in another city": (
        _set(_MOVEMENTS, "WAREHOUSE_LOCATION = 'Oslo'"),
        {"movements_as_staged"},
    ),
    "stock changed": (
        _stock(f"UPDATE {_STOCK} SET CURRENT_STOCK_LEVEL = CURRENT_STOCK_LEVEL + 1"),
        {"stock_is_last_movement"},
    ),
    "stock of an older movement": (
        _stock(f"UPDATE {_STOCK} SET LAST_MOVEMENT_AT = DATEADD('second', -1, LAST_MOVEMENT_AT)"),
        {"stock_is_last_movement"},
    ),
    "stock renamed": (
        _stock(f"UPDATE {_STOCK} SET PRODUCT_CATEGORY = 'Blanc', PRODUCT_NAME = 'Eau'"),
        {"stock_is_last_movement"},
    ),
    "stock lost": (_stock(f"DELETE FROM {_STOCK}"), {"stock_is_last_movement"}),
    "customer deleted": (
        _delete("BATCH_DATA.CUSTOMERS", "CUSTOMER_ID"),
        {"orders_known_customers", "sales_known_customers"},
    ),
    "product deleted": (
        _delete("BATCH_DATA.INVENTORY", "PRODUCT_ID"),
        {"orders_known_products", "movements_known_products", "sales_known_inventory"},
    ),
}


@pytest.mark.parametrize("case", _CASES)
def test_fails_with_the_offending_keys_and_only_what_is_related_does(spoilt: Caves, case: str) -> None:
    corrupt, expected = _CASES[case]
    spoilt.warehouse.execute(f"UPDATE {_ORDERS} SET UPDATED_AT = DATEADD('day', -1, UPDATED_AT)")
    key = corrupt(spoilt.warehouse)

    outcomes = _outcomes(spoilt)

    possible = {"movements_known_products"} if case == "product deleted" else set()
    failed = {name for name, one in outcomes.items() if one.status != "PASS"}
    assert failed - possible == expected - possible
    for name in expected & failed:
        assert outcomes[name].status == "FAIL"
        assert any(key in said for said in outcomes[name].offending_keys)


def test_what_is_dated_ahead_is_a_warning(spoilt: Caves) -> None:
    key = _set(_ORDERS, "EVENT_TIME = DATEADD('hour', 25, SYSDATE())")(spoilt.warehouse)
    other = _set(_MOVEMENTS, "EVENT_TIME = DATEADD('hour', 25, SYSDATE())")(spoilt.warehouse)
    outcome = _outcomes(spoilt)["events_not_ahead"]

    assert outcome.status == "WARN"
    assert outcome.offending_keys == [f"orders and movements: movement {other}, order {key}"]


def test_a_stock_that_is_still_on_its_way_is_not_wrong(sound: Caves) -> None:
    """Everything at once, so that a stream that a producer feeds never makes a check flicker."""
    sound.publish(sound.events(60, seed=9))
    Ingestion(sound.settings, sound.shop, sound.kafka, sound.warehouse, "test").run()
    for step in sound.shop.transformations:
        outcomes = _outcomes(sound)
        wrong = {name for name, one in outcomes.items() if one.status != "PASS"}
        assert wrong <= {"orders_known_customers", "orders_known_products", "movements_known_products"}
        transform(sound.warehouse, sound.shop, step)
    for table in ("CUSTOMERS", "INVENTORY", "SALES"):
        sound.warehouse.execute(f"DELETE FROM BATCH_DATA.{table}")
    for statement in _LOAD:
        sound.warehouse.execute(statement)


def test_products_cannot_be_told_where_none_are_loaded(spoilt: Caves) -> None:
    spoilt.warehouse.execute("DELETE FROM BATCH_DATA.INVENTORY")
    outcome = _outcomes(spoilt)["orders_known_products"]

    assert outcome.status == "WARN"
    assert outcome.offending_keys == ["orders: BATCH_DATA.INVENTORY is empty: load it"]


def test_a_key_of_a_batch_table_that_is_there_twice_or_missing(caves: Caves) -> None:
    caves.warehouse.execute("DROP TABLE BATCH_DATA.CUSTOMERS")
    caves.warehouse.execute("CREATE TABLE BATCH_DATA.CUSTOMERS (CUSTOMER_ID INTEGER, NAME VARCHAR(200))")
    caves.warehouse.execute(
        "INSERT INTO BATCH_DATA.CUSTOMERS SELECT COLUMN1, 'A' FROM VALUES (1), (2), (2), (3), (NULL)"
    )
    report = validate(caves.settings, caves.shop, caves.warehouse, names=["customers_primary_key"])

    (found,) = [outcome for _, outcome in report.found]
    assert found.status == "FAIL"
    assert found.offending == 2
    assert set(found.offending_keys[0].removeprefix("customers: ").split(", ")) == {"2", "NULL"}


def test_severity_is_a_setting(spoilt: Caves) -> None:
    _set(_ORDERS, "TOTAL_AMOUNT = TOTAL_AMOUNT + 0.01")(spoilt.warehouse)

    def status(severity: dict[str, str]) -> str:
        checks = spoilt.settings.checks.model_copy(update={"severity": severity})
        settings = spoilt.settings.model_copy(update={"checks": checks})
        names = ["orders_price_arithmetic"]
        return validate(settings, spoilt.shop, spoilt.warehouse, names=names).status

    assert status({}) == "FAIL"
    assert status({"orders_price_arithmetic": "WARN"}) == "WARN"
    assert status({"data_quality": "WARN"}) == "WARN"
    assert status({"data_quality": "WARN", "orders_price_arithmetic": "ERROR"}) == "FAIL"
