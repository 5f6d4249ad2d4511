"""Small files that processes leave for each other, written so that no reader sees half of one."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import filelock

from caves_dagster.errors import PlatformError


def write_json(path: Path, content: Mapping[str, Any]) -> None:
    """Write `content` beside `path`, then move it there in one step."""
    path.parent.mkdir(parents=True, exist_ok=True)
    draft = path.with_name(f".{path.name}.{os.getpid()}")
    draft.write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")
    draft.replace(path)


def read_json(path: Path) -> dict[str, Any] | None:
    """The object in `path`; None where there is no file, or no object in it."""
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return content if isinstance(content, dict) else None


@contextmanager
def held(path: Path, what: str, patience: float) -> Iterator[None]:
    """Hold the lock file `path`, so that one command at a time changes what runs beside it.

    Raises:
        PlatformError: another command has held it for `patience` seconds; `what` says what it holds.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        with filelock.FileLock(path, timeout=patience):
            yield
    except filelock.Timeout as error:
        raise PlatformError(
            f"Another command has held {what} in {path.parent} for {patience:g} s.",
            "Wait for it, or end it, and try again.",
        ) from error
