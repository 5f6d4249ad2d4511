"""uvicorn as both of our HTTP servers use it: the local warehouse and the dashboard."""

from __future__ import annotations

import contextlib
import signal
import types
from collections.abc import Iterator

import uvicorn


class Server(uvicorn.Server):
    """uvicorn, without its habit of raising the signal again: a server that was asked to stop exits 0."""

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Let SIGTERM and SIGINT end it."""

        def stop(number: int, frame: types.FrameType | None) -> None:
            self.should_exit = True

        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, stop)
        yield
