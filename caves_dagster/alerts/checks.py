"""What checks say of tables, and Dagster's freshness of a shop's tables."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import dagster as dg
from dagster._core.definitions.asset_checks.asset_check_evaluation import AssetCheckEvaluation
from dagster._core.definitions.freshness import FreshnessState
from dagster._core.storage.asset_check_execution_record import (
    COMPLETED_ASSET_CHECK_EXECUTION_RECORD_STATUSES,
    AssetCheckExecutionRecord,
    AssetCheckExecutionRecordStatus,
)

from caves_dagster.alerts.events import events_after
from caves_dagster.alerts.incidents import Fact, Level, Report
from caves_dagster.alerts.messages import shortened
from caves_dagster.shop import Shop

_HISTORY = 20


class Checks:
    """These checks, and the freshness of the shops' tables.

    Args:
        least: failures of a lower severity count as well.
    """

    def __init__(self, checks: Iterable[dg.AssetCheckKey], shops: Sequence[Shop], least: Level) -> None:
        self.checks = {_check_subject(key): key for key in checks}
        self.shop_of = {dg.AssetKey(table.key): shop for shop in shops for table in shop.tables}
        self.least = least

    def known(self, key: str) -> bool:
        return key in self.checks or key in {_freshness_key(shop) for shop in self.shop_of.values()}

    def failing(self, instance: dg.DagsterInstance) -> list[Fact]:
        storage = instance.event_log_storage
        done = COMPLETED_ASSET_CHECK_EXECUTION_RECORD_STATUSES
        facts = []
        for key in self.checks.values():
            history = storage.get_asset_check_execution_history(key, limit=1, status=done)
            if history and history[0].status is AssetCheckExecutionRecordStatus.FAILED:
                history = storage.get_asset_check_execution_history(key, limit=_HISTORY, status=done)
            facts += [fact for record in reversed(history) if (fact := self._of_record(record))]
        for asset, record in storage.get_freshness_state_records(list(self.shop_of)).items():
            facts.append(self._freshness(asset, record.freshness_state, record.updated_at.timestamp()))
        return facts

    def after(self, instance: dg.DagsterInstance, position: int) -> tuple[list[Fact], int]:
        types = (dg.DagsterEventType.ASSET_CHECK_EVALUATION, dg.DagsterEventType.FRESHNESS_STATE_CHANGE)
        events, position = events_after(instance, position, types)
        found = []
        for _, entry in events:
            event = entry.dagster_event
            if event is None:
                continue
            if event.event_type is dg.DagsterEventType.FRESHNESS_STATE_CHANGE:
                change = event.asset_freshness_state_change_data
                if change.key in self.shop_of:
                    found.append(self._freshness(change.key, change.new_state, change.state_change_timestamp))
            else:
                evaluation = event.asset_check_evaluation_data
                if _check_subject(evaluation.asset_check_key) in self.checks:
                    found.append(self._check(evaluation, entry.timestamp))
        return found, position

    def _of_record(self, record: AssetCheckExecutionRecord) -> Fact | None:
        if record.evaluation is None or record.event is None:
            return None
        return self._check(record.evaluation, record.event.timestamp)

    def _check(self, evaluation: AssetCheckEvaluation, at: float) -> Fact:
        key = evaluation.asset_check_key
        subject = _check_subject(key)
        page = f"/assets/{'/'.join(key.asset_key.path)}?view=checks&checkDetail={key.name}"
        level: Level = "WARN" if evaluation.severity is dg.AssetCheckSeverity.WARN else "ERROR"
        if evaluation.passed or not self._counts(level):
            return Fact(subject, at, Report(subject, path=page))
        report = Report(subject, shortened(figures(evaluation)), page)
        return Fact(subject, at, report, broken=frozenset({key.name}), level=level)

    def _freshness(self, asset: dg.AssetKey, state: FreshnessState, at: float) -> Fact:
        shop, page = self.shop_of[asset], f"/assets/{'/'.join(asset.path)}"
        key, table = _freshness_key(shop), asset.to_user_string()
        level: Level = "WARN" if state is FreshnessState.WARN else "ERROR"
        subject = f"freshness of {shop.title}"
        if state not in (FreshnessState.WARN, FreshnessState.FAIL) or not self._counts(level):
            return Fact(key, at, Report(subject, path=page), mended=frozenset({table}))
        details = (f"{table} is stale: nothing has come, and nobody has seen that there is nothing to come.",)
        return Fact(
            key,
            at,
            Report(subject, details, page),
            broken=frozenset({table}),
            mended=frozenset(),
            level=level,
        )

    def _counts(self, level: Level) -> bool:
        return level == "ERROR" or self.least == "WARN"


def figures(evaluation: AssetCheckEvaluation) -> tuple[str, ...]:
    """A check's figures and offending keys, whatever names its metadata has."""
    values = {name: value.value for name, value in evaluation.metadata.items()}
    keys = values.pop("offending_keys", None)
    about = f"offending keys:\n{keys}" if keys else evaluation.description
    short = [f"{name}: {value:,}" for name, value in values.items() if isinstance(value, int | float)]
    long = [f"{name}:\n{value}" for name, value in values.items() if isinstance(value, str)]
    return tuple([*short, *([about] if about else []), *long])


def _check_subject(key: dg.AssetCheckKey) -> str:
    return f"{key.name} on {key.asset_key.to_user_string()}"


def _freshness_key(shop: Shop) -> str:
    return f"freshness of {shop.name}"
