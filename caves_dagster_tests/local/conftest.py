"""Homes whose processes are looked for afterwards."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import psutil
import pytest


def processes_of(home: Path) -> list[psutil.Process]:
    """Live processes that name `home` on their command line, or have their Dagster's home in it."""
    found = []
    for process in psutil.process_iter():
        with suppress(psutil.Error):
            named = str(home) in process.cmdline()
            at_home = process.environ().get("DAGSTER_HOME") == str(home / "dagster")
            if (named or at_home) and process.status() != psutil.STATUS_ZOMBIE:
                found.append(process)
    return found


@pytest.fixture
def home(tmp_path: Path) -> Iterator[Path]:
    """An empty home; a process that outlives the test fails it, and is ended."""
    home = tmp_path / "home"
    yield home
    left = processes_of(home)
    for process in left:
        process.kill()
    assert not left, f"left behind: {left}"
