"""Freshness and alerts as Dagster's own daemon drives them."""

from __future__ import annotations

import time
from pathlib import Path

import dagster as dg
import pytest
from dagster._core.definitions.freshness import FreshnessState

from caves_dagster.freshness import watched
from caves_dagster.local.dagster_services import dagster_services
from caves_dagster.local.platform import BROKER, Platform, running_platform
from caves_dagster_tests.alerts.servers import running_hook
from caves_dagster_tests.brokers import EmbeddedBroker, until
from caves_dagster_tests.conftest import caves_on
from caves_dagster_tests.ingest.accounting import environment
from caves_dagster_tests.local.conftest import processes_of

FAIL_MINUTES = 1.2
TITLE = "*{}: freshness of Les Caves d'Albert*"


@pytest.mark.slow
def test_a_quiet_topic_stays_fresh_and_one_that_cannot_be_read_gets_stale_and_is_told(
    platform: Platform, tmp_path: Path
) -> None:
    home = tmp_path / "home"
    with (
        running_hook() as hook,
        running_platform(tmp_path / "broker", servers=(BROKER,)) as own,
        caves_on(platform, EmbeddedBroker(own), "fresh") as caves,
    ):
        caves.publish(caves.events(20))
        variables = environment(
            caves,
            CAVES_ALERT_WEBHOOK_URL=hook.url,
            CAVES_ALERT_GRACE_SECONDS="1",
            CAVES_FRESHNESS_WARN_MINUTES="1",
            CAVES_FRESHNESS_FAIL_MINUTES=str(FAIL_MINUTES),
            CAVES_KAFKA_TIMEOUT_SECONDS="2",
            FRESHNESS_DAEMON_INTERVAL_SECONDS="2",
        )
        tables = watched(caves.shop)
        with (
            dagster_services(home, variables),
            dg.DagsterInstance.from_config(str(home / "dagster")) as instance,
        ):

            def states() -> set[FreshnessState]:
                records = instance.event_log_storage.get_freshness_state_records(tables)
                return {one.freshness_state for one in records.values()} if len(records) == 4 else set()

            until(lambda: states() == {FreshnessState.PASS}, "every table is fresh", 90)
            quiet_until = time.monotonic() + 60 * FAIL_MINUTES + 15
            while time.monotonic() < quiet_until:
                assert states() == {FreshnessState.PASS}
                time.sleep(0.5)
            assert hook.taken() == []

            own.stop()
            until(lambda: FreshnessState.FAIL in states(), "a table is stale", 60 * FAIL_MINUTES + 60)
            until(lambda: len(hook.texts) > 0, "it was told", 30)
            until(lambda: states() == {FreshnessState.FAIL}, "all are stale", 60)

            own.start()
            EmbeddedBroker(own).make_topic(caves.shop.topic)
            caves.publish(caves.events(5, seed=2))
            until(lambda: states() == {FreshnessState.PASS}, "they are fresh again", 90)
            until(lambda: len(hook.texts) > 1, "its end was told", 30)
            titles = [text.splitlines()[0] for text in hook.texts]
            assert titles == [TITLE.format("Failing"), TITLE.format("Over")]
    assert processes_of(home) == []
