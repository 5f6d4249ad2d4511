"""The tasks of a shop: its transformations, by the same SQL files, as one graph of Snowflake tasks.

    the first transformation      the root: has the schedule, runs when any stream of the graph has data
    └── every other one           AFTER the one that writes its source, or AFTER the root

The root looks at every stream, not at its own alone: rows that a failed run left in a staging stream are
taken up within a minute, although nothing new comes to RAW. Its own stream may then be empty, which costs a
statement. A task at the end of the graph has a condition of its own and is skipped where its stream is empty;
one in the middle has none, as what comes after it may have rows waiting.

Each takes the fence (`warehouse/transform_fence.py`) first, in the transaction of its statements: one that
does not get it fails, and the next minute tries again.
"""

from __future__ import annotations

from dataclasses import dataclass
from hashlib import sha256

from caves_dagster.shop import SQL_ROOT, Shop, Table, Transformation
from caves_dagster.warehouse.scripts import render, statements, transformation_sql

EVERY_SECONDS = 60
"""Between two runs of a graph."""
_MARK = "caves_dagster"


@dataclass(frozen=True)
class Task(Table):
    """A task as its shop wants it, by the name it has in the warehouse.

    Attributes:
        step: the transformation it does.
        schedule: '1 MINUTE' for the root; "" for the others.
        after: full name of the task it follows; "" for the root.
        condition: what it has as WHEN; "" for none.
        body: what it runs.
    """

    step: Transformation
    schedule: str
    after: str
    condition: str
    body: str


def root_of(shop: Shop) -> Table:
    """Name of the task that starts the others."""
    return Table(shop.raw.schema, shop.transformations[0].task_name)


def task_graph(shop: Shop, every_seconds: int = EVERY_SECONDS) -> tuple[Task, ...]:
    """A shop's tasks, the root first and each behind the one it follows."""
    root = root_of(shop)
    writers = {table: step for step in shop.transformations for table in step.writes}
    found = []
    for step in shop.transformations:
        name = Table(shop.raw.schema, step.task_name)
        is_root = name == root
        before = writers.get(step.source)
        after = "" if is_root else Table(shop.raw.schema, before.task_name).full_name if before else ""
        found.append(
            Task(
                *(name.schema, name.name),
                step=step,
                schedule=_schedule(every_seconds) if is_root else "",
                after=after or ("" if is_root else root.full_name),
                condition=_condition(shop, step, is_root),
                body=_body(shop, step),
            )
        )
    return tuple(found)


def create_sql(shop: Shop, task: Task, warehouse: str) -> str:
    """The statement that makes the task, or what there is of it like that."""
    names = {"task": task, "warehouse": warehouse}
    plain = render(SQL_ROOT, "tasks/create.sql", comment="", **names)
    version = sha256(plain.encode()).hexdigest()[:12]
    writes = ", ".join(table.full_name for table in task.step.writes)
    comment = f"{shop.name} to {writes} ({mark(shop)}{version})"
    return render(SQL_ROOT, "tasks/create.sql", comment=comment, **names)


def mark(shop: Shop) -> str:
    """What stands in the comments of a shop's tasks, before the version of their SQL, and in no others'."""
    return f"{_MARK} {shop.name} "


def _schedule(seconds: int) -> str:
    return f"{seconds // 60} MINUTE" if seconds % 60 == 0 else f"{seconds} SECONDS"


def _condition(shop: Shop, step: Transformation, is_root: bool) -> str:
    if is_root:
        streams = [one.stream for one in shop.transformations]
    elif any(table == other.source for table in step.writes for other in shop.transformations):
        return ""
    else:
        streams = [step.stream]
    return " OR ".join(f"SYSTEM$STREAM_HAS_DATA('{stream.full_name}')" for stream in streams)


def _body(shop: Shop, step: Transformation) -> str:
    (fence,) = statements(render(SQL_ROOT, "transform/take_fence.sql", raw=shop.raw))
    script = [
        one for table in step.writes for one in transformation_sql(shop, step.layer, table, step.stream)
    ]
    return render(SQL_ROOT, "tasks/body.sql", fence=fence, statements=script).strip()
