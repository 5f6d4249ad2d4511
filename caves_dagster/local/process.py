"""One detached server process: started, recognised again later by any other process, and ended.

What is remembered of it (`home/run/<name>.json`) is its pid and when that pid was created. The pid alone
would not do: after a crash or a reboot it may belong to something else, which must not be killed for ours.
"""

from __future__ import annotations

import os
import signal
import subprocess
import threading
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Literal

import psutil

from caves_dagster.local.files import read_json, write_json

# psutil derives it from the boot time, which moves a little when the clock is set.
_CREATE_TIME_TOLERANCE_SECONDS = 2.0
_CHILD_GRACE_SECONDS = 1.0


class _Detached(subprocess.Popen[bytes]):
    """A child that is meant to outlive us, so being collected while it runs is not worth a warning."""

    def __del__(self, *_: object) -> None:
        pass


@dataclass(frozen=True)
class ProcessRecord:
    """A process as it was when it started."""

    pid: int
    create_time: float
    """Seconds since 1970, as psutil tells it."""
    command: list[str]
    port: int

    @classmethod
    def read(cls, path: Path) -> ProcessRecord | None:
        """The record in `path`; None where there is none, or none that can be read."""
        content = read_json(path)
        try:
            return None if content is None else cls(**content)
        except TypeError:
            return None

    def write(self, path: Path) -> None:
        """Remember it in `path`."""
        write_json(path, asdict(self))

    def find(self) -> psutil.Process | None:
        """The live process this was written for, if it is still that one."""
        with suppress(psutil.Error):
            process = psutil.Process(self.pid)
            if process.status() == psutil.STATUS_ZOMBIE:
                # Our own child, perhaps: reap it.
                with suppress(psutil.TimeoutExpired):
                    process.wait(timeout=0)
                return None
            if self._is(process):
                return process
        return None

    def fate(self) -> str:
        """Why `find` found nothing, as the end of a sentence."""
        with suppress(psutil.Error):
            stranger = psutil.Process(self.pid)
            if stranger.status() != psutil.STATUS_ZOMBIE and not self._is(stranger):
                return f"process {self.pid} ended, and its id now belongs to {stranger.name()!r}"
        return f"process {self.pid} ended without being stopped"

    def _is(self, process: psutil.Process) -> bool:
        drift = abs(process.create_time() - self.create_time)
        # A clock set by more than the tolerance (a laptop that slept) leaves the command line, which names
        # the home and the port, to tell them apart.
        return drift < _CREATE_TIME_TOLERANCE_SECONDS or process.cmdline() == self.command


def spawn(
    command: Sequence[str], port: int, log: Path, folder: Path, environment: Mapping[str, str] | None = None
) -> ProcessRecord:
    """Start `command` in `folder`, in a session of its own, writing to the end of `log`."""
    log.parent.mkdir(parents=True, exist_ok=True)
    with log.open("ab") as output:
        child = _Detached(
            command,
            cwd=folder,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    created = 0.0
    with suppress(psutil.Error):
        created = psutil.Process(child.pid).create_time()
    return ProcessRecord(child.pid, created, list(command), port)


Outcome = Literal["gone", "terminated", "killed"]


def end(process: psutil.Process | None, grace_seconds: float) -> Outcome:
    """End a process and its children: SIGTERM, and SIGKILL for what is left after the grace."""
    if process is None:
        return "gone"
    family = [process]
    with suppress(psutil.Error):
        family += process.children(recursive=True)
    # The server first: one that is asked to end usually ends its children itself.
    left = _ask([process], grace_seconds)
    left += _ask(family[1:], 0 if left else _CHILD_GRACE_SECONDS)
    for survivor in left:
        with suppress(psutil.Error):
            survivor.kill()
    psutil.wait_procs(left, timeout=_CHILD_GRACE_SECONDS)
    return "killed" if process in left else "terminated"


def _ask(processes: list[psutil.Process], grace_seconds: float) -> list[psutil.Process]:
    """Send SIGTERM; those still there after the grace."""
    for process in processes:
        with suppress(psutil.Error):
            process.terminate()
    _, left = psutil.wait_procs(processes, timeout=grace_seconds)
    return left


def end_with(owner: int | None) -> None:
    """End this process, as SIGTERM does, soon after process `owner` is gone; None: never."""
    if owner is None:
        return

    def watch() -> None:
        with suppress(psutil.Error):
            psutil.Process(owner).wait()
        os.kill(os.getpid(), signal.SIGTERM)

    threading.Thread(target=watch, name="owner", daemon=True).start()
