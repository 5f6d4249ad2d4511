"""Whether a sensor launches a run: the scenarios."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise

import pytest

from caves_dagster.decision import (
    FIRST_BACK_OFF,
    FIRST_BACK_OFF_BLAMELESS,
    HEARTBEAT_MAX_AGE,
    LANDING_ALONE_ABOVE,
    LONGEST_BACK_OFF,
    SEVERAL,
    START_MAX_AGE,
    Failure,
    Gate,
    RunFacts,
    gate,
)

NOW = 1_772_360_000.0
OPEN = Gate("")


def run(
    status: str, changed: float = 3600.0, heartbeat: float | None = None, run_id: str = "0123456789ab"
) -> RunFacts:
    """A run whose status changed, and whose heart last beat, so many seconds ago."""
    return RunFacts(run_id, status, NOW - changed, None if heartbeat is None else NOW - heartbeat)


def failures(count: int, changed: float, failure: Failure = "own") -> list[RunFacts]:
    """Failed runs, newest first, the newest `changed` seconds ago."""
    return [replace(run("FAILURE", changed + 1000 * index), failure=failure) for index in range(count)]


def wait_after(count: int, failure: Failure = "own") -> float:
    """Seconds that nothing is launched after so many failures in a row, to half a second."""
    seconds = 0.0
    while gate(failures(count, seconds, failure), NOW).reason:
        seconds += 0.5
    return seconds


# --- nothing in the way


def test_the_first_run_ever_may_be_launched() -> None:
    assert gate([], NOW) == OPEN


@pytest.mark.parametrize("status", ["SUCCESS", "CANCELED"])
def test_a_run_that_just_ended_well_or_was_cancelled_stands_in_no_way(status: str) -> None:
    assert gate([run(status, 0)], NOW) == OPEN


# --- a run under way


@pytest.mark.parametrize("status", ["QUEUED", "NOT_STARTED", "STARTING", "STARTED", "CANCELING"])
def test_nothing_is_launched_while_a_run_is_under_way(status: str) -> None:
    verdict = gate([run(status, 1, 1)], NOW)
    assert "01234567" in verdict.reason
    assert status.lower().replace("_", " ") in verdict.reason
    assert verdict.dead == ()
    assert verdict.under_way == "0123456789ab"


def test_a_run_under_way_counts_even_when_a_newer_one_has_ended() -> None:
    assert gate([run("SUCCESS", 1), run("STARTED", 600, 2)], NOW).reason


def test_a_started_run_may_take_as_long_as_it_likes_while_its_heart_beats() -> None:
    verdict = gate([run("STARTED", 86_400, 5)], NOW)
    assert verdict.reason
    assert verdict.dead == ()


# --- dead runs


@pytest.mark.parametrize("status", ["STARTED", "CANCELING"])
def test_a_started_run_whose_heartbeat_stopped_is_dead_and_makes_way(status: str) -> None:
    assert gate([run(status, 120, HEARTBEAT_MAX_AGE + 1)], NOW) == Gate("", dead=("0123456789ab",))


def test_a_heartbeat_is_given_its_whole_time() -> None:
    verdict = gate([run("STARTED", 120, HEARTBEAT_MAX_AGE)], NOW)
    assert verdict.reason
    assert verdict.dead == ()


@pytest.mark.parametrize(
    ("status", "age"),
    [
        ("NOT_STARTED", START_MAX_AGE),
        ("STARTING", START_MAX_AGE),
        ("STARTED", HEARTBEAT_MAX_AGE),
        ("CANCELING", HEARTBEAT_MAX_AGE),
    ],
)
def test_a_run_that_never_came_to_life_is_dead_after_a_while(status: str, age: float) -> None:
    assert gate([run(status, age + 1)], NOW) == Gate("", dead=("0123456789ab",))
    verdict = gate([run(status, age)], NOW)
    assert verdict.reason
    assert verdict.dead == ()


def test_a_young_heartbeat_keeps_a_run_alive_however_long_ago_it_started() -> None:
    assert gate([run("STARTED", START_MAX_AGE + 1, 1)], NOW).dead == ()


def test_a_queued_run_is_never_dead() -> None:
    verdict = gate([run("QUEUED", 7 * 86_400)], NOW)
    assert verdict.reason
    assert verdict.dead == ()


@pytest.mark.parametrize("status", ["SUCCESS", "FAILURE", "CANCELED"])
def test_a_run_that_has_ended_is_not_dead(status: str) -> None:
    assert gate([run(status, 3600, 3600)], NOW).dead == ()


def test_every_dead_run_is_told_beside_one_that_lives() -> None:
    runs = [
        run("STARTED", 500, 2, "alive"),
        run("STARTED", 500, 90, "dead-1"),
        run("STARTING", 500, None, "dead-2"),
    ]
    verdict = gate(runs, NOW)
    assert "alive" in verdict.reason
    assert verdict.dead == ("dead-1", "dead-2")


@pytest.mark.parametrize("status", ["NOT_STARTED", "STARTING", "STARTED", "CANCELING"])
def test_a_run_whose_process_is_seen_to_be_gone_is_dead_at_once(status: str) -> None:
    gone = replace(run(status, 1, 1), gone=True)
    assert gate([gone], NOW) == Gate("", dead=("0123456789ab",))


def test_a_queued_run_has_no_process_to_be_gone() -> None:
    assert gate([replace(run("QUEUED", 1), gone=True)], NOW).dead == ()


@pytest.mark.parametrize("status", ["SUCCESS", "FAILURE", "CANCELED"])
def test_a_run_that_has_ended_may_have_no_process(status: str) -> None:
    assert gate([replace(run(status, 3600), gone=True)], NOW).dead == ()


# --- landing goes on


def test_failures_behind_landing_hold_back_the_pipeline_but_not_landing() -> None:
    runs = [replace(failed, landed=True) for failed in failures(4, 1)]
    verdict = gate(runs, NOW)
    assert verdict.reason
    assert verdict.landing_reason == ""


def test_failures_of_landing_hold_back_both() -> None:
    verdict = gate(failures(2, 1), NOW)
    assert verdict.reason == verdict.landing_reason != ""


def test_a_run_that_only_landed_does_not_end_the_wait_of_the_rest() -> None:
    landing = replace(run("SUCCESS", 1), landed=True, landing_only=True)
    runs = [landing, *(replace(failed, landed=True) for failed in failures(4, 5))]
    verdict = gate(runs, NOW)
    assert "4 runs failed since" in verdict.reason
    assert verdict.landing_reason == ""


def test_landing_does_not_go_alone_when_the_whole_pipeline_may_go_in_a_moment() -> None:
    waiting = replace(failures(1, 0, "away")[0], landed=True)
    verdict = gate([waiting], NOW)
    assert verdict.landing_reason == verdict.reason != ""
    waiting = replace(failures(1, FIRST_BACK_OFF - LANDING_ALONE_ABOVE - 0.1)[0], landed=True)
    assert gate([waiting], NOW).landing_reason == ""
    assert gate([replace(waiting, changed_at=waiting.changed_at - 0.1)], NOW).landing_reason


# --- back-off


def test_after_a_failure_it_waits() -> None:
    verdict = gate(failures(1, 4), NOW)
    assert verdict.reason == f"Waiting another {FIRST_BACK_OFF - 4:.0f} s, because the last run failed."
    assert verdict.dead == ()


def test_the_wait_doubles_with_each_failure_up_to_a_limit() -> None:
    waits = [wait_after(count) for count in range(1, 11)]
    assert waits[0] == FIRST_BACK_OFF
    for shorter, longer in pairwise(waits):
        assert longer == min(2 * shorter, LONGEST_BACK_OFF)
    assert waits[-1] == LONGEST_BACK_OFF


@pytest.mark.parametrize("failure", ["killed", "away"])
def test_a_run_that_was_killed_or_found_the_outside_away_makes_way_almost_at_once(failure: Failure) -> None:
    assert gate(failures(1, 0, failure), NOW).reason
    assert gate(failures(1, FIRST_BACK_OFF_BLAMELESS, failure), NOW) == OPEN
    assert wait_after(1, failure) + wait_after(2, failure) < FIRST_BACK_OFF


@pytest.mark.parametrize("failure", ["killed", "away"])
def test_a_run_that_dies_every_time_waits_longer_each_time_too(failure: Failure) -> None:
    waits = [wait_after(count, failure) for count in range(1, 12)]
    for shorter, longer in pairwise(waits):
        assert longer == min(2 * shorter, LONGEST_BACK_OFF)
    assert waits[-1] == LONGEST_BACK_OFF


def test_what_failed_for_another_reason_does_not_make_the_wait_longer() -> None:
    runs = [*failures(1, 0, "killed"), *failures(4, 60, "away"), *failures(4, 90)]
    assert gate(runs, NOW).reason.startswith("Waiting another 0 s, because the last run failed (killed")
    assert gate(runs, NOW + FIRST_BACK_OFF_BLAMELESS).reason == ""


def test_two_reasons_that_take_turns_wait_longer_each_time_too() -> None:
    runs = [*failures(1, 1, "killed"), *failures(1, 20, "away")] * 3
    assert (
        gate(runs, NOW).reason
        == "Waiting another 1 s, because 3 runs failed since the last success (killed, or it never began)."
    )


def test_the_wait_says_that_something_was_away() -> None:
    assert gate(failures(2, 0, "away"), NOW).reason.endswith("(the broker or the warehouse was away).")


def test_the_wait_counts_from_the_newest_failure() -> None:
    runs = [run("FAILURE", FIRST_BACK_OFF * 2 - 1), run("FAILURE", 5)]
    assert gate(runs, NOW).reason.startswith("Waiting another 1 s, because 2 runs failed since")


def test_a_success_ends_the_back_off() -> None:
    assert gate([run("SUCCESS", 1), *failures(8, 2)], NOW) == OPEN


def test_failures_before_a_success_do_not_count() -> None:
    runs = [run("FAILURE", FIRST_BACK_OFF + 1), run("SUCCESS", 30), *failures(8, 40)]
    assert gate(runs, NOW) == replace(OPEN, failing=True)


def test_a_cancelled_run_neither_adds_to_the_back_off_nor_ends_it() -> None:
    cancelled = run("CANCELED", 1)
    assert gate([cancelled, *failures(1, FIRST_BACK_OFF + 1)], NOW) == replace(OPEN, failing=True)
    failed = [cancelled, run("FAILURE", 2), cancelled, run("FAILURE", 9)]
    assert "2 runs failed since" in gate(failed, NOW).reason


@pytest.mark.parametrize("failure", ["killed", "away", "check"])
def test_what_failed_of_itself_or_again_and_again_may_well_fail_again(failure: Failure) -> None:
    assert gate([*failures(1, 60, "own"), run("SUCCESS", 90)], NOW).failing
    assert not gate([*failures(1, 60, failure), *failures(1, 90, "own")], NOW).failing
    assert not gate(failures(SEVERAL - 1, 60, failure), NOW).failing
    assert gate(failures(SEVERAL, 60, failure), NOW).failing == (failure != "check")
    assert not gate([run("SUCCESS", 60), *failures(1, 90, "own")], NOW).failing


def test_a_dead_run_is_told_while_it_waits_after_failures() -> None:
    verdict = gate([run("STARTED", 200, 200, "dead"), *failures(1, 1)], NOW)
    assert verdict.reason.startswith("Waiting")
    assert verdict.dead == ("dead",)
