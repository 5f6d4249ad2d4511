"""The budget of dead letters: when it passes, warns and fails, and which letters it names."""

from __future__ import annotations

import dagster as dg
import pytest

from caves_dagster.checks.catalogue import shop_checks
from caves_dagster.checks.check import Outcome, run_check
from caves_dagster.definitions import build_definitions
from caves_dagster.ingest.dead_letters import Chosen
from caves_dagster.ingest.replay import Replay
from caves_dagster.settings import DeadLetterBudget
from caves_dagster.shop import Message
from caves_dagster_tests.conftest import Caves, dagster_instance
from caves_dagster_tests.ingest.accounting import dead_letters, ingest


def spent(caves: Caves, **limits: float) -> Outcome:
    """What the check says, under a budget of these limits."""
    budget = DeadLetterBudget.model_construct().model_copy(update=limits)
    settings = caves.settings.model_copy(update={"dead_letters": budget})
    (check,) = (one for one in shop_checks(settings, caves.shop) if one.name == "dead_letter_budget")
    return run_check(caves.warehouse, caves.shop, check)


def land(caves: Caves, valid: int, invalid: int) -> None:
    """Events, and messages that are none."""
    caves.publish([*caves.events(valid), *(Message(b"1", b"not JSON") for _ in range(invalid))])
    ingest(caves)


@pytest.mark.parametrize(
    ("invalid", "status"), [(0, "PASS"), (2, "PASS"), (3, "WARN"), (10, "WARN"), (11, "FAIL")]
)
def test_the_share_decides(caves: Caves, invalid: int, status: str) -> None:
    """Of 200 messages, 1 % and 5 % are no more than the budget; one letter beyond is."""
    land(caves, 200 - invalid, invalid)
    outcome = spent(caves)
    assert outcome.status == status
    (row,) = outcome.rows
    assert (row["CHECKED"], row["DEAD_IN_ALL"], row["DEAD_LETTERS"]) == (200, invalid, invalid)
    assert float(row["PERCENT_IN_ALL"]) == pytest.approx(invalid / 2)
    if status == "PASS":
        assert outcome.offending_keys == []
        return
    (keys,) = outcome.offending_keys
    newest = {
        f"partition {one['KAFKA_PARTITION']} offset {one['KAFKA_OFFSET']}" for one in dead_letters(caves)
    }
    assert keys.startswith("SYNTAX: ")
    named = keys.removeprefix("SYNTAX: ").split("; ")
    assert len(named) == min(5, invalid)
    assert set(named) <= newest


def test_each_failure_class_has_its_figures(caves: Caves) -> None:
    caves.publish(
        [*caves.events(100), *(Message(b"1", value) for value in (b"x", b"y", b"{}", b"", b"\xff"))]
    )
    ingest(caves)
    outcome = spent(caves)
    assert outcome.status == "WARN"
    found = {row["SUBJECT"]: (row["DEAD_LETTERS"], row["DEAD_IN_ALL"]) for row in outcome.rows}
    assert found == {"SYNTAX": (2, 5), "CONTRACT": (1, 5), "EMPTY": (1, 5), "ENCODING": (1, 5)}


def test_a_little_traffic_is_no_measure(caves: Caves) -> None:
    assert spent(caves).status == "WARN", "nothing has come at all"
    land(caves, 2, 1)
    assert spent(caves).status == "PASS"
    assert spent(caves, min_messages=3).status == "FAIL"
    assert spent(caves, min_messages=4).status == "PASS"


def test_what_a_replay_landed_does_not_count(caves: Caves) -> None:
    caves.publish(caves.events(150))
    ingest(caves, max_event_bytes=10)
    assert spent(caves).status == "FAIL"
    Replay(caves.settings, caves.shop, caves.warehouse, "test").run(Chosen(), limit=149)
    assert spent(caves).status == "PASS"
    assert spent(caves, warn_share=0.0).status == "WARN"
    Replay(caves.settings, caves.shop, caves.warehouse, "test").run(Chosen())
    assert spent(caves, warn_share=0.0).status == "PASS"


def test_what_is_older_than_the_window_does_not_count(caves: Caves) -> None:
    land(caves, 0, 200)
    caves.warehouse.execute(
        "UPDATE RAW_DATA.INGEST_BATCHES SET COMMITTED_AT = DATEADD('minute', -61, COMMITTED_AT)"
    )
    land(caves, 200, 0)
    outcome = spent(caves, window_hours=1)
    assert (outcome.status, outcome.rows[0]["CHECKED"], outcome.rows[0]["DEAD_IN_ALL"]) == ("PASS", 200, 0)
    outcome = spent(caves, window_hours=1.5)
    assert (outcome.status, outcome.rows[0]["CHECKED"], outcome.rows[0]["DEAD_IN_ALL"]) == ("FAIL", 400, 200)


def test_dagster_shows_it_by_class_and_goes_on(caves: Caves) -> None:
    land(caves, 90, 10)
    budget = DeadLetterBudget.model_construct(warn_share=0.01, fail_share=0.2)
    settings = caves.settings.model_copy(update={"dead_letters": budget})
    with dagster_instance() as instance:
        job = build_definitions(settings).resolve_job_def("caves_pipeline")
        result = job.execute_in_process(instance=instance, raise_on_error=False)
    assert result.success
    (seen,) = (one for one in result.get_asset_check_evaluations() if one.check_name == "dead_letter_budget")
    assert not seen.passed
    assert seen.severity is dg.AssetCheckSeverity.WARN
    assert "| SYNTAX | 10 | 10 | 100 |" in str(seen.metadata["figures"].value)
    assert "partition" in str(seen.metadata["offending_keys"].value)
