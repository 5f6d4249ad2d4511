"""The README tells the truth: its paths exist, its commands are there, its settings have these names."""

from __future__ import annotations

import re
import subprocess

import pytest
from typer.testing import CliRunner

from caves_dagster.cli import app
from caves_dagster.settings import PROJECT_ROOT

README = (PROJECT_ROOT / "README.md").read_text()
_CODE = re.findall(r"`([^`\n]+)`", README)
PATHS = sorted(
    {
        code
        for code in _CODE
        if re.fullmatch(r"[\w.]+(/[\w.]+)*/?(\.(py|sql|yaml|yml|md))?", code) and "/" in code
    }
)
LINKS = sorted(set(re.findall(r"\]\(([^)#:]+)\)", README)))
COMMANDS = sorted(
    set(re.findall(r"caves ((?:[a-z]+ ?)+)", "\n".join(_CODE + re.findall(r"```\n(.*?)```", README, re.S))))
)
SETTINGS = sorted(set(re.findall(r"\b(?:CAVES|SNOWFLAKE|KAFKA)_[A-Z_]*[A-Z]\b", README)))


def test_the_patterns_find_something() -> None:
    assert len(PATHS) > 5
    assert len(COMMANDS) > 5
    assert len(SETTINGS) > 5


@pytest.mark.parametrize(
    "path", [path for path in PATHS if not path.startswith((".caves", "raw_data"))] + LINKS
)
def test_a_path_in_the_readme_exists(path: str) -> None:
    assert (PROJECT_ROOT / path).exists()


@pytest.mark.parametrize("command", COMMANDS)
def test_a_command_in_the_readme_is_there(command: str) -> None:
    result = CliRunner().invoke(app, [*command.split(), "--help"])
    assert result.exit_code == 0, result.output


@pytest.mark.parametrize("setting", SETTINGS)
def test_a_setting_in_the_readme_stands_in_the_example(setting: str) -> None:
    known = (PROJECT_ROOT / ".env.example").read_text()
    assert re.search(rf"\b{setting}\b", known) or setting in {"CAVES_HOME"}


@pytest.mark.parametrize("target", sorted(set(re.findall(r"\bmake ([a-z]+)\b", "\n".join(_CODE) + README))))
def test_a_make_target_in_the_readme_is_there(target: str) -> None:
    if target not in {"are", "two", "the"}:
        found = subprocess.run(["make", "-n", target], cwd=PROJECT_ROOT, capture_output=True, check=False)
        assert found.returncode == 0, found.stderr
