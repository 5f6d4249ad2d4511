"""Publishing: any messages, at any rate, each one accounted for.

Delivery is idempotent: librdkafka retries without doubling or reordering. A message counts as delivered when
the broker has acknowledged it, and as failed under the broker's reason otherwise; nothing is only "sent".
"""

from __future__ import annotations

import json
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any, TextIO

from confluent_kafka import KafkaError, KafkaException, Producer
from confluent_kafka import Message as Acknowledgement

from caves_dagster.errors import DeliveryFailed, KafkaUnreachable, SettingsError, TopicNotFound
from caves_dagster.kafka.client import client_config
from caves_dagster.kafka.pace import Pace
from caves_dagster.settings import KafkaSettings
from caves_dagster.shop import Message

_PROGRESS_SECONDS = 0.25
# Longest a signal waits to be seen.
_POLL_SECONDS = 0.2
# Fast: larger batches compress better and reach consumers in fewer fetches. Slow: latency counts.
_FAST_RATE = 1000
_LINGER_MS = {"fast": 50, "slow": 5}


@dataclass
class DeliveryReport:
    """What became of the messages of one `publish`."""

    topic: str
    sent: int = 0
    """Taken from the iterable."""
    delivered: int = 0
    """Acknowledged by the broker."""
    errors: Counter[str] = field(default_factory=Counter)
    """Not delivered, by reason."""
    seconds: float = 0.0

    @property
    def failed(self) -> int:
        """Messages known not to be delivered."""
        return self.errors.total()

    @property
    def rate(self) -> float:
        """Messages delivered per second."""
        return self.delivered / self.seconds if self.seconds else 0.0

    def require_delivery(self) -> None:
        """Raises DeliveryFailed unless every message was delivered."""
        if self.delivered == self.sent:
            return
        reasons = "; ".join(f"{count} × {reason}" for reason, count in self.errors.most_common())
        missing = self.sent - self.delivered
        raise DeliveryFailed(
            f"{missing} of {self.sent} messages were not delivered to {self.topic}: {reasons}.",
            "See whether the broker still runs: `caves local status`.",
        )


def publish(
    settings: KafkaSettings,
    topic: str,
    messages: Iterable[Message],
    *,
    rate: float = 0.0,
    delivery_timeout_seconds: float = 30.0,
    stop: threading.Event | None = None,
    on_progress: Callable[[DeliveryReport], None] | None = None,
    ledger: TextIO | None = None,
) -> DeliveryReport:
    """Publish `messages` and wait until each is delivered or given up.

    Args:
        rate: messages per second; 0 is as fast as it goes.
        delivery_timeout_seconds: a message without an acknowledgement for that long has failed.
        stop: set it to end early; what was sent is still delivered and counted.
        on_progress: called a few times a second with the report so far.
        ledger: gets one JSON line a message: event_id, acknowledged, partition, offset, and the error if any.

    Raises:
        KafkaUnreachable: no broker answers; nothing was sent.
        TopicNotFound: the broker has no such topic; nothing was sent.
    """
    producer = _producer(
        settings,
        {
            "enable.idempotence": True,
            "compression.type": "zstd",
            "linger.ms": _LINGER_MS["slow" if 0 < rate <= _FAST_RATE else "fast"],
            # As Java clients do it, so that one product's events share a partition whoever sends them.
            "partitioner": "murmur2_random",
            "message.timeout.ms": int(delivery_timeout_seconds * 1000),
        },
    )
    _find_topic(producer, settings, topic)
    publishing = _Publishing(producer, topic, stop or threading.Event(), on_progress, ledger)
    return publishing.run(messages, Pace(rate), delivery_timeout_seconds)


class _Publishing:
    """One call of `publish`."""

    def __init__(
        self,
        producer: Producer,
        topic: str,
        stop: threading.Event,
        on_progress: Callable[[DeliveryReport], None] | None,
        ledger: TextIO | None,
    ) -> None:
        self._producer = producer
        self._stop = stop
        self._on_progress = on_progress
        self._ledger = ledger
        self._report = DeliveryReport(topic)
        self._started = time.monotonic()
        self._progress_due = self._started

    def run(self, messages: Iterable[Message], pace: Pace, delivery_timeout_seconds: float) -> DeliveryReport:
        for message in messages:
            while not self._stop.is_set() and (wait := pace.wait()) > 0:
                self._poll(min(wait, _POLL_SECONDS))
            if self._stop.is_set() or not self._send(message):
                break
            pace.advance()
            self._poll(0)
        # Every message is settled within its time-out; what is added is for an answer at the last moment.
        deadline = time.monotonic() + delivery_timeout_seconds + 5
        while len(self._producer) and time.monotonic() < deadline:
            self._poll(_POLL_SECONDS)
        self._report.errors.update(_unsettled(self._report))
        self._show(time.monotonic())
        return self._report

    def _send(self, message: Message) -> bool:
        """Hand one message over; False when no more can be sent."""
        report, event_id = self._report, message.event_id

        def settle(error: KafkaError | None, acknowledgement: Acknowledgement) -> None:
            self._settle(event_id, error, acknowledgement)

        while not self._stop.is_set():
            try:
                self._producer.produce(report.topic, message.value, message.key, on_delivery=settle)
            except BufferError:
                self._poll(_POLL_SECONDS)
                continue
            except KafkaException as error:
                # Refused before it was queued: too large, say, or a producer that is beyond use.
                report.sent += 1
                self._settle(event_id, error.args[0], None)
                return not error.args[0].fatal()
            report.sent += 1
            return True
        return False

    def _settle(
        self, event_id: str | None, error: KafkaError | None, acknowledgement: Acknowledgement | None
    ) -> None:
        if error is None:
            self._report.delivered += 1
        else:
            self._report.errors[error.str()] += 1
        if self._ledger is None:
            return
        line: dict[str, Any] = {
            "event_id": event_id,
            "partition": None,
            "offset": None,
            "acknowledged": False,
        }
        if error is not None:
            line["error"] = error.str()
        elif acknowledgement is not None:
            line |= {"partition": acknowledgement.partition(), "offset": acknowledgement.offset()}
            line["acknowledged"] = True
        self._ledger.write(json.dumps(line) + "\n")

    def _poll(self, seconds: float) -> None:
        """Serve acknowledgements for up to `seconds`, and show progress when it is due."""
        self._producer.poll(seconds)
        now = time.monotonic()
        if now >= self._progress_due:
            self._show(now)

    def _show(self, now: float) -> None:
        self._progress_due = now + _PROGRESS_SECONDS
        self._report.seconds = now - self._started
        if self._on_progress is not None:
            self._on_progress(self._report)


def _unsettled(report: DeliveryReport) -> dict[str, int]:
    missing = report.sent - report.delivered - report.failed
    return {"no answer from the broker": missing} if missing else {}


def _producer(settings: KafkaSettings, options: dict[str, Any]) -> Producer:
    try:
        return Producer(client_config(settings) | options)
    except KafkaException as error:
        raise SettingsError(
            f"Kafka's settings are not usable: {error.args[0].str()}.", "Check the KAFKA_ settings."
        ) from error


def _find_topic(producer: Producer, settings: KafkaSettings, topic: str) -> None:
    """Make sure that the broker answers and has the topic, before anything is sent."""
    try:
        # All topics: a request for one would create it, with the broker's default number of partitions.
        topics = producer.list_topics(timeout=settings.timeout_seconds).topics
    except KafkaException as error:
        raise KafkaUnreachable(
            f"Kafka at {settings.bootstrap_servers} cannot be reached ({error.args[0].str()}).",
            settings.remedy,
        ) from error
    if topic not in topics:
        raise TopicNotFound(
            f"The broker at {settings.bootstrap_servers} has no topic {topic!r}; it has: "
            f"{', '.join(sorted(topics)) or 'none'}.",
            "Create it, or choose another with --topic or CAVES_TOPICS.",
        )
