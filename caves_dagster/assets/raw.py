"""The raw layer: one asset a shop, which carries its topic into its raw table exactly once."""

from typing import Any

import dagster as dg

from caves_dagster.assets.description import markdown_table, sample, table_spec
from caves_dagster.assets.topic import topic_key
from caves_dagster.ingest.report import IngestReport
from caves_dagster.ingest.run import Ingestion
from caves_dagster.run_tags import LANDED_TAG
from caves_dagster.settings import Settings
from caves_dagster.shop import Shop


def ingestion_pool(shop: Shop) -> str:
    """Concurrency pool of a shop's ingestion; its limit is one."""
    return f"{shop.name}_ingestion"


def raw_asset(settings: Settings, shop: Shop) -> dg.AssetsDefinition:
    """The asset of the shop's raw table."""
    spec = table_spec(shop, shop.raw, "raw", [topic_key(shop)])

    @dg.multi_asset(
        name=f"{shop.name}_raw",
        specs=[spec],
        required_resource_keys={"kafka", "warehouse", "heartbeat"},
        pool=ingestion_pool(shop),
    )
    def land_events(context: dg.AssetExecutionContext) -> dg.MaterializeResult[Any]:
        def say(report: IngestReport) -> None:
            context.log.info(
                f"{report.landed:,} rows and {report.dead:,} dead letters in {report.batches} batches, "
                f"{report.events_per_second:,.0f} events/s, lag {report.lag_after:,}."
            )

        warehouse = context.resources.warehouse
        ingestion = Ingestion(settings, shop, context.resources.kafka, warehouse, context.run.run_id, say)
        report = ingestion.run()
        context.instance.add_run_tags(context.run.run_id, {LANDED_TAG: str(report.landed)})
        return dg.MaterializeResult(
            metadata=_figures(report)
            | {
                "sample": sample(warehouse, shop.raw, "INGESTION_TIME DESC, KAFKA_OFFSET DESC"),
                "positions": dg.MetadataValue.json(
                    {str(partition): offset for partition, offset in sorted(report.positions.items())}
                ),
            }
        )

    return land_events


def _figures(report: IngestReport) -> dict[str, Any]:
    """What a materialisation shows."""
    figures: dict[str, Any] = {
        "events_landed": report.landed,
        "dead_letters": report.dead,
        "offsets_skipped": report.skipped,
        "lag_before": report.lag_before,
        "lag_after": report.lag_after,
        "batches": report.batches,
        "bytes": report.bytes,
        "seconds": round(report.seconds, 3),
        "events_per_second": round(report.events_per_second, 1),
    }
    if report.dead_by_class:
        rows = [{"CLASS": name, "DEAD_LETTERS": count} for name, count in report.dead_by_class.most_common()]
        figures["dead_letters_by_class"] = dg.MetadataValue.md(markdown_table(rows))
    if report.gaps:
        gaps = [
            {"PARTITION": gap.partition, "FROM": gap.offset_from, "TO": gap.offset_to, "REASON": gap.reason}
            for gap in report.gaps
        ]
        figures["gaps"] = dg.MetadataValue.md(markdown_table(gaps))
    return figures
