"""Figures, amounts, days and moments as French and English readers write them."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from decimal import ROUND_HALF_UP, Decimal

from caves_dagster.dashboard.words import WORDS, Language, Words

_MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")
_THIN, _FIXED = "\u202f", "\u00a0"
"""Spaces that no line breaks at: between groups of digits, and before a sign."""


@dataclass(frozen=True)
class Formats:
    """One language, and the sign of the shop's currency."""

    language: Language
    currency: str = "€"

    @property
    def words(self) -> Words:
        """The same language's words."""
        return WORDS[self.language]

    @property
    def french(self) -> bool:
        """Whether it is French."""
        return self.language == "fr"

    def number(self, value: int) -> str:
        """`1,234,567` or `1 234 567`."""
        text = f"{value:,}"
        return text.replace(",", _THIN) if self.french else text

    def money(self, value: Decimal) -> str:
        """`€1,234.50` or `1 234,50 €`."""
        cents = value.quantize(Decimal("0.01"), ROUND_HALF_UP)
        if not self.french:
            return f"{'-' if cents < 0 else ''}{self.currency}{abs(cents):,.2f}"
        return f"{cents:,.2f}".replace(",", _THIN).replace(".", ",") + _FIXED + self.currency

    def change(self, now: int | Decimal, before: int | Decimal) -> str | None:
        """`+12.5%` or `+12,5 %`; None where there is nothing to compare with."""
        if not before:
            return None
        share = (Decimal(now - before) / Decimal(before) * 100).quantize(Decimal("0.1"), ROUND_HALF_UP)
        text = f"{share:+,.1f}"
        if not self.french:
            return f"{text}%"
        return text.replace(",", _THIN).replace(".", ",") + f"{_FIXED}%"

    def day(self, value: date) -> str:
        """`30 Jun 2026` or `30/06/2026`."""
        return f"{value:%d/%m/%Y}" if self.french else f"{value.day} {_MONTHS[value.month - 1]} {value.year}"

    def clock(self, value: datetime) -> str:
        """`14:03:22`."""
        return f"{value:%H:%M:%S}"

    def moment(self, value: datetime) -> str:
        """Day and time."""
        return f"{self.day(value)} {self.clock(value)}"

    def age(self, value: datetime, now: datetime | None = None) -> str:
        """`12 s ago` or `il y a 12 s`, in the largest unit that there is one of."""
        passed = max(timedelta(), (now or datetime.now(UTC)) - value)
        seconds = int(passed.total_seconds())
        for unit, size in zip(reversed(self.words.units), (86400, 3600, 60, 1), strict=True):
            if seconds >= size or size == 1:
                return self.words.ago.format(f"{self.number(seconds // size)}{_FIXED}{unit}")
        raise AssertionError(seconds)

    @property
    def vega(self) -> dict[str, object]:
        """Vega's locale, for axes and tooltips."""
        if not self.french:
            return {
                "number": {"decimal": ".", "thousands": ",", "grouping": [3], "currency": [self.currency, ""]}
            }
        return {
            "number": {
                "decimal": ",",
                "thousands": _THIN,
                "grouping": [3],
                "currency": ["", f"{_FIXED}{self.currency}"],
                "percent": f"{_FIXED}%",
            },
            "time": {
                "dateTime": "%A %e %B %Y à %X",
                "date": "%d/%m/%Y",
                "time": "%H:%M:%S",
                "periods": ["AM", "PM"],
                "days": ["dimanche", "lundi", "mardi", "mercredi", "jeudi", "vendredi", "samedi"],
                "shortDays": ["dim.", "lun.", "mar.", "mer.", "jeu.", "ven.", "sam."],
                "months": [
                    "janvier", "février", "mars", "avril", "mai", "juin",
                    "juillet", "août", "septembre", "octobre", "novembre", "décembre",
                ],
                "shortMonths": [
                    "janv.", "févr.", "mars", "avr.", "mai", "juin",
                    "juil.", "août", "sept.", "oct.", "nov.", "déc.",
                ],
            },
        }  # fmt: skip
