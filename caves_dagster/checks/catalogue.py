"""Which checks a shop has: the machinery's own, and those it declares."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import partial

from caves_dagster.checks.check import DATA_QUALITY, Check, SqlFinder
from caves_dagster.checks.schema import schema_rows
from caves_dagster.checks.tasks import task_rows
from caves_dagster.checks.totals import totals_rows
from caves_dagster.errors import SettingsError
from caves_dagster.settings import CheckSettings, DeadLetterBudget, Settings
from caves_dagster.shop import Batch, Shop


def shop_checks(settings: Settings, shop: Shop) -> tuple[Check, ...]:
    """Every check of a shop, with the severities and thresholds of the settings."""
    found = (
        *integrity_checks(shop),
        *_activity_checks(settings.checks, shop),
        _budget_check(settings.dead_letters, shop),
        *_own_checks(shop),
        *_schema_checks(shop),
        *(_batch_checks(shop, shop.batch) if shop.batch else ()),
    )
    severity = settings.checks.severity
    return tuple(replace(one, severity=severity.get(one.name, severity.get(one.group))) for one in found)


def integrity_checks(shop: Shop) -> tuple[Check, ...]:
    """Those that fail where rows were lost, doubled or changed on the way to PRODUCTION."""
    first, *others = shop.production or (shop.raw,)
    return (
        Check(
            "offsets_accounted_for",
            "Every Kafka offset that ingestion passed is a row, a dead letter or a recorded gap.",
            shop.raw,
            SqlFinder("ingest/checks/offsets_accounted_for.sql"),
            windowed=True,
            integrity=True,
        ),
        Check(
            "raw_vs_prod_counts",
            "PRODUCTION holds exactly the keys and figures that RAW's newest versions give.",
            first,
            SqlFinder(f"{shop.name}/checks/raw_vs_prod_counts.sql"),
            tuple(others),
            windowed=True,
            integrity=True,
        ),
        Check(
            "duplicates",
            "No key stands twice in PRODUCTION, and no record was landed twice.",
            first,
            SqlFinder(f"{shop.name}/checks/duplicates.sql"),
            tuple(others),
            windowed=True,
            integrity=True,
        ),
    )


def require_known(settings: Settings, shops: Sequence[Shop]) -> None:
    """Refuse severities of checks that there are not.

    Raises:
        SettingsError: naming them, and those there are.
    """
    names = {name for shop in shops for one in shop_checks(settings, shop) for name in (one.name, one.group)}
    if unknown := sorted(set(settings.checks.severity) - names):
        raise SettingsError(
            f"CAVES_CHECK_SEVERITY names {', '.join(unknown)}, which is no check of any shop.",
            f"There are: {', '.join(sorted(names - {''}))}.",
        )


def _activity_checks(settings: CheckSettings, shop: Shop) -> tuple[Check, ...]:
    return (
        Check(
            "recent_activity",
            f"Something landed in the last {settings.quiet_hours:g} hours.",
            shop.raw,
            SqlFinder(
                "ingest/checks/recent_activity.sql", {"quiet_seconds": round(settings.quiet_hours * 3600)}
            ),
            in_runs=False,
        ),
        Check(
            "task_status",
            "The sensors tick, the last run succeeded, and no stream is stale or stands still.",
            shop.raw,
            partial(task_rows, settings),
            in_runs=False,
        ),
    )


def _budget_check(budget: DeadLetterBudget, shop: Shop) -> Check:
    parameters = {
        "warn_share": budget.warn_share,
        "fail_share": budget.fail_share,
        "window_seconds": round(budget.window_hours * 3600),
        "min_messages": budget.min_messages,
    }
    return Check(
        "dead_letter_budget",
        "Few messages of the last hours are dead letters; those that a replay landed do not count.",
        shop.raw,
        SqlFinder("ingest/checks/dead_letter_budget.sql", parameters),
    )


def _own_checks(shop: Shop) -> list[Check]:
    return [
        Check(
            one.name,
            one.description,
            one.asset,
            SqlFinder(f"{shop.name}/checks/{one.name}.sql"),
            one.also_reads,
            windowed=one.windowed,
            group=DATA_QUALITY if one.is_rule else "",
            # A run's checks keep the next landing waiting.
            in_runs=False,
        )
        for one in shop.checks
    ]


def _schema_checks(shop: Shop) -> list[Check]:
    batch = tuple(one.table for one in shop.batch.tables) if shop.batch else ()
    return [
        Check(
            f"schema_{table.name.lower()}",
            f"{table.full_name} has the columns of its DDL, of the same types.",
            table,
            partial(schema_rows, table),
            in_runs=False,
        )
        for table in (*shop.tables, *batch)
    ]


def _batch_checks(shop: Shop, batch: Batch) -> list[Check]:
    by_name = {one.table: one for one in batch.tables}
    found = []
    for one in batch.tables:
        name, table = one.source_name, one.table
        found.append(
            Check(
                f"{name}_primary_key",
                f"No {one.key} of {table.full_name} is missing or there twice.",
                table,
                SqlFinder("batch/checks/primary_key.sql", table=table, key=one.key),
                group=DATA_QUALITY,
            )
        )
        for column, other in one.references.items():
            statement = SqlFinder(
                "batch/checks/references.sql",
                table=table,
                key=one.key,
                column=column,
                other=other,
                other_key=by_name[other].key,
            )
            found.append(
                Check(
                    f"{name}_known_{other.name.lower()}",
                    f"Each {column} of {table.full_name} stands in {other.full_name}.",
                    table,
                    statement,
                    (other,),
                    group=DATA_QUALITY,
                )
            )
        found.append(
            Check(
                f"{name}_totals",
                f"{table.full_name} has the rows and sums of its source.",
                table,
                partial(totals_rows, batch, one),
            )
        )
    return found
