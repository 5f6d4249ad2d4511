"""The warehouse or the broker away for minutes: what sensors say, which runs fail, how soon it is over."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field

import dagster as dg

from caves_dagster.jobs import pipeline_name
from caves_dagster_tests.faults.stack import Stack
from caves_dagster_tests.faults.watch import Watch

_PATIENCE_SECONDS = 180.0


@dataclass(frozen=True)
class Outage:
    """One of the two, and how it goes and comes."""

    name: str
    end: Callable[[Stack], None]
    begin: Callable[[Stack], None]


WAREHOUSE = Outage("warehouse", Stack.start_warehouse, Stack.kill_warehouse)
BROKER = Outage("broker", Stack.start_broker, Stack.kill_broker)


@dataclass
class Endured:
    """What an outage did.

    Attributes:
        failed: runs that failed from its beginning until everything had recovered.
        launched: runs that were launched while it lasted.
        reasons: why ticks skipped while it lasted.
        failed_ticks: ticks that failed instead of skipping.
        recovery_seconds: from the server being back until later events were in PRODUCTION; None for never.
    """

    outage: Outage
    failed: int = 0
    launched: int = 0
    reasons: set[str] = field(default_factory=set)
    failed_ticks: list[str] = field(default_factory=list)
    recovery_seconds: float | None = None


def endure(stack: Stack, watch: Watch, outage: Outage, seconds: float) -> Endured:
    """Take the server away for so long, bring it back, and wait until events flow again."""
    endured = Endured(outage)
    began = time.time()
    outage.begin(stack)
    time.sleep(seconds)
    back = time.time()
    records = _runs(stack)
    endured.launched = sum(record.create_timestamp.timestamp() > began for record in records)
    outage.end(stack)
    came_back = time.time()
    reached = watch.await_reached(came_back, _PATIENCE_SECONDS)
    endured.recovery_seconds = None if reached is None else reached - came_back
    endured.failed = sum(
        record.dagster_run.status is dg.DagsterRunStatus.FAILURE and (record.end_time or 0) > began
        for record in _runs(stack)
    )
    for state in stack.instance.all_instigator_state():
        for tick in stack.instance.get_ticks(
            state.instigator_origin_id, state.selector_id, after=began, before=back
        ):
            endured.reasons |= {tick.skip_reason} if tick.skip_reason else set()
            endured.failed_ticks += [f"{state.instigator_name}: {tick.error.message}"] if tick.error else []
    return endured


def _runs(stack: Stack) -> list[dg.RunRecord]:
    wanted = dg.RunsFilter(job_name=pipeline_name(stack.shop))
    return list(stack.instance.get_run_records(wanted, limit=200))
