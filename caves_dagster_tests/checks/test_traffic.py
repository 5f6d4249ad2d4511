"""Validation beside a live producer: what is on its way is not wrong, and no check flickers."""

from __future__ import annotations

import threading
import time
from collections import Counter
from pathlib import Path

import dagster as dg
import pytest

from caves_dagster.checks.report import validate
from caves_dagster.kafka.producer import publish
from caves_dagster.local.dagster_services import dagster_home, dagster_services
from caves_dagster.shops.caves.catalogue import PRODUCTS
from caves_dagster_tests.conftest import Caves
from caves_dagster_tests.ingest.accounting import environment

pytestmark = pytest.mark.slow

_RATE, _SECONDS, _VALIDATIONS = 200, 120, 20
_LEFT_OUT = {"low_stock", "customers_totals", "inventory_totals", "sales_totals"}
"""Stock runs low as it will, and no batch source stands behind the tables of this test."""


def _load_batch(caves: Caves) -> None:
    """The products and customers that events name."""
    caves.warehouse.execute(
        "INSERT INTO BATCH_DATA.CUSTOMERS SELECT VALUE::INTEGER, 'A', 'a@b', '2026-01-01'::DATE"
        " FROM TABLE(FLATTEN(INPUT => PARSE_JSON(%(ids)s)))",
        {"ids": str(list(range(1, 151)))},
    )
    caves.warehouse.execute(
        "INSERT INTO BATCH_DATA.INVENTORY SELECT VALUE::INTEGER, 'A', 'Rouge', 1, 0.75, 1"
        " FROM TABLE(FLATTEN(INPUT => PARSE_JSON(%(ids)s)))",
        {"ids": str([product.product_id for product in PRODUCTS])},
    )
    caves.warehouse.execute(
        "INSERT INTO BATCH_DATA.SALES SELECT 1, '2026-01-01'::TIMESTAMP_NTZ, 1, 1000, 1, 1, 'E-com'"
    )


@pytest.mark.topic(64)
def test_twenty_validations_in_a_row_are_green_beside_200_events_a_second(
    caves: Caves, tmp_path: Path
) -> None:
    _load_batch(caves)
    events = caves.events(_RATE * _SECONDS)
    sending = threading.Thread(
        target=publish, args=(caves.settings.kafka, caves.shop.topic, events), kwargs={"rate": _RATE}
    )
    home = tmp_path / "home"
    statuses: list[Counter[str]] = []
    wrong: list[str] = []
    with (
        dagster_services(home, environment(caves)),
        dg.DagsterInstance.from_config(str(dagster_home(home))) as instance,
    ):
        sending.start()
        while not caves.count("PRODUCTION.ORDERS"):
            time.sleep(0.5)
        # Twenty of them over most of the time, the first at once.
        until = time.monotonic() + _SECONDS * 0.8
        for number in range(_VALIDATIONS):
            report = validate(caves.settings, caves.shop, caves.warehouse, instance)
            found = [one for _, one in report.found if one.name not in _LEFT_OUT]
            statuses.append(Counter(one.status for one in found))
            not_green = [one for one in found if one.status != "PASS"]
            wrong += [f"{number}: {one.name} {one.status} {one.said}" for one in not_green]
            time.sleep(max(0.0, (until - time.monotonic()) / (_VALIDATIONS - number)))
        sending.join()
    assert wrong == []
    assert len(statuses) == _VALIDATIONS
    assert all(found["PASS"] > 30 for found in statuses)
