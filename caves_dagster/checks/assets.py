"""The checks as Dagster evaluates them: in the runs that write the tables they are about.

There, a windowed check looks at what is recent. What it has found wrong is not forgotten by the next run,
which would see only its own rows: a check that failed looks at everything until it does not.
"""

from datetime import UTC, datetime, timedelta
from typing import Any

import dagster as dg
from dagster._core.storage.asset_check_execution_record import (
    COMPLETED_ASSET_CHECK_EXECUTION_RECORD_STATUSES,
)

from caves_dagster.assets.description import markdown_table
from caves_dagster.checks.catalogue import shop_checks
from caves_dagster.checks.check import Check, Outcome, not_carried_out, run_check
from caves_dagster.errors import CavesError, SignInRefused, WarehouseUnreachable
from caves_dagster.settings import Settings
from caves_dagster.shop import Shop, Table


def asset_checks(settings: Settings, shop: Shop) -> list[dg.AssetChecksDefinition]:
    """The checks of a shop: one step for each asset they are about."""
    by_asset: dict[Table, list[Check]] = {}
    for check in shop_checks(settings, shop):
        by_asset.setdefault(check.asset, []).append(check)
    window = timedelta(hours=settings.checks.window_hours)
    return [_checks_of(shop, table, checks, window) for table, checks in by_asset.items()]


def validation_only(settings: Settings, shop: Shop) -> dg.AssetSelection:
    """The checks that no run of the shop's jobs evaluates, but only validation."""
    return dg.AssetSelection.checks(
        *(check_key(check) for check in shop_checks(settings, shop) if not check.in_runs)
    )


def run_check_keys(settings: Settings, shop: Shop) -> list[dg.AssetCheckKey]:
    """The others, which runs of the shop's jobs evaluate."""
    return [check_key(check) for check in shop_checks(settings, shop) if check.in_runs]


def check_key(check: Check) -> dg.AssetCheckKey:
    """Dagster's key of a check."""
    return dg.AssetCheckKey(dg.AssetKey(check.asset.key), check.name)


def _checks_of(shop: Shop, table: Table, checks: list[Check], window: timedelta) -> dg.AssetChecksDefinition:
    specs = [
        dg.AssetCheckSpec(
            check.name,
            asset=table.key,
            description=check.description,
            additional_deps=[other.key for other in check.also_reads],
            # Never of RAW: what has landed is passed on, whatever is missing beside it.
            blocking=check.integrity and table != shop.raw,
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
        began = _began(context)
        for check in checks:
            if check_key(check) in context.selected_asset_check_keys:
                recent = check.windowed and not _failed_last(context.instance, check)
                since = began - window if recent else None
                yield check_result(check, _outcome(context, shop, check, since))

    return hold_against


def _began(context: dg.AssetCheckExecutionContext) -> datetime:
    """When the run began: however long it was landing, its own batches are looked at."""
    record = context.instance.get_run_record_by_id(context.run.run_id)
    if record is None or record.start_time is None:
        return datetime.now(UTC)
    return datetime.fromtimestamp(record.start_time, UTC)


def _outcome(
    context: dg.AssetCheckExecutionContext, shop: Shop, check: Check, since: datetime | None
) -> Outcome:
    """One that cannot be carried out has failed; a warehouse that is away fails the run."""
    warehouse, instance = context.resources.warehouse, context.instance
    try:
        return run_check(warehouse, shop, check, since, instance, in_run=True)
    except (WarehouseUnreachable, SignInRefused):
        raise
    except CavesError as error:
        return not_carried_out(check, str(error))


def _failed_last(instance: dg.DagsterInstance, check: Check) -> bool:
    """Whether what it last said is an error, or nothing ever."""
    done = COMPLETED_ASSET_CHECK_EXECUTION_RECORD_STATUSES
    last = instance.event_log_storage.get_asset_check_execution_history(
        check_key(check), limit=1, status=done
    )
    if not last or last[0].evaluation is None:
        return True
    return not last[0].evaluation.passed and last[0].evaluation.severity is dg.AssetCheckSeverity.ERROR


def check_result(check: Check, outcome: Outcome) -> dg.AssetCheckResult:
    """An outcome as a step yields it."""
    evaluation = check_evaluation(check, outcome)
    return dg.AssetCheckResult(
        asset_key=evaluation.asset_key,
        check_name=evaluation.check_name,
        passed=evaluation.passed,
        severity=evaluation.severity,
        metadata=evaluation.metadata,
        description=evaluation.description,
    )


def check_evaluation(check: Check, outcome: Outcome, **metadata: Any) -> dg.AssetCheckEvaluation:
    """An outcome as an op logs it, with figures and offending keys."""
    figures: dict[str, Any] = {"offending": outcome.offending, "seconds": round(outcome.seconds, 3)}
    if outcome.rows:
        figures["figures"] = dg.MetadataValue.md(markdown_table(outcome.rows))
    if outcome.offending_keys:
        figures["offending_keys"] = dg.MetadataValue.md(
            "\n".join(f"- {line}" for line in outcome.offending_keys)
        )
    warn = outcome.status == "WARN"
    return dg.AssetCheckEvaluation(
        asset_key=dg.AssetKey(check.asset.key),
        check_name=check.name,
        passed=outcome.status == "PASS",
        severity=dg.AssetCheckSeverity.WARN if warn else dg.AssetCheckSeverity.ERROR,
        metadata=figures | metadata,
        description=outcome.said[:500] or None,
    )
