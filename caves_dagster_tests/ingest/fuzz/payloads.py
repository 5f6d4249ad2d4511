"""Messages by the hundred thousand, from a seed: valid events, spoilt ones, and what hypothesis thinks of."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import UTC, datetime
from itertools import islice
from random import Random
from typing import Any, NamedTuple

import hypothesis
from hypothesis import strategies as st

from caves_dagster.shop import Shop
from caves_dagster_tests.ingest.fuzz.mutations import BYTES, FIELDS, Event, write

# Above every payload but those that are meant to be too long.
MAX_EVENT_BYTES = 2**18
_NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)


class Payload(NamedTuple):
    """A message as a broker hands it over."""

    key: bytes | None
    value: bytes | None
    headers: list[tuple[str, bytes | None]]
    timestamp_ms: int | None


def payloads(shop: Shop, seed: int, count: int) -> Iterator[Payload]:
    """So many messages; the same for the same seed."""
    draw = Random(seed)
    valid = [
        json.loads(message.value or b"") for message in islice(shop.generate(seed, 0.0, lambda: _NOW), 500)
    ]
    strange = _strange(seed, max(50, count // 20))
    for number in range(count):
        kind = draw.random()
        if kind < 0.05:
            value: bytes | None = draw.choice(strange)
        elif kind < 0.06:
            value = draw.choice(
                (None, b"", b" ", b"\n\n", b"null", b"{}", b"[]", b"\xef\xbb\xbf", b'{"event_type":1}')
            )
        else:
            value = _value(draw, valid[number % len(valid)], number)
        yield Payload(_bytes(draw), value, _headers(draw), _timestamp(draw))


def _value(draw: Random, template: Event, number: int) -> bytes:
    """An event with up to four things done to it."""
    event = {name: dict(part) if isinstance(part, dict) else part for name, part in template.items()}
    event["event_metadata"]["event_id"] = f"{number:08x}-0000-4000-8000-{draw.getrandbits(48):012x}"
    for _ in range(draw.choice((0, 1, 1, 1, 2, 3, 4))):
        draw.choice(FIELDS)(draw, event)
    value = write(draw, event).encode("utf-8", "surrogatepass")
    if draw.random() < 0.25:
        for _ in range(draw.choice((1, 1, 1, 2))):
            value = draw.choice(BYTES)(draw, value)
    if draw.random() < 0.0005:  # around the limit, with spaces
        value = value.ljust(MAX_EVENT_BYTES + draw.choice((-1, 0, 1, 2_000)))
    return value


def _bytes(draw: Random) -> bytes | None:
    kind = draw.random()
    if kind < 0.5:
        return str(draw.randint(1000, 1049)).encode()
    if kind < 0.6:
        return draw.choice(
            (None, b"", b"\x00", b"\xff\xfe", "clé".encode(), b"\xef\xbb\xbf", b"'", b"\\", b"\n")
        )
    return draw.randbytes(draw.randint(0, 24))


def _headers(draw: Random) -> list[tuple[str, bytes | None]]:
    if draw.random() < 0.6:
        return []
    names = (
        "trace",
        "",
        "clé",
        "\u0000",
        "\u2028",
        '"',
        "\\",
        "\ufffd",
        "🍷",
        "x" * 500,
        "a.b",
        "name",
        "value",
    )
    return [(draw.choice(names), _bytes(draw)) for _ in range(draw.choice((1, 1, 2, 5)))]


def _timestamp(draw: Random) -> int | None:
    if draw.random() < 0.1:
        return draw.choice((None, 0, 1, 2**63 - 1, 7_258_118_399_999, 7_258_118_400_000, -1))
    return 1_772_360_000_000 + draw.randint(0, 3)


_scalars = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=30)
_documents = st.recursive(
    _scalars,
    lambda inner: st.lists(inner, max_size=5) | st.dictionaries(st.text(max_size=8), inner, max_size=5),
    max_leaves=12,
)


def _strange(seed: int, count: int) -> list[bytes]:
    """Any bytes, any JSON, and events with any JSON in a field, as hypothesis likes them."""
    found: list[bytes] = []

    def event(document: Any) -> Any:
        return {"event_type": "ORDER_CREATED", "event_metadata": {}, "event_content": {}, "x": document}

    encoded = (_documents | _documents.map(event)).map(lambda item: json.dumps(item).encode())

    @hypothesis.seed(seed)
    @hypothesis.settings(
        max_examples=-(-count // 20),
        database=None,
        phases=[hypothesis.Phase.generate],
        deadline=None,
        suppress_health_check=list(hypothesis.HealthCheck),
    )
    @hypothesis.given(st.lists(st.binary(max_size=60) | encoded, min_size=20, max_size=20))
    def collect(values: list[bytes]) -> None:
        found.extend(values)

    collect()
    return found
