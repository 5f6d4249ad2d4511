"""What a shop's tasks did, by Snowflake's own history. Asking for it needs a virtual warehouse."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from caves_dagster.shop import SQL_ROOT, Shop
from caves_dagster.warehouse.connection import Row, Warehouse
from caves_dagster.warehouse.scripts import render, statements

_OVER = {"SUCCEEDED", "FAILED", "SKIPPED", "CANCELLED", "FAILED_AND_AUTO_SUSPENDED"}
_MOST = 10_000


@dataclass(frozen=True)
class TaskRun:
    """One run of one task.

    Attributes:
        state: SCHEDULED, EXECUTING, SUCCEEDED, FAILED, SKIPPED, CANCELLED, …
        run_id: that of the whole graph's run.
        query_id: that of this task's statement; "" where it ran none.
        by_hand: whether EXECUTE TASK asked for it.
        error: what went wrong, or why it was skipped; "" for nothing.
        scheduled, started, completed: times with zone; None for what has not come.
    """

    task: str
    state: str
    run_id: str
    query_id: str
    by_hand: bool
    error: str
    scheduled: datetime
    started: datetime | None
    completed: datetime | None

    @classmethod
    def of(cls, row: Row) -> TaskRun:
        """Out of a row of TASK_HISTORY."""
        message = " ".join(str(row["ERROR_MESSAGE"] or "").split())
        return cls(
            task=str(row["NAME"]),
            state=str(row["STATE"]),
            run_id=str(row["RUN_ID"]),
            query_id=str(row["QUERY_ID"] or ""),
            by_hand=str(row["SCHEDULED_FROM"]).upper() == "EXECUTE TASK",
            error=f"{row['ERROR_CODE']}: {message}" if row["ERROR_CODE"] else message,
            scheduled=row["SCHEDULED_TIME"],
            started=row["QUERY_START_TIME"],
            completed=row["COMPLETED_TIME"],
        )

    @property
    def is_over(self) -> bool:
        """Whether it has come to its end, well or not."""
        return self.state in _OVER

    @property
    def failed(self) -> bool:
        """Whether it ended otherwise than it should."""
        return self.is_over and self.state not in ("SUCCEEDED", "SKIPPED")

    @property
    def seconds(self) -> float | None:
        """How long its statement took."""
        if self.started is None or self.completed is None:
            return None
        return (self.completed - self.started).total_seconds()


def history(warehouse: Warehouse, shop: Shop, seconds: int, limit: int = _MOST) -> list[TaskRun]:
    """The runs scheduled in the last seconds, the newest first.

    Raises:
        CavesError: the warehouse is away, or this role may not look.
    """
    sql = render(
        SQL_ROOT,
        "tasks/history.sql",
        database=warehouse.settings.database.upper(),
        schema=shop.raw.schema,
        names=[step.task_name for step in shop.transformations],
        seconds=seconds,
        limit=limit,
    )
    (statement,) = statements(sql)
    return [TaskRun.of(row) for row in warehouse.query(statement)]
