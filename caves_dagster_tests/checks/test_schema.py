"""Schema drift: a table that is no longer what its DDL says."""

from __future__ import annotations

import pytest

from caves_dagster.checks.check import Outcome
from caves_dagster.checks.report import validate
from caves_dagster.warehouse.stored import stored_type
from caves_dagster_tests.conftest import Caves


def _schema(caves: Caves) -> Outcome:
    ((_, outcome),) = validate(caves.settings, caves.shop, caves.warehouse, names=["schema_orders"]).found
    return outcome


@pytest.mark.parametrize(
    ("change", "status", "said"),
    [
        ("ADD COLUMN GIFT BOOLEAN", "WARN", "GIFT is not in the DDL"),
        ("DROP COLUMN DISCOUNT", "FAIL", "DISCOUNT is missing"),
        ("RENAME COLUMN DISCOUNT TO REBATE", "FAIL", "DISCOUNT is missing, REBATE is not in the DDL"),
    ],
)
def test_a_changed_table(caves: Caves, change: str, status: str, said: str) -> None:
    assert _schema(caves).status == "PASS"
    caves.warehouse.execute(f"ALTER TABLE PRODUCTION.ORDERS {change}")

    outcome = _schema(caves)

    assert (outcome.status, outcome.offending_keys) == (status, [f"PRODUCTION.ORDERS: {said}"])


def test_columns_of_other_types(caves: Caves) -> None:
    caves.warehouse.execute("DROP TABLE PRODUCTION.ORDERS")
    caves.warehouse.execute(
        "CREATE TABLE PRODUCTION.ORDERS (ORDER_LINE_ID INTEGER, PRODUCT_NAME VARCHAR(99),"
        " TOTAL_AMOUNT DECIMAL(12, 2), EVENT_TIME DATE)"
    )

    outcome = _schema(caves)

    assert outcome.status == "FAIL"
    for said in (
        "ORDER_LINE_ID takes NULL",
        "PRODUCT_NAME is TEXT(99), expected TEXT(200)",
        "TOTAL_AMOUNT is NUMBER(12, 2), expected NUMBER(10, 2)",
        "EVENT_TIME is DATE, expected TIMESTAMP_NTZ",
        "KAFKA_OFFSET is missing",
    ):
        assert said in outcome.said


def test_a_table_that_is_gone(caves: Caves) -> None:
    caves.warehouse.execute("DROP TABLE PRODUCTION.ORDERS")

    outcome = _schema(caves)

    assert outcome.status == "FAIL"
    assert outcome.offending_keys == ["PRODUCTION.ORDERS: there is no such table: run `caves setup`"]


@pytest.mark.parametrize(
    ("declared", "stored"),
    [
        ("INTEGER", "NUMBER(38, 0)"),
        ("DECIMAL(10, 2)", "NUMBER(10, 2)"),
        ("VARCHAR(50)", "TEXT(50)"),
        ("BIGINT", "NUMBER(38, 0)"),
        ("DECIMAL(10)", "NUMBER(10, 0)"),
        ("TIMESTAMP_LTZ", "TIMESTAMP_LTZ"),
        ("TIMESTAMP_NTZ(6)", "TIMESTAMP_NTZ"),
        ("TIMESTAMPTZ", "TIMESTAMP_TZ"),
        ("BINARY(8388608)", "BINARY"),
        ("VARIANT", "VARIANT"),
    ],
)
def test_types_as_the_information_schema_calls_them(declared: str, stored: str) -> None:
    assert stored_type(declared) == stored
