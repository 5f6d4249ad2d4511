"""Started, suspended, run now: who transforms a shop is decided here, by the state of its root task."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping

from caves_dagster.errors import CavesError
from caves_dagster.shop import Shop
from caves_dagster.tasks.deployed import deployed, require_deployed
from caves_dagster.tasks.graph import root_of
from caves_dagster.tasks.history import TaskRun, history
from caves_dagster.tasks.privileges import naming_privileges
from caves_dagster.warehouse.connection import Warehouse

_LOOK_SECONDS = 1.0
_LOOKED_BACK = 60
"""Seconds of history that are sure to hold a run that is being waited for, beside the wait."""


def resume(warehouse: Warehouse, shop: Shop) -> bool:
    """Turn task mode on; returns whether it was off.

    Raises:
        WarehouseNotSetUp: the tasks are not deployed.
        PrivilegeMissing: the role may not execute tasks.
    """
    found = require_deployed(warehouse, shop)
    if all(task.started for task in found.values()):
        return False
    was_off = not found[root_of(shop).name].started
    with naming_privileges(warehouse.settings, shop):
        start(warehouse, shop, with_root=True)
    return was_off


def suspend(warehouse: Warehouse, shop: Shop) -> bool:
    """Turn Dagster mode on; returns whether it was off. A run of the graph that is under way goes on.

    Raises:
        WarehouseNotSetUp: the tasks are not deployed.
    """
    root = root_of(shop).name
    if not require_deployed(warehouse, shop)[root].started:
        return False
    with naming_privileges(warehouse.settings, shop):
        stop(warehouse, shop, [root])
    return True


def start(warehouse: Warehouse, shop: Shop, *, with_root: bool) -> None:
    """Start what is suspended of the shop's tasks, the root last: then none of the graph may be altered."""
    found = deployed(warehouse, shop)
    root = root_of(shop).name
    names = [step.task_name for step in shop.transformations]
    children = [name for name in names if name != root and name in found and not found[name].started]
    if children and root in found and found[root].started:
        stop(warehouse, shop, [root])
        with_root = True
    for name in children:
        warehouse.execute(f"ALTER TASK {shop.raw.schema}.{name} RESUME")
    if with_root and root in found and (children or not found[root].started):
        warehouse.execute(f"ALTER TASK {shop.raw.schema}.{root} RESUME")


def stop(warehouse: Warehouse, shop: Shop, roots: Iterable[str]) -> None:
    """Suspend tasks that start graphs."""
    for name in roots:
        warehouse.execute(f"ALTER TASK {shop.raw.schema}.{name} SUSPEND")


def execute(
    warehouse: Warehouse,
    shop: Shop,
    timeout_seconds: float,
    on_progress: Callable[[Mapping[str, TaskRun]], None] = lambda runs: None,
) -> dict[str, TaskRun]:
    """Run the graph once, now, in either mode, and wait for it; returns each task's run.

    Tasks that did not run since the one before them failed or was skipped are not in it.

    Raises:
        WarehouseNotSetUp: the tasks are not deployed.
        CavesError: it was not done in time; it goes on.
    """
    found = require_deployed(warehouse, shop)
    root = root_of(shop).name
    if asleep := [name for name, task in found.items() if name != root and not task.started]:
        raise CavesError(
            f"{', '.join(asleep)} would not run: suspended.",
            f"Run `caves snowflake tasks deploy --shop {shop.name}`, which starts them.",
        )
    began = time.monotonic()
    known = {run.run_id for run in history(warehouse, shop, _LOOKED_BACK)}
    with naming_privileges(warehouse.settings, shop):
        warehouse.execute(f"EXECUTE TASK {shop.raw.schema}.{root}")
    while True:
        seconds = _LOOKED_BACK + int(time.monotonic() - began)
        runs = _of_one_graph(history(warehouse, shop, seconds), root, known)
        on_progress(runs)
        if _is_over(shop, runs):
            return runs
        if time.monotonic() - began > timeout_seconds:
            raise CavesError(
                f"The tasks of {shop.title} were not through after {timeout_seconds:.0f} s; they go on.",
                f"Look at them with `caves snowflake tasks history --shop {shop.name}`.",
            )
        time.sleep(_LOOK_SECONDS)


def _of_one_graph(runs: Iterable[TaskRun], root: str, known: set[str]) -> dict[str, TaskRun]:
    """By task, the newest rows of the first graph run that somebody asked for since `known`."""
    new = [run for run in runs if run.run_id not in known]
    asked = [run for run in new if run.task == root and run.by_hand]
    if not asked:
        return {}
    mine = min(asked, key=lambda run: run.scheduled).run_id
    # They come newest first, and one that was tried again has several.
    return {run.task: run for run in reversed(new) if run.run_id == mine}


def _is_over(shop: Shop, runs: Mapping[str, TaskRun]) -> bool:
    """Whether every task has ended, or will not run since the one before it did not succeed."""
    writers = {table: step.task_name for step in shop.transformations for table in step.writes}
    root, succeeded = root_of(shop).name, set[str]()
    for step in shop.transformations:
        name, run = step.task_name, runs.get(step.task_name)
        if run is None:
            if name == root or writers.get(step.source, root) in succeeded:
                return False
        elif not run.is_over:
            return False
        elif run.state == "SUCCEEDED":
            succeeded.add(name)
    return True
