"""A Kafka message is an event or a dead letter; there is no third outcome."""

from __future__ import annotations

import re
import threading
from functools import cache
from typing import Any

import msgspec
from msgspec import inspect

from caves_dagster.ingest import strict_json
from caves_dagster.ingest.reader import KafkaMessage
from caves_dagster.shop import Contract, InvalidEvent

# How msgspec ends a message; what comes before may quote the event, and so look like it.
_WITH_PATH = re.compile(r"(?P<reason>.*) - at (?:`key` in )?`(?P<path>\$[^`]*)`", re.DOTALL)

_encode = msgspec.json.Encoder().encode


def decode(message: KafkaMessage, contract: Contract, max_event_bytes: int) -> tuple[Any, ...]:
    """The message as a row in the order of `contract.columns`.

    Most messages hold nothing but what the contract names, each once: they have as many colons as the typed
    event has when it is written again. Then the typed decoder has seen every byte, and the strict second look
    is spared. An unknown field or a key that stands twice adds a colon; an escape could hide one.

    Raises:
        InvalidEvent: what made it a dead letter: EMPTY, TOO_LARGE, those of `strict_json.check`, CONTRACT.
    """
    value = message.value
    if not value:
        raise InvalidEvent("EMPTY", "the message has no value")
    if len(value) > max_event_bytes:
        raise InvalidEvent("TOO_LARGE", f"{len(value)} bytes, at most {max_event_bytes} are allowed")
    decoder, exact = _decoder(contract)
    try:
        event = decoder.decode(value)
        if exact and b"\\" not in value and value.count(b":") == _encode(event).count(b":"):
            return contract.row(event, value)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        pass  # The long way tells what is wrong, and in which order.
    strict_json.check(value)
    try:
        return contract.row(decoder.decode(value), value)
    except msgspec.ValidationError as error:
        found = _WITH_PATH.fullmatch(str(error))
        reason, path = found.group("reason", "path") if found else (str(error), "$")
        raise InvalidEvent("CONTRACT", reason, path) from None
    except msgspec.DecodeError as error:
        raise InvalidEvent("SYNTAX", f"not JSON: {error}") from None


_making = threading.Lock()


@cache
def _decoder(contract: Contract) -> tuple[msgspec.json.Decoder[Any], bool]:
    """The contract's decoder, and whether counting colons is exact for its type."""
    # msgspec shows a struct to other threads before it has filled in its types. One that decodes in between
    # ends the process with a segmentation fault.
    with _making:
        return msgspec.json.Decoder(contract.event), _is_exact(inspect.type_info(contract.event))


_PLAIN = (inspect.IntType, inspect.FloatType, inspect.StrType, inspect.BoolType, inspect.LiteralType)


def _is_exact(kind: inspect.Type) -> bool:
    """Whether every value of the type is written with the colons it was read with.

    Not so for a field with a default, which is written although it was not there, nor for dates.
    """
    if isinstance(kind, inspect.StructType):
        return all(field.required and _is_exact(field.type) for field in kind.fields)
    if isinstance(kind, inspect.UnionType):
        return all(_is_exact(one) for one in kind.types)
    return isinstance(kind, _PLAIN)
