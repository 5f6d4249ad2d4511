"""When something is an incident, and who has still to be told of it. Pure; the scenarios are in its tests.

An incident opens with the first failure of a job, a check or a table's freshness, and is over when what
failed has been well for the grace. A failure within the grace belongs to the same incident: what fails and
recovers in turn is told once. An incident of a job is told when it has lasted for the grace, or at its third
failure; one of a check or of freshness at once.

Each channel is told of the beginning once and of the end once, so a delivery that failed is tried again on
that channel alone. A channel that was away for all of an incident is told its end only, which says what it
was.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass
from typing import Literal

import msgspec

Level = Literal["WARN", "ERROR"]
FAILURES_TOLD = 3
"""At so many failures an incident is told although each of them was soon made good."""


class Report(msgspec.Struct, frozen=True):
    """What there is to say of one failure or recovery.

    Attributes:
        subject: what it is about, for people: "caves_pipeline", "duplicates on production/orders".
        details: lines with figures, keys, the error and its remedy.
        path: page of the UI, under its address.
    """

    subject: str
    details: tuple[str, ...] = ()
    path: str = ""


@dataclass(frozen=True)
class Fact:
    """Something ended, well or not.

    Attributes:
        key: what it is about; an incident is of one key.
        at: when, seconds since 1970.
        broken: parts that failed (steps of a job, tables of a shop); none when all is well.
        mended: parts that are known to be well; None for all of them.
    """

    key: str
    at: float
    report: Report
    broken: frozenset[str] = frozenset()
    mended: frozenset[str] | None = None
    level: Level = "ERROR"


class Incident(msgspec.Struct):
    """Something that fails, or has until lately.

    Attributes:
        since: its first failure, seconds since 1970, as all times here.
        failures: how many there were.
        broken: parts of which no success is known since they failed.
        well_since: when the last of them was well again; None while any is not.
        due: whether it is to be told.
        told: channels that know it began.
        told_over: channels that know it is over.
    """

    key: str
    since: float
    report: Report
    level: Level = "ERROR"
    failures: int = 0
    broken: set[str] = msgspec.field(default_factory=set)
    well_since: float | None = None
    due: bool = False
    told: list[str] = msgspec.field(default_factory=list)
    told_over: list[str] = msgspec.field(default_factory=list)


@dataclass(frozen=True)
class Letter:
    """One message to one channel."""

    channel: str
    incident: Incident
    over: bool


@dataclass(frozen=True)
class Policy:
    """How patient to be.

    Attributes:
        grace: seconds that something has to be well before an incident is over.
        patience: seconds that an incident has to last before it is told.
    """

    grace: float
    patience: float


class Incidents(msgspec.Struct):
    """The open incidents by key, and those of which not everybody knows that they are over."""

    by_key: dict[str, Incident] = msgspec.field(default_factory=dict)

    def take(self, facts: Iterable[Fact], policy: Policy) -> None:
        """Add what has happened, in the order in which it did."""
        for fact in facts:
            incident = self.by_key.get(fact.key)
            if fact.broken:
                self.by_key[fact.key] = _failed(incident, fact, policy)
            elif incident is not None:
                _mend(incident, fact)

    def keep(self, known: Callable[[str], bool]) -> None:
        """Forget what is no longer there to become well: a job or a check that was renamed or removed."""
        self.by_key = {key: incident for key, incident in self.by_key.items() if known(key)}

    def keep_failing(self) -> None:
        """Forget what is well. For a first look: only what fails now is news."""
        self.by_key = {key: one for key, one in self.by_key.items() if one.well_since is None}

    def letters(self, channels: Collection[str], now: float, policy: Policy) -> list[Letter]:
        """What is still to be told, the oldest incident first; forgets what is over and known to be."""
        found = []
        for incident in sorted(self.by_key.values(), key=lambda one: one.since):
            over = _is_over(incident, now, policy)
            incident.due = incident.due or _is_due(incident, now, policy)
            unaware = set(channels) - set(incident.told_over if over else incident.told)
            if incident.due and unaware:
                found += [Letter(channel, incident, over) for channel in channels if channel in unaware]
            elif over:
                del self.by_key[incident.key]
        return found


def delivered(letter: Letter) -> None:
    """Note that a channel knows."""
    (letter.incident.told_over if letter.over else letter.incident.told).append(letter.channel)


def _failed(incident: Incident | None, fact: Fact, policy: Policy) -> Incident:
    if incident is None or _is_over(incident, fact.at, policy):
        # Whom the end did not reach in time knows of it still as one that lasts.
        still = [] if incident is None else [one for one in incident.told if one not in incident.told_over]
        incident = Incident(fact.key, fact.at, fact.report, fact.level, told=still)
    _mend(incident, fact)
    if fact.level == "ERROR" and incident.level == "WARN":
        # It has become worse, and so is news; what becomes better before it is over is not.
        incident.level, incident.told = "ERROR", []
    incident.broken |= fact.broken
    incident.failures += 1
    incident.well_since = None
    incident.report = fact.report
    return incident


def _mend(incident: Incident, fact: Fact) -> None:
    incident.broken = set() if fact.mended is None else incident.broken - fact.mended
    if not incident.broken and incident.well_since is None:
        incident.well_since = fact.at
        incident.report = msgspec.structs.replace(incident.report, path=fact.report.path)


def _is_over(incident: Incident, now: float, policy: Policy) -> bool:
    return incident.well_since is not None and now - incident.well_since >= policy.grace


def _is_due(incident: Incident, now: float, policy: Policy) -> bool:
    if not policy.patience or incident.failures >= FAILURES_TOLD:
        return True
    return incident.well_since is None and now - incident.since >= policy.patience
