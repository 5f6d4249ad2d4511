"""Each shop's last validation report as metrics."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import Any

from prometheus_client.core import GaugeMetricFamily
from prometheus_client.registry import Collector

log = logging.getLogger(__name__)

_STATUS = {"PASS": 0, "WARN": 1, "FAIL": 2}
# One an hour and shop is written, and each of them stays for weeks.
_LOOKED_AT = 50


class ValidationCollector(Collector):
    """Reads what `caves validate` and its job have written, at each scrape.

    Args:
        folder: where the reports are; nothing is exposed while it holds none.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def collect(self) -> Iterator[GaugeMetricFamily]:
        """What Prometheus reads."""
        status = GaugeMetricFamily(
            "caves_validation_status",
            "Check of the last report: 0 PASS, 1 WARN, 2 FAIL",
            labels=["shop", "check"],
        )
        when = GaugeMetricFamily(
            "caves_validation_timestamp_seconds", "When the last report was made", labels=["shop"]
        )
        for shop, report in newest_reports(self._folder).items():
            for name, found in report["checks"].items():
                status.add_metric([shop, name], _STATUS[found["status"]])
            when.add_metric([shop], datetime.fromisoformat(report["timestamp"]).timestamp())
        yield status
        yield when


def newest_reports(folder: Path) -> dict[str, dict[str, Any]]:
    """The last complete report of each shop; names are times."""
    found: dict[str, dict[str, Any]] = {}
    for path in sorted(folder.glob("validate_report_*.json"), reverse=True)[:_LOOKED_AT]:
        report = _read(path)
        if report is not None and report.get("complete", True):
            found.setdefault(report["shop"], report)
    return found


def _read(path: Path) -> dict[str, Any] | None:
    """A report; None where the file holds none, or not yet the whole of it."""
    try:
        report: dict[str, Any] = json.loads(path.read_bytes())
        datetime.fromisoformat(report["timestamp"])
        unknown = {found["status"] for found in report["checks"].values()} - _STATUS.keys()
        if unknown or not isinstance(report["shop"], str):
            raise ValueError(f"shop {report['shop']!r}, statuses {unknown}")
    except (OSError, ValueError, LookupError, TypeError, AttributeError) as error:
        log.debug("%s is no validation report: %r", path, error)
        return None
    return report
