"""A producer that never stops, and the ledger of what it sent: acknowledged by the broker, or unknown."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

from caves_dagster.kafka.producer import DeliveryReport, publish
from caves_dagster.settings import KafkaSettings
from caves_dagster.shop import Message, Shop

DELIVERY_TIMEOUT_SECONDS = 60.0
_INVALID_KEY = "invalid-"


@dataclass
class Sent:
    """What was sent, by id: an event's own, or `invalid-<n>`, which is also that message's key.

    Attributes:
        orders: order_line_id of each event that is an order.
        movements: adjustment_id of each event that is a movement.
        acknowledged: those whose delivery the broker confirmed. What became of the others is unknown.
    """

    orders: dict[str, int] = field(default_factory=dict)
    movements: dict[str, int] = field(default_factory=dict)
    invalid: set[str] = field(default_factory=set)
    acknowledged: set[str] = field(default_factory=set)

    @property
    def events(self) -> set[str]:
        """Ids of the valid ones."""
        return self.orders.keys() | self.movements.keys()

    @property
    def unknown(self) -> set[str]:
        """Sent, and not known to be delivered."""
        return (self.events | self.invalid) - self.acknowledged


class Producer:
    """Publishes a shop's events with the product's own producer, in a thread, until it is stopped.

    Args:
        path: file of the ledger, one JSON line a message whose fate was told.
        rate: messages per second.
    """

    def __init__(self, kafka: KafkaSettings, shop: Shop, path: Path, seed: int, rate: float) -> None:
        self._kafka, self._shop, self._path = kafka, shop, path
        self._seed, self._rate = seed, rate
        self._sent = Sent()
        self._stop = threading.Event()
        self._failure: BaseException | None = None
        self.report: DeliveryReport | None = None
        self._thread = threading.Thread(target=self._run, name="producer", daemon=True)

    def start(self) -> None:
        """Begin."""
        self._thread.start()

    def stop(self) -> Sent:
        """End, wait for the fate of what is on its way, and return the ledger."""
        self._stop.set()
        self._thread.join(DELIVERY_TIMEOUT_SECONDS + 30)
        if self._failure is not None:
            raise self._failure
        assert not self._thread.is_alive(), "the producer did not come to its end"
        for line in self._path.read_text(encoding="utf-8").splitlines():
            entry = json.loads(line)
            if entry["acknowledged"]:
                self._sent.acknowledged.add(entry["event_id"])
        return self._sent

    def require_alive(self) -> None:
        """Raise what ended it, if anything did."""
        if self._failure is not None:
            raise self._failure
        assert self._thread.is_alive(), "the producer has ended by itself"

    def _run(self) -> None:
        try:
            with self._path.open("w", encoding="utf-8") as ledger:
                self.report = publish(
                    self._kafka,
                    self._shop.topic,
                    self._messages(),
                    rate=self._rate,
                    delivery_timeout_seconds=DELIVERY_TIMEOUT_SECONDS,
                    stop=self._stop,
                    ledger=ledger,
                )
        except BaseException as failure:  # noqa: BLE001 - told where the producer is waited for
            self._failure = failure

    def _messages(self) -> Iterator[Message]:
        """The shop's, one in twenty invalid; those carry an id in their key, as their value may hold none."""
        for message in self._shop.generate(self._seed, 0.05, lambda: datetime.now(UTC)):
            if message.event_id is None:
                name = f"{_INVALID_KEY}{len(self._sent.invalid)}"
                self._sent.invalid.add(name)
                yield Message(name.encode(), message.value, name)
                continue
            content = json.loads(message.value or b"")["event_content"]
            if "order_line_id" in content:
                self._sent.orders[message.event_id] = content["order_line_id"]
            else:
                self._sent.movements[message.event_id] = content["adjustment_id"]
            yield message
