"""Task mode as Dagster sees it: each run of a task once, as materialisations of the tables it writes.

Task history needs a virtual warehouse, and asking for it once a minute would keep one awake. So it is asked
only when something may have happened: while a stream holds rows, and for a while after RAW has grown, which
SHOW TABLES tells without a warehouse. Whatever the tasks do, they do it to rows that came to RAW.
"""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import dagster as dg

from caves_dagster.assets.description import sample
from caves_dagster.shop import Shop, Table, Transformation
from caves_dagster.tasks.history import TaskRun, history
from caves_dagster.warehouse.connection import Warehouse
from caves_dagster.warehouse.ddl import described

MODE_TAG = "caves/mode"
"""On a run that was launched in task mode: "tasks"."""
WATCH_SECONDS = 240.0
"""How long after RAW has grown the tasks may take up the last of it: a schedule's minute, and a run."""
_LOOK_BACK_SECONDS = 7200
"""By when runs were scheduled; one may take an hour."""
_FIRST_SECONDS = 600
_OVERLAP_SECONDS = 120
"""What ended that long before the newest that was told may have been written to the history after it."""
_CHANGED = ("UPDATED_AT", "STAGED_AT", "LOADED_AT")
"""Columns that say when a row last changed, where a table has one."""


@dataclass(frozen=True)
class Look:
    """What a look at the tasks found.

    Attributes:
        events: materialisations of what the tasks wrote and nobody has told yet.
        tables: the tables written.
        said: a sentence for the sensor's reason.
    """

    events: Sequence[dg.AssetMaterialization] = ()
    tables: Sequence[Table] = ()
    said: str = ""


def look_on(
    warehouse: Warehouse, shop: Shop, waiting: Sequence[Table], seen: dict[str, Any], now: float
) -> Look:
    """Tell what the tasks have done since the last look.

    Args:
        waiting: the streams that hold rows.
        seen: the sensor's cursor; what of it belongs here is brought up to date.
        now: seconds since 1970.
    """
    rows = _rows_of_raw(warehouse, shop)
    if seen.get("raw_rows") != rows:
        seen |= {"raw_rows": rows, "moved_at": now}
    if not waiting and now - (seen.get("moved_at") or 0.0) > WATCH_SECONDS:
        return Look(said="Nothing came to RAW, and no stream holds rows.")
    runs = history(warehouse, shop, _LOOK_BACK_SECONDS)
    new = untold(runs, seen, now)
    told = {run.task for run in new}
    written = [t for step in shop.transformations if step.task_name in told for t in step.writes]
    return Look(_events(warehouse, shop, new), written, _said(runs, new, waiting))


def tell(
    shop: Shop,
    mode: str,
    seen: dict[str, Any],
    look: Look,
    in_the_way: str,
    checks: Sequence[dg.AssetCheckKey],
) -> dg.SensorResult:
    """The stream sensor's result in task mode; a run of the views and checks behind what was written follows.

    Args:
        mode: `task_mode`'s sentence.
        seen: the sensor's cursor; its "behind" keeps the tables whose run has to wait.
        in_the_way: why no run may be launched now; "" if one may.
        checks: those that runs evaluate.
    """
    behind = {*seen.get("behind", ()), *(table.full_name for table in look.tables)}
    if behind and not in_the_way:
        keys = {dg.AssetKey(table.key) for table in shop.tables if table.full_name in behind}
        views = [dg.AssetKey(view.key) for view in shop.views]
        request = dg.RunRequest(
            asset_selection=views,
            asset_check_keys=[key for key in checks if key.asset_key in keys | set(views)],
            tags={MODE_TAG: "tasks"},
        )
        cursor = json.dumps(seen | {"behind": []})
        return dg.SensorResult(run_requests=[request], asset_events=list(look.events), cursor=cursor)
    reason = " ".join(text for text in (mode, look.said, in_the_way) if text)
    cursor = json.dumps(seen | {"behind": sorted(behind)})
    return dg.SensorResult(skip_reason=reason, asset_events=list(look.events), cursor=cursor)


def untold(runs: Sequence[TaskRun], seen: dict[str, Any], now: float) -> list[TaskRun]:
    """The runs that succeeded and were not told before, the oldest first; notes them in `seen`. Pure.

    Told is by time of completion and query id.
    """
    until, told = float(seen.get("told_until") or now - _FIRST_SECONDS), set(seen.get("told") or ())
    ended = [run for run in runs if run.state == "SUCCEEDED" and run.completed is not None]
    recent = [run for run in ended if _at(run) > until - _OVERLAP_SECONDS]
    new = sorted(
        (run for run in recent if run.query_id not in told), key=lambda run: (_at(run), run.query_id)
    )
    newest = max([until, *map(_at, recent)])
    seen["told_until"] = newest
    seen["told"] = [run.query_id for run in recent if _at(run) > newest - _OVERLAP_SECONDS]
    return new


def _at(run: TaskRun) -> float:
    assert run.completed is not None
    return run.completed.timestamp()


def _rows_of_raw(warehouse: Warehouse, shop: Shop) -> int | None:
    where = f"{warehouse.settings.database}.{shop.raw.schema}"
    found = warehouse.query(f"SHOW TABLES LIKE '{shop.raw.name}' IN SCHEMA {where}")
    return next((int(row["ROWS"]) for row in found if row["NAME"] == shop.raw.name), None)


def _said(runs: Sequence[TaskRun], new: Sequence[TaskRun], waiting: Sequence[Table]) -> str:
    """The runs come newest first: what each task did last is what counts."""
    last: dict[str, TaskRun] = {}
    for run in runs:
        if run.is_over:
            last.setdefault(run.task, run)
    failed = [f"{run.task} failed ({run.error[:200]})" for run in last.values() if run.failed]
    said = [f"{len(new)} runs of tasks told.", *(f"The last run of {one}." for one in failed)]
    if waiting:
        said.append(f"Rows wait in {', '.join(stream.full_name for stream in waiting)}.")
    return " ".join(said)


def _events(warehouse: Warehouse, shop: Shop, new: Sequence[TaskRun]) -> list[dg.AssetMaterialization]:
    steps = {step.task_name: step for step in shop.transformations}
    by_step: dict[Transformation, list[TaskRun]] = defaultdict(list)
    for run in new:
        by_step[steps[run.task]].append(run)
    found = []
    for step, runs in by_step.items():
        for table in step.writes:
            total, changed = _count(warehouse, shop, table, runs)
            for run, rows in zip(runs, changed, strict=True):
                figures = _figures(shop, step, run) | rows
                if run is runs[-1]:
                    figures |= {"dagster/row_count": total, "sample": sample(warehouse, table)}
                found.append((_at(run), dg.AssetMaterialization(table.key, _by(shop, run), figures)))
    # Each table's in the order of time, as the UI shows the last one told.
    return [event for _, event in sorted(found, key=lambda one: one[0])]


def _by(shop: Shop, run: TaskRun) -> str:
    return f"By Snowflake task {shop.raw.schema}.{run.task}."


def _figures(shop: Shop, step: Transformation, run: TaskRun) -> dict[str, Any]:
    return {
        "mode": "tasks",
        "by": f"Snowflake task {shop.raw.schema}.{run.task}",
        "seconds": round(run.seconds or 0.0, 3),
        "stream": step.stream.full_name,
        "completed_at": dg.MetadataValue.timestamp(_at(run)),
        "query_id": run.query_id,
        "graph_run_id": run.run_id,
    }


def _count(
    warehouse: Warehouse, shop: Shop, table: Table, runs: Sequence[TaskRun]
) -> tuple[int, list[dict[str, Any]]]:
    """Rows now, and for each run those that it was the last to change, where the table says when that was."""
    names = {column.name for column in described(shop)[table.full_name].columns}
    column = next((name for name in _CHANGED if name in names), None)
    counts = [
        f"COUNT_IF({column} BETWEEN '{_utc(run.started)}'::TIMESTAMP_NTZ AND '{_utc(run.completed)}'"
        f"::TIMESTAMP_NTZ) AS C{index}"
        for index, run in enumerate(runs)
        if column
    ]
    (row,) = warehouse.query(f"SELECT {', '.join(['COUNT(*) AS TOTAL', *counts])} FROM {table.full_name}")
    changed: list[dict[str, Any]] = [
        {"rows_changed": int(row[f"C{index}"] or 0)} if column else {} for index in range(len(runs))
    ]
    return int(row["TOTAL"]), changed


def _utc(moment: datetime | None) -> str:
    assert moment is not None
    return f"{moment.astimezone(UTC):%Y-%m-%d %H:%M:%S.%f}"
