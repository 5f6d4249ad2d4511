"""What samples say of their events: typed fields, the key, the time, the id. Proposed, to be corrected."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import msgspec

from caves_dagster.contract_types import Timestamp
from caves_dagster.errors import CavesError
from caves_dagster.new_shop.names import attribute, column_name, holdable, sql_path, upper

Kind = Literal["integer", "decimal", "boolean", "timestamp", "text"]
Path = tuple[str, ...]

_TIMES = ("timestamp", "event_time", "occurred_at", "created_at", "time", "updated_at")
_EVENT_IDS = ("event_id", "eventid", "message_id", "messageid")
_LENGTHS = (200, 1000, 4000, 100_000)
_MOST_DECIMALS = 6
_NEARLY_ALL = 0.9


@dataclass(frozen=True)
class Field:
    """One field that becomes a column.

    Attributes:
        path: where it stands, from the outermost object.
        required: whether every sample has it, not null.
        size: of text its most characters, of a decimal its digits behind the point.
    """

    path: Path
    kind: Kind
    column: str
    required: bool
    size: int = 0

    @property
    def dotted(self) -> str:
        """The path as people and the command line write it."""
        return ".".join(self.path)

    @property
    def type(self) -> str:
        """Snowflake's type of the column."""
        return {
            "integer": "INTEGER",
            "decimal": f"DECIMAL(18, {self.size})",
            "boolean": "BOOLEAN",
            "timestamp": "TIMESTAMP_NTZ",
            "text": f"VARCHAR({self.size})",
        }[self.kind]

    @property
    def in_sql(self) -> str:
        """The path behind the colon of a VARIANT."""
        return sql_path(self.path)

    @property
    def attribute(self) -> str:
        """The dotted path in the contract's structs."""
        return ".".join(attribute(part) for part in self.path)


@dataclass
class Proposal:
    """What a shop is made of; `samples` are those it was made from."""

    samples: Sequence[Mapping[str, Any]]
    fields: list[Field]
    key: Field
    time: Field | None
    event_id: Field
    objects: dict[Path, bool]
    """Path of every object below the outermost, and whether every sample has it."""
    notes: list[str] = field(default_factory=list)

    @property
    def columns(self) -> list[Field]:
        """The fields that have a column of their own in production: not the key, the time or the id."""
        return [one for one in self.fields if one not in (self.key, self.time, self.event_id)]

    @property
    def figure(self) -> Field | None:
        """What the check of RAW against production adds up."""
        numbers = [one for one in self.columns if one.kind in ("decimal", "integer")]
        return min(numbers, key=lambda one: (one.kind != "decimal", one.column.endswith("_ID")), default=None)


def propose(
    samples: Sequence[Mapping[str, Any]], key: str = "", time: str = "", event_id: str = ""
) -> Proposal:
    """Fields, key, time and id of the events.

    Args:
        key, time, event_id: dotted paths that say which fields these are; proposed where they are empty.

    Raises:
        CavesError: a path names no field that will do, or none can be proposed.
    """
    given, samples = samples, _typical(samples)
    values: dict[Path, list[Any]] = {}
    objects: dict[Path, int] = {}
    for sample in samples:
        _collect(sample, (), values, objects)
    notes: list[str] = []
    if len(samples) < len(given):
        few = len(given) - len(samples)
        notes.append(f"{few} of {len(given)} samples lack what nearly all have, and were left out.")
    fields: list[Field] = []
    for path, found in values.items():
        parent = objects.get(path[:-1], len(samples))
        made = _field(path, found, parent, [one.column for one in fields])
        if isinstance(made, Field):
            fields.append(made)
        else:
            notes.append(f"{'.'.join(path)} {made}: it gets no column, and is kept in PAYLOAD.")
    always = _always(fields, objects, len(samples))
    short = [one for one in always if one.kind in ("integer", "text") and one.size <= _LENGTHS[0]]
    chosen_id = _chosen(short, event_id, "--event-id", _find_event_id)
    chosen_time = _chosen(always, time, "--time", _find_time)
    chosen_key = _chosen(
        short if key else [one for one in short if one != chosen_id], key, "--key", _find_key
    )
    if chosen_key is None:
        raise CavesError(
            "No field looks like the key, whose latest event counts.",
            f"Name it with --key. There are: {', '.join(one.dotted for one in fields) or 'none'}.",
        )
    if chosen_time is not None and chosen_time.kind != "timestamp":
        raise CavesError(
            f"--time {chosen_time.dotted} is {chosen_time.kind}.",
            "Name a field like 2026-06-30T18:30:00Z, or leave it out: then Kafka's time counts.",
        )
    if chosen_time is None:
        notes.append(
            "No field is the time of the event: Kafka's time of the record says which is the latest."
        )
    if chosen_id is None:
        notes.append("No field is the id of the event: the key stands in for it.")
    complete = {path: count == objects.get(path[:-1], len(samples)) for path, count in objects.items()}
    return Proposal(samples, fields, chosen_key, chosen_time, chosen_id or chosen_key, complete, notes)


def _typical(samples: Sequence[Mapping[str, Any]]) -> Sequence[Mapping[str, Any]]:
    """The samples without those that lack what nine of ten have: a topic holds invalid events, too."""
    paths = []
    for sample in samples:
        found: dict[Path, list[Any]] = {}
        _collect(sample, (), found, {})
        paths.append({path for path, values in found.items() if values != [None]})
    counts = Counter(path for there in paths for path in there)
    expected = {path for path, count in counts.items() if count >= _NEARLY_ALL * len(samples)}
    return [sample for sample, there in zip(samples, paths, strict=True) if expected <= there]


def _collect(
    value: Mapping[str, Any], path: Path, values: dict[Path, list[Any]], objects: dict[Path, int]
) -> None:
    for name, part in value.items():
        below = (*path, name)
        if isinstance(part, dict) and part:
            objects[below] = objects.get(below, 0) + 1
            _collect(part, below, values, objects)
        else:
            values.setdefault(below, []).append(part)


def _field(path: Path, found: list[Any], parents: int, taken: Sequence[str]) -> Field | str:
    """The field, or why it is none."""
    there = [value for value in found if value is not None]
    kinds = {_kind(value) for value in there}
    if not kinds:
        return "is null in every sample"
    if kinds == {"integer", "decimal"}:
        kinds = {"decimal"}
    if kinds == {"timestamp", "text"}:
        kinds = {"text"}
    if len(kinds) > 1 or "" in kinds:
        return "is a list or an empty object" if "" in kinds else f"is {' and '.join(sorted(kinds))}"
    if not holdable(path):
        return "has a name that its SQL file cannot hold"
    (kind,) = kinds
    size = 0
    if kind == "text":
        longest = max(len(value) for value in there)
        size = next((length for length in _LENGTHS if 2 * longest <= length), 0)
        if not size:
            return f"is text of {longest:,} characters"
    if kind == "decimal":
        size = min(_MOST_DECIMALS, max(2, *(len(str(value).partition(".")[2]) for value in there)))
    return Field(path, kind, column_name(path, taken), len(there) == parents, size)  # type: ignore[arg-type]


def _kind(value: Any) -> str:
    """What a value is; "" where it has no column."""
    if isinstance(value, bool):
        return "boolean"
    if isinstance(value, int):
        return "integer"
    if isinstance(value, float):
        return "decimal"
    if isinstance(value, str):
        return "timestamp" if _is_timestamp(value) else "text"
    return ""


def _is_timestamp(value: str) -> bool:
    try:
        msgspec.convert(value, Timestamp)
    except msgspec.ValidationError:
        return False
    return True


def _always(fields: Sequence[Field], objects: Mapping[Path, int], samples: int) -> list[Field]:
    """The fields that every sample has."""

    def is_there(path: Path) -> bool:
        return all(objects[path[:end]] == samples for end in range(1, len(path)))

    return [one for one in fields if one.required and is_there(one.path)]


def _chosen(
    candidates: Sequence[Field], name: str, option: str, find: Callable[[Sequence[Field]], Field | None]
) -> Field | None:
    """The field that the option names, or the one that is found."""
    if not name:
        return find(candidates)
    chosen = next((one for one in candidates if one.dotted == name), None)
    if chosen is None:
        raise CavesError(
            f"{option} {name} is no field that will do: one that every event has, of at most 200 characters.",
            f"There are: {', '.join(one.dotted for one in candidates) or 'none'}.",
        )
    return chosen


def _find_event_id(fields: Sequence[Field]) -> Field | None:
    return next((one for one in fields if one.path[-1].lower() in _EVENT_IDS), None)


def _find_time(fields: Sequence[Field]) -> Field | None:
    times = [one for one in fields if one.kind == "timestamp"]
    named = [one for name in _TIMES for one in times if one.path[-1].lower() == name]
    return next(iter([*named, *times]), None)


def _find_key(fields: Sequence[Field]) -> Field | None:
    own = [one for one in fields if one.path[-1].lower() in ("id", "uuid", "key")]
    of_another = [one for one in fields if upper(one.path[-1]).endswith(("_ID", "_KEY", "_NUMBER", "_NO"))]
    return next(iter([*own, *of_another]), None)
