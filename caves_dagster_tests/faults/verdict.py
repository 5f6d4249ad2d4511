"""The ledger held against the tables."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from caves_dagster.warehouse.connection import Warehouse
from caves_dagster_tests.faults.ledger import Sent


@dataclass
class Verdict:
    """What is wrong, each as `<place>: <id>`; nothing, if all is well.

    Attributes:
        lost: acknowledged, and not there.
        doubled: there more than once, whether acknowledged or not.
        strange: there, and never sent, or sent as something else.
    """

    lost: list[str] = field(default_factory=list)
    doubled: list[str] = field(default_factory=list)
    strange: list[str] = field(default_factory=list)

    @property
    def good(self) -> bool:
        """Whether nothing is wrong."""
        return not (self.lost or self.doubled or self.strange)

    def hold(
        self, place: str, found: Mapping[str, int], sent: Iterable[str], acknowledged: Iterable[str]
    ) -> None:
        """Every acknowledged id exactly once in a place, every other that was sent at most once, no more.

        Args:
            found: how often each id stands there.
        """
        self.lost += [f"{place}: {name}" for name in sorted(set(acknowledged) - found.keys())]
        self.doubled += [f"{place}: {name}" for name, count in sorted(found.items()) if count > 1]
        self.strange += [f"{place}: {name}" for name in sorted(found.keys() - set(sent))]


@dataclass(frozen=True)
class Tables:
    """How often each id stands in each place."""

    raw: Mapping[str, int]
    orders: Mapping[int, int]
    movements: Mapping[int, int]
    dead_letters: Mapping[str, int]

    @classmethod
    def read(cls, warehouse: Warehouse) -> Tables:
        """As they are now."""

        def count(column: str, table: str) -> dict[str, int]:
            rows = warehouse.query(f"SELECT {column} AS K, COUNT(*) AS N FROM {table} GROUP BY 1")
            return {row["K"]: row["N"] for row in rows}

        def numbers(column: str, table: str) -> dict[int, int]:
            return {int(key): count for key, count in count(column, table).items()}

        letters: Counter[str] = Counter()
        for row in warehouse.query("SELECT MESSAGE_KEY FROM RAW_DATA.DEAD_LETTER_EVENTS"):
            letters[bytes(row["MESSAGE_KEY"] or b"").decode()] += 1
        return cls(
            count("EVENT_ID", "RAW_DATA.RAW_EVENTS_STREAM"),
            numbers("ORDER_LINE_ID", "PRODUCTION.ORDERS"),
            numbers("ADJUSTMENT_ID", "PRODUCTION.INVENTORY_HISTORY"),
            letters,
        )


def judge(sent: Sent, tables: Tables) -> Verdict:
    """Hold the ledger against what the tables hold."""
    verdict = Verdict()
    verdict.hold("RAW", tables.raw, sent.events, sent.events & sent.acknowledged)
    for place, keys, found in (
        ("ORDERS", sent.orders, tables.orders),
        ("INVENTORY_HISTORY", sent.movements, tables.movements),
    ):
        names = {key: name for name, key in keys.items()}
        named = {names.get(key, str(key)): count for key, count in found.items()}
        verdict.hold(place, named, keys, keys.keys() & sent.acknowledged)
        # What landed although nobody told the producer so has to go all the way as well.
        landed = keys.keys() & tables.raw.keys() - sent.acknowledged
        verdict.lost += [f"{place}: {name}" for name in sorted(landed - named.keys())]
    verdict.hold("dead letters", tables.dead_letters, sent.invalid, sent.invalid & sent.acknowledged)
    return verdict
