"""What the warehouse refuses to load: found by trying, in transactions that are rolled back.

A row that it refuses becomes a dead letter of class LANDING (`Batch.refuse`); of a dead letter that it
refuses, what it takes is kept (`storable`). Nothing blocks the topic, unless the table is at fault.
"""

from __future__ import annotations

import tempfile
import uuid
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Generic, TypeVar

from caves_dagster.errors import LandingRefused
from caves_dagster.ingest.batch import DeadLetter, Row, write_dead_letters, write_rows
from caves_dagster.ingest.stage import Stage
from caves_dagster.shop import Contract
from caves_dagster.warehouse.connection import Warehouse

# Items tried one by one before those that were refused together are bisected.
_SAMPLE = 20
# What is kept of a value or a key that the warehouse does not take whole.
_KEPT_BYTES = 64 * 2**10

TRUNCATED = "TRUNCATED"
"""Class of a dead letter whose bytes are not whole; a replay leaves it."""

Item = TypeVar("Item")


@dataclass(frozen=True)
class Trial(Generic[Item]):
    """Loads some of the items and rolls back.

    Attributes:
        write: writes items to a file.
        copy: loads that file, of so many rows.
    """

    warehouse: Warehouse
    stage: Stage
    write: Callable[[Sequence[Item], Path], object]
    copy: Callable[[str, int], None]

    def __call__(self, items: Sequence[Item]) -> str | None:
        """Why these items are refused together, or None."""
        with tempfile.TemporaryDirectory(prefix="caves-") as folder:
            path = Path(folder) / f"{uuid.uuid4()}.parquet"
            self.write(items, path)
            try:
                with self.stage.holding(path) as (name,), self.warehouse.transaction():
                    assert name is not None
                    self.copy(name, len(items))
                    raise _RolledBack
            except _RolledBack:
                return None
            except LandingRefused as refusal:
                return refusal.problem


class _RolledBack(Exception):
    """Ends a trial's transaction."""


def row_trial(warehouse: Warehouse, stage: Stage, contract: Contract) -> Trial[Row]:
    """Tries rows on the raw table."""

    def write(rows: Sequence[Row], path: Path) -> None:
        write_rows(contract, rows, datetime.now(UTC), path)

    return Trial(warehouse, stage, write, stage.copy_rows)


def letter_trial(warehouse: Warehouse, stage: Stage) -> Trial[DeadLetter]:
    """Tries dead letters on DEAD_LETTER_EVENTS."""

    def write(letters: Sequence[DeadLetter], path: Path) -> None:
        write_dead_letters(letters, str(uuid.uuid4()), datetime.now(UTC), path)

    return Trial(warehouse, stage, write, stage.copy_dead_letters)


def refused(trial: Trial[Item], items: Sequence[Item], sampled_from: int = _SAMPLE) -> dict[int, str]:
    """Index of each item that is refused, with the reason; empty where they load.

    Args:
        sampled_from: where there are more items, a sample of them is tried before each is.

    Raises:
        LandingRefused: the refusal has another reason than some items' data.
    """
    why = trial(items)
    if why is None:
        return {}
    if _is_systemic(trial, items, sampled_from):
        raise LandingRefused(f"{why} Its rows are not to blame: the table would take none of them.")
    return _bisect(trial, items)


def storable(trial: Trial[DeadLetter], letters: Sequence[DeadLetter]) -> dict[int, DeadLetter]:
    """Index of each dead letter that is refused, with what the warehouse takes of it.

    Raises:
        LandingRefused: not even one without its bytes is taken, so it is the table's fault.
    """
    why = trial(letters)
    if why is None:
        return {}
    if trial([_bare(letters[0])]) is not None:
        raise LandingRefused(why)
    found = {}
    for index, reason in _bisect(trial, letters).items():
        letter = _shortened(letters[index], reason)
        found[index] = letter if trial([letter]) is None else _bare(letters[index])
    return found


def _shortened(letter: DeadLetter, refusal: str) -> DeadLetter:
    """The letter with its value and key cut short and without headers."""
    message = letter.message
    value, key = (part and part[:_KEPT_BYTES] for part in (message.value, message.key))
    reason = (
        f"{_missing(letter)} It was {letter.failure_class} at {letter.path}: {letter.reason[:500]}. "
        f"The warehouse: {refusal}"
    )
    return DeadLetter(message._replace(value=value, key=key, headers=[]), TRUNCATED, reason, letter.path)


def _bare(letter: DeadLetter) -> DeadLetter:
    """The letter without anything that came with the message, and without a text that quotes it."""
    message = letter.message._replace(value=None, key=None, headers=[])
    return DeadLetter(message, TRUNCATED, f"{_missing(letter)} Nothing of it is kept.", "$")


def _missing(letter: DeadLetter) -> str:
    message = letter.message
    return (
        f"The warehouse does not take this message whole (value {len(message.value or b'')} bytes, key "
        f"{len(message.key or b'')}, headers {len(message.headers)}): as long as Kafka keeps it, it stands "
        f"in partition {message.partition} at offset {message.offset} of its topic."
    )


def _is_systemic(trial: Trial[Item], items: Sequence[Item], sampled_from: int) -> bool:
    """Whether the refusal has another reason than some items' data.

    So it is where a COPY without a single row fails, or one of each of a sample of rows: a table that
    changed must not turn a whole topic into dead letters, nor cost two COPYs a row to find out.
    """
    if trial([]) is not None:
        return True
    count = len(items)
    sample = range(0, count, -(-count // _SAMPLE)) if count > sampled_from else range(0)
    return bool(sample) and all(trial([items[index]]) is not None for index in sample)


def _bisect(trial: Trial[Item], items: Sequence[Item]) -> dict[int, str]:
    """The items that are refused even alone, with the reason: tried by halves."""
    found: dict[int, str] = {}
    stack = [list(range(len(items)))]
    while stack:
        part = stack.pop()
        reason = trial([items[index] for index in part])
        if reason is None:
            continue
        if len(part) == 1:
            found[part[0]] = reason
        else:
            middle = len(part) // 2
            stack += [part[middle:], part[:middle]]
    return found
