"""The demo's history: loaded by Dagster runs, and found out when a figure is not right."""

from __future__ import annotations

from dataclasses import replace
from decimal import Decimal
from pathlib import Path

import pytest

from caves_dagster.demo_history import (
    HISTORY_DAYS,
    HISTORY_SALES,
    Sold,
    history_problems,
    load_history,
    sales_by_source,
)
from caves_dagster.errors import PlatformError
from caves_dagster_tests.batch.conftest import Batches, batches  # noqa: F401 - the fixture


@pytest.fixture
def loaded(batches: Batches, tmp_path: Path) -> Batches:  # noqa: F811
    """The demo's history, and one order of the stream."""
    batches.batch.source.unlink()
    load_history(batches.settings, batches.shop, batches.instance)
    batches.warehouse.execute(
        "INSERT INTO PRODUCTION.ORDERS (ORDER_LINE_ID, QUANTITY, TOTAL_AMOUNT, KAFKA_TOPIC, KAFKA_PARTITION, "
        "KAFKA_OFFSET, LOADED_AT, UPDATED_AT) VALUES (1, 2, 12.34, 't', 0, 0, SYSDATE(), SYSDATE())"
    )
    return batches


def test_history_and_stream_add_up_and_what_does_not_is_said(loaded: Batches) -> None:
    assert loaded.instance.get_runs_count() == 2
    sales = sales_by_source(loaded.warehouse)
    assert sales["BATCH"].rows == HISTORY_SALES
    assert sales["STREAMING"] == Sold(1, Decimal("12.34"))
    (row,) = loaded.warehouse.query("SELECT COUNT(DISTINCT SALE_DATE::DATE) AS N FROM BATCH_DATA.SALES")
    assert row["N"] == HISTORY_DAYS
    assert history_problems(loaded.settings, loaded.warehouse, sales) == []

    (problem,) = history_problems(
        loaded.settings, loaded.warehouse, {**sales, "BATCH": replace(sales["BATCH"], rows=1)}
    )
    assert "CONSOLIDATED_SALES has Sold(rows=1" in problem
    loaded.warehouse.execute("UPDATE BATCH_DATA.SALES SET TOTAL_PRICE = TOTAL_PRICE + 0.01 WHERE SALE_ID = 1")
    (problem,) = history_problems(loaded.settings, loaded.warehouse, sales_by_source(loaded.warehouse))
    assert "the seed's file" in problem


def test_a_history_that_cannot_be_loaded_ends_the_demo(batches: Batches) -> None:  # noqa: F811
    """The source is not a seed's: it is not written over."""
    with pytest.raises(PlatformError, match="The run of caves_seed failed"):
        load_history(batches.settings, batches.shop, batches.instance)
