"""Events that spoil the row made of them, as if the contract had let through what the warehouse refuses."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

from caves_dagster.shop import Contract, Message
from caves_dagster_tests.conftest import Caves


def lets_through(caves: Caves, spoil: Callable[[tuple[Any, ...]], tuple[Any, ...]]) -> Caves:
    """The shop with a contract that spoils a row where the event's `source` is "spoilt"."""
    contract = caves.shop.contract

    def row(event: Any, value: bytes) -> tuple[Any, ...]:
        made = contract.row(event, value)
        return spoil(made) if event.event_metadata.source == "spoilt" else made

    careless = Contract(contract.columns, contract.event, row)
    return replace(caves, shop=replace(caves.shop, contract=careless))


def spoilt(message: Message) -> Message:
    """The message as one that the careless contract spoils."""
    event = json.loads(message.value or b"")
    event["event_metadata"]["source"] = "spoilt"
    return replace(message, value=json.dumps(event).encode())


SPOILERS: Mapping[str, Callable[[tuple[Any, ...]], tuple[Any, ...]]] = {
    "a type longer than its column": lambda row: ("E" * 51, *row[1:]),
    "content that is not JSON": lambda row: (*row[:4], "{not json", *row[5:]),
    "no event type": lambda row: (None, *row[1:]),
}
