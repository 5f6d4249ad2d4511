"""Carries a plan of kills out on a running stack, and holds the ledger against the tables in the end."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from contextlib import suppress

import psutil

from caves_dagster.checks.catalogue import integrity_checks
from caves_dagster.checks.check import run_check
from caves_dagster.errors import CavesError
from caves_dagster.warehouse.abandoned import landing_transaction, transform_transaction
from caves_dagster.warehouse.connection import Warehouse
from caves_dagster_tests.faults.ledger import Producer, Sent
from caves_dagster_tests.faults.plan import Kill, Target
from caves_dagster_tests.faults.report import Report, Suffered
from caves_dagster_tests.faults.stack import Stack, victim
from caves_dagster_tests.faults.verdict import Tables, judge
from caves_dagster_tests.faults.watch import Watch

RATE = 20.0
LIMIT_SECONDS = 20.0
"""What a recovery may take on two cores with nothing else to do: `make faults` holds it."""
CI_LIMIT_SECONDS = 60.0
"""The same where who knows what else is running; there, starting a run alone was seen to take twenty."""
_PATIENCE_SECONDS = 180.0
_LOOK_SECONDS = 0.02
_RUN_SECONDS = 180.0


def carry_out(
    stack: Stack,
    plan: Sequence[Kill],
    seed: int,
    limit_seconds: float = LIMIT_SECONDS,
    most_seconds: float = math.inf,
    say: Callable[[str], None] = lambda line: None,
) -> Report:
    """Kill as planned while a producer goes on; then stop it and see what arrived.

    Args:
        limit_seconds: what a recovery may take. After three times as long the plan goes on without it.
        most_seconds: no kill is begun later than that.
        say: is told each kill, each recovery, and of one over the limit what runs, ticks and logs say.
    """
    report = Report(seed, limit_seconds)
    began = time.monotonic()
    producer = Producer(stack.settings.kafka, stack.shop, stack.home / "ledger.jsonl", seed, RATE)
    producer.start()
    with Watch(stack.settings.snowflake) as watch:
        assert watch.await_reached(time.time(), _PATIENCE_SECONDS), "nothing arrived before the first kill"
        for kill, following in zip(plan, (*plan[1:], None), strict=True):
            if time.monotonic() - began > most_seconds:
                break
            suffered = _kill(stack, kill)
            if kill.double:
                _overtake(watch, report.kills[-1], suffered)
            report.kills.append(suffered)
            if following is None or not following.double:
                suffered.recovered_at = watch.await_reached(suffered.back_at, 3 * limit_seconds)
            producer.require_alive()
            say(_told(suffered, waited=following is None or not following.double))
            if suffered in report.slow and not (following and following.double):
                say(stack.told())
        if (last := report.kills[-1]).recovered_at is None:
            last.recovered_at = watch.await_reached(last.back_at, 3 * limit_seconds)
        sent = producer.stop()
        stack.stop_consumer()
        conclude(stack, sent, report)
    report.seconds = time.monotonic() - began
    return report


def _kill(stack: Stack, kill: Kill) -> Suffered:
    """Do it, and start again what was killed."""
    if kill.target in (Target.INGESTING, Target.TRANSFORMING):
        # While one works, nothing is launched.
        stack.stop_consumer()
        return _kill_run(stack, kill)
    if kill.target is Target.CONSUMER and not stack.consumer_runs:
        stack.start_consumer()
        stack.await_partitions()
    time.sleep(kill.delay_seconds)
    at = time.time()
    if kill.target is Target.WAREHOUSE:
        stack.kill_warehouse()
        stack.start_warehouse()
    elif kill.target is Target.BROKER:
        stack.kill_broker()
        stack.start_broker()
    elif kill.target is Target.CONSUMER:
        stack.kill_consumer()
        stack.start_consumer()
    else:
        stack.kill_daemon(children=kill.target is Target.DAGSTER)
        stack.start_daemon()
    return Suffered(kill, at, time.time())


def _kill_run(stack: Stack, kill: Kill) -> Suffered:
    """Wait for a run that does what the plan says, and kill it if it still does so after the delay.

    If it does not, the next one is killed after half of that: how long they take is the machine's affair.
    """
    transforming = kill.target is Target.TRANSFORMING
    delay_seconds, deadline = kill.delay_seconds, time.monotonic() + _RUN_SECONDS
    with Warehouse(stack.settings.snowflake) as warehouse:
        while time.monotonic() < deadline:
            if victim(stack.latest_run(), transforming) is None:
                time.sleep(_LOOK_SECONDS)
                continue
            while transforming and victim(stack.latest_run(), True) is not None:
                if _transaction_open(stack, warehouse, True):
                    break
            time.sleep(delay_seconds)
            inside = _transaction_open(stack, warehouse, transforming)
            run = stack.latest_run()
            process = victim(run, transforming)
            if process is None:
                delay_seconds /= 2
                continue
            with suppress(psutil.NoSuchProcess):
                process.kill()
                at = time.time()
                return Suffered(kill, at, at, in_transaction=inside)
    raise AssertionError(f"no {kill.target} to kill within {_RUN_SECONDS:.0f} s:\n{stack.told()}")


def _transaction_open(stack: Stack, warehouse: Warehouse, transforming: bool) -> bool:
    """Whether a run is in one of its transactions of that kind, as far as can be told a moment before."""
    name = (transform_transaction if transforming else landing_transaction)(stack.shop.name)
    try:
        return any(row["NAME"] == name for row in warehouse.query("SHOW TRANSACTIONS"))
    except CavesError:
        return False


def _overtake(watch: Watch, before: Suffered, suffered: Suffered) -> None:
    """Note for the kill before, whose recovery was not waited for, which of the two came first."""
    reached = watch.reached_at(before.back_at)
    before.overtaken = reached is None or reached > suffered.at
    before.recovered_at = None if before.overtaken else reached


def conclude(stack: Stack, sent: Sent, report: Report) -> None:
    """Wait until everything has arrived, and judge."""
    deadline = time.monotonic() + _PATIENCE_SECONDS
    with Warehouse(stack.settings.snowflake) as warehouse:
        while True:
            tables = Tables.read(warehouse)
            report.verdict = judge(sent, tables)
            settled = report.verdict.good and not stack.runs_under_way()
            if settled or time.monotonic() > deadline:
                break
            time.sleep(1.0)
        report.checks = {
            check.name: run_check(warehouse, stack.shop, check).status
            for check in integrity_checks(stack.shop)
        }
    report.problems += [f"Run {run.run_id[:8]} is left {run.status.value}." for run in stack.runs_under_way()]
    report.acknowledged, report.unknown = len(sent.acknowledged), len(sent.unknown)
    report.unknown_landed = len(sent.unknown & (tables.raw.keys() | tables.dead_letters.keys()))
    report.dead_letters = sum(tables.dead_letters.values())
    report.runs = dict(stack.runs())


def _told(suffered: Suffered, waited: bool) -> str:
    kill, took = suffered.kill, suffered.recovery_seconds
    away = suffered.back_at - suffered.at
    outcome = "not recovered in time" if waited else "another kill follows"
    if took is not None:
        outcome = f"recovered in {took:.1f} s"
    return f"{kill.number + 1:3} {kill.target}: back after {away:.1f} s, {outcome}."
