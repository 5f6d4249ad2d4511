"""A backlog is drained in memory that does not grow with it, nor with the size of its messages."""

from __future__ import annotations

import pytest

from caves_dagster.local.platform import Platform
from caves_dagster_tests.backlog.measure import MEGABYTE, measure, problems
from caves_dagster_tests.brokers import ApacheBroker


@pytest.mark.slow
def test_five_times_the_backlog_takes_no_more_memory(platform: Platform, broker: ApacheBroker) -> None:
    backlogs = [measure(platform.home, broker.bootstrap_servers, events) for events in (200_000, 1_000_000)]
    # More than the two that are in memory at once, even of the smaller one.
    assert [backlog.batches for backlog in backlogs] == [4, 20]
    assert problems(backlogs) == []


def test_messages_of_1_mib_are_drained_in_the_same_memory(platform: Platform, broker: ApacheBroker) -> None:
    backlog = measure(platform.home, broker.bootstrap_servers, 160, event_bytes=2**20)
    assert backlog.bytes > 160 * MEGABYTE
    assert backlog.batches >= 5
    assert problems([backlog]) == []
