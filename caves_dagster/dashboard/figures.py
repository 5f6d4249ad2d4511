"""What the warehouse says of a shop, by one SELECT: `sql/dashboard/figures.sql`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from decimal import Decimal

from caves_dagster.dashboard.period import Period
from caves_dagster.shop import Shop
from caves_dagster.warehouse.connection import Row, Warehouse
from caves_dagster.warehouse.scripts import render, statements


@dataclass(frozen=True)
class Amount:
    """Sales added up; what they brought in the shop's currency."""

    items: int = 0
    quantity: int = 0
    revenue: Decimal = Decimal()

    @property
    def average(self) -> Decimal | None:
        """Revenue of one sale; None where there is none."""
        return self.revenue / self.items if self.items else None


@dataclass(frozen=True)
class Line:
    """One row of a panel. What a panel has not is None; `moment` is in UTC, without a zone."""

    id: str | None
    moment: datetime | None
    name: str | None
    detail: str | None
    customer: str | None
    source: str | None
    amount: Amount


@dataclass(frozen=True)
class Figures:
    """A shop's figures at one moment.

    Attributes:
        at: the moment, which the last 24 hours are counted back from; with its zone, UTC.
        panels: rows of each panel by its name, in the order to be shown.
    """

    at: datetime
    panels: Mapping[str, Sequence[Line]]

    def lines(self, panel: str) -> Sequence[Line]:
        """Rows of a panel; none where the shop has no such panel."""
        return self.panels.get(panel, ())

    def amount(self, panel: str) -> Amount:
        """The figures of a panel that is one row."""
        found = self.lines(panel)
        return found[0].amount if found else Amount()

    @property
    def total(self) -> Amount:
        """The sales of the period: those of its days."""
        days = [line.amount for line in self.lines("day")]
        return Amount(
            sum(day.items for day in days),
            sum(day.quantity for day in days),
            sum((day.revenue for day in days), Decimal()),
        )

    @property
    def dead_letters(self) -> int:
        """Those that no replay has landed."""
        return sum(line.amount.items for line in self.lines("dead"))

    @property
    def recent_dead_letters(self) -> int:
        """Those of the last 24 hours among them."""
        return sum(line.amount.quantity for line in self.lines("dead"))


# How the rows of a panel follow each other; those of others come in any order.
_ORDER = {
    "latest": lambda line: (line.moment, line.id),
    "latest_rows": lambda line: (line.moment, line.id),
    "channel": lambda line: (line.amount.revenue, line.name),
    "stock": lambda line: (line.amount.quantity, line.name),
    "dead": lambda line: (line.amount.items, line.name),
}


def read_figures(warehouse: Warehouse, shop: Shop, period: Period, now: datetime | None = None) -> Figures:
    """Ask the warehouse, once.

    Raises:
        CavesError: it is away, or not set up.
    """
    at = now or datetime.now(UTC)
    (sql,) = statements(render(shop.sql, "dashboard/figures.sql", shop=shop))
    clock, day = at.replace(tzinfo=None), timedelta(days=1)
    moments = {"now": clock, "day_ago": clock - day, "two_days_ago": clock - 2 * day}
    moments |= {"begin": period.begin, "end": period.end}
    rows = warehouse.query(sql, {name: moment.isoformat(" ") for name, moment in moments.items()})
    panels: dict[str, list[Line]] = {}
    for row in sorted(rows, key=_place):
        panels.setdefault(row["PANEL"], []).append(_line(row))
    for panel, key in _ORDER.items():
        panels.get(panel, []).sort(key=key, reverse=True)
    return Figures(at, panels)


def _place(row: Row) -> tuple[int, int, datetime, str, str]:
    lowest = row["QUANTITY"] or 0 if row["PANEL"] == "lowest" else 0
    moment = row["MOMENT"] or datetime.min  # noqa: DTZ901 - as naive as what it is compared with
    return (row["POSITION"] or 0, lowest, moment, row["SOURCE"] or "", row["NAME"] or "")


def _line(row: Row) -> Line:
    return Line(
        id=row["ID"],
        moment=row["MOMENT"],
        name=row["NAME"],
        detail=row["DETAIL"],
        customer=row["CUSTOMER"],
        source=row["SOURCE"],
        amount=Amount(int(row["ITEMS"] or 0), int(row["QUANTITY"] or 0), Decimal(row["REVENUE"] or 0)),
    )
