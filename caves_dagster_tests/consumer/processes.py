"""The consumer as users start it: a process of its own, on the test's topic and database."""

from __future__ import annotations

import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from caves_dagster.settings import PROJECT_ROOT
from caves_dagster_tests.brokers import until
from caves_dagster_tests.conftest import Caves
from caves_dagster_tests.ingest.accounting import environment

_COMMAND = "from caves_dagster.cli import main; main()"


class Process:
    """One `caves …`.

    Args:
        log: file of what it prints.
    """

    def __init__(self, caves: Caves, log: Path, *command: str, **settings: str) -> None:
        settings = {"CAVES_METRICS_PORT": "0"} | settings
        self._log = log
        self._begin = log.stat().st_size if log.exists() else 0
        with log.open("ab") as output:
            self.process = subprocess.Popen(
                [sys.executable, "-c", _COMMAND, *command],
                cwd=PROJECT_ROOT,
                env=environment(caves, **settings),
                stdout=output,
                stderr=subprocess.STDOUT,
            )

    @property
    def said(self) -> str:
        """What it has printed since it began."""
        return self._log.read_bytes()[self._begin :].decode()

    def await_word(self, word: str, seconds: float = 60.0) -> None:
        """Wait until it has printed something."""
        until(lambda: word in self.said or self.process.poll() is not None, f"{word!r} in the log", seconds)
        assert word in self.said, self.said

    def stop(self, seconds: float = 20.0) -> int:
        """SIGTERM; its exit code."""
        with suppress(ProcessLookupError):
            self.process.send_signal(signal.SIGTERM)
        return self.process.wait(seconds)

    def kill(self) -> None:
        """SIGKILL, whatever it is doing."""
        self.process.kill()
        self.process.wait(10)


class Consumer(Process):
    """One `caves consume`."""

    def __init__(self, caves: Caves, log: Path, *options: str, **settings: str) -> None:
        super().__init__(caves, log, "consume", *options, **settings)


@contextmanager
def consuming(caves: Caves, log: Path, *options: str, **settings: str) -> Iterator[Consumer]:
    """A consumer while the block runs, given its first partitions when it begins."""
    consumer = Consumer(caves, log, *options, **settings)
    try:
        consumer.await_word("Given partitions")
        yield consumer
    finally:
        consumer.kill()
