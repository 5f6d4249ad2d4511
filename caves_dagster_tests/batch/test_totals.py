"""Batch tables held against their source."""

from __future__ import annotations

import pytest

from caves_dagster.checks.check import Outcome
from caves_dagster.checks.report import validate
from caves_dagster_tests.batch.conftest import Batches
from caves_dagster_tests.batch.sources import PRODUCT, SALE

# Of dagster and its integrations, not ours.
pytestmark = pytest.mark.filterwarnings("default")


def _totals(batches: Batches, name: str) -> Outcome:
    report = validate(batches.settings, batches.shop, batches.warehouse, names=[f"{name}_totals"])
    ((_, outcome),) = report.found
    return outcome


def test_loaded_tables_add_up(batches: Batches) -> None:
    assert batches.load().success

    for name in ("customers", "inventory", "sales"):
        outcome = _totals(batches, name)
        assert (outcome.status, outcome.said) == ("PASS", "")
    (row,) = _totals(batches, "sales").rows
    assert (row["ROWS"], row["ROWS_IN_SOURCE"], row["QUANTITY_SOLD"], row["TOTAL_PRICE"]) == (1, 1, 6, 111)


def test_a_row_lost_or_changed_or_a_source_that_changed(batches: Batches) -> None:
    assert batches.load().success
    batches.warehouse.execute("UPDATE BATCH_DATA.SALES SET TOTAL_PRICE = TOTAL_PRICE + 0.01")
    outcome = _totals(batches, "sales")
    assert outcome.status == "FAIL"
    assert outcome.offending_keys == ["sales: TOTAL_PRICE 111.01, in the source 111.00"]

    batches.warehouse.execute("DELETE FROM BATCH_DATA.INVENTORY")
    batches.write(inventory=[PRODUCT, (1016, *PRODUCT[1:])])
    assert _totals(batches, "inventory").status == "WARN"
    assert "BATCH_DATA.INVENTORY is empty: load it" in _totals(batches, "inventory").said
    assert batches.load("inventory").success
    batches.write()
    outcome = _totals(batches, "inventory")
    assert outcome.offending_keys == [
        "inventory: ROWS 2, in the source 1, STOCK_QUANTITY 24, in the source 12"
    ]


def test_days_that_are_not_loaded_yet_are_no_loss(batches: Batches) -> None:
    batches.write(sales=[SALE, (2, "2026-07-01 10:00:00", *SALE[2:])])
    assert batches.load().success

    assert _totals(batches, "sales").status == "PASS"


def test_without_its_source_nothing_can_be_told(batches: Batches) -> None:
    assert batches.load().success
    batches.batch.source.unlink()

    outcome = _totals(batches, "sales")

    assert outcome.status == "WARN"
    assert "nothing to compare with: There is no batch source at " in outcome.said


def test_a_source_that_cannot_be_read_fails_with_the_reason(batches: Batches) -> None:
    assert batches.load().success
    batches.write(sales=[(*SALE[:4], "six", *SALE[5:])])

    outcome = _totals(batches, "sales")

    assert outcome.status == "FAIL"
    assert "'six', expected" in outcome.problem
