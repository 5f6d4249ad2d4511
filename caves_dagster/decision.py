"""Whether a sensor launches a run: facts in, a decision out. Pure; the scenarios are in its tests."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

HEARTBEAT_MAX_AGE = 30.0
"""Seconds without a heartbeat after which a started run counts as dead."""
START_MAX_AGE = 90.0
"""Seconds a run may take from its launch to its first heartbeat."""
FIRST_BACK_OFF = 10.0
LONGEST_BACK_OFF = 300.0


@dataclass(frozen=True)
class RunFacts:
    """One run of the job, as the sensor sees it.

    Attributes:
        status: Dagster's status in capitals.
        changed_at: when its status last changed, seconds since 1970.
        heartbeat: its last heartbeat, seconds since 1970; None before the first.
    """

    run_id: str
    status: str
    changed_at: float
    heartbeat: float | None = None


@dataclass(frozen=True)
class Gate:
    """What the runs so far say: `reason` is why nothing may be launched now, "" if something may.

    `dead` are runs that count as under way for Dagster, but whose process is gone.
    """

    reason: str
    dead: tuple[str, ...] = ()


def gate(runs: Sequence[RunFacts], now: float) -> Gate:
    """Decide from the job's latest runs, newest first."""
    dead = tuple(run.run_id for run in runs if _is_dead(run, now))
    alive = [run for run in runs if run.status in _UNDER_WAY and run.run_id not in dead]
    if alive:
        run = alive[0]
        return Gate(f"Run {run.run_id[:8]} is {run.status.lower().replace('_', ' ')}.", dead)
    failures = _failures_in_a_row(runs)
    if failures:
        last = next(run for run in runs if run.status == "FAILURE")
        wait = min(FIRST_BACK_OFF * 2 ** (failures - 1), LONGEST_BACK_OFF)
        left = last.changed_at + wait - now
        if left > 0:
            runs_text = "the last run" if failures == 1 else f"the last {failures} runs"
            return Gate(f"Waiting another {left:.0f} s, because {runs_text} failed.", dead)
    return Gate("", dead)


_UNDER_WAY = {"QUEUED", "NOT_STARTED", "STARTING", "STARTED", "CANCELING"}


def _is_dead(run: RunFacts, now: float) -> bool:
    if run.status in {"STARTED", "CANCELING"} and run.heartbeat is not None:
        return now - run.heartbeat > HEARTBEAT_MAX_AGE
    launched = run.status in _UNDER_WAY and run.status != "QUEUED"
    return launched and now - run.changed_at > START_MAX_AGE


def _failures_in_a_row(runs: Sequence[RunFacts]) -> int:
    """Failed runs since the last success; a cancelled run says nothing."""
    failures = 0
    for run in runs:
        if run.status == "SUCCESS":
            break
        failures += run.status == "FAILURE"
    return failures
