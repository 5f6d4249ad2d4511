"""A consumer and Dagster's sensors on the same topic, at the same time and in turns: every event once."""

from __future__ import annotations

from pathlib import Path

import dagster as dg
import pytest

from caves_dagster.jobs import pipeline_name
from caves_dagster.local.dagster_services import dagster_services
from caves_dagster_tests.brokers import on_both_brokers, until
from caves_dagster_tests.conftest import Caves
from caves_dagster_tests.consumer.processes import Consumer
from caves_dagster_tests.ingest.accounting import environment, require_exactly_once, require_sound

_UNDER_WAY = {
    dg.DagsterRunStatus.QUEUED,
    dg.DagsterRunStatus.NOT_STARTED,
    dg.DagsterRunStatus.STARTING,
    dg.DagsterRunStatus.STARTED,
}

pytestmark = [on_both_brokers, pytest.mark.slow]


def test_they_take_turns_and_every_event_arrives_once(caves: Caves, tmp_path: Path) -> None:
    home = tmp_path / "home"
    messages = caves.events(900, invalid_rate=0.05)

    def consumed() -> int:
        (row,) = caves.warehouse.query("SELECT COALESCE(SUM(CONSUMED), 0) AS N FROM RAW_DATA.INGEST_BATCHES")
        return int(row["N"])

    def produced() -> int:
        tables = ("PRODUCTION.ORDERS", "PRODUCTION.INVENTORY_HISTORY", "RAW_DATA.DEAD_LETTER_EVENTS")
        return sum(caves.count(table) for table in tables)

    def landed_by_runs() -> int:
        (row,) = caves.warehouse.query(
            "SELECT COUNT(*) AS N FROM RAW_DATA.INGEST_BATCHES WHERE NOT STARTSWITH(RUN_ID, 'consumer-')"
        )
        return int(row["N"])

    def runs() -> set[dg.DagsterRunStatus]:
        with dg.DagsterInstance.from_config(str(home / "dagster")) as instance:
            wanted = dg.RunsFilter(job_name=pipeline_name(caves.shop))
            return {run.status for run in instance.get_runs(wanted)}

    def stands_back() -> bool:
        """Whether the sensor's last tick saw the lease, so that no later one launches a run."""
        with dg.DagsterInstance.from_config(str(home / "dagster")) as instance:
            sensors = [one for one in instance.all_instigator_state() if one.name == "caves_kafka_sensor"]
            ticks = [
                tick
                for one in sensors
                for tick in instance.get_ticks(one.instigator_origin_id, one.selector_id, limit=1)
            ]
        return any((tick.skip_reason or "").startswith("The consumer is landing") for tick in ticks)

    consumer: Consumer | None = None
    try:
        with dagster_services(home, environment(caves)):
            variables = {"DAGSTER_HOME": str(home / "dagster")}
            # Started into a backlog that the sensors are at as well.
            caves.publish(messages[:200])
            consumer = Consumer(caves, tmp_path / "log", "--transform", **variables)
            until(lambda: produced() == 200, "the backlog is in production", 120)
            consumer.await_word("Given partitions")
            until(stands_back, "the sensor sees the lease", 60)
            until(lambda: not runs() & _UNDER_WAY, "no run is under way that began before the lease", 60)
            before = landed_by_runs()
            for begin in range(200, 500, 50):
                caves.publish(messages[begin : begin + 50])
                until(lambda end=begin + 50: consumed() == end, "the consumer lands", 60)  # type: ignore[misc]
            assert landed_by_runs() == before, "the sensors did not stand back"
            consumer.kill()
            caves.publish(messages[500:700])
            until(lambda: produced() == 700, "the sensors took over", 120)
            consumer = Consumer(caves, tmp_path / "log", "--transform", **variables)
            caves.publish(messages[700:])
            until(lambda: produced() == 900, "the rest is in production", 120)
            assert consumer.stop() == 0, consumer.said
            assert runs() <= _UNDER_WAY | {dg.DagsterRunStatus.SUCCESS}
    finally:
        if consumer:
            consumer.kill()
    require_exactly_once(caves, messages)
    require_sound(caves)
