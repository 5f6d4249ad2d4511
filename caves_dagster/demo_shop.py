"""One shop's part in the demo: its events published, watched, and held against its tables."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from itertools import islice

import dagster as dg

from caves_dagster.batch.reading import read_table
from caves_dagster.checks.catalogue import shop_checks
from caves_dagster.checks.check import Outcome, run_check
from caves_dagster.errors import CavesError
from caves_dagster.kafka.producer import DeliveryReport, publish
from caves_dagster.settings import Settings
from caves_dagster.shop import Message, Shop
from caves_dagster.warehouse.connection import Warehouse


@dataclass
class Sent:
    """What was handed to the producer: the truth that the tables are held against."""

    event_ids: list[str] = field(default_factory=list)
    invalid: int = 0

    def record(self, messages: Iterator[Message]) -> Iterator[Message]:
        """Pass the messages on, and note each."""
        for message in messages:
            if message.event_id is None:
                self.invalid += 1
            else:
                self.event_ids.append(message.event_id)
            yield message


@dataclass(frozen=True)
class Seen:
    """How far a shop is: delivered messages; those in RAW or dead; those in production or dead."""

    published: int
    landed: int
    produced: int
    complete: bool


@dataclass
class ShopResult:
    """What became of a shop's events."""

    shop: str
    rows: dict[str, int] = field(default_factory=dict)
    dead_letters: Counter[str] = field(default_factory=Counter)
    outcomes: list[Outcome] = field(default_factory=list)
    latencies: list[float] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)


class ShopWatch:
    """Publishes one shop's events from a thread, and looks where they are.

    Args:
        count: events to publish.
        invalid_rate: share of them that is invalid.
        rate: events a second; 0 is as fast as it goes.
    """

    def __init__(
        self,
        settings: Settings,
        shop: Shop,
        warehouse: Warehouse,
        count: int,
        invalid_rate: float,
        rate: float,
        seed: int,
    ) -> None:
        self._settings, self._shop, self._warehouse = settings, shop, warehouse
        self._count, self._rate = count, rate
        self._sent = Sent()
        made = shop.generate(seed, invalid_rate, lambda: datetime.now(UTC))
        self._messages = self._sent.record(islice(made, count))
        self._report = DeliveryReport(shop.topic)
        self._failures: list[CavesError] = []
        self._producer = threading.Thread(target=self._produce, name=f"{shop.name}-producer", daemon=True)

    def publish(self) -> None:
        """Begin."""
        self._producer.start()

    def _produce(self) -> None:
        def progressed(so_far: DeliveryReport) -> None:
            self._report = so_far

        try:
            self._report = publish(
                self._settings.kafka,
                self._shop.topic,
                self._messages,
                rate=self._rate,
                on_progress=progressed,
            )
            self._report.require_delivery()
        except CavesError as error:
            self._failures.append(error)

    def look(self) -> Seen:
        """Where the messages are now.

        Raises:
            CavesError: the producer could not deliver.
        """
        if self._failures:
            raise self._failures[0]
        raw = self._shop.raw.full_name
        facts = [table.full_name for table in self._shop.facts]
        streams = [step.stream.full_name for step in self._shop.transformations]
        published = not self._producer.is_alive()
        counts = self._counts([raw, self._dead_letters, *facts, *streams])
        dead = counts[self._dead_letters]
        landed, waiting = counts[raw] + dead, sum(counts[name] for name in streams)
        return Seen(
            published=self._report.delivered,
            landed=landed,
            produced=sum(counts[name] for name in facts) + dead,
            complete=published and landed >= self._count and not waiting,
        )

    @property
    def _dead_letters(self) -> str:
        return f"{self._shop.raw.schema}.DEAD_LETTER_EVENTS"

    def _counts(self, names: list[str]) -> dict[str, int]:
        columns = ", ".join(f"(SELECT COUNT(*) FROM {name}) AS C{index}" for index, name in enumerate(names))
        (row,) = self._warehouse.query(f"SELECT {columns}")
        return {name: int(row[f"C{index}"]) for index, name in enumerate(names)}

    def take_stock(self, instance: dg.DagsterInstance, timeout_seconds: float) -> ShopResult:
        """What the tables hold, what the checks say, and what does not add up."""
        shop, result = self._shop, ShopResult(self._shop.name)
        batch = shop.batch.tables if shop.batch else ()
        tables = [*(one.table.full_name for one in batch), shop.raw.full_name, self._dead_letters]
        result.rows = self._counts([*tables, *(table.full_name for table in shop.tables[1:])])
        by_class = f"SELECT FAILURE_CLASS, COUNT(*) AS N FROM {self._dead_letters} GROUP BY FAILURE_CLASS"
        result.dead_letters = Counter(
            {row["FAILURE_CLASS"]: int(row["N"]) for row in self._warehouse.query(by_class)}
        )
        checks = shop_checks(self._settings, shop)
        result.outcomes = [run_check(self._warehouse, shop, one, instance=instance) for one in checks]
        for table in shop.facts:
            delay = f"SELECT DATEDIFF('millisecond', EVENT_TIME, LOADED_AT) AS MS FROM {table.full_name}"
            result.latencies += [int(row["MS"]) / 1000 for row in self._warehouse.query(delay)]
        result.problems = [
            f"{shop.title}: {problem}"
            for problem in (*self._lost(result, timeout_seconds), *self._history(result))
        ]
        return result

    def _lost(self, result: ShopResult, timeout_seconds: float) -> Iterator[str]:
        """Where the tables do not hold what was sent, and the checks that fail."""
        raw = self._shop.raw.full_name
        stored = Counter(row["EVENT_ID"] for row in self._warehouse.query(f"SELECT EVENT_ID FROM {raw}"))
        sent = Counter(self._sent.event_ids)
        lost, extra = sent - stored, stored - sent
        if lost or extra:
            yield f"RAW lacks {lost.total()} events and holds {extra.total()} it should not."
        if result.dead_letters.total() != self._sent.invalid:
            yield f"{self._sent.invalid} invalid messages, {result.dead_letters.total()} dead letters."
        produced = sum(result.rows[table.full_name] for table in self._shop.facts)
        if produced != sent.total():
            yield f"{sent.total()} events, but {produced} rows in production after {timeout_seconds:.0f} s."
        for one in result.outcomes:
            # Warnings are part of a shop's life: some wine is always low in stock.
            if one.status == "FAIL":
                yield f"Check {one.name}: {one.status}."

    def _history(self, result: ShopResult) -> Iterator[str]:
        """Where a batch table has not as many rows as its source."""
        batch = self._shop.batch
        for one in batch.tables if batch else ():
            assert batch is not None
            rows = read_table(self._shop, batch, one, None).rows.num_rows
            if result.rows[one.table.full_name] != rows:
                found = result.rows[one.table.full_name]
                yield f"{one.table.full_name} holds {found} rows, its source {rows}."
