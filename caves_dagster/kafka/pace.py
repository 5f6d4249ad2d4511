"""When the next of many things is due, at a steady rate and without drift."""

from __future__ import annotations

import time
from collections.abc import Callable

# Whoever was held up for longer than this does not make up for it in one burst.
_MAX_ARREARS_SECONDS = 1.0


class Pace:
    """A timetable: the n-th thing is due n/rate seconds after the first, however long each one takes.

    Args:
        rate: things per second; 0 is as fast as it goes.
        clock: seconds, monotonic.
    """

    def __init__(self, rate: float, clock: Callable[[], float] = time.monotonic) -> None:
        if rate < 0:
            raise ValueError(f"rate is {rate:g}; it is 0 for no limit, or a number per second")
        self._interval = 1 / rate if rate else 0.0
        self._clock = clock
        self._due = clock()

    def wait(self) -> float:
        """Seconds until the next thing is due; 0 when it is due now."""
        if not self._interval:
            return 0.0
        return max(0.0, self._due - self._clock())

    def advance(self) -> None:
        """One thing is done."""
        self._due = max(self._due + self._interval, self._clock() - _MAX_ARREARS_SECONDS)
