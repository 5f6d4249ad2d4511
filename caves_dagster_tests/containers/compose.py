"""`docker compose config`: what Compose itself makes of the files. It needs no engine."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

from caves_dagster.settings import PROJECT_ROOT

BASE, SNOWFLAKE, KAFKA = "docker-compose.yml", "compose.snowflake.yml", "compose.kafka.yml"
# `!reset` came with 2.24.
_OLDEST = (2, 24)


def require_compose() -> list[str]:
    """The command; without a recent enough one the test is skipped, on CI it fails."""
    for command in (["docker", "compose"], ["docker-compose"]):
        if shutil.which(command[0]) and _version(command) >= _OLDEST:
            return command
    problem = f"Docker Compose {'.'.join(map(str, _OLDEST))} or newer is not installed."
    if os.environ.get("CI", "").lower() in ("true", "1"):
        pytest.fail(f"CI has to ask Compose itself. {problem}", pytrace=False)
    pytest.skip(problem)


def _version(command: list[str]) -> tuple[int, ...]:
    done = subprocess.run([*command, "version", "--short"], capture_output=True, text=True, timeout=60)
    numbers = done.stdout.strip().removeprefix("v").split(".")[:2]
    return tuple(map(int, numbers)) if done.returncode == 0 and all(one.isdigit() for one in numbers) else ()


class Compose:
    """Compose on a copy of the files, where no `.env` of a developer's is.

    Args:
        folder: where the copy is made.
    """

    def __init__(self, folder: Path, command: list[str]) -> None:
        self.folder, self._command = folder, command
        for file in (BASE, SNOWFLAKE, KAFKA):
            shutil.copy(PROJECT_ROOT / file, folder)

    def run(
        self, files: tuple[str, ...], profiles: tuple[str, ...], env: str
    ) -> subprocess.CompletedProcess[str]:
        """`docker compose config` with the contents of an `.env`."""
        (self.folder / ".env").write_text(env, encoding="utf-8")
        arguments = [*(f"--file={file}" for file in files), *(f"--profile={one}" for one in profiles)]
        return subprocess.run(
            [*self._command, *arguments, "config", "--format=json"],
            cwd=self.folder,
            env={"PATH": os.environ["PATH"], "HOME": str(self.folder)} | _plugins(),
            capture_output=True,
            text=True,
            timeout=60,
        )

    def config(self, files: tuple[str, ...], profiles: tuple[str, ...], env: str) -> dict[str, Any]:
        """What it says."""
        done = self.run(files, profiles, env)
        assert done.returncode == 0, done.stderr
        assert done.stderr == ""
        found: dict[str, Any] = json.loads(done.stdout)
        return found


def _plugins() -> dict[str, str]:
    """Compose may be a plugin of the user's own."""
    return {"DOCKER_CONFIG": os.environ.get("DOCKER_CONFIG", str(Path.home() / ".docker"))}
