"""The fault suite's own judgement: it sees what is lost, doubled or never sent, and repeats a plan."""

from __future__ import annotations

from dataclasses import replace

import pytest

from caves_dagster_tests.faults.ledger import Sent
from caves_dagster_tests.faults.plan import Kill, Target, make_plan
from caves_dagster_tests.faults.report import Report, Suffered
from caves_dagster_tests.faults.verdict import Tables, judge

SENT = Sent(
    orders={"order-a": 1, "order-b": 2, "order-unknown": 3},
    movements={"move-a": 11, "move-unknown": 12},
    invalid={"invalid-0", "invalid-1"},
    acknowledged={"order-a", "order-b", "move-a", "invalid-0"},
)
WELL = Tables(
    raw={"order-a": 1, "order-b": 1, "move-a": 1},
    orders={1: 1, 2: 1},
    movements={11: 1},
    dead_letters={"invalid-0": 1},
)


def test_every_acknowledged_message_once_and_no_other_is_well() -> None:
    assert judge(SENT, WELL).good


def test_a_message_of_unknown_fate_may_have_arrived_once() -> None:
    tables = Tables(
        raw={**WELL.raw, "order-unknown": 1, "move-unknown": 1},
        orders={**WELL.orders, 3: 1},
        movements={**WELL.movements, 12: 1},
        dead_letters={**WELL.dead_letters, "invalid-1": 1},
    )
    assert judge(SENT, tables).good


@pytest.mark.parametrize(
    ("tables", "lost"),
    [
        (replace(WELL, raw={"order-a": 1, "move-a": 1}), ["RAW: order-b"]),
        (replace(WELL, orders={1: 1}), ["ORDERS: order-b"]),
        (replace(WELL, movements={}), ["INVENTORY_HISTORY: move-a"]),
        (replace(WELL, dead_letters={}), ["dead letters: invalid-0"]),
        (replace(WELL, raw={**WELL.raw, "order-unknown": 1}), ["ORDERS: order-unknown"]),
    ],
)
def test_an_acknowledged_message_that_is_missing_somewhere_is_lost(tables: Tables, lost: list[str]) -> None:
    verdict = judge(SENT, tables)
    assert (verdict.lost, verdict.doubled, verdict.strange) == (lost, [], [])
    assert not verdict.good


@pytest.mark.parametrize(
    ("tables", "doubled"),
    [
        (replace(WELL, raw={**WELL.raw, "order-a": 2}), ["RAW: order-a"]),
        (replace(WELL, orders={1: 1, 2: 2}), ["ORDERS: order-b"]),
        (replace(WELL, movements={11: 3}), ["INVENTORY_HISTORY: move-a"]),
        (replace(WELL, dead_letters={"invalid-0": 2}), ["dead letters: invalid-0"]),
        (replace(WELL, dead_letters={"invalid-0": 1, "invalid-1": 2}), ["dead letters: invalid-1"]),
    ],
)
def test_a_message_that_stands_twice_is_doubled_acknowledged_or_not(
    tables: Tables, doubled: list[str]
) -> None:
    verdict = judge(SENT, tables)
    assert (verdict.lost, verdict.doubled, verdict.strange) == ([], doubled, [])
    assert not verdict.good


@pytest.mark.parametrize(
    ("tables", "strange"),
    [
        (replace(WELL, raw={**WELL.raw, "nobody": 1}), ["RAW: nobody"]),
        (replace(WELL, raw={**WELL.raw, "invalid-0": 1}), ["RAW: invalid-0"]),
        (replace(WELL, orders={**WELL.orders, 99: 1}), ["ORDERS: 99"]),
        (replace(WELL, movements={**WELL.movements, 1: 1}), ["INVENTORY_HISTORY: 1"]),
        (replace(WELL, dead_letters={"invalid-0": 1, "order-a": 1}), ["dead letters: order-a"]),
    ],
)
def test_what_was_never_sent_or_sent_as_something_else_is_strange(tables: Tables, strange: list[str]) -> None:
    verdict = judge(SENT, tables)
    assert (verdict.lost, verdict.doubled, verdict.strange) == ([], [], strange)
    assert not verdict.good


# --- the report


def suffered(seconds: float | None, overtaken: bool = False) -> Suffered:
    kill = Kill(0, Target.BROKER, 1.0, double=False)
    return Suffered(kill, 100.0, 105.0, None if seconds is None else 105.0 + seconds, overtaken)


def report(*kills: Suffered, **found: object) -> Report:
    return Report(1, 20.0, list(kills), checks={"duplicates": "PASS"}, **found)  # type: ignore[arg-type]


def test_recoveries_within_the_limit_are_good() -> None:
    assert report(suffered(19.9), suffered(None, overtaken=True)).good


@pytest.mark.parametrize("seconds", [20.1, None])
def test_a_recovery_that_is_late_or_never_comes_is_not(seconds: float | None) -> None:
    found = report(suffered(1.0), suffered(seconds))
    assert not found.good
    assert [one.recovery_seconds for one in found.slow] == [seconds and pytest.approx(seconds)]
    assert any(line.startswith("Over the limit: kill 1 (broker) ") for line in found.lines())


def test_a_check_that_did_not_pass_and_a_run_left_under_way_are_not_good() -> None:
    assert not replace(report(suffered(1.0)), checks={"duplicates": "WARN"}).good
    assert not replace(report(suffered(1.0)), checks={}).good, "nothing was checked"
    assert not report(suffered(1.0), problems=["Run 01234567 is left STARTED."]).good


def test_what_is_lost_is_told_by_name() -> None:
    found = report(suffered(1.0), verdict=judge(SENT, replace(WELL, orders={1: 1})))
    assert not found.good
    assert "1 lost, 0 doubled, 0 never sent." in found.lines()
    assert "Lost: ORDERS: order-b" in found.lines()


# --- the plan


def test_a_seed_repeats_its_plan_and_another_gives_another() -> None:
    assert make_plan(7, 200) == make_plan(7, 200)
    assert make_plan(7, 200) != make_plan(8, 200)
    assert make_plan(7, 200)[:30] != make_plan(8, 200)[:30]


@pytest.mark.parametrize("seed", range(20))
def test_the_short_plan_kills_every_target_and_some_while_recovery_is_under_way(seed: int) -> None:
    plan = make_plan(seed, 30)
    assert len(plan) == 30
    assert {kill.target for kill in plan} == set(Target)
    assert 3 <= sum(kill.double for kill in plan) <= 18
    assert not plan[0].double
