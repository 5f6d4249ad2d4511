"""An incident in words: the same message as Slack's markup and as plain text."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime

from caves_dagster.alerts.incidents import Letter

_TITLE = 150
_DETAIL = 700
_BODY = 2000


@dataclass(frozen=True)
class Message:
    """One message: a title of one line, lines below it, and a page to look at."""

    title: str
    lines: tuple[str, ...]
    link: str
    over: bool = False

    @property
    def text(self) -> str:
        """Plain text, for the log and for e-mail."""
        return "\n".join([self.title, *self.lines, self.link])

    @property
    def slack(self) -> str:
        """Slack's markup, where `&`, `<` and `>` are its own."""
        title, *lines = (
            line.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
            for line in (self.title, *self.lines)
        )
        return "\n".join([f"*{title}*", *lines, f"<{self.link}>"])


def message(letter: Letter, now: float, url: str) -> Message:
    """What a letter says.

    Args:
        now: seconds since 1970.
        url: address of the Dagster UI, without a slash at its end.
    """
    incident = letter.incident
    report, link = incident.report, f"{url}{incident.report.path}"
    failures = "1 failure" if incident.failures == 1 else f"{incident.failures} failures"
    if letter.over:
        until = incident.well_since or now
        span = f"from {_time(incident.since)} to {_time(until)} ({_span(until - incident.since)})"
        return Message(_cut(f"Over: {report.subject}", _TITLE), (f"{span}, {failures}",), link, over=True)
    word = "Failing" if incident.level == "ERROR" else "Warning"
    since = f"since {_time(incident.since)} ({_span(now - incident.since)}), {failures}"
    lines = (line for detail in report.details for line in detail.splitlines())
    return Message(_cut(f"{word}: {report.subject}", _TITLE), (since, *lines), link)


def shortened(details: Iterable[str]) -> tuple[str, ...]:
    """What fits into a message: the beginning of the first details."""
    kept: list[str] = []
    for detail in details:
        if sum(map(len, kept)) >= _BODY:
            return (*kept, "…")
        kept.append(_cut(detail, _DETAIL))
    return tuple(kept)


def _time(seconds: float) -> str:
    return f"{datetime.fromtimestamp(seconds, UTC):%Y-%m-%d %H:%M:%S} UTC"


def _span(seconds: float) -> str:
    whole = max(0, round(seconds))
    for unit, size in (("d", 86_400), ("h", 3_600), ("min", 60)):
        if whole >= 2 * size:
            return f"{whole // size} {unit}"
    return f"{whole} s"


def _cut(text: str, most: int) -> str:
    return text if len(text) <= most else f"{text[: most - 2]} …"
