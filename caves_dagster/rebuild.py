"""STAGING and PRODUCTION anew from RAW, by the same SQL files, while events go on landing.

One transaction: take the fence; pass over what waits in every stream; then, upstream first, DELETE and
fill each table from the table that lies under its stream. Readers see the old rows until it commits, and
then the new ones. Nothing in it commits by itself (no TRUNCATE, no DDL).

Why no row is lost or doubled, by Snowflake's documented semantics (READ COMMITTED for each statement,
streams as of the transaction's start, UPDATE, DELETE and MERGE lock tables, INSERT and COPY do not):

- The fence (`warehouse/transform_fence.py`) keeps every transformation and every other rebuild out, from
  the first statement to the commit. So none commits between a DELETE and its INSERT; one that waited
  takes its lock by a statement of its own, and those after that see everything that was rebuilt.
- Landing takes no part in the fence and goes on. The rebuild began at t0, its statements read RAW later.
  What was landed before t0 is in RAW for all of them; so a stream may move to t0, which is where the
  commit takes it. What was landed after t0 stays in the stream on RAW, whether a statement already saw it
  or not: the distributor leaves out a record that is staged.
- What waited in a staging stream was staged before t0 and is deleted: the rows of the rebuild stand for
  it. Its own rows are newer than t0 and come back through the staging streams. MERGE finds them in place,
  as no version is newer than itself. `drain` lets them pass at once, so that the checks find nothing
  waiting.
- Killed at any point, the transaction is rolled back, by the server at the latest, and the tables and
  streams are as before. A COMMIT whose answer is lost may have taken place: the rebuild is done again, to
  the same end.

A stream that went stale has lost its place. It is made anew before the transaction, with every row its
table holds: then no row can be landed between the two that neither sees, and if the rebuild dies right
after that, the transformations alone bring everything that was lost. Tests:
`caves_dagster_tests/test_rebuild.py`.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

from tenacity import (
    Retrying,
    before_sleep_log,
    retry_if_exception_type,
    stop_after_delay,
    wait_random_exponential,
)

from caves_dagster.assets.transformation import STATEMENT_SECONDS, transform
from caves_dagster.errors import NotConfirmed, RetryableError
from caves_dagster.shop import SQL_ROOT, Shop, Table, Transformation
from caves_dagster.warehouse.connection import Warehouse
from caves_dagster.warehouse.scripts import render, statements, transformation_sql
from caves_dagster.warehouse.streams import streams
from caves_dagster.warehouse.transform_fence import transforming

log = logging.getLogger(__name__)

PATIENCE_SECONDS = 600.0
"""How long to try again while others hold the fence: longer than Snowflake keeps a dead rebuild's lock."""


@dataclass
class RebuildReport:
    """What a rebuild did.

    Attributes:
        before, after: rows by table, as the transaction found and left them.
        recreated: streams that were stale or missing, and were made anew.
        came_back: rows changed by table when the rows came back through the streams: none, but for what was
            landed meanwhile.
        seconds: of the transaction that was committed.
    """

    before: dict[str, int] = field(default_factory=dict)
    after: dict[str, int] = field(default_factory=dict)
    recreated: list[str] = field(default_factory=list)
    came_back: dict[str, int] = field(default_factory=dict)
    seconds: float = 0.0


def confirmation(shop: Shop) -> str:
    """What somebody has to say before a shop is rebuilt."""
    return f"rebuild {shop.name}"


def require_confirmation(shop: Shop, said: str) -> None:
    """Refuse unless exactly that was said.

    Raises:
        NotConfirmed: it was not.
    """
    if said != confirmation(shop):
        raise NotConfirmed(
            f"The rebuild of {shop.title} is not confirmed: the confirmation is {said!r}.",
            f"It deletes and refills STAGING and PRODUCTION; to do that, say {confirmation(shop)!r}.",
        )


def rebuild(
    warehouse: Warehouse,
    shop: Shop,
    say: Callable[[str], None] = log.info,
    patience_seconds: float = PATIENCE_SECONDS,
) -> RebuildReport:
    """Rebuild everything behind RAW, and let what it wrote come back through the streams.

    Args:
        say: told of each step.
        patience_seconds: how long to try again when others hold the fence or the warehouse is away.

    Raises:
        CavesError: what stopped it; the tables are then as they were, or rebuilt.
    """
    with warehouse.long_statements(STATEMENT_SECONDS):
        return _rebuild(warehouse, shop, say, patience_seconds)


def _rebuild(
    warehouse: Warehouse, shop: Shop, say: Callable[[str], None], patience_seconds: float
) -> RebuildReport:
    recreated = recreate_lost_streams(warehouse, shop)
    for stream in recreated:
        say(f"{stream} was stale or missing: made anew, with every row of its table.")
    for attempt in Retrying(
        retry=retry_if_exception_type(RetryableError),
        wait=wait_random_exponential(multiplier=0.05, max=2),
        stop=stop_after_delay(patience_seconds),
        before_sleep=before_sleep_log(log, logging.INFO),
        reraise=True,
    ):
        with attempt:
            report = _rebuild_once(warehouse, shop, say)
    report.recreated = recreated
    report.came_back = drain(warehouse, shop, say)
    return report


def drain(warehouse: Warehouse, shop: Shop, say: Callable[[str], None] = log.info) -> dict[str, int]:
    """Run every transformation once; rows changed by table."""
    changed: dict[str, int] = {}
    for step in shop.transformations:
        changed |= transform(warehouse, shop, step)
        say(f"{step.stream.full_name} consumed: {_changes(changed, step.writes)}.")
    return changed


def recreate_lost_streams(warehouse: Warehouse, shop: Shop) -> list[str]:
    """Make the shop's stale or missing streams anew, with every row of their tables; returns their names."""
    stale = streams(warehouse)
    lost = [step for step in shop.transformations if stale.get(step.stream.full_name, True)]
    for step in lost:
        warehouse.execute(_sql("recreate_stream", shop, step))
    return [step.stream.full_name for step in lost]


def _rebuild_once(warehouse: Warehouse, shop: Shop, say: Callable[[str], None]) -> RebuildReport:
    report = RebuildReport()
    with transforming(warehouse, shop, rebuild=True):
        began = time.monotonic()
        say(f"{shop.title}: no transformation runs until this is committed or rolled back.")
        for step in shop.transformations:
            warehouse.execute(_sql("pass_over", shop, step))
        for step in shop.transformations:
            for table in step.writes:
                _refill(warehouse, shop, step, table, report, say)
    report.seconds = time.monotonic() - began
    say(f"Committed after {report.seconds:.1f} s.")
    return report


def _refill(
    warehouse: Warehouse,
    shop: Shop,
    step: Transformation,
    table: Table,
    report: RebuildReport,
    say: Callable[[str], None],
) -> None:
    began, name = time.monotonic(), table.full_name
    report.before[name] = warehouse.execute(f"DELETE FROM {name}")
    script = transformation_sql(shop, step.layer, table, step.source)
    report.after[name] = sum(warehouse.execute(statement) for statement in script)
    say(
        f"{name} from {step.source.full_name}: {report.before[name]:,} rows deleted, "
        f"{report.after[name]:,} inserted, in {time.monotonic() - began:.1f} s."
    )


def _sql(name: str, shop: Shop, step: Transformation) -> str:
    names = {"raw": shop.raw, "stream": step.stream.full_name, "source": step.source.full_name}
    (statement,) = statements(render(SQL_ROOT, f"transform/{name}.sql", **names))
    return statement


def _changes(changed: dict[str, int], tables: Iterable[Table]) -> str:
    return ", ".join(f"{changed[table.full_name]:,} rows changed in {table.full_name}" for table in tables)
