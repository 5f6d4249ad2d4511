"""Events to learn from: out of a file, or the newest of a topic."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from confluent_kafka import KafkaException

from caves_dagster.errors import CavesError, KafkaUnreachable, SourceRefused
from caves_dagster.ingest import strict_json
from caves_dagster.kafka.client import KafkaClient
from caves_dagster.settings import KafkaSettings
from caves_dagster.shop import InvalidEvent

Event = dict[str, Any]

MOST = 100
"""Events that are read of a topic."""


def from_file(path: Path) -> list[Event]:
    """One JSON object, an array of them, or one a line.

    Raises:
        SourceRefused: the file cannot be read, or holds something else.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise SourceRefused(f"{path} cannot be read ({error}).", "Name a file of JSON.") from None
    try:
        whole = json.loads(text)
        found = whole if isinstance(whole, list) else [whole]
    except ValueError:
        try:
            found = [json.loads(line) for line in text.splitlines() if line.strip()]
        except ValueError as error:
            raise SourceRefused(
                f"{path} is not JSON: {error}.", "Write one event, an array of them, or one a line."
            ) from None
    return _events(found, str(path))


def from_topic(settings: KafkaSettings, topic: str) -> list[Event]:
    """The newest events of a topic, up to `MOST`; nothing is committed.

    Raises:
        KafkaUnreachable: no broker answers.
        SourceRefused: the topic is empty, or none of its newest messages is a JSON object.
    """
    client = KafkaClient(settings)
    marks = client.inspect(topic).partitions
    start = {number: max(one.low, one.end - MOST) for number, one in marks.items() if one.end > one.low}
    if not start:
        raise SourceRefused(f"The topic {topic!r} is empty.", "Publish an event, or give one: --from-event.")
    consumer = client.reader(topic, start)
    values: list[bytes] = []
    ended: set[int] = set()
    try:
        while len(ended) < len(start) and len(values) < MOST:
            messages = consumer.consume(MOST, settings.timeout_seconds)
            if not messages:
                break
            for message in messages:
                if message.error() is not None:
                    ended.add(message.partition() or 0)
                elif value := message.value():
                    values.append(value if isinstance(value, bytes) else value.encode())
    except KafkaException as error:
        raise KafkaUnreachable(f"{topic} cannot be read ({error.args[0].str()}).", settings.remedy) from error
    finally:
        consumer.close()
    return _events([found for value in values if (found := _object(value)) is not None], f"topic {topic}")


def _object(value: bytes) -> Event | None:
    """The message as an event; None where it is not JSON, or no object."""
    try:
        strict_json.check(value)
    except InvalidEvent:
        return None
    found = json.loads(value)
    return found if isinstance(found, dict) else None


def _events(found: list[Any], where: str) -> list[Event]:
    if not found or not all(isinstance(one, dict) and one for one in found):
        raise SourceRefused(f"{where} holds no JSON objects.", "An event is one, with fields.")
    return found


def require_one(from_event: Path | None, topic: str | None) -> None:
    """Refuse both sources, and none.

    Raises:
        CavesError: it is not one of them.
    """
    if (from_event is None) == (topic is None):
        raise CavesError("Where do the events come from?", "Give --from-event FILE or --from-topic TOPIC.")
