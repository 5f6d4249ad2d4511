"""One server of the embedded platform under one home: started, asked how it is, ended, forgotten.

home/<name>/              its state; endpoint.json is there while it answers
home/log/<name>.log       what it printed
home/run/<name>.json      which process it is
"""

from __future__ import annotations

import shutil
import sys
import time
from contextlib import suppress
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

import tenacity

from caves_dagster.errors import PlatformError
from caves_dagster.local import ports, process
from caves_dagster.local.files import read_json
from caves_dagster.settings import PROJECT_ROOT

HOST = "127.0.0.1"
_MARKER = ".caves-platform"
_LOG_LINES_QUOTED = 12


class State(StrEnum):
    """What a server is doing."""

    RUNNING = "running"
    STARTING = "starting"
    STOPPED = "stopped"
    DEAD = "dead"
    """It was started and ended without being stopped."""
    SILENT = "silent"
    """Its process lives, and its port does not answer."""


@dataclass(frozen=True)
class ServerStatus:
    """A server at one moment."""

    name: str
    state: State
    pid: int | None = None
    port: int | None = None
    uptime_seconds: float | None = None
    size_bytes: int = 0
    """Of its state and its log."""
    detail: str = ""
    """What is wrong, if anything."""
    remedy: str = ""


class Server:
    """One server under `home`.

    Args:
        name: names its folder, log and pid file.
        module: what `python -m` runs; takes --home, --host and --port, and writes
            `home/<name>/endpoint.json` with its pid when it answers.
        options: further arguments.
    """

    def __init__(self, name: str, module: str, home: Path, options: tuple[str, ...] = ()) -> None:
        self.name = name
        self.module = module
        self.home = home
        self.options = options
        self.folder = home / name
        self.log = home / "log" / f"{name}.log"
        self._record_file = home / "run" / f"{name}.json"
        self._endpoint_file = self.folder / "endpoint.json"

    def status(self) -> ServerStatus:
        """What it is doing now, as any process can see it."""
        size = _size(self.folder) + _size(self.log)
        record = process.ProcessRecord.read(self._record_file)
        if record is None:
            return ServerStatus(self.name, State.STOPPED, size_bytes=size)
        found = record.find()
        if found is None:
            return ServerStatus(
                self.name,
                State.DEAD,
                port=record.port,
                size_bytes=size,
                detail=f"The {self.name} is not running: {record.fate()}.",
                remedy=f"Start it again with `caves local start`; its log is {self.log}.",
            )
        state, detail, remedy = State.RUNNING, "", ""
        if not self._announced(record):
            state = State.STARTING
        elif not ports.answers(HOST, record.port):
            state = State.SILENT
            detail = f"The {self.name} (process {record.pid}) does not answer on port {record.port}."
            remedy = f"Replace it with `caves local start`; its log is {self.log}."
        uptime = max(0.0, time.time() - record.create_time)
        return ServerStatus(self.name, state, record.pid, record.port, uptime, size, detail, remedy)

    def launch(self, port: int) -> None:
        """Start it on `port` without waiting."""
        self._mark()
        self._endpoint_file.unlink(missing_ok=True)
        command = [sys.executable, "-m", self.module, "--home", str(self.home), "--host", HOST]
        command += ["--port", str(port), *self.options]
        process.spawn(command, port, self.log, PROJECT_ROOT).write(self._record_file)

    def await_answer(self, timeout_seconds: float) -> None:
        """Wait until it answers.

        Raises:
            PlatformError: it ended, or did not answer in time; the end of its log is quoted.
        """

        def under_way() -> bool:
            return self.status().state in (State.STARTING, State.SILENT)

        wait = tenacity.Retrying(
            retry=tenacity.retry_if_result(bool),
            wait=tenacity.wait_fixed(0.05),
            stop=tenacity.stop_after_delay(timeout_seconds),
            retry_error_callback=lambda _: None,
        )
        wait(under_way)
        state = self.status().state
        if state is not State.RUNNING:
            ended = state in (State.DEAD, State.STOPPED)
            what = "ended while starting" if ended else f"did not answer within {timeout_seconds:g} s"
            raise PlatformError(f"The {self.name} {what}.{self._last_words()}", f"Its log is {self.log}.")

    def stop(self, grace_seconds: float) -> process.Outcome:
        """End it: SIGTERM, and SIGKILL when it is still there after the grace."""
        record = process.ProcessRecord.read(self._record_file)
        outcome = process.end(record.find() if record else None, grace_seconds)
        self._endpoint_file.unlink(missing_ok=True)
        self._record_file.unlink(missing_ok=True)
        return outcome

    def forget(self) -> Path | None:
        """Remove its state and log.

        Returns:
            Its folder, where that was left alone because this platform did not make it.
        """
        self.log.unlink(missing_ok=True)
        if not self.folder.is_dir():
            return None
        if self.folder.is_symlink() or not (self.folder / _MARKER).is_file():
            return self.folder
        shutil.rmtree(self.folder)
        return None

    def _announced(self, record: process.ProcessRecord) -> bool:
        return (read_json(self._endpoint_file) or {}).get("pid") == record.pid

    def _mark(self) -> None:
        """Note that the folder is ours to remove, if it holds nothing of anybody else's."""
        self.folder.mkdir(parents=True, exist_ok=True)
        if not any(self.folder.iterdir()) or self._endpoint_file.is_file():
            (self.folder / _MARKER).touch()

    def _last_words(self) -> str:
        try:
            lines = self.log.read_text(encoding="utf-8", errors="replace").splitlines()
        except OSError:
            return ""
        return " Its last lines:\n" + "\n".join(f"  {line}" for line in lines[-_LOG_LINES_QUOTED:]) + "\n"


def _size(path: Path) -> int:
    """Bytes of a file or of all files in a folder, as far as they can be seen."""
    total = 0
    for file in [path, *(path.rglob("*") if path.is_dir() else [])]:
        # A server may remove a file between the listing and the look at it.
        with suppress(OSError):
            total += file.stat().st_size if file.is_file() else 0
    return total
