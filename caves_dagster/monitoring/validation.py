"""The newest validation report as metrics."""

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


class ValidationCollector(Collector):
    """Reads `validate_report_<UTC time>.json`, the last one by name, at each scrape.

    Args:
        folder: where the reports are; nothing is exposed while it holds none.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def collect(self) -> Iterator[GaugeMetricFamily]:
        """What Prometheus reads."""
        status = GaugeMetricFamily(
            "caves_validation_status", "Check of the last report: 0 PASS, 1 WARN, 2 FAIL", labels=["check"]
        )
        when = GaugeMetricFamily("caves_validation_timestamp_seconds", "When the last report was made")
        report = self._newest()
        if report:
            for name, found in report["checks"].items():
                status.add_metric([name], _STATUS[found["status"]])
            when.add_metric([], datetime.fromisoformat(report["timestamp"]).timestamp())
        yield status
        yield when

    def _newest(self) -> dict[str, Any] | None:
        """The report; None where there is none, or it is no report."""
        path = max(self._folder.glob("validate_report_*.json"), default=None)
        if path is None:
            return None
        try:
            report: dict[str, Any] = json.loads(path.read_bytes())
            datetime.fromisoformat(report["timestamp"])
            unknown = {found["status"] for found in report["checks"].values()} - _STATUS.keys()
        except (OSError, ValueError, LookupError, TypeError, AttributeError) as error:
            log.warning("%s is not a validation report: %r", path, error)
            return None
        if unknown:
            log.warning("%s has checks of an unknown status: %s", path, unknown)
            return None
        return report
