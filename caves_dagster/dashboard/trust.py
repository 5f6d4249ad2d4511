"""Whether a shop's figures can be trusted: what waits, when the last event came, the latest validation."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from caves_dagster.ingest.positions import Position
from caves_dagster.monitoring.validation import newest_reports
from caves_dagster.shop import Shop

_STATUSES = ("FAIL", "WARN", "PASS")


@dataclass(frozen=True)
class Validation:
    """The latest report: when it was made, and the status of each check, the worst first."""

    at: datetime
    status: str
    checks: Mapping[str, str]

    @property
    def wanting(self) -> dict[str, str]:
        """The checks that did not pass."""
        return {name: status for name, status in self.checks.items() if status != "PASS"}


def latest_validation(reports: Path, shop: Shop) -> Validation | None:
    """What `caves validate` found last; None where there is no report of the shop."""
    report = newest_reports(reports).get(shop.name)
    if report is None:
        return None
    statuses = {name: str(found["status"]) for name, found in report["checks"].items()}
    checks = dict(sorted(statuses.items(), key=lambda one: (_STATUSES.index(one[1]), one[0])))
    worst = next(iter(checks.values()), "PASS")
    return Validation(datetime.fromisoformat(report["timestamp"]), worst, checks)


def last_event(positions: Iterable[Position]) -> datetime | None:
    """Kafka's time of the newest record that ingestion has read; None before the first."""
    found = [one.last_record_timestamp_ms for one in positions if one.last_record_timestamp_ms is not None]
    return datetime.fromtimestamp(max(found) / 1000, UTC) if found else None
