"""Millions of events in a short time: a few made-up ones, sent again and again under ids of their own."""

from __future__ import annotations

import json
import random
from collections.abc import Iterator
from datetime import UTC, datetime
from itertools import islice
from typing import Any

from confluent_kafka import Producer

from caves_dagster.kafka.client import client_config
from caves_dagster.settings import KafkaSettings
from caves_dagster.shop import Shop

_TEMPLATES = 2000
_AT_ONCE = 2000
_FLUSH_SECONDS = 60.0
# Most that a message set of the producer holds before it is sent.
_QUEUE_KILOBYTES = 64 * 1024


def publish_backlog(kafka: KafkaSettings, shop: Shop, events: int, event_bytes: int = 0) -> int:
    """Publish valid events, every one with another event id and order or movement id.

    Args:
        event_bytes: each message gets a field beside the contract's that fills it up to this size.

    Returns:
        Bytes of all their values.
    """
    config = client_config(kafka) | {
        "enable.idempotence": True,
        "compression.type": "lz4",
        "linger.ms": 50,
        "batch.size": 2**20,
        "message.max.bytes": 8 * 2**20,
        "queue.buffering.max.kbytes": _QUEUE_KILOBYTES,
    }
    failures: list[str] = []

    def settle(error: Any, message: Any) -> None:
        if error is not None:
            failures.append(error.str())

    producer = Producer(config | {"on_delivery": settle, "delivery.report.only.error": True})
    size = 0
    for key, value in _messages(shop, events, event_bytes):
        size += len(value)
        while True:
            try:
                producer.produce(shop.topic, value, key)
                break
            except BufferError:
                producer.poll(0.05)
    assert producer.flush(_FLUSH_SECONDS) == 0, "the broker did not take every event in time"
    assert not failures, f"{len(failures)} events were not delivered: {failures[0]}"
    return size


def _messages(shop: Shop, events: int, event_bytes: int) -> Iterator[tuple[bytes | None, bytes]]:
    templates = list(_templates(shop, min(events, 16 if event_bytes else _TEMPLATES), event_bytes))
    for index in range(events):
        key, before, between, after = templates[index % len(templates)]
        identifier = b"%d" % (index + 1)
        yield key, b"%b%08x-0000-4000-8000-000000000000%b%b%b" % (before, index, between, identifier, after)


def _templates(
    shop: Shop, count: int, event_bytes: int
) -> Iterator[tuple[bytes | None, bytes, bytes, bytes]]:
    """Keys, and values in three parts: between them stand the event's id and its line's or movement's."""
    draw = random.Random(7)
    for message in islice(shop.generate(11, 0.0, lambda: datetime.now(UTC)), count):
        event = json.loads(message.value or b"{}")
        event["event_metadata"]["event_id"] = "EVENT-ID"
        content = event["event_content"]
        name = next(iter(content))
        content[name] = "LINE-ID"
        text = json.dumps(event, ensure_ascii=False, separators=(",", ":")).encode()
        if event_bytes > len(text):
            note = draw.randbytes((event_bytes - len(text)) // 2).hex()
            text = text[:-1] + b',"note":"%b"}' % note.encode()
        before, rest = text.split(b"EVENT-ID")
        between, after = rest.split(b'"LINE-ID"')
        yield message.key, before, between, after
