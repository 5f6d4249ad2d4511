"""Which days the page tells of."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta

# Those that a contract lets through.
_FIRST, _LAST = date(1970, 1, 1), date(2199, 12, 31)
DAYS = {"7d": 7, "30d": 30, "365d": 365}
"""Days up to today, by what the period is called in the page's address."""
ALL, CHOSEN = "all", "chosen"


@dataclass(frozen=True)
class Period:
    """Whole days in UTC, `first` and `last` included."""

    first: date = _FIRST
    last: date = _LAST

    @property
    def begin(self) -> datetime:
        """The first moment, without a zone, in UTC."""
        return datetime.combine(self.first, time())

    @property
    def end(self) -> datetime:
        """The first moment after it."""
        return datetime.combine(self.last, time()) + timedelta(days=1)


def period(name: str, chosen: tuple[date, ...], today: date) -> Period:
    """The period that is called so.

    Args:
        chosen: first and last day where the name is CHOSEN; one day alone is both.
        today: in UTC.
    """
    if name in DAYS:
        return Period(today - timedelta(days=DAYS[name] - 1), today)
    if name == CHOSEN and chosen:
        return Period(chosen[0], chosen[-1])
    return Period()


def today() -> date:
    """The day that it is in UTC."""
    return datetime.now(UTC).date()
