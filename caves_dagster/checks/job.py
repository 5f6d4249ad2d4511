"""Validation as a job: every check over everything there is, each hour, with the report."""

from datetime import UTC, datetime, timedelta

import dagster as dg

from caves_dagster.checks.assets import check_evaluation
from caves_dagster.checks.report import as_markdown, delete_old, validate, write
from caves_dagster.run_tags import SHOP_TAG
from caves_dagster.settings import Settings
from caves_dagster.shop import Shop


def validation_name(shop: Shop) -> str:
    """Name of a shop's validation job."""
    return f"{shop.name}_validation"


def validation_job(settings: Settings, shop: Shop) -> tuple[dg.JobDefinition, dg.ScheduleDefinition]:
    """Evaluates all checks of the shop. What fails does not fail the run, which did its work."""

    @dg.op(
        name=f"{shop.name}_validate",
        description="Runs every check over everything there is, and writes the report.",
        required_resource_keys={"warehouse"},
    )
    def validate_shop(context: dg.OpExecutionContext) -> None:
        report = validate(settings, shop, context.resources.warehouse, context.instance)
        written = write(report, settings.reports)
        if report.away:
            # One alert for the run, not one for each check.
            raise dg.Failure(f"{report.away} Report: {written.html}", allow_retries=False)
        link = dg.MetadataValue.path(str(written.html.absolute()))
        for check, outcome in report.found:
            # It takes evaluations, though its type does not say so.
            context.log_event(check_evaluation(check, outcome, report=link))  # type: ignore[arg-type]
        context.add_output_metadata(
            {
                "status": report.status,
                "report": link,
                "json": dg.MetadataValue.path(str(written.json.absolute())),
                "checks": dg.MetadataValue.md(as_markdown(report)),
            }
        )
        failed = [check.name for check, one in report.found if one.status == "FAIL"]
        say = context.log.warning if failed else context.log.info
        say(f"{report.status}{': ' if failed else ''}{', '.join(failed)}. Report: {written.html}")
        delete_old(settings.reports, datetime.now(UTC) - timedelta(days=settings.report_retention_days))

    @dg.job(
        name=validation_name(shop),
        description=f"{shop.title}: every check over everything there is, with a report.",
        executor_def=dg.in_process_executor,
        tags={SHOP_TAG: shop.name},
    )
    def validation() -> None:
        validate_shop()

    schedule = dg.ScheduleDefinition(
        name=f"{shop.name}_validation_hourly",
        job=validation,
        cron_schedule="7 * * * *",
        default_status=dg.DefaultScheduleStatus.RUNNING,
        description="Validates every hour, and writes the report.",
    )
    return validation, schedule
