"""Dagster's event log, as the alert sensors read it: an index of runs and assets, from a position on."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import dagster as dg

from caves_dagster.alerts.incidents import Fact

_MOST_EVENTS = 500


class Watch(Protocol):
    """What one alert sensor looks at."""

    def known(self, key: str) -> bool:
        """Whether an incident of this key can still become well."""

    def failing(self, instance: dg.DagsterInstance) -> list[Fact]:
        """The latest facts of everything, in order, so that what fails now can be told from them."""

    def after(self, instance: dg.DagsterInstance, position: int) -> tuple[list[Fact], int]:
        """The facts after a position in the event log, in order, and the position behind them."""


def events_after(
    instance: dg.DagsterInstance, position: int, types: Sequence[dg.DagsterEventType]
) -> tuple[list[tuple[int, dg.EventLogEntry]], int]:
    """Events of these types after a position, in order; a part of them where there are very many.

    The new position is that of the last of them, and not the log's end: what is numbered below that may
    still be on its way into it.
    """
    storage = instance.event_log_storage
    last = storage.get_maximum_record_id() or 0
    # Below the position only after somebody has deleted the newest runs: SQLite gives their numbers again.
    position = min(position, last)
    found: list[tuple[int, dg.EventLogEntry]] = []
    for kind in types:
        page = storage.get_logs_for_all_runs_by_log_id(position, kind, _MOST_EVENTS)
        if len(page) == _MOST_EVENTS:
            last = min(last, max(page))
        found += page.items()
    events = sorted((one for one in found if one[0] <= last), key=lambda one: one[0])
    return events, events[-1][0] if events else position
