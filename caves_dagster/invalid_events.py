"""Invalid messages strewn between valid ones, for dead letters to be seen: of any shop whose events are JSON
objects of which the contract names every field."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import count

import msgspec

from caves_dagster.shop import Message

_DEPTH = 65


def strewn(valid: Iterator[Message], spare: Iterator[Message], share: float) -> Iterator[Message]:
    """The valid messages, with every so many an invalid one of the next kind, made of a spare one.

    Args:
        spare: valid messages that are not among the others: no event is missing because it was spoilt.
        share: of the messages that are invalid, 0 to 1.
    """
    if not 0 <= share <= 1:
        raise ValueError(f"the share of invalid messages is {share:g}; it is between 0 and 1")
    numbers = count()
    for is_invalid in spread(share):
        if not is_invalid:
            yield next(valid)
            continue
        victim = next(spare)
        yield Message(victim.key, spoilt(victim.value or b"", next(numbers)), None)


def spread(share: float) -> Iterator[bool]:
    """Whether each of endless messages is an invalid one: a share of them, evenly."""
    owed = 0.0
    while True:
        owed += share
        # The tolerance keeps the sum of ten tenths from being a little less than one.
        is_invalid = owed >= 1 - 1e-9
        owed -= is_invalid
        yield is_invalid


def spoilt(value: bytes, number: int) -> bytes | None:
    """A valid event's bytes made invalid, in another way for each number."""
    paths = list(_leaves(msgspec.json.decode(value), ()))
    kinds: list[Callable[[], bytes | None]] = [
        lambda: None,
        lambda: b"",
        lambda: b"nothing of the kind",
        lambda: value[: len(value) // 2],
        lambda: b"[" + value + b"]",
        lambda: b'{"twice":1,"twice":1,' + value[1:],
        lambda: b'{"number":1e400,' + value[1:],
        lambda: b'{"text":"\xe9",' + value[1:],
        lambda: b'{"deep":' + b"[" * _DEPTH + b"]" * _DEPTH + b"," + value[1:],
    ]
    index = number % (len(kinds) + len(paths))
    return kinds[index]() if index < len(kinds) else _without_type(value, paths[index - len(kinds)])


def _leaves(value: object, path: tuple[str, ...]) -> Iterator[tuple[str, ...]]:
    """Path of every value that is no object."""
    if not isinstance(value, dict):
        yield path
        return
    for name, part in value.items():
        yield from _leaves(part, (*path, name))


def _without_type(value: bytes, path: tuple[str, ...]) -> bytes:
    """The event with an object where it has a value."""
    event = msgspec.json.decode(value)
    place = event
    for name in path[:-1]:
        place = place[name]
    place[path[-1]] = {}
    return msgspec.json.encode(event)
