"""All checks of a shop at once, and the report: JSON for programs, HTML and Markdown for people."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, date, datetime
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING, Any

from caves_dagster.checks.catalogue import shop_checks
from caves_dagster.checks.check import Check, Outcome, Status, not_carried_out, run_check
from caves_dagster.errors import CavesError, SignInRefused, WarehouseUnreachable
from caves_dagster.settings import Settings
from caves_dagster.shop import Shop
from caves_dagster.warehouse.connection import Warehouse

if TYPE_CHECKING:
    import dagster as dg

_WORST: tuple[Status, ...] = ("FAIL", "WARN", "PASS")
_TEMPLATE = Path(__file__).with_name("report.html")


@dataclass(frozen=True)
class Report:
    """What validation of one shop found.

    Attributes:
        at: when it began, UTC.
        since: what windowed checks looked at; None for everything there is.
        found: the checks in their order, each with its outcome.
        complete: whether these are all checks there are, over all there is.
        away: why the warehouse could not be asked; "" where it answered.
    """

    shop: Shop
    at: datetime
    since: datetime | None
    found: tuple[tuple[Check, Outcome], ...]
    complete: bool = True
    away: str = ""

    @property
    def status(self) -> Status:
        """The worst of all; FAIL where nothing was checked."""
        return worst(outcome for _, outcome in self.found)

    def as_json(self) -> dict[str, Any]:
        """For programs: `timestamp`, `status`, and `checks` by name, rules under their group's."""
        checks: dict[str, Any] = {}
        for check, outcome in self.found:
            described = _described(check, outcome)
            if check.group:
                rules = checks.setdefault(check.group, {"status": "PASS", "rules": {}})
                rules["rules"][check.name] = described
            else:
                checks[check.name] = described
        for group in {check.group for check, _ in self.found if check.group}:
            checks[group]["status"] = worst(one for check, one in self.found if check.group == group)
        return {
            "timestamp": self.at.isoformat(timespec="milliseconds"),
            "shop": self.shop.name,
            "since": self.since.isoformat() if self.since else None,
            "complete": self.complete,
            "status": self.status,
            "checks": checks,
        }


@dataclass(frozen=True)
class Written:
    """Where a report was written."""

    json: Path
    html: Path


def validate(
    settings: Settings,
    shop: Shop,
    warehouse: Warehouse,
    instance: dg.DagsterInstance | None = None,
    since: datetime | None = None,
    names: Sequence[str] = (),
    progress: Callable[[str], None] = lambda _: None,
) -> Report:
    """Run every check, over everything there is.

    One that cannot be carried out fails, with the reason; a warehouse that is away is asked once.

    Args:
        since: what windowed checks look at instead of everything.
        names: only these, or those of these groups.
        progress: is told each check's name before it runs.
    """
    at, found, away = datetime.now(UTC), [], ""
    for check in shop_checks(settings, shop):
        if names and check.name not in names and check.group not in names:
            continue
        progress(check.name)
        if away:
            found.append((check, not_carried_out(check, f"Not carried out: {away}")))
            continue
        try:
            outcome = run_check(warehouse, shop, check, since, instance)
        except CavesError as error:
            outcome = not_carried_out(check, str(error))
            if isinstance(error, WarehouseUnreachable | SignInRefused):
                away = error.problem
        found.append((check, outcome))
    return Report(shop, at, since, tuple(found), not names and since is None, away)


def worst(outcomes: Iterable[Outcome]) -> Status:
    """The worst status; of none, FAIL."""
    found = {one.status for one in outcomes} or {"FAIL"}
    return next(status for status in _WORST if status in found)


def write(report: Report, folder: Path) -> Written:
    """Write the report as `validate_report_<UTC time>.json`, and beside it as HTML.

    Raises:
        CavesError: the folder cannot be written to.
    """
    name = f"validate_report_{report.at:%Y%m%dT%H%M%S}.{report.at.microsecond:06d}Z"
    written = Written(folder / f"{name}.json", folder / f"{name}.html")
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with written.json.open("x", encoding="utf-8") as file:
            json.dump(report.as_json(), file, indent=2, ensure_ascii=False, default=_plain)
            file.write("\n")
        written.html.write_text(as_html(report), encoding="utf-8")
    except OSError as error:
        raise CavesError(
            f"The report cannot be written to {folder} ({error.strerror}).", "Set CAVES_REPORTS to a folder."
        ) from None
    return written


def delete_old(folder: Path, before: datetime) -> int:
    """Delete the reports written before a moment; returns how many."""
    deleted = 0
    for path in folder.glob("validate_report_*"):
        # Another shop's job may delete the same at this moment.
        with suppress(FileNotFoundError):
            if path.stat().st_mtime < before.timestamp():
                path.unlink()
                deleted += 1
    return deleted


def as_html(report: Report) -> str:
    """The report as a page that stands alone."""
    from jinja2 import Environment

    template = Environment(autoescape=True, trim_blocks=True, lstrip_blocks=True)
    return template.from_string(_TEMPLATE.read_text(encoding="utf-8")).render(report=report)


def as_markdown(report: Report) -> str:
    """The report as a table."""
    lines = ["| check | status | looked at | offending | what |", "|---|---|--:|--:|---|"]
    for check, one in report.found:
        said = " ".join(one.said.split()).replace("|", "\\|")[:300]
        lines.append(f"| {check.name} | {one.status} | {one.checked:,} | {one.offending:,} | {said} |")
    return "\n".join(lines)


def _described(check: Check, outcome: Outcome) -> dict[str, Any]:
    found: dict[str, Any] = {
        "status": outcome.status,
        "table": check.asset.full_name,
        "description": check.description,
        "offending": outcome.offending,
        "offending_keys": outcome.offending_keys,
        "seconds": round(outcome.seconds, 3),
        "figures": [{name.lower(): value for name, value in row.items()} for row in outcome.rows],
    }
    return found | ({"problem": outcome.problem} if outcome.problem else {})


def _plain(value: Any) -> Any:
    """What JSON has no type for. Amounts stay exact, as text."""
    if isinstance(value, datetime | date):
        return value.isoformat()
    if isinstance(value, Decimal):
        return str(value)
    raise TypeError(f"{type(value).__name__} in a report")
