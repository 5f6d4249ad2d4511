"""The rebuild as a Dagster job: launched by hand, with the confirmation in its config."""

from typing import Any

import dagster as dg
from pydantic import Field

from caves_dagster.assets.description import markdown_table
from caves_dagster.checks.assets import check_evaluation
from caves_dagster.checks.catalogue import integrity_checks
from caves_dagster.checks.check import run_check
from caves_dagster.jobs import rebuild_name
from caves_dagster.rebuild import RebuildReport, confirmation, rebuild, require_confirmation
from caves_dagster.run_tags import SHOP_TAG
from caves_dagster.shop import Shop


def rebuild_job(shop: Shop) -> dg.JobDefinition:
    """Rebuilds STAGING and PRODUCTION from RAW, then holds them against each other."""
    words = confirmation(shop)

    class RebuildConfig(dg.Config):
        confirmation: str = Field(
            default="",
            description=f"Type `{words}` to say that STAGING and PRODUCTION shall be deleted and refilled.",
        )

    @dg.op(
        name=f"{shop.name}_rebuild",
        description="Deletes and refills STAGING and PRODUCTION in one transaction; landing goes on.",
        required_resource_keys={"warehouse", "heartbeat"},
    )
    def rebuild_from_raw(context: dg.OpExecutionContext, config: RebuildConfig) -> None:
        require_confirmation(shop, config.confirmation)
        report = rebuild(context.resources.warehouse, shop, context.log.info)
        for step in shop.transformations:
            for table in step.writes:
                metadata = _figures(report, table.full_name)
                context.log_event(dg.AssetMaterialization(table.key, "Rebuilt from RAW.", metadata))
        context.add_output_metadata(_summary(report))
        _run_checks(context, shop)

    @dg.job(
        name=rebuild_name(shop),
        description=f"{shop.title}: STAGING and PRODUCTION anew from RAW, in one transaction.",
        executor_def=dg.in_process_executor,
        tags={SHOP_TAG: shop.name},
        config={"ops": {rebuild_from_raw.name: {"config": {"confirmation": ""}}}},
    )
    def rebuild_production() -> None:
        rebuild_from_raw()

    return rebuild_production


def _figures(report: RebuildReport, table: str) -> dict[str, Any]:
    return {
        "rows_before": report.before[table],
        "dagster/row_count": report.after[table],
        "seconds": round(report.seconds, 3),
    }


def _summary(report: RebuildReport) -> dict[str, Any]:
    rows = [
        {
            "TABLE": table,
            "ROWS_BEFORE": report.before[table],
            "ROWS_AFTER": report.after[table],
            "CHANGED_BY_STREAMS": report.came_back[table],
        }
        for table in report.after
    ]
    return {
        "rows": dg.MetadataValue.md(markdown_table(rows)),
        "seconds": round(report.seconds, 3),
        "streams_made_anew": len(report.recreated),
    }


def _run_checks(context: dg.OpExecutionContext, shop: Shop) -> None:
    """Whether all of RAW came through, as evaluations of the assets' checks; fails the run where not."""
    failed = []
    for check in integrity_checks(shop):
        outcome = run_check(context.resources.warehouse, shop, check)
        # It takes evaluations, though its type does not say so.
        context.log_event(check_evaluation(check, outcome))  # type: ignore[arg-type]
        context.log.info(f"Check {check.name}: {outcome.status}.")
        if outcome.status == "FAIL":
            failed.append(f"{check.name} ({outcome.said[:500]})")
    if failed:
        raise dg.Failure(f"After the rebuild these checks fail: {', '.join(failed)}.", allow_retries=False)
