"""A shop's tasks made as its SQL files want them: what differs is found first, nothing else is touched."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from caves_dagster.errors import WarehouseNotSetUp
from caves_dagster.shop import Shop
from caves_dagster.tasks.control import start, stop
from caves_dagster.tasks.deployed import Deployed, deployed
from caves_dagster.tasks.graph import EVERY_SECONDS, Task, create_sql, mark, task_graph
from caves_dagster.tasks.privileges import naming_privileges
from caves_dagster.warehouse.connection import Warehouse
from caves_dagster.warehouse.streams import streams

_UNITS = {"SECOND": 1, "MINUTE": 60, "HOUR": 3600}
_SCHEDULE = re.compile(r"(\d+)\s+(SECOND|MINUTE|HOUR|M|S|H)")
_COMMENT = re.compile(r"COMMENT = '(.*)'")


@dataclass(frozen=True)
class Change:
    """What a deployment does to one task.

    Attributes:
        what: what of it differs; empty where it is created, dropped or left alone.
    """

    task: str
    action: Literal["create", "change", "drop", "unchanged"]
    what: tuple[str, ...] = ()


def plan(
    shop: Shop, graph: Sequence[Task], found: Mapping[str, Deployed], warehouse: str
) -> tuple[Change, ...]:
    """What is to be done to come from the tasks found to the graph; pure.

    A task of this shop that it does not declare any more is dropped: it would go on with its old SQL.
    """
    changes = []
    for task in graph:
        there = found.get(task.name)
        if there is None:
            changes.append(Change(task.name, "create"))
            continue
        what = tuple(_differences(task, there, create_sql(shop, task, warehouse), warehouse))
        changes.append(Change(task.name, "change" if what else "unchanged", what))
    declared = {task.name for task in graph}
    own = (one for one in found.values() if mark(shop) in one.comment)
    changes += [Change(one.name, "drop") for one in own if one.name not in declared]
    return tuple(changes)


def _differences(task: Task, there: Deployed, statement: str, warehouse: str) -> Iterator[str]:
    """What somebody changed by hand, and by its version in the comment what SHOW TASKS does not tell."""
    after = (task.after.rpartition(".")[2],) if task.after else ()
    compared = {
        "warehouse": (warehouse.upper(), there.warehouse.upper().strip('"')),
        "schedule": (_seconds(task.schedule), _seconds(there.schedule)),
        "predecessors": (after, there.after),
        "condition": (_words(task.condition), _words(there.condition)),
        "SQL": (_words(task.body), _words(there.body)),
    }
    differing = [name for name, (wanted, found) in compared.items() if wanted != found]
    yield from differing
    comment = _COMMENT.search(statement)
    if not differing and comment and comment[1] != there.comment:
        yield "parameters"
    # Nothing runs by itself while the root is suspended, and a suspended child never does.
    if task.after and not there.started:
        yield "suspended"


def _seconds(schedule: str) -> int | str:
    """A schedule however it is written; what is no interval stays as it is."""
    found = _SCHEDULE.match(schedule.upper())
    if found is None:
        return schedule
    unit = next(name for name in _UNITS if name.startswith(found[2]))
    return int(found[1]) * _UNITS[unit]


def _words(text: str) -> str:
    return " ".join(text.split()).rstrip("; ")


def deploy(warehouse: Warehouse, shop: Shop, every_seconds: int = EVERY_SECONDS) -> tuple[Change, ...]:
    """Create, change or drop what differs; returns what became of each task.

    A graph that was started is suspended meanwhile, and then started again: a run under way goes on. A new
    root is suspended: deploying changes no mode.

    Raises:
        WarehouseNotSetUp: a stream or the fence is missing.
        CavesError: a statement failed, or a privilege is missing.
    """
    _require_set_up(warehouse, shop)
    graph = task_graph(shop, every_seconds)
    found = deployed(warehouse, shop)
    changes = plan(shop, graph, found, warehouse.settings.warehouse)
    if all(change.action == "unchanged" for change in changes):
        return changes
    concerned = [found[change.task] for change in changes if change.task in found]
    running = [one.name for one in concerned if one.started and not one.after]
    with naming_privileges(warehouse.settings, shop):
        stop(warehouse, shop, running)
        try:
            _carry_out(warehouse, shop, graph, changes)
        finally:
            # Children are started in either mode: then EXECUTE TASK runs the whole graph.
            start(warehouse, shop, with_root=bool(running))
    return changes


def _carry_out(warehouse: Warehouse, shop: Shop, graph: Sequence[Task], changes: Sequence[Change]) -> None:
    tasks = {task.name: task for task in graph}
    for change in changes:
        if change.action in ("create", "change"):
            warehouse.execute(create_sql(shop, tasks[change.task], warehouse.settings.warehouse))
    for change in changes:
        if change.action == "drop":
            warehouse.execute(f"DROP TASK IF EXISTS {shop.raw.schema}.{change.task}")


def _require_set_up(warehouse: Warehouse, shop: Shop) -> None:
    """The tasks themselves cannot say what they lack until they run."""
    there = streams(warehouse)
    missing = [s.stream.full_name for s in shop.transformations if s.stream.full_name not in there]
    (fence,) = warehouse.query(f"SELECT COUNT(*) AS N FROM {shop.raw.schema}.TRANSFORM_FENCE")
    if not fence["N"]:
        missing.append(f"the row of {shop.raw.schema}.TRANSFORM_FENCE")
    if missing:
        raise WarehouseNotSetUp(
            f"The tasks of {shop.title} need what is not there: {', '.join(missing)}.", "Run `caves setup`."
        )
