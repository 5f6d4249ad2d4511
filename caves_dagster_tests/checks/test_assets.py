"""The checks in Dagster's runs: what the UI shows, what a window leaves out, what a failed check stops."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import dagster as dg
import pytest

from caves_dagster.checks.catalogue import integrity_checks, shop_checks
from caves_dagster.decision import RunFacts, gate
from caves_dagster.definitions import build_definitions
from caves_dagster.ingest.run import Ingestion
from caves_dagster.jobs import pipeline_name
from caves_dagster.runs import look_at_runs
from caves_dagster_tests.conftest import Caves
from caves_dagster_tests.raw_rows import consume_all

_CHECKS = {"offsets_accounted_for", "raw_vs_prod_counts", "duplicates", "dead_letter_budget"}
_Found = dict[str, dg.AssetCheckEvaluation]


@contextmanager
def _jobs(caves: Caves) -> Iterator[dg.Definitions]:
    only = dg.define_asset_job(
        "checks",
        dg.AssetSelection.checks(
            *(
                dg.AssetCheckKey(dg.AssetKey(one.asset.key), one.name)
                for one in shop_checks(caves.settings, caves.shop)
                if one.name in _CHECKS
            )
        ),
        executor_def=dg.in_process_executor,
    )
    yield dg.Definitions.merge(build_definitions(caves.settings), dg.Definitions(jobs=[only]))


def _evaluate(caves: Caves, instance: dg.DagsterInstance) -> _Found:
    """Some of the checks in a run of their own in this process."""
    with _jobs(caves) as definitions:
        result = definitions.resolve_job_def("checks").execute_in_process(
            instance=instance, raise_on_error=False
        )
        return {found.check_name: found for found in result.get_asset_check_evaluations()}


def _figures(evaluation: dg.AssetCheckEvaluation) -> str:
    return str(evaluation.metadata["figures"].value)


@pytest.fixture
def sound(caves: Caves) -> Caves:
    """Forty events on their way's end."""
    caves.publish(caves.events(40))
    Ingestion(caves.settings, caves.shop, caves.kafka, caves.warehouse, "test").run()
    consume_all(caves.warehouse, caves.shop)
    return caves


def test_dagster_shows_figures_and_offending_keys(sound: Caves, instance: dg.DagsterInstance) -> None:
    found = _evaluate(sound, instance)
    assert {name: one.passed for name, one in found.items()} == dict.fromkeys(_CHECKS, True)
    for one in found.values():
        assert one.metadata["offending"].value == 0
        assert "offending_keys" not in one.metadata
        assert _figures(one).startswith("| SUBJECT |")

    (key,) = (
        row["K"] for row in sound.warehouse.query("SELECT MIN(ORDER_LINE_ID) AS K FROM PRODUCTION.ORDERS")
    )
    sound.warehouse.execute(f"DELETE FROM PRODUCTION.ORDERS WHERE ORDER_LINE_ID = {key}")
    found = _evaluate(sound, instance)
    assert {name for name, one in found.items() if not one.passed} == {"raw_vs_prod_counts"}
    wrong = found["raw_vs_prod_counts"]
    assert wrong.severity == dg.AssetCheckSeverity.ERROR
    assert wrong.metadata["offending"].value == 1
    assert wrong.metadata["offending_keys"].value == f"- orders: {key}"
    assert wrong.description == f"orders: {key}"


def test_a_check_looks_at_what_is_recent_while_it_passes_and_at_everything_while_it_does_not(
    sound: Caves, instance: dg.DagsterInstance
) -> None:
    """Else a loss that is older than the window would be green again in the next run."""
    whole, windowed = "| batches |", "| batches since "
    old = {"STAGING.STG_ORDERS": "INGESTION_TIME", "RAW_DATA.RAW_EVENTS_STREAM": "INGESTION_TIME"}
    for table, column in old.items():
        sound.warehouse.execute(f"UPDATE {table} SET {column} = DATEADD('day', -2, {column})")
    first, second = _evaluate(sound, instance), _evaluate(sound, instance)
    assert whole not in _figures(second["offsets_accounted_for"])
    assert windowed not in _figures(first["offsets_accounted_for"])
    assert windowed in _figures(second["offsets_accounted_for"])

    sound.warehouse.execute("DELETE FROM PRODUCTION.ORDERS")
    assert _evaluate(sound, instance)["raw_vs_prod_counts"].passed, "outside of the window"
    # As validation says it, by the hour.
    check = next(one for one in integrity_checks(sound.shop) if one.name == "raw_vs_prod_counts")
    instance.report_runless_asset_event(
        dg.AssetCheckEvaluation(
            asset_key=dg.AssetKey(check.asset.key), check_name=check.name, passed=False, metadata={}
        )
    )
    for _ in range(2):
        assert not _evaluate(sound, instance)["raw_vs_prod_counts"].passed
    consume_again = "INSERT INTO STAGING.STG_ORDERS SELECT * FROM STAGING.STG_ORDERS"
    sound.warehouse.execute(consume_again)
    consume_all(sound.warehouse, sound.shop)
    assert _evaluate(sound, instance)["raw_vs_prod_counts"].passed
    assert _evaluate(sound, instance)["raw_vs_prod_counts"].passed


def test_a_failed_check_stops_the_views_and_nothing_before_them(
    sound: Caves, instance: dg.DagsterInstance
) -> None:
    job = build_definitions(sound.settings).resolve_job_def(pipeline_name(sound.shop))
    sound.warehouse.execute("DELETE FROM PRODUCTION.ORDERS")
    sound.publish(sound.events(10, seed=2))

    result = job.execute_in_process(instance=instance, raise_on_error=False)

    assert not result.success
    written = {
        event.asset_key.path[0] for event in result.get_asset_materialization_events() if event.asset_key
    }
    assert written == {"raw_data", "staging", "production", "analytics"}
    views = {
        event.asset_key.path[1]
        for event in result.get_asset_materialization_events()
        if event.asset_key and event.asset_key.path[0] == "analytics"
    }
    # Those of the stock are of other tables.
    assert views == {"stock_by_category", "adjustments_by_type", "low_stock"}
    # The next run may go at once: nothing that it does is what failed.
    verdict = look_at_runs(instance, pipeline_name(sound.shop), 0.0)
    assert (verdict.reason, verdict.landing_reason) == ("", "")
    (run,) = instance.get_runs()
    assert run.tags["caves/failure"] == "check"


def test_a_run_that_a_check_stopped_is_no_reason_to_wait() -> None:
    stopped = RunFacts("a", "FAILURE", 100.0, failure="check")
    assert gate([stopped], 100.0).reason == ""
    assert gate([RunFacts("b", "FAILURE", 100.0), stopped], 100.0).reason.startswith("Waiting another 10 s")
