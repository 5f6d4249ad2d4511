"""The jobs: one a shop, from raw to analytics in one process, and the clean-up of old runs."""

import time
from datetime import UTC, datetime, timedelta

import dagster as dg
from dagster._core.definitions.unresolved_asset_job_definition import UnresolvedAssetJobDefinition

from caves_dagster.assets.seed import seed_key
from caves_dagster.event_log import delete_old_events, delete_run
from caves_dagster.run_tags import SHOP_TAG
from caves_dagster.settings import Settings
from caves_dagster.shop import Batch, Seed, Shop

_DELETED_AT_ONCE = 500
_FINISHED = [dg.DagsterRunStatus.SUCCESS, dg.DagsterRunStatus.FAILURE, dg.DagsterRunStatus.CANCELED]


def pipeline_name(shop: Shop) -> str:
    """Name of a shop's job."""
    return f"{shop.name}_pipeline"


def rebuild_name(shop: Shop) -> str:
    """Name of a shop's rebuild job."""
    return f"{shop.name}_rebuild_production"


def pipeline_job(shop: Shop, left_out: dg.AssetSelection) -> UnresolvedAssetJobDefinition:
    """Raw to analytics, in one process: starting one a step would cost seconds each.

    Args:
        left_out: checks that only validation runs.
    """
    keys = [dg.AssetKey(table.key) for table in (*shop.tables, *shop.views)]
    return dg.define_asset_job(
        pipeline_name(shop),
        selection=dg.AssetSelection.assets(*keys) - left_out,
        description=f"{shop.title}: from the topic to analytics, with the checks.",
        executor_def=dg.in_process_executor,
        run_tags={SHOP_TAG: shop.name},
    )


def seed_job(shop: Shop, seed: Seed) -> UnresolvedAssetJobDefinition:
    """Writes the shop's seed files."""
    return dg.define_asset_job(
        f"{shop.name}_seed",
        selection=dg.AssetSelection.assets(seed_key(seed)),
        description=f"{shop.title}: made-up history in files, the same for the same options.",
        executor_def=dg.in_process_executor,
        run_tags={SHOP_TAG: shop.name},
    )


def batch_job(shop: Shop, batch: Batch, left_out: dg.AssetSelection) -> UnresolvedAssetJobDefinition:
    """Loads the shop's batch tables; those with days, of the run's partitions.

    Args:
        left_out: checks that only validation runs.
    """
    keys = [dg.AssetKey(one.table.key) for one in batch.tables]
    return dg.define_asset_job(
        f"{shop.name}_batch",
        selection=dg.AssetSelection.assets(*keys) - left_out,
        description=f"{shop.title}: the batch source into the batch tables.",
        executor_def=dg.in_process_executor,
        run_tags={SHOP_TAG: shop.name},
    )


def clean_up_job(settings: Settings) -> tuple[dg.JobDefinition, dg.ScheduleDefinition]:
    """Deletes finished runs after `run_retention_days`: event logs have no retention of their own."""

    @dg.op(description="Deletes finished runs older than CAVES_RUN_RETENTION_DAYS, and their event logs.")
    def delete_old_runs(context: dg.OpExecutionContext) -> None:
        before = datetime.now(UTC) - timedelta(days=settings.run_retention_days)
        wanted = dg.RunsFilter(statuses=_FINISHED, updated_before=before)
        deleted, began = 0, time.monotonic()
        while records := context.instance.get_run_records(wanted, limit=_DELETED_AT_ONCE, ascending=True):
            for record in records:
                delete_run(context.instance, record.dagster_run.run_id)
            deleted += len(records)
        events = delete_old_events(context.instance, before)
        context.log.info(
            f"Deleted {deleted} runs that ended before {before:%Y-%m-%d %H:%M} UTC and "
            f"{events} events and results of checks without one, in {time.monotonic() - began:.1f} s."
        )

    @dg.job(
        name="clean_up_runs",
        description="Deletes old runs and their event logs.",
        executor_def=dg.in_process_executor,
    )
    def clean_up_runs() -> None:
        delete_old_runs()

    schedule = dg.ScheduleDefinition(
        job=clean_up_runs, cron_schedule="17 3 * * *", default_status=dg.DefaultScheduleStatus.RUNNING
    )
    return clean_up_runs, schedule
