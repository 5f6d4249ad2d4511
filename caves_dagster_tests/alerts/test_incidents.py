"""What is told of what has happened, as scenarios: facts at certain seconds, and looks in between."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec
import pytest

from caves_dagster.alerts.incidents import (
    FAILURES_TOLD,
    Fact,
    Incidents,
    Level,
    Policy,
    Report,
    delivered,
)

GRACE = 60.0
RUNS = Policy(grace=GRACE, patience=GRACE)
CHECKS = Policy(grace=GRACE, patience=0.0)
JOB = "caves_pipeline"


def failed(
    at: float, *parts: str, mended: Sequence[str] = (), key: str = JOB, level: Level = "ERROR"
) -> Fact:
    return Fact(
        key, at, Report(key, (f"at {at}",)), frozenset(parts or {"raw"}), frozenset(mended), level=level
    )


def well(at: float, *parts: str, key: str = JOB) -> Fact:
    """A success of these parts; of all of them where none is named."""
    return Fact(key, at, Report(key, path=f"/well/{at:.0f}"), mended=frozenset(parts) if parts else None)


class Story:
    """Incidents that are told to one or more channels, some of which may be away."""

    def __init__(self, policy: Policy, *channels: str) -> None:
        self.policy, self.channels = policy, channels or ("log",)
        self.incidents, self.away = Incidents(), set[str]()

    def look(self, now: float, *facts: Fact) -> list[str]:
        """One tick: what it tells, "channel: failing|over key", and keeps across a restart."""
        told = []
        self.incidents.take(facts, self.policy)
        for letter in self.incidents.letters(self.channels, now, self.policy):
            if letter.channel not in self.away:
                delivered(letter)
                channel = f"{letter.channel}: " if len(self.channels) > 1 else ""
                told.append(f"{channel}{'over' if letter.over else 'failing'} {letter.incident.key}")
        self.incidents = msgspec.json.decode(msgspec.json.encode(self.incidents), type=Incidents)
        return told


FAILING, OVER = [f"failing {JOB}"], [f"over {JOB}"]


# --- checks: told at once


def test_a_check_that_fails_is_told_once_and_its_end_once() -> None:
    story = Story(CHECKS)
    assert story.look(0, failed(0)) == FAILING
    assert story.look(10) == []
    assert story.look(20, failed(15), failed(19)) == []
    assert story.look(30, well(30)) == []
    assert story.look(89) == []
    assert story.look(90) == OVER
    assert [story.look(now) for now in range(100, 400, 10)] == [[]] * 30
    assert story.incidents.by_key == {}


def test_what_succeeds_without_having_failed_tells_nothing() -> None:
    story = Story(CHECKS)
    assert story.look(0, well(0)) == story.look(100, well(99)) == []


def test_without_a_grace_the_end_is_told_at_once() -> None:
    story = Story(Policy(grace=0.0, patience=0.0))
    assert story.look(0, failed(0)) == FAILING
    assert story.look(10, well(9)) == OVER


def test_a_failure_that_went_away_between_two_looks_is_told_all_the_same() -> None:
    story = Story(CHECKS)
    assert story.look(10, failed(1), well(2)) == FAILING
    assert story.look(62) == OVER


def test_a_flapping_check_is_one_incident() -> None:
    story = Story(CHECKS)
    told = []
    for now in range(0, 600, 10):
        told += story.look(now, failed(now) if now % 20 else well(now))
    assert told == FAILING
    assert story.look(610, well(610)) == []
    assert story.look(670) == OVER


def test_a_failure_after_the_end_is_a_new_incident() -> None:
    story = Story(CHECKS)
    story.look(0, failed(0))
    assert story.look(100, well(10)) == OVER
    assert story.look(110, failed(110)) == FAILING
    assert story.incidents.by_key[JOB].since == 110


def test_an_end_and_the_next_beginning_between_two_looks_are_one_incident_for_who_heard_of_the_first() -> (
    None
):
    story = Story(CHECKS)
    story.look(0, failed(0))
    assert story.look(300, well(10), failed(200)) == []
    assert story.look(400, well(310)) == OVER


def test_incidents_do_not_mix() -> None:
    story = Story(CHECKS)
    assert story.look(1, failed(0, key="a"), failed(1, key="b")) == ["failing a", "failing b"]
    assert story.look(70, well(5, key="a")) == ["over a"]
    assert set(story.incidents.by_key) == {"a", "b"}


def test_a_warning_that_becomes_an_error_is_news_and_the_way_back_is_not() -> None:
    story = Story(CHECKS)
    assert story.look(0, failed(0, level="WARN")) == FAILING
    assert story.look(10, failed(10, level="WARN")) == []
    assert story.look(20, failed(20)) == FAILING
    assert story.look(30, failed(30, level="WARN")) == story.look(40, failed(40)) == []


# --- jobs: not for what is made good at once


def test_a_killed_run_that_is_made_good_within_the_grace_wakes_nobody() -> None:
    story = Story(RUNS)
    assert [story.look(0, failed(0)), story.look(10), story.look(30, well(25))] == [[], [], []]
    assert [story.look(now) for now in range(40, 300, 10)] == [[]] * 26
    assert story.incidents.by_key == {}


def test_a_job_that_goes_on_failing_is_told_after_the_grace() -> None:
    story = Story(RUNS)
    assert story.look(0, failed(0)) == story.look(59, failed(50)) == []
    assert story.look(60) == FAILING
    assert story.look(70, well(65)) == []
    assert story.look(125) == OVER


def test_failures_in_a_row_are_told_at_the_third() -> None:
    story = Story(RUNS)
    assert FAILURES_TOLD == 3
    assert story.look(10, failed(0), failed(10)) == []
    assert story.look(20, failed(20)) == FAILING


def test_a_job_that_is_killed_each_second_time_is_told_and_once() -> None:
    story = Story(RUNS)
    told = []
    for now in range(0, 1200, 20):
        told += story.look(now, well(now) if now % 40 else failed(now))
    assert told == FAILING


def test_two_killed_runs_far_apart_are_two_incidents_that_nobody_is_told() -> None:
    story = Story(RUNS)
    told = [
        story.look(now, *([failed(now), well(now + 1)] if now % 100 == 0 else []))
        for now in range(0, 900, 10)
    ]
    assert told == [[]] * 90


# --- parts: a run of something else mends nothing


def test_a_landing_alone_that_succeeds_does_not_end_a_failing_transformation() -> None:
    story = Story(RUNS)
    story.look(0, failed(0, "orders", mended=["raw"]))
    assert story.look(70, well(10, "raw"), well(20, "raw")) == FAILING
    assert story.look(200, well(80, "orders")) == OVER


def test_a_run_of_everything_ends_what_no_longer_has_that_part() -> None:
    story = Story(RUNS)
    story.look(60, failed(0, "a step that was renamed"))
    assert story.look(200, well(100)) == OVER


def test_parts_that_fail_in_turn_are_all_to_be_mended() -> None:
    story = Story(RUNS)
    story.look(70, failed(0, "raw"), failed(10, "orders"))
    assert story.look(200, well(100, "orders")) == []
    assert story.look(400, well(300, "raw")) == OVER


# --- channels that are away


def test_a_channel_that_was_away_is_told_when_it_is_back_and_the_others_not_again() -> None:
    story = Story(CHECKS, "webhook", "email")
    story.away = {"webhook"}
    assert story.look(0, failed(0)) == [f"email: failing {JOB}"]
    assert story.look(10) == []
    story.away = set()
    assert story.look(20) == [f"webhook: failing {JOB}"]
    assert story.look(100, well(30)) == [f"webhook: over {JOB}", f"email: over {JOB}"]


def test_a_channel_that_was_away_for_all_of_it_is_told_the_end() -> None:
    story = Story(CHECKS)
    story.away = {"log"}
    assert [story.look(0, failed(0)), story.look(100, well(10))] == [[], []]
    story.away = set()
    assert story.look(5000) == OVER
    assert story.look(5010) == []


def test_a_channel_away_for_long_is_not_flooded() -> None:
    story = Story(CHECKS)
    story.away = {"log"}
    for now in range(0, 100_000, 100):
        assert story.look(now, failed(now), well(now + 1)) == []
    story.away = set()
    assert story.look(200_000) == OVER
    assert story.look(200_010) == []


def test_a_channel_that_missed_the_end_takes_the_next_incident_for_the_same() -> None:
    story = Story(CHECKS, "webhook", "email")
    story.look(0, failed(0))
    story.away = {"webhook"}
    assert story.look(100, well(10)) == [f"email: over {JOB}"]
    story.away = set()
    assert story.look(110, failed(105)) == [f"email: failing {JOB}"]
    assert story.look(300, well(150)) == [f"webhook: over {JOB}", f"email: over {JOB}"]


def test_a_channel_that_is_configured_later_is_told_what_is_still_failing() -> None:
    story = Story(CHECKS)
    story.look(0, failed(0))
    story.channels = ("log", "webhook")
    assert story.look(10) == [f"webhook: failing {JOB}"]


# --- a first look


def test_a_first_look_tells_what_fails_and_nothing_of_the_past() -> None:
    story = Story(CHECKS)
    past = [failed(0, key="mended"), well(10, key="mended"), failed(100), failed(200)]
    story.incidents.take(past, CHECKS)
    story.incidents.keep_failing()
    assert story.look(300) == FAILING
    assert story.incidents.by_key[JOB].since == 100
    assert story.incidents.by_key[JOB].failures == 2


def test_what_is_no_longer_there_is_forgotten() -> None:
    story = Story(CHECKS)
    story.look(0, failed(0, key="removed"), failed(0))
    story.incidents.keep(lambda key: key == JOB)
    assert set(story.incidents.by_key) == {JOB}


@pytest.mark.parametrize("count", [1, 1000])
def test_what_is_remembered_of_an_incident_does_not_grow_with_its_failures(count: int) -> None:
    story = Story(CHECKS)
    story.look(0, *(failed(now, "orders", "stock") for now in range(count)))
    assert len(msgspec.json.encode(story.incidents)) < 500
