"""A Kafka message is an event or a dead letter; there is no third outcome."""

from __future__ import annotations

from typing import Any

import msgspec

from caves_dagster.ingest import strict_json
from caves_dagster.ingest.reader import KafkaMessage
from caves_dagster.shop import Contract, InvalidEvent


def decode(message: KafkaMessage, contract: Contract, max_event_bytes: int) -> tuple[Any, ...]:
    """The message as a row in the order of `contract.columns`.

    Raises:
        InvalidEvent: what made it a dead letter: EMPTY, TOO_LARGE, those of `strict_json.check`, CONTRACT.
    """
    value = message.value
    if not value:
        raise InvalidEvent("EMPTY", "the message has no value")
    if len(value) > max_event_bytes:
        raise InvalidEvent("TOO_LARGE", f"{len(value)} bytes, at most {max_event_bytes} are allowed")
    strict_json.check(value)
    try:
        return contract.decode(value)
    except msgspec.ValidationError as error:
        reason, _, path = str(error).partition(" - at `")
        raise InvalidEvent("CONTRACT", reason, path.rstrip("`") or "$") from None
    except msgspec.DecodeError as error:
        raise InvalidEvent("SYNTAX", f"not JSON: {error}") from None
