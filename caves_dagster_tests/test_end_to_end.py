"""The job as Dagster runs it: from the topic to analytics, with checks; and the daemon, killed on the way."""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import dagster as dg
import psutil
import pytest

from caves_dagster.checks.catalogue import shop_checks
from caves_dagster.definitions import build_definitions
from caves_dagster.local.dagster_services import dagster_services
from caves_dagster.run_tags import HEARTBEAT_TAG
from caves_dagster_tests.brokers import on_both_brokers
from caves_dagster_tests.conftest import Caves
from caves_dagster_tests.ingest.accounting import environment, require_exactly_once, require_sound
from caves_dagster_tests.local.conftest import processes_of

pytestmark = on_both_brokers

JOB = "caves_pipeline"


def run_job(caves: Caves, instance: dg.DagsterInstance) -> dg.ExecuteInProcessResult:
    """The pipeline, run as in production but in this process."""
    job = build_definitions(caves.settings).resolve_job_def(JOB)
    return job.execute_in_process(instance=instance, raise_on_error=False)


def metadata(result: dg.ExecuteInProcessResult) -> dict[str, dict[str, Any]]:
    """What each materialised asset says of itself, by key."""
    return {
        event.materialization.asset_key.to_user_string(): {
            name: value.value for name, value in event.materialization.metadata.items()
        }
        for event in result.get_asset_materialization_events()
    }


def expected_checks(caves: Caves) -> set[str]:
    """Those that a run of the pipeline evaluates."""
    found = shop_checks(caves.settings, caves.shop)
    return {check.name for check in found if check.in_runs and check.asset in caves.shop.tables}


def test_the_job_carries_a_topic_to_production_and_its_checks_pass(
    caves: Caves, instance: dg.DagsterInstance
) -> None:
    messages = caves.events(400, invalid_rate=0.1)
    invalid = sum(message.event_id is None for message in messages)
    caves.publish(messages)

    result = run_job(caves, instance)

    assert result.success
    orders, movements = caves.count("PRODUCTION.ORDERS"), caves.count("PRODUCTION.INVENTORY_HISTORY")
    assert orders + movements == 400 - invalid
    assert caves.count("RAW_DATA.DEAD_LETTER_EVENTS") == invalid > 0
    checks = {evaluation.check_name: evaluation for evaluation in result.get_asset_check_evaluations()}
    assert set(checks) == expected_checks(caves)
    assert all(evaluation.passed for evaluation in checks.values())
    assert all("figures" in evaluation.metadata for evaluation in checks.values())


def test_nothing_is_checked_before_everything_is_transformed(
    caves: Caves, instance: dg.DagsterInstance
) -> None:
    caves.publish(caves.events(50))
    run_id = run_job(caves, instance).run_id
    started = instance.all_logs(run_id, of_type=dg.DagsterEventType.STEP_START)
    steps = [entry.step_key or "" for entry in started]
    transformations = {f"caves_{step.stream.name.lower()}" for step in caves.shop.transformations}
    first_check = [step.endswith("_checks") for step in steps].index(True)
    assert set(steps[1 : 1 + len(transformations)]) == transformations
    assert first_check > len(transformations)


def test_what_the_run_shows_is_what_happened(caves: Caves, instance: dg.DagsterInstance) -> None:
    messages = caves.events(200, invalid_rate=0.1)
    invalid = sum(message.event_id is None for message in messages)
    caves.publish(messages)

    shown = metadata(run_job(caves, instance))

    raw = shown["raw_data/raw_events_stream"]
    assert (raw["events_landed"], raw["dead_letters"]) == (200 - invalid, invalid)
    assert (raw["lag_before"], raw["lag_after"], raw["offsets_skipped"]) == (200, 0, 0)
    assert sum(raw["positions"].values()) == 200
    assert raw["events_per_second"] > 0
    assert raw["bytes"] == sum(len(message.key or b"") + len(message.value or b"") for message in messages)
    assert raw["dead_letters_by_class"].startswith("| CLASS | DEAD_LETTERS |")
    assert "ORDER_CREATED" in raw["sample"]
    for table in caves.shop.tables[1:]:
        figures = shown["/".join(table.key)]
        total = caves.count(table.full_name)
        assert figures["dagster/row_count"] == figures["rows_changed"] == total > 0, table
        assert figures["sample"].count("\n") == 1 + min(5, total), table
    for view in caves.shop.views:
        assert shown["/".join(view.key)]["dagster/row_count"] == caves.count(view.full_name), view


def test_a_run_without_news_changes_nothing_and_says_so(caves: Caves, instance: dg.DagsterInstance) -> None:
    caves.publish(caves.events(50))
    run_job(caves, instance)
    before = {table.full_name: caves.count(table.full_name) for table in caves.shop.tables}

    result = run_job(caves, instance)

    assert result.success
    seen = metadata(result)
    assert seen["raw_data/raw_events_stream"]["events_landed"] == 0
    assert {seen["/".join(table.key)]["rows_changed"] for table in caves.shop.tables[1:]} == {0}
    assert {table.full_name: caves.count(table.full_name) for table in caves.shop.tables} == before


def test_a_check_that_fails_names_the_keys_and_does_not_stop_landing(
    caves: Caves, instance: dg.DagsterInstance
) -> None:
    caves.publish(caves.events(50))
    run_job(caves, instance)
    (victim,) = caves.warehouse.query("SELECT MIN(ORDER_LINE_ID) AS K FROM PRODUCTION.ORDERS")
    caves.warehouse.execute(
        f"INSERT INTO PRODUCTION.ORDERS SELECT * FROM PRODUCTION.ORDERS WHERE ORDER_LINE_ID = {victim['K']}"
    )
    more = caves.events(50, seed=2)
    caves.publish(more)

    result = run_job(caves, instance)

    failed = {e.check_name: e for e in result.get_asset_check_evaluations() if not e.passed}
    assert "duplicates" in failed
    assert str(victim["K"]) in str(failed["duplicates"].metadata["offending_keys"].value)
    assert str(victim["K"]) in (failed["duplicates"].description or "")
    assert failed["duplicates"].severity is dg.AssetCheckSeverity.ERROR
    assert caves.count("RAW_DATA.RAW_EVENTS_STREAM") == 100
    produced = caves.count("PRODUCTION.ORDERS") + caves.count("PRODUCTION.INVENTORY_HISTORY")
    assert produced == 101, "the doubled row included"


def test_a_run_whose_transformation_fails_keeps_what_landed_and_the_next_one_goes_on(
    caves: Caves, instance: dg.DagsterInstance
) -> None:
    caves.publish(caves.events(50))
    caves.warehouse.execute("ALTER TABLE PRODUCTION.ORDERS RENAME TO PRODUCTION.ORDERS_AWAY")
    first = run_job(caves, instance)
    assert not first.success
    assert caves.count("RAW_DATA.RAW_EVENTS_STREAM") == 50
    caves.warehouse.execute("ALTER TABLE PRODUCTION.ORDERS_AWAY RENAME TO PRODUCTION.ORDERS")
    caves.publish(caves.events(50, seed=2))

    assert run_job(caves, instance).success

    assert caves.count("PRODUCTION.ORDERS") + caves.count("PRODUCTION.INVENTORY_HISTORY") == 100
    require_sound(caves)


def test_a_run_s_heart_beats(caves: Caves, instance: dg.DagsterInstance) -> None:
    began = time.time()
    result = run_job(caves, instance)
    run = instance.get_run_by_id(result.run_id)
    assert run is not None
    assert int(began) - 1 <= float(run.tags[HEARTBEAT_TAG]) <= time.time() + 1


def test_an_event_of_one_kind_has_every_check_evaluated(caves: Caves, instance: dg.DagsterInstance) -> None:
    caves.publish([message for message in caves.events(60) if b"ORDER_CREATED" in (message.value or b"")][:3])

    result = run_job(caves, instance)

    evaluated = {evaluation.check_name for evaluation in result.get_asset_check_evaluations()}
    assert evaluated == expected_checks(caves)


# --- the daemon


def wait_for(condition: Callable[[], Any], seconds: float, what: str) -> Any:
    """The first true answer."""
    deadline = time.monotonic() + seconds
    while not (answer := condition()):
        assert time.monotonic() < deadline, f"{what} within {seconds:.0f} s"
        time.sleep(0.1)
    return answer


def run_processes(code_server: psutil.Process) -> list[psutil.Process]:
    """The processes of runs that the code server started."""
    found = []
    with suppress(psutil.Error):
        for child in code_server.children(recursive=True):
            with suppress(psutil.Error):
                if any("spawn_main" in word for word in child.cmdline()):
                    found.append(child)
    return found


def kill(process: psutil.Process) -> None:
    with suppress(psutil.Error):
        process.kill()
        process.wait(timeout=10)


@pytest.mark.slow
def test_the_daemon_s_sensors_carry_every_event_although_a_run_and_the_daemon_are_killed(
    caves: Caves, tmp_path: Path
) -> None:
    home = tmp_path / "home"
    family: list[psutil.Process] = []
    messages = caves.events(300, invalid_rate=0.1)
    # Small batches: a run takes some seconds, and can be killed between two of them.
    variables = environment(caves, CAVES_BATCH_MAX_EVENTS="5")

    def batches() -> int:
        return caves.count("RAW_DATA.INGEST_BATCHES")

    def produced() -> int:
        tables = ("PRODUCTION.ORDERS", "PRODUCTION.INVENTORY_HISTORY", "RAW_DATA.DEAD_LETTER_EVENTS")
        return sum(caves.count(table) for table in tables)

    caves.publish(messages[:200])
    try:
        with dagster_services(home, variables) as services:
            wait_for(lambda: batches() >= 3, 90, "no run landed anything")
            (run,) = run_processes(services.code_server)
            kill(run)
            at_kill = batches()
            assert at_kill < 40, "the run was over before it could be killed"
            caves.publish(messages[200:])
            # A run that has not begun to beat would count as alive for longer.
            wait_for(lambda: batches() > at_kill + 1, 90, "no run after the killed one")
            family += services.code_server.children(recursive=True)
            for process in (services.daemon, services.code_server):
                kill(process)
        with dagster_services(home, variables):
            wait_for(lambda: produced() == 300, 150, "not everything arrived")
    finally:
        for process in family:
            kill(process)
    require_exactly_once(caves, messages)
    require_sound(caves)
    assert processes_of(home) == []
