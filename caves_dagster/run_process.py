"""Which process carries out a run, written so that others on its machine can tell whether it still lives."""

from __future__ import annotations

import socket
from contextlib import suppress
from functools import cache
from pathlib import Path

import psutil

# psutil derives it from the boot time, which moves a little when the clock is set.
_CREATE_TIME_TOLERANCE_SECONDS = 2.0


def this_process() -> str:
    """This process: its machine, its id and when it was created (seconds since 1970), between spaces."""
    process = psutil.Process()
    return f"{_machine()} {process.pid} {process.create_time():.2f}"


def is_gone(process: str | None) -> bool:
    """Whether what `this_process` told is known to be gone; False where that cannot be seen from here."""
    try:
        machine, pid, created = (process or "").split()
        number, since = int(pid), float(created)
    except ValueError:
        return False
    if machine != _machine():
        return False
    try:
        found = psutil.Process(number)
        if found.status() == psutil.STATUS_ZOMBIE:
            return True
        return abs(found.create_time() - since) > _CREATE_TIME_TOLERANCE_SECONDS
    except psutil.NoSuchProcess:
        return True
    except psutil.Error:
        return False


@cache
def _machine() -> str:
    """Host, boot and, where there are any, process namespace: within one, a process id means one process."""
    parts = [socket.gethostname()]
    with suppress(OSError):
        parts.append(Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip())
    with suppress(OSError):
        parts.append(str(Path("/proc/self/ns/pid").readlink()))
    return "/".join(part.replace(" ", "_") for part in parts)
