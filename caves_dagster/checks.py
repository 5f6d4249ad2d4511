"""Asset checks that hold the layers against each other.

Each check is one SQL statement, hence one snapshot: a live producer does not make it flicker. The statement
gives a row a subject with at least SUBJECT, SEVERITY (ERROR or WARN), OFFENDING (how many) and OFFENDING_KEYS
(the first of them); other columns are figures for people. No row at all is a failure: nothing was checked.

In a run, checks of tables that only grow look at what is recent; `run_check` without `since` looks at all.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any, Literal

import dagster as dg

from caves_dagster.assets.description import markdown_table
from caves_dagster.settings import DeadLetterBudget, Settings
from caves_dagster.shop import Shop, Table
from caves_dagster.warehouse.connection import Row, Warehouse
from caves_dagster.warehouse.scripts import render, statements

Status = Literal["PASS", "WARN", "FAIL"]

_WINDOW = timedelta(hours=1)
"""What windowed checks look at before the run itself: some hundred batches, whatever the tables hold."""


@dataclass(frozen=True)
class Check:
    """One check of a shop.

    Attributes:
        asset: the table it is about.
        path: its SQL file, under the SQL root.
        also_reads: tables it needs to be up to date besides.
        windowed: whether its SQL can leave out what was landed before a moment (`windowed`, `%(since)s`), as
            it looks at tables that only grow.
        parameters: values that its SQL is bound with.
    """

    name: str
    description: str
    asset: Table
    path: str
    also_reads: tuple[Table, ...] = ()
    windowed: bool = False
    parameters: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Outcome:
    """What one check found."""

    name: str
    status: Status
    rows: Sequence[Row]

    @property
    def offending_keys(self) -> list[str]:
        """The first offending keys of every subject."""
        return [f"{row['SUBJECT']}: {row['OFFENDING_KEYS']}" for row in self.rows if row["OFFENDING"]]


def shop_checks(shop: Shop, budget: DeadLetterBudget | None = None) -> tuple[Check, ...]:
    """The checks of a shop: the machinery's own, and two whose SQL lies in its `checks` folder.

    Args:
        budget: how many dead letters are too many. Without one nothing is said of that: only whether what
            the tables hold is sound.
    """
    production = tuple(table for step in shop.transformations[1:] for table in step.writes)
    first = production[0] if production else shop.raw
    return (
        Check(
            "offsets_accounted_for",
            "Every Kafka offset that ingestion passed is a row, a dead letter or a recorded gap.",
            shop.raw,
            "ingest/checks/offsets_accounted_for.sql",
            windowed=True,
        ),
        Check(
            "raw_vs_prod_counts",
            "PRODUCTION holds exactly the keys and figures that RAW's newest versions give.",
            first,
            f"{shop.name}/checks/raw_vs_prod_counts.sql",
            production[1:],
        ),
        Check(
            "duplicates",
            "No key stands twice in PRODUCTION, and no record was landed twice.",
            first,
            f"{shop.name}/checks/duplicates.sql",
            production[1:],
        ),
        *([_budget_check(shop, budget)] if budget else []),
    )


def _budget_check(shop: Shop, budget: DeadLetterBudget) -> Check:
    return Check(
        "dead_letter_budget",
        "Few messages of the last hours are dead letters; those that a replay landed do not count.",
        shop.raw,
        "ingest/checks/dead_letter_budget.sql",
        parameters={
            "warn_share": budget.warn_share,
            "fail_share": budget.fail_share,
            "window_seconds": round(budget.window_hours * 3600),
            "min_messages": budget.min_messages,
        },
    )


def run_check(warehouse: Warehouse, shop: Shop, check: Check, since: datetime | None = None) -> Outcome:
    """Run one check.

    Args:
        since: what a windowed check looks at in full; None for everything there is.

    Raises:
        CavesError: the warehouse is away or lacks a table; that is no verdict.
    """
    binds = dict(check.parameters)
    if check.windowed and since is not None:
        binds["since"] = since.isoformat()
    sql = render(shop.sql, check.path, raw=shop.raw, windowed="since" in binds)
    (statement,) = statements(sql)
    rows = warehouse.query(statement, binds or None)
    offending = {row["SEVERITY"] for row in rows if row["OFFENDING"]}
    unknown = not rows or any(row["OFFENDING"] is None for row in rows)
    status: Status = "FAIL" if "ERROR" in offending or unknown else "WARN" if offending else "PASS"
    return Outcome(check.name, status, rows)


def asset_checks(settings: Settings, shop: Shop) -> list[dg.AssetChecksDefinition]:
    """The checks as Dagster runs them: one step for each asset they are about."""
    by_asset: dict[Table, list[Check]] = {}
    for check in shop_checks(shop, settings.dead_letters):
        by_asset.setdefault(check.asset, []).append(check)
    return [_checks_of(shop, table, checks) for table, checks in by_asset.items()]


def _checks_of(shop: Shop, table: Table, checks: list[Check]) -> dg.AssetChecksDefinition:
    specs = [
        dg.AssetCheckSpec(
            check.name,
            asset=table.key,
            description=check.description,
            additional_deps=[other.key for other in check.also_reads],
        )
        for check in checks
    ]

    @dg.multi_asset_check(
        name=f"{shop.name}_{table.name.lower()}_checks",
        specs=specs,
        required_resource_keys={"warehouse", "heartbeat"},
        can_subset=True,
    )
    def hold_against(context: dg.AssetCheckExecutionContext) -> Any:
        since = _began(context) - _WINDOW
        for check in checks:
            key = dg.AssetCheckKey(dg.AssetKey(table.key), check.name)
            if key in context.selected_asset_check_keys:
                yield check_result(table, run_check(context.resources.warehouse, shop, check, since))

    return hold_against


def _began(context: dg.AssetCheckExecutionContext) -> datetime:
    """When the run began: however long it was landing, its own batches are looked at."""
    record = context.instance.get_run_record_by_id(context.run.run_id)
    if record is None or record.start_time is None:
        return datetime.now(UTC)
    return datetime.fromtimestamp(record.start_time, UTC)


def check_result(table: Table, outcome: Outcome) -> dg.AssetCheckResult:
    """An outcome as Dagster takes it."""
    offending = sum(int(row["OFFENDING"] or 0) for row in outcome.rows)
    metadata: dict[str, Any] = {
        "offending": offending,
        "figures": dg.MetadataValue.md(markdown_table(outcome.rows)),
    }
    if outcome.offending_keys:
        metadata["offending_keys"] = dg.MetadataValue.md(
            "\n".join(f"- {line}" for line in outcome.offending_keys)
        )
    warn = outcome.status == "WARN"
    return dg.AssetCheckResult(
        asset_key=table.key,
        check_name=outcome.name,
        passed=outcome.status == "PASS",
        severity=dg.AssetCheckSeverity.WARN if warn else dg.AssetCheckSeverity.ERROR,
        metadata=metadata,
        description="nothing was checked"
        if not outcome.rows
        else "; ".join(outcome.offending_keys)[:500] or None,
    )
