"""The transformations behind the consumer: what they take, and when."""

from __future__ import annotations

import time

import pytest

from caves_dagster.consumer.transform import Transformer
from caves_dagster_tests.brokers import until
from caves_dagster_tests.conftest import Caves
from caves_dagster_tests.ingest.accounting import ingest


def test_what_others_landed_is_transformed_although_nothing_of_its_own_comes(
    caves: Caves, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A replay of dead letters on a quiet topic: the stream sensor stands back for the consumer."""
    monkeypatch.setattr("caves_dagster.consumer.transform.LOOK_SECONDS", 0.2)
    passes: list[object] = []
    transformer = Transformer(caves.settings, caves.shop, passes.append)
    transformer.start()
    try:
        until(lambda: bool(passes), "what was there before was taken")
        time.sleep(1)
        assert len(passes) == 1, "nothing is transformed where nothing waits"
        caves.publish(caves.events(20))
        ingest(caves)
        produced = ("PRODUCTION.ORDERS", "PRODUCTION.INVENTORY_HISTORY")
        until(lambda: sum(caves.count(table) for table in produced) == 20, "everything is in production")
    finally:
        transformer.stop(30)
