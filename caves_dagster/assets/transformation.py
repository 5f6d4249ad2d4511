"""The staging and production layers: each asset function consumes one stream in one transaction."""

import logging
import time
from collections.abc import Iterator
from typing import Any

import dagster as dg
from tenacity import (
    Retrying,
    before_sleep_log,
    retry_if_exception_type,
    stop_after_delay,
    wait_random_exponential,
)

from caves_dagster.assets.description import one, sample, table_spec
from caves_dagster.errors import RetryableError, StatementFailed, WarehouseNotSetUp
from caves_dagster.shop import Shop, Transformation
from caves_dagster.tasks.deployed import task_mode
from caves_dagster.warehouse.connection import Warehouse
from caves_dagster.warehouse.scripts import transformation_sql
from caves_dagster.warehouse.streams import require_fresh
from caves_dagster.warehouse.transform_fence import transforming

log = logging.getLogger(__name__)

STATEMENT_SECONDS = 1800
"""How long one statement may take: it may be about every event there is. Were it cancelled after a network's
time-out, a stream that had filled up meanwhile would never be consumed."""


def transform(warehouse: Warehouse, shop: Shop, step: Transformation) -> dict[str, int]:
    """Consume the step's stream: every table it writes, in one transaction; rows changed by table.

    A transaction that lost a conflict or its connection is tried again: a stream only advances by a
    commit.

    Raises:
        CavesError: the warehouse stayed away, lacks a table, or the stream is stale.
    """
    scripts = {
        table.full_name: transformation_sql(shop, step.layer, table, step.stream) for table in step.writes
    }
    for attempt in Retrying(
        retry=retry_if_exception_type(RetryableError),
        wait=wait_random_exponential(multiplier=0.1, max=5),
        stop=stop_after_delay(60),
        before_sleep=before_sleep_log(log, logging.WARNING),
        reraise=True,
    ):
        with attempt:
            try:
                with warehouse.long_statements(STATEMENT_SECONDS), transforming(warehouse, shop):
                    changed = {
                        table: sum(warehouse.execute(statement) for statement in script)
                        for table, script in scripts.items()
                    }
            except (StatementFailed, WarehouseNotSetUp):
                require_fresh(warehouse, step)
                raise
    return changed


def transformation_asset(shop: Shop, step: Transformation) -> dg.AssetsDefinition:
    """The assets that one stream feeds, all materialised in every run, so that the checks behind them run.

    Except in task mode, where Snowflake's tasks transform: then they are skipped, and all that is behind.
    """
    specs = [table_spec(shop, table, step.layer, [step.source.key]) for table in step.writes]

    @dg.multi_asset(
        name=f"{shop.name}_{step.stream.name.lower()}",
        specs=[spec.replace_attributes(skippable=True) for spec in specs],
        required_resource_keys={"warehouse", "heartbeat"},
        description=f"Consumes {step.stream.full_name} in one transaction.",
        # Before the checks of RAW, which hold nothing up.
        op_tags={"dagster/priority": "1"},
    )
    def consume_stream(context: dg.AssetExecutionContext) -> Iterator[dg.MaterializeResult[Any]]:
        warehouse = context.resources.warehouse
        if mode := task_mode(warehouse, shop):
            context.log.warning(f"{mode} This run transforms nothing behind RAW.")
            return
        began = time.monotonic()
        changed = transform(warehouse, shop, step)
        seconds = round(time.monotonic() - began, 3)
        for table in step.writes:
            rows = changed[table.full_name]
            context.log.info(f"{rows:,} rows changed in {table.full_name} in {seconds} s.")
            total = one(warehouse, f"SELECT COUNT(*) AS ROWS_NOW FROM {table.full_name}")["ROWS_NOW"]
            yield dg.MaterializeResult(
                asset_key=table.key,
                metadata={
                    "rows_changed": rows,
                    "dagster/row_count": total,
                    "seconds": seconds,
                    "stream": step.stream.full_name,
                    "sample": sample(warehouse, table),
                },
            )

    return consume_stream
