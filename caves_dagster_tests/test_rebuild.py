"""The rebuild from RAW: the same rows, whatever runs beside it and whenever it dies."""

from __future__ import annotations

import json
import random
from pathlib import Path
from typing import Any

import dagster as dg
import pytest

from caves_dagster.assets import transformation
from caves_dagster.assets.transformation import transform
from caves_dagster.checks.catalogue import integrity_checks
from caves_dagster.checks.check import run_check
from caves_dagster.definitions import build_definitions
from caves_dagster.errors import CavesError, NotConfirmed
from caves_dagster.rebuild import rebuild, require_confirmation
from caves_dagster.warehouse.connection import Warehouse
from caves_dagster_tests.conftest import Caves
from caves_dagster_tests.ingest.accounting import ingest
from caves_dagster_tests.raw_rows import Feed, consume_all, insert_raw
from caves_dagster_tests.test_cli import caves_command, require_one_line
from caves_dagster_tests.versions import (
    PRODUCED,
    STAGED,
    expected_production,
    in_order,
    rows_of,
    split,
    versions,
)

_REBUILT = (*STAGED, *PRODUCED)


def _tables(caves: Caves) -> dict[str, list[dict[str, Any]]]:
    """Every rebuilt table's rows, load times left out."""
    return {table: rows_of(caves, table) for table in _REBUILT}


def _waiting(caves: Caves) -> dict[str, int]:
    return {
        step.stream.full_name: count
        for step in caves.shop.transformations
        if (count := caves.count(step.stream.full_name))
    }


def _require_whole(caves: Caves) -> None:
    """Every check passes over everything there is, and nothing waits."""
    assert _waiting(caves) == {}
    for check in integrity_checks(caves.shop):
        outcome = run_check(caves.warehouse, caves.shop, check)
        assert outcome.status == "PASS", (check.name, outcome.offending_keys)


# --- the same rows ---


def test_a_rebuild_gives_the_rows_made_batch_by_batch_out_of_order_late_and_repeated(caves: Caves) -> None:
    """Many versions of few keys, events times that tie, batches shuffled, records landed twice."""
    chance = random.Random(11)
    rows = versions(chance)
    for batch in split(chance, rows, count=6):
        insert_raw(caves.warehouse, batch)
        consume_all(caves.warehouse, caves.shop)
    before = _tables(caves)
    assert all(before.values())

    report = rebuild(caves.warehouse, caves.shop)

    assert _tables(caves) == before
    assert {table: before[table] for table in PRODUCED} == in_order(expected_production(rows))
    assert report.before == report.after == {table: len(found) for table, found in before.items()}
    # What the rebuild staged came back through the staging streams.
    assert set(report.came_back.values()) == {0}
    assert _waiting(caves) == {}


def test_events_of_the_producer_come_out_the_same_and_every_check_passes(caves: Caves) -> None:
    caves.publish(caves.events(400))
    ingest(caves, batch_max_events=90)
    consume_all(caves.warehouse, caves.shop)
    before = _tables(caves)

    rebuild(caves.warehouse, caves.shop)

    assert _tables(caves) == before
    _require_whole(caves)


def test_what_had_not_been_transformed_yet_is_rebuilt_with_the_rest(caves: Caves) -> None:
    feed = Feed()
    insert_raw(caves.warehouse, [feed.order(1), feed.adjustment(1)])
    consume_all(caves.warehouse, caves.shop)
    insert_raw(caves.warehouse, [feed.order(2), feed.adjustment(2)])
    transform(caves.warehouse, caves.shop, caves.shop.transformations[0])
    insert_raw(caves.warehouse, [feed.order(3), feed.adjustment(3)])

    report = rebuild(caves.warehouse, caves.shop)

    assert report.before["STAGING.STG_ORDERS"] == 2
    assert report.before["PRODUCTION.ORDERS"] == 1
    assert report.after["STAGING.STG_ORDERS"] == report.after["PRODUCTION.ORDERS"] == 3
    assert {table: rows_of(caves, table) for table in PRODUCED} == in_order(expected_production(feed.rows))
    assert _waiting(caves) == {}


def test_orphans_and_corrupted_amounts_are_gone_and_what_was_lost_is_back(caves: Caves) -> None:
    feed = Feed()
    insert_raw(caves.warehouse, [feed.order(n) for n in range(1, 6)] + [feed.adjustment(n) for n in (1, 2)])
    consume_all(caves.warehouse, caves.shop)
    before = _tables(caves)
    for statement in (
        "UPDATE PRODUCTION.ORDERS SET TOTAL_AMOUNT = 0.01 WHERE ORDER_LINE_ID = 1",
        "DELETE FROM PRODUCTION.ORDERS WHERE ORDER_LINE_ID = 2",
        "INSERT INTO PRODUCTION.ORDERS SELECT * REPLACE (999 AS ORDER_LINE_ID) "
        "FROM PRODUCTION.ORDERS LIMIT 1",
        "UPDATE PRODUCTION.INVENTORY_CURRENT SET CURRENT_STOCK_LEVEL = 1, LAST_MOVEMENT_AT = '2199-01-01'",
        "UPDATE STAGING.STG_ORDERS SET QUANTITY = 7 WHERE ORDER_LINE_ID = 3",
        # In STAGING it also waits in the stream, from where it must not come back.
        "INSERT INTO STAGING.STG_ORDERS SELECT * REPLACE (998 AS ORDER_LINE_ID, 'x' AS EVENT_ID) "
        "FROM STAGING.STG_ORDERS LIMIT 1",
    ):
        assert caves.warehouse.execute(statement) == 1, statement

    rebuild(caves.warehouse, caves.shop)

    assert _tables(caves) == before
    _require_production(caves)


def _require_production(caves: Caves) -> None:
    for check in integrity_checks(caves.shop):
        if check.name != "offsets_accounted_for":  # rows by hand have no batch
            outcome = run_check(caves.warehouse, caves.shop, check)
            assert outcome.status == "PASS", (check.name, outcome.offending_keys)


def test_an_empty_shop_is_rebuilt_to_nothing(caves: Caves) -> None:
    report = rebuild(caves.warehouse, caves.shop)

    assert set(report.before.values()) == set(report.after.values()) == {0}
    assert report.recreated == []


@pytest.mark.parametrize("said", ["", "yes", "caves", "Rebuild caves", "rebuild caves ", "rebuild dropship"])
def test_anything_but_the_exact_confirmation_is_refused(caves: Caves, said: str) -> None:
    with pytest.raises(NotConfirmed, match=r"say 'rebuild caves'") as refusal:
        require_confirmation(caves.shop, said)
    assert repr(said) in str(refusal.value)

    require_confirmation(caves.shop, "rebuild caves")


# --- the job and the command ---


def _run_job(caves: Caves, instance: dg.DagsterInstance, said: str | None) -> dg.ExecuteInProcessResult:
    job = build_definitions(caves.settings).resolve_job_def("caves_rebuild_production")
    config = {"ops": {"caves_rebuild": {"config": {"confirmation": said}}}} if said is not None else None
    return job.execute_in_process(instance=instance, run_config=config, raise_on_error=False)


def _corrupt(caves: Caves) -> dict[str, list[dict[str, Any]]]:
    """Events in PRODUCTION, one of them changed by hand; how the tables were before that."""
    caves.publish(caves.events(60))
    ingest(caves)
    consume_all(caves.warehouse, caves.shop)
    before = _tables(caves)
    caves.warehouse.execute("UPDATE PRODUCTION.ORDERS SET TOTAL_AMOUNT = TOTAL_AMOUNT + 1, QUANTITY = 0")
    assert _tables(caves) != before
    return before


def test_the_job_rebuilds_reports_rows_before_and_after_and_runs_every_check(
    caves: Caves, tmp_path: Path
) -> None:
    before = _corrupt(caves)
    with dg.DagsterInstance.local_temp(str(tmp_path)) as instance:
        result = _run_job(caves, instance, "rebuild caves")

        assert result.success
        assert _tables(caves) == before
        for table in _REBUILT:
            event = instance.get_latest_materialization_event(dg.AssetKey(table.lower().split(".")))
            assert event is not None
            assert event.asset_materialization is not None
            found = event.asset_materialization.metadata
            assert found["rows_before"].value == found["dagster/row_count"].value == len(before[table])
            assert isinstance(found["seconds"].value, float)
        data = [event.event_specific_data for event in result.all_events]
        evaluations = [one for one in data if isinstance(one, dg.AssetCheckEvaluation)]
        assert {(found.check_name, found.passed) for found in evaluations} == {
            (check.name, True) for check in integrity_checks(caves.shop)
        }


@pytest.mark.parametrize("said", [None, "", "yes"])
def test_the_job_does_nothing_without_its_confirmation(
    caves: Caves, said: str | None, tmp_path: Path
) -> None:
    _corrupt(caves)
    corrupted = _tables(caves)
    with dg.DagsterInstance.local_temp(str(tmp_path)) as instance:
        result = _run_job(caves, instance, said)

    assert not result.success
    (failure,) = [event for event in result.all_events if event.is_step_failure]
    assert "say 'rebuild caves'" in str(failure.event_specific_data)
    assert _tables(caves) == corrupted


def test_the_job_fails_when_a_check_fails_after_it(caves: Caves, tmp_path: Path) -> None:
    """A record whose key cannot be read: no rebuild brings it to PRODUCTION."""
    insert_raw(caves.warehouse, [Feed().order("no number")])
    with dg.DagsterInstance.local_temp(str(tmp_path)) as instance:
        result = _run_job(caves, instance, "rebuild caves")

    assert not result.success
    (failure,) = [event for event in result.all_events if event.is_step_failure]
    assert "raw_vs_prod_counts (orders: no key at sales_events 0:0)" in str(failure.event_specific_data)


def test_the_command_asks_refuses_and_rebuilds(caves: Caves) -> None:
    before = _corrupt(caves)
    corrupted = _tables(caves)

    refused = caves_command(caves, "rebuild", "--confirm", "rebuild")
    require_one_line(refused, "'rebuild'", "say 'rebuild caves'")
    assert _tables(caves) == corrupted

    done = caves_command(caves, "rebuild", "--shop", "caves", "--confirm", "rebuild caves")
    assert (done.returncode, done.stderr) == (0, "")
    assert "raw_vs_prod_counts: PASS" in done.stdout
    assert "PRODUCTION.ORDERS" in done.stdout
    assert _tables(caves) == before

    require_one_line(caves_command(caves, "rebuild", "--shop", "none"), "There is no shop 'none'")


_SLOW = """
SELECT MAX(MD5(a.VALUE::VARCHAR || b.VALUE::VARCHAR)) AS M
FROM TABLE(FLATTEN(INPUT => PARSE_JSON(%(n)s))) AS a
CROSS JOIN TABLE(FLATTEN(INPUT => PARSE_JSON(%(n)s))) AS b
"""


def test_a_statement_of_a_rebuild_may_take_longer_than_the_network_time_out(caves: Caves) -> None:
    impatient = caves.settings.snowflake.model_copy(update={"network_timeout": 1})
    numbers = {"n": json.dumps(list(range(3500)))}
    with Warehouse(impatient) as warehouse:
        with pytest.raises(CavesError, match="cancel"):
            warehouse.query(_SLOW, numbers)
        with warehouse.long_statements(60):
            assert warehouse.query(_SLOW, numbers)
        with pytest.raises(CavesError, match="cancel"):
            warehouse.query(_SLOW, numbers)


def test_a_transformation_may_take_longer_than_the_network_time_out(
    caves: Caves, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Else a stream that has filled up while nobody consumed it would never be consumed."""
    caves.warehouse.execute("CREATE TABLE STAGING.SLOW (M VARCHAR)")
    slow = f"INSERT INTO STAGING.SLOW (M) {_SLOW}".replace("%(n)s", f"'{json.dumps(list(range(3500)))}'")
    monkeypatch.setattr(transformation, "transformation_sql", lambda *_: [slow])
    impatient = caves.settings.snowflake.model_copy(update={"network_timeout": 1})
    with Warehouse(impatient) as warehouse:
        step = caves.shop.transformations[-1]
        assert transformation.transform(warehouse, caves.shop, step) == {step.writes[0].full_name: 1}
