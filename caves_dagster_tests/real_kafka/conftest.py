"""Every test of this folder runs on a real Kafka, with the fixtures of the others."""

from __future__ import annotations

from pathlib import Path

import pytest

from caves_dagster.local.apache_kafka.node import ApacheKafka
from caves_dagster_tests.brokers import ApacheBroker


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Every test of this folder needs a real Kafka."""
    here = Path(__file__).parent
    for item in items:
        if here in item.path.parents:
            item.add_marker(pytest.mark.real_kafka)


@pytest.fixture
def broker(apache_broker: ApacheBroker) -> ApacheBroker:
    """The test's broker."""
    return apache_broker


@pytest.fixture
def own_kafka(spare_broker: ApacheBroker) -> ApacheKafka:
    """The node under `spare_caves`, which the test may stop, kill and empty."""
    return spare_broker.node
