"""Whether a sensor launches a run: facts in, a decision out. Pure; the scenarios are in its tests."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import takewhile
from typing import Literal, NamedTuple

HEARTBEAT_MAX_AGE = 30.0
"""Seconds without a heartbeat after which a started run counts as dead."""
START_MAX_AGE = 60.0
"""Seconds a run's process may take from its launch until it starts; its first heartbeat follows at once."""
START_GRACE = 5.0
"""Seconds a launched run has before anybody asks whether its process was started at all."""
FIRST_BACK_OFF = 10.0
FIRST_BACK_OFF_BLAMELESS = 0.5
"""After a run that was killed or found the outside away: it may be well with the next one. Both double."""
LONGEST_BACK_OFF = 300.0
SEVERAL = 5
"""Runs that fail in a row by what may be over with the next one, and is not."""
LANDING_ALONE_ABOVE = 5.0
"""Seconds the pipeline must have to wait for landing to go alone: a run of its own takes about as long."""

Failure = Literal["own", "killed", "away", "check"]
"""Why a run failed: of itself, its process was killed or never began, broker or warehouse were away, or a
check stopped it in front of what is behind the tables that it had written."""


@dataclass(frozen=True)
class RunFacts:
    """One run of the job, as the sensor sees it.

    Attributes:
        status: Dagster's status in capitals.
        changed_at: when its status last changed, seconds since 1970.
        heartbeat: its last heartbeat, seconds since 1970; None before the first.
        landed: whether its landing step succeeded, whatever became of the rest.
        landing_only: whether it was launched for landing alone.
        gone: whether its process is known not to be there; False where nobody on this machine can tell.
        failure: why it failed, if it did.
    """

    run_id: str
    status: str
    changed_at: float
    heartbeat: float | None = None
    landed: bool = False
    landing_only: bool = False
    gone: bool = False
    failure: Failure = "own"


@dataclass(frozen=True)
class Gate:
    """What the runs so far say.

    Attributes:
        reason: why no run of the pipeline, nor of its transformations, may be launched now; "" if one may.
        landing_reason: why not even landing may be launched. What fails behind landing never slows it.
        dead: runs that count as under way for Dagster, but whose process is gone.
        under_way: the run that is under way, "" when none is.
        failing: whether the next run may well fail: the last one did so of itself, or several did in a row.
    """

    reason: str
    landing_reason: str = ""
    dead: tuple[str, ...] = ()
    under_way: str = ""
    failing: bool = False


def gate(runs: Sequence[RunFacts], now: float) -> Gate:
    """Decide from the job's latest runs, newest first."""
    dead = tuple(run.run_id for run in runs if _is_dead(run, now))
    alive = [run for run in runs if run.status in _UNDER_WAY and run.run_id not in dead]
    if alive:
        run = alive[0]
        reason = f"Run {run.run_id[:8]} is {run.status.lower().replace('_', ' ')}."
        return Gate(reason, reason, dead, under_way=run.run_id)
    whole = _back_off([run for run in runs if not run.landing_only], now, landing=False)
    alone = whole if 0 < whole.seconds <= LANDING_ALONE_ABOVE else _back_off(runs, now, landing=True)
    return Gate(whole.reason, alone.reason, dead, failing=_is_failing(runs))


def _is_failing(runs: Sequence[RunFacts]) -> bool:
    ended = [run for run in runs if run.status in {"SUCCESS", "FAILURE"}]
    failed = list(takewhile(lambda run: run.status == "FAILURE" and run.failure != "check", ended))
    return bool(failed) and (failed[0].failure == "own" or len(failed) >= SEVERAL)


class _Wait(NamedTuple):
    seconds: float
    reason: str


def _back_off(runs: Sequence[RunFacts], now: float, landing: bool) -> _Wait:
    """How long and why to wait after failures, longer after each; a cancelled run says nothing.

    A run that is killed every time (by want of memory, say) waits longer each time as well: it only begins
    lower. Failures for another reason are not counted.

    Args:
        landing: a run that landed did well, whatever failed behind that.
    """
    failed: list[RunFacts] = []
    for run in runs:
        # What a check stopped had done its work: the next run may, too.
        if run.status == "SUCCESS" or run.failure == "check" or (landing and run.landed):
            break
        if run.status == "FAILURE":
            failed.append(run)
    if not failed:
        return _Wait(0, "")
    failure = failed[0].failure
    alike = sum(run.failure == failure for run in failed)
    first = FIRST_BACK_OFF if failure == "own" else FIRST_BACK_OFF_BLAMELESS
    left = failed[0].changed_at + min(first * 2 ** (alike - 1), LONGEST_BACK_OFF) - now
    if left <= 0:
        return _Wait(0, "")
    which = "the last run failed" if alike == 1 else f"{alike} runs failed since the last success"
    return _Wait(left, f"Waiting another {left:.0f} s, because {which}{_WHY[failure]}.")


_UNDER_WAY = {"QUEUED", "NOT_STARTED", "STARTING", "STARTED", "CANCELING"}


_WHY = {
    "own": "",
    "check": "",
    "killed": " (killed, or it never began)",
    "away": " (the broker or the warehouse was away)",
}


def _is_dead(run: RunFacts, now: float) -> bool:
    if run.gone and run.status in _UNDER_WAY - {"QUEUED"}:
        return True
    if run.status in {"STARTED", "CANCELING"}:
        return now - (run.heartbeat or run.changed_at) > HEARTBEAT_MAX_AGE
    return run.status in {"NOT_STARTED", "STARTING"} and now - run.changed_at > START_MAX_AGE
