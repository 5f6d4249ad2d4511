"""Dagster in a process of its own, and the most memory that process (or one it starts) ever held.

`python -m caves_dagster_tests.backlog.drain` is such a process: it reads the settings as any run does, and
executes the wine shop's job for its raw table alone, as the sensor does while what is behind landing fails.
"""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import psutil

from caves_dagster.settings import PROJECT_ROOT, load_settings
from caves_dagster.shops import find_shop

_SAMPLE_SECONDS = 0.1
_LINES_QUOTED = 30


@dataclass(frozen=True)
class Drain:
    """What it took: seconds from start to end, and the peak memory, in bytes, of its largest process."""

    seconds: float
    peak_bytes: int


def drain(environment: Mapping[str, str], log: Path) -> Drain:
    """Land everything that is in the topic; as `watch`."""
    return watch([sys.executable, "-m", __name__], environment, log)


def run_dagster(arguments: list[str], environment: Mapping[str, str], log: Path) -> Drain:
    """Run `dagster ARGUMENTS`; as `watch`."""
    return watch([sys.executable, "-m", "dagster", *arguments], environment, log)


def watch(command: list[str], environment: Mapping[str, str], log: Path) -> Drain:
    """Run a command to its end, and watch the memory of its process.

    Args:
        environment: the settings, DAGSTER_HOME among them.
        log: gets its output.

    Raises:
        RuntimeError: it failed; the end of its output is quoted.
    """
    began, peak = time.monotonic(), 0
    with log.open("wb") as output:
        process = subprocess.Popen(
            command,
            cwd=PROJECT_ROOT,
            env=dict(environment),
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
        )
        try:
            while process.poll() is None:
                peak = max(peak, _peak_memory(process.pid))
                time.sleep(_SAMPLE_SECONDS)
        finally:
            process.kill()
            process.wait()
    if process.returncode:
        lines = log.read_text(encoding="utf-8", errors="replace").splitlines()
        raise RuntimeError("It failed:\n" + "\n".join(lines[-_LINES_QUOTED:]))
    return Drain(time.monotonic() - began, peak)


def _peak_memory(pid: int) -> int:
    """The most resident memory of a process or any of its descendants so far, in bytes."""
    with suppress(psutil.Error):
        process = psutil.Process(pid)
        return max(_of_one(one) for one in (process, *process.children(recursive=True)))
    return 0


def _of_one(process: psutil.Process) -> int:
    """Since the process began; where the system does not tell, what it holds now.

    Not `ru_maxrss`: that begins with what the parent held when it started the child.
    """
    with suppress(OSError):
        status = Path(f"/proc/{process.pid}/status").read_text(encoding="utf-8", errors="replace")
        for line in status.splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) * 1024
    with suppress(psutil.Error):
        return int(process.memory_info().rss)
    return 0


def main() -> int:
    """Be the run."""
    import dagster as dg

    from caves_dagster.definitions import build_definitions
    from caves_dagster.jobs import pipeline_name

    settings = load_settings()
    shop = find_shop(settings, "caves")
    job = build_definitions(settings).resolve_job_def(pipeline_name(shop))
    with dg.DagsterInstance.get() as instance:
        landing = [dg.AssetKey(shop.raw.key)]
        return 0 if job.execute_in_process(instance=instance, asset_selection=landing).success else 1


if __name__ == "__main__":
    sys.exit(main())
