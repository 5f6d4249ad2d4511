"""The replay of dead letters as a Dagster job: launched by hand, the choice in its config."""

from typing import Any

import dagster as dg
from pydantic import Field

from caves_dagster.assets.description import markdown_table
from caves_dagster.ingest.dead_letters import Chosen, moment
from caves_dagster.ingest.replay import Replay, ReplayReport
from caves_dagster.run_tags import SHOP_TAG
from caves_dagster.settings import Settings
from caves_dagster.shop import Shop


class ReplayConfig(dg.Config):
    """Which dead letters to try again; what is left out is any."""

    failure_class: str | None = Field(default=None, description="Failure class, such as CONTRACT.")
    reason: str | None = Field(default=None, description="Text in the reason or the JSON path.")
    event_type: str | None = Field(default=None, description="Event type, where the bytes tell it.")
    since: str | None = Field(
        default=None, description="First seen from then on: a time, or how long ago: 24h, 7d."
    )
    until: str | None = Field(default=None, description="First seen before then.")
    dead_letter_id: str | None = Field(default=None, description="How the id begins.")
    partition: int | None = Field(default=None, description="Kafka partition.")
    offset: int | None = Field(default=None, description="Offset in the partition.")
    limit: int | None = Field(default=None, ge=1, description="At most so many, the oldest first.")
    dry_run: bool = Field(default=False, description="Decide and show, change nothing.")

    def chosen(self) -> Chosen:
        """The choice as the replay takes it."""
        return Chosen(
            failure_class=self.failure_class,
            text=self.reason,
            event_type=self.event_type,
            since=moment(self.since),
            until=moment(self.until),
            dead_letter_id=self.dead_letter_id,
            partition=self.partition,
            offset=self.offset,
        )


def replay_job(settings: Settings, shop: Shop) -> dg.JobDefinition:
    """Tries dead letters again, as `caves dead-letters replay` does.

    In no pool, and no run of the pipeline: the fence alone keeps it and landing apart, a page at a time. The
    stream sensor takes on what it landed.
    """

    @dg.op(
        name=f"{shop.name}_replay",
        description="Validates dead letters under today's contract and lands the valid ones, exactly once.",
        required_resource_keys={"warehouse", "heartbeat"},
    )
    def try_again(context: dg.OpExecutionContext, config: ReplayConfig) -> None:
        def say(report: ReplayReport) -> None:
            context.log.info(
                f"{report.tried:,} of {report.matching:,} tried, {report.landed:,} "
                f"{'would land' if report.dry_run else 'landed'}, {report.seconds:.1f} s."
            )

        warehouse = context.resources.warehouse
        replay = Replay(settings, shop, warehouse, context.run.run_id, say)
        report = replay.run(config.chosen(), config.limit, config.dry_run)
        if not report.matching:
            context.log.info("No dead letter matches.")
        context.add_output_metadata(_figures(report))

    @dg.job(
        name=f"{shop.name}_replay_dead_letters",
        description=f"{shop.title}: dead letters tried again under today's contract.",
        executor_def=dg.in_process_executor,
        tags={SHOP_TAG: shop.name},
    )
    def replay_dead_letters() -> None:
        try_again()

    return replay_dead_letters


def _figures(report: ReplayReport) -> dict[str, Any]:
    figures: dict[str, Any] = {
        "matching": report.matching,
        "would_land" if report.dry_run else "landed": report.landed,
        "stay_dead": report.dead_by_class.total(),
        "seconds": round(report.seconds, 3),
    }
    if report.dead_by_class:
        rows = [{"CLASS": name, "DEAD_LETTERS": count} for name, count in report.dead_by_class.most_common()]
        figures["dead_letters_by_class"] = dg.MetadataValue.md(markdown_table(rows))
    return figures
