"""production.lock: what the image installs. The same versions, less the tools of development."""

from __future__ import annotations

import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from caves_dagster.settings import PROJECT_ROOT

_NAME = re.compile(r"^([a-z0-9][a-z0-9.-]*)")
_PIN = re.compile(r"^([a-z0-9][a-z0-9.-]*)==([^ ;\\]+)(.*?)(?=^[a-z0-9]|\Z)", re.MULTILINE | re.DOTALL)
# The back end builds the image's package, and a dependency of dagster-snowflake's wants it at run time.
_IN_BOTH = {"setuptools"}


def pins(file: str) -> dict[tuple[str, str], list[str]]:
    """Hashes by name and version of a lock file."""
    text = (PROJECT_ROOT / file).read_text(encoding="utf-8")
    return {
        (name, version): sorted(re.findall(r"sha256:\w+", rest)) for name, version, rest in _PIN.findall(text)
    }


def named(requirements: list[str]) -> set[str]:
    found = [_NAME.match(one.lower()) for one in requirements]
    return {one[1] for one in found if one}


@pytest.fixture(scope="module")
def project() -> dict[str, dict[str, list[str]]]:
    text = (PROJECT_ROOT / "pyproject.toml").read_text(encoding="utf-8")
    content = tomllib.loads(text)
    return {
        "needed": {"": content["project"]["dependencies"]} | content["project"]["optional-dependencies"],
        "groups": content["dependency-groups"],
    }


def test_it_holds_what_is_tested_byte_for_byte() -> None:
    tested, production = pins("requirements.lock"), pins("production.lock")
    assert len(production) > 50
    assert all(production.values()), "a pin without a hash"
    assert {pin: hashes for pin, hashes in production.items() if tested.get(pin) != hashes} == {}


def test_it_holds_every_dependency_and_extra(project: dict[str, dict[str, list[str]]]) -> None:
    locked = {name for name, _ in pins("production.lock")}
    for requirements in project["needed"].values():
        assert named(requirements) <= locked


def test_no_tool_of_development_is_in_it(project: dict[str, dict[str, list[str]]]) -> None:
    locked = {name for name, _ in pins("production.lock")}
    assert named(project["groups"]["dev"]) & locked == _IN_BOTH


@pytest.mark.slow
def test_it_installs_and_loads_the_code_as_the_image_does(tmp_path: Path) -> None:
    """The steps of the Dockerfile's first stage, in a folder instead of a container."""
    app = tmp_path / "app"
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", app / ".venv"], check=True)
    python, uv = app / ".venv" / "bin" / "python", Path(sys.executable).with_name("uv")
    for file in ("production.lock", "pyproject.toml", "README.md", "caves_dagster", "sql"):
        (app / file).symlink_to(PROJECT_ROOT / file)

    def install(*arguments: str) -> None:
        command = [str(uv), "pip", arguments[0], "--quiet", "--python", str(python), *arguments[1:]]
        subprocess.run(command, cwd=app, check=True)

    install("sync", "--require-hashes", "production.lock")
    assert not (app / ".venv" / "bin" / "pip").exists()
    load = "import caves_dagster.definitions as d, dagster_postgres, streamlit; d.defs(); print(d.__file__)"
    environment = {"CAVES_ENV_FILE": "/dev/null"}
    done = subprocess.run(
        [python, "-c", load], cwd=app, env=environment, capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == str(app / "caves_dagster" / "definitions.py")
    for tool in ("mypy", "pytest", "playwright", "hypothesis", "sqlfluff"):
        assert subprocess.run([python, "-c", f"import {tool}"], cwd=app, capture_output=True).returncode == 1
