"""What a check is, and how one is run.

A check is one SQL statement, hence one snapshot: a live producer does not make it flicker. What no statement
can tell (what a table should look like, whether a sensor ticks, what a source file holds) is a function
instead. Both give a row a subject with at least SUBJECT, CHECKED (how many things were looked at), SEVERITY
(ERROR or WARN), OFFENDING (how many of them) and OFFENDING_KEYS (the first of those); other columns are
figures for people.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any, Literal

from caves_dagster.shop import Shop, Table
from caves_dagster.warehouse.connection import Row, Warehouse
from caves_dagster.warehouse.scripts import render, statements

if TYPE_CHECKING:
    import dagster as dg

Status = Literal["PASS", "WARN", "FAIL"]
Severity = Literal["ERROR", "WARN"]
DATA_QUALITY = "data_quality"
"""The group of rules about what single rows say."""
STATEMENT_SECONDS = 600
"""How long a check may take. Over everything there is, one takes longer than a network may be silent; were it
cancelled then, it would fail for ever, as one that failed looks at everything."""


@dataclass(frozen=True)
class Evidence:
    """What a check looks at.

    Attributes:
        since: what a windowed check looks at in full; None for everything there is.
        instance: Dagster's state, where there is one.
    """

    warehouse: Warehouse
    shop: Shop
    since: datetime | None = None
    instance: dg.DagsterInstance | None = None


@dataclass(frozen=True)
class Check:
    """One check of a shop.

    Attributes:
        asset: the table it is about.
        find: its rows, out of the evidence.
        also_reads: tables it needs to be up to date besides.
        windowed: whether it can leave out what was landed before a moment, as it looks at tables that grow.
        integrity: whether it fails where rows were lost, doubled or changed on the way. Then what is
            downstream of its table is not brought up to date in that run.
        group: DATA_QUALITY for one of its rules; else "".
        in_runs: whether each run of the job that writes its table evaluates it; else only validation does.
        severity: what its rows say, whatever severity they give; None to leave it to them.
    """

    name: str
    description: str
    asset: Table
    find: Callable[[Evidence], Sequence[Row]]
    also_reads: tuple[Table, ...] = ()
    windowed: bool = False
    integrity: bool = False
    group: str = ""
    in_runs: bool = True
    severity: Severity | None = None


@dataclass(frozen=True)
class Outcome:
    """What one check found.

    Attributes:
        problem: why it could not be carried out; "" where it was.
    """

    name: str
    status: Status
    rows: Sequence[Row]
    problem: str = ""
    seconds: float = 0.0

    @property
    def checked(self) -> int:
        """How many things were looked at, over all subjects."""
        return sum(int(row["CHECKED"] or 0) for row in self.rows)

    @property
    def offending(self) -> int:
        """How many, over all subjects."""
        return sum(int(row["OFFENDING"] or 0) for row in self.rows)

    @property
    def offending_keys(self) -> list[str]:
        """The first offending keys of every subject."""
        return [f"{row['SUBJECT']}: {row['OFFENDING_KEYS']}" for row in self.rows if row["OFFENDING"]]

    @property
    def said(self) -> str:
        """What is wrong, in a line; "" where nothing is."""
        return self.problem or "; ".join(self.offending_keys)


class SqlFinder:
    """What finds the rows of a check whose statement is a file under the SQL root.

    Args:
        path: the file.
        parameters: values that it is bound with.
        names: what it is rendered with, besides `raw` and `windowed`.
    """

    def __init__(self, path: str, parameters: Mapping[str, Any] | None = None, **names: Any) -> None:
        self.path, self._parameters, self._names = path, dict(parameters or {}), names

    def sql(self, shop: Shop, windowed: bool) -> str:
        """The file as it is run, its parameters not yet bound."""
        return render(shop.sql, self.path, raw=shop.raw, windowed=windowed, **self._names)

    def __call__(self, evidence: Evidence) -> Sequence[Row]:
        """Run it."""
        since = evidence.since
        binds = self._parameters | ({} if since is None else {"since": since.isoformat()})
        (statement,) = statements(self.sql(evidence.shop, windowed=since is not None))
        return evidence.warehouse.query(statement, binds or None)


def run_check(
    warehouse: Warehouse,
    shop: Shop,
    check: Check,
    since: datetime | None = None,
    instance: dg.DagsterInstance | None = None,
    in_run: bool = False,
) -> Outcome:
    """Run one check.

    Args:
        since: what a windowed check looks at in full; None for everything there is.
        instance: Dagster's state, where there is one.
        in_run: whether it is one of a run, which need not have brought anything for each of its checks.

    Raises:
        CavesError: the warehouse is away or lacks a table; that is no verdict.
    """
    began = time.monotonic()
    evidence = Evidence(warehouse, shop, since if check.windowed else None, instance)
    with warehouse.long_statements(STATEMENT_SECONDS):
        rows = [_with_severity(check, row) for row in check.find(evidence)]
    problem = _nothing(check, rows, may_be_empty=in_run and evidence.since is not None)
    status: Status = _status(rows) if rows else "FAIL"
    if problem and status == "PASS":
        status = "WARN"
    return Outcome(check.name, status, rows, problem, time.monotonic() - began)


def _with_severity(check: Check, row: Row) -> Row:
    return row if check.severity is None else {**row, "SEVERITY": check.severity}


def not_carried_out(check: Check, why: str) -> Outcome:
    """The outcome of a check that could not be carried out: it failed."""
    return Outcome(check.name, "FAIL", (), why)


def _nothing(check: Check, rows: Sequence[Row], may_be_empty: bool) -> str:
    """Nobody has seen that all is well where there was nothing to look at."""
    if not rows:
        return "Nothing was checked."
    if not may_be_empty and not any(row["CHECKED"] or row["OFFENDING"] for row in rows):
        return f"There was nothing to check: no rows in {check.asset.full_name}."
    return ""


def _status(rows: Sequence[Row]) -> Status:
    if any(row["OFFENDING"] is None for row in rows):
        return "FAIL"
    offending = {row["SEVERITY"] for row in rows if row["OFFENDING"]}
    return "FAIL" if "ERROR" in offending else "WARN" if offending else "PASS"
