"""Dead letters as they are stored: found, counted and read back, a bounded page at a time."""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from caves_dagster.errors import CavesError
from caves_dagster.ingest.batch import DeadLetter
from caves_dagster.ingest.reader import KafkaMessage
from caves_dagster.shop import SQL_ROOT, Shop
from caves_dagster.warehouse.connection import Row, Warehouse
from caves_dagster.warehouse.scripts import render, statements

_EVENT_TYPE = re.compile(rb'"event_type"\s*:\s*"([^"\\\x00-\x1f]{1,50})"')
_AGO = re.compile(r"([0-9]{1,6})([smhd])")
_UNITS = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days"}


@dataclass(frozen=True)
class Chosen:
    """Which dead letters are meant; None is any.

    Attributes:
        failure_class: exactly this class, in capitals.
        text: stands in the reason or the JSON path; capitals don't matter.
        event_type: the bytes say `"event_type":"…"` somewhere, with at most one blank behind the colon.
        since, until: first seen from then on, before then.
        dead_letter_id: how the id begins.
        replayed: those that a replay has landed, too.
    """

    failure_class: str | None = None
    text: str | None = None
    event_type: str | None = None
    since: datetime | None = None
    until: datetime | None = None
    dead_letter_id: str | None = None
    partition: int | None = None
    offset: int | None = None
    replayed: bool = False

    def binds(self) -> dict[str, Any]:
        """Values of the conditions in `sql/dead_letters.sql`."""
        kind = self.event_type
        return {
            "failure_class": self.failure_class and self.failure_class.upper(),
            "text": self.text,
            "type_compact": kind and f'"event_type":"{kind}"'.encode().hex().upper(),
            "type_spaced": kind and f'"event_type": "{kind}"'.encode().hex().upper(),
            "since": self.since and self.since.isoformat(),
            "until": self.until and self.until.isoformat(),
            "id": self.dead_letter_id and self.dead_letter_id.lower(),
            "partition": self.partition,
            "offset": self.offset,
            "replayed": self.replayed,
        }


@dataclass(frozen=True)
class StoredLetter:
    """One row of DEAD_LETTER_EVENTS."""

    dead_letter_id: str
    letter: DeadLetter
    first_seen: datetime
    attempts: int
    replayed_at: datetime | None
    batch_id: str


@dataclass(frozen=True)
class Page:
    """Letters between two places in the order of first seen and id: behind `after`, up to `last`."""

    after: tuple[datetime, str]
    last: tuple[datetime, str]


class DeadLetters:
    """The dead letters of one shop, through one warehouse session."""

    def __init__(self, warehouse: Warehouse, shop: Shop) -> None:
        self._warehouse = warehouse
        self._shop = shop

    def counts(self, chosen: Chosen) -> list[Row]:
        """FAILURE_CLASS, LETTERS, REPLAYED, OLDEST, NEWEST, MOST_ATTEMPTS: a row a class, most first."""
        return self._query("ingest/count_dead_letters.sql", chosen.binds())

    def newest(self, chosen: Chosen, limit: int) -> list[Row]:
        """The newest, without their bytes: only HEAD, the first of them in hex."""
        return self._query("ingest/list_dead_letters.sql", chosen.binds() | {"limit": limit})

    def pages(
        self, chosen: Chosen, max_letters: int, max_bytes: int, limit: int | None = None
    ) -> Iterator[Page]:
        """The chosen letters in pages of at most so many, and so many bytes or one letter, oldest first.

        Each page is behind the one before it, so this comes to an end whatever happens to the letters
        meanwhile, if `until` stops those to come.
        """
        after = (datetime(1970, 1, 1, tzinfo=UTC), "")
        left = limit
        while left is None or left > 0:
            most = max_letters if left is None else min(max_letters, left)
            binds = chosen.binds() | _place("after", after) | {"limit": most}
            rows = self._query("ingest/next_dead_letters.sql", binds)
            if not rows:
                return
            taken, total = 0, 0
            for row in rows:
                total += int(row["BYTES"])
                if taken and total > max_bytes:
                    break
                taken += 1
            last = (rows[taken - 1]["FIRST_SEEN"], rows[taken - 1]["DEAD_LETTER_ID"])
            yield Page(after, last)
            after = last
            left = None if left is None else left - taken

    def read(self, chosen: Chosen, page: Page) -> list[StoredLetter]:
        """The page's letters that are still among the chosen ones."""
        binds = chosen.binds() | _place("after", page.after) | _place("last", page.last)
        return [_stored(row) for row in self._query("ingest/read_dead_letters.sql", binds)]

    def one(self, dead_letter_id: str) -> StoredLetter:
        """The letter whose id begins so, replayed or not.

        Raises:
            CavesError: there is none, or more than one.
        """
        chosen = Chosen(dead_letter_id=dead_letter_id, replayed=True)
        found = self.newest(chosen, 2)
        if len(found) != 1:
            raise CavesError(
                f"{'No' if not found else 'More than one'} dead letter's id begins with {dead_letter_id!r}.",
                f"`caves dead-letters list --shop {self._shop.name}` shows them.",
            )
        (page,) = self.pages(chosen, 1, 1, 1)
        (letter,) = self.read(chosen, page)
        return letter

    def replays(self, dead_letter_id: str) -> list[Row]:
        """Every attempt to replay a letter, the first one first."""
        return self._query("ingest/read_replays.sql", {"id": dead_letter_id, "replay_id": None})

    def _query(self, script: str, binds: Mapping[str, Any]) -> list[Row]:
        (statement,) = statements(render(SQL_ROOT, script, raw=self._shop.raw))
        return self._warehouse.query(statement, binds)


def event_type(value: bytes | None) -> str | None:
    """The event's type where the bytes tell it, valid or not."""
    found = _EVENT_TYPE.search(value or b"")
    return found[1].decode("utf-8", "replace") if found else None


def moment(text: str | None) -> datetime | None:
    """An ISO 8601 date or time, in UTC where it has no zone, or how long ago: `30m`, `24h`, `7d`.

    Raises:
        CavesError: it is neither.
    """
    if text is None:
        return None
    try:
        if ago := _AGO.fullmatch(text):
            return datetime.now(UTC) - timedelta(**{_UNITS[ago[2]]: int(ago[1])})
        found = datetime.fromisoformat(text)
    except (ValueError, OverflowError):
        raise CavesError(
            f"{text!r} is no time.",
            "Write 2026-03-01, 2026-03-01T08:30:00+01:00, or how long ago: 30m, 24h, 7d.",
        ) from None
    return found if found.tzinfo else found.replace(tzinfo=UTC)


def _place(name: str, place: tuple[datetime, str]) -> dict[str, str]:
    return {name: place[0].isoformat(), f"{name}_id": place[1]}


def _stored(row: Row) -> StoredLetter:
    stamp, headers = row["KAFKA_TIMESTAMP"], json.loads(row["HEADERS"] or "[]")
    message = KafkaMessage(
        topic=row["KAFKA_TOPIC"],
        partition=row["KAFKA_PARTITION"],
        offset=row["KAFKA_OFFSET"],
        timestamp_ms=None if stamp is None else round(stamp.timestamp() * 1000),
        key=_bytes(row["MESSAGE_KEY"]),
        value=_bytes(row["VALUE"]),
        headers=[
            (one["name"], None if one["value"] is None else base64.b64decode(one["value"])) for one in headers
        ],
    )
    return StoredLetter(
        dead_letter_id=row["DEAD_LETTER_ID"],
        letter=DeadLetter(message, row["FAILURE_CLASS"], row["FAILURE_REASON"], row["FAILURE_PATH"]),
        first_seen=row["FIRST_SEEN"],
        attempts=int(row["ATTEMPTS"]),
        replayed_at=row["REPLAYED_AT"],
        batch_id=row["BATCH_ID"],
    )


def _bytes(value: Any) -> bytes | None:
    return None if value is None else bytes(value)
