"""A Kafka message is an event or a dead letter; there is no third outcome."""

from __future__ import annotations

import re
from typing import Any

import msgspec

from caves_dagster.ingest import strict_json
from caves_dagster.ingest.reader import KafkaMessage
from caves_dagster.shop import Contract, InvalidEvent

# How msgspec ends a message; what comes before may quote the event, and so look like it.
_WITH_PATH = re.compile(r"(?P<reason>.*) - at (?:`key` in )?`(?P<path>\$[^`]*)`", re.DOTALL)


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
        found = _WITH_PATH.fullmatch(str(error))
        reason, path = found.group("reason", "path") if found else (str(error), "$")
        raise InvalidEvent("CONTRACT", reason, path) from None
    except msgspec.DecodeError as error:
        raise InvalidEvent("SYNTAX", f"not JSON: {error}") from None
