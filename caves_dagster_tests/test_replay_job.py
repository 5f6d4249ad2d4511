"""The replay as a Dagster job: what its config chooses, what it shows, and that its rows flow on."""

from __future__ import annotations

import time
from typing import Any

import dagster as dg
import pytest

from caves_dagster.definitions import build_definitions
from caves_dagster.run_tags import HEARTBEAT_TAG
from caves_dagster.sensor_clients import Clients
from caves_dagster.sensors import stream_tick
from caves_dagster.warehouse.connection import Warehouse
from caves_dagster_tests.conftest import Caves
from caves_dagster_tests.ingest.accounting import accounted_for, dead_letters, ingest, landed_ids

JOB = "caves_replay_dead_letters"


def run_replay(caves: Caves, instance: dg.DagsterInstance, **config: Any) -> dict[str, Any]:
    """Run the job, and return what it shows."""
    job = build_definitions(caves.settings).resolve_job_def(JOB)
    run_config = {"ops": {"caves_replay": {"config": config}}}
    result = job.execute_in_process(run_config=run_config, instance=instance)
    (output,) = (event for event in result.all_node_events if event.is_successful_output)
    assert HEARTBEAT_TAG in result.dagster_run.tags or instance.get_run_tags(tag_keys=[HEARTBEAT_TAG])
    return {name: value.value for name, value in output.step_output_data.metadata.items()}


def test_its_config_chooses_and_its_rows_reach_production(caves: Caves, instance: dg.DagsterInstance) -> None:
    events = caves.events(30, invalid_rate=0.2)
    invalid = sum(event.event_id is None for event in events)
    caves.publish(events)
    ingest(caves, max_event_bytes=10)
    empty = sum(row["FAILURE_CLASS"] == "EMPTY" for row in dead_letters(caves))

    shown = run_replay(caves, instance, dry_run=True)
    assert (shown["matching"], shown["would_land"]) == (30, 30 - invalid)
    assert landed_ids(caves).total() == 0
    shown = run_replay(caves, instance, failure_class="too_large", limit=4)
    assert shown["matching"] == shown["landed"] + shown["stay_dead"] == 4
    shown = run_replay(caves, instance, since="1h")
    assert shown["stay_dead"] == invalid
    assert ("EMPTY" in shown["dead_letters_by_class"]) == bool(empty)
    assert set(landed_ids(caves).values()) == {1}
    assert landed_ids(caves).total() == 30 - invalid
    assert run_replay(caves, instance, since="1h", failure_class="NONE")["matching"] == 0

    with Warehouse(caves.settings.snowflake) as session:
        asked = stream_tick(caves.shop, Clients(caves.kafka, session), None, "", time.time())
    (request,) = asked.run_requests or []
    keys = list(request.asset_selection or [])
    assert dg.AssetKey(["staging", "stg_orders"]) in keys
    assert dg.AssetKey(caves.shop.raw.key) not in keys
    pipeline = build_definitions(caves.settings).resolve_job_def("caves_pipeline")
    assert pipeline.execute_in_process(asset_selection=keys, instance=instance).success
    produced = caves.count("PRODUCTION.ORDERS") + caves.count("PRODUCTION.INVENTORY_HISTORY")
    assert produced == 30 - invalid
    assert accounted_for(caves).status == "PASS"


def test_its_run_stands_in_nobody_s_way(caves: Caves) -> None:
    """In no pool, and of another job than the sensors look at."""
    job = build_definitions(caves.settings).resolve_job_def(JOB)
    assert not any(node.definition.pools for node in job.nodes)
    assert job.executor_def is dg.in_process_executor


def test_a_malformed_config_is_refused_with_what_is_valid(caves: Caves, instance: dg.DagsterInstance) -> None:
    with pytest.raises(Exception, match=r"'yesterday' is no time"):
        run_replay(caves, instance, since="yesterday")
    with pytest.raises(dg.DagsterInvalidConfigError, match="failure_clas"):
        run_replay(caves, instance, failure_clas="CONTRACT")
