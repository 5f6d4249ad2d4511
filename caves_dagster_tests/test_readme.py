"""The README tells the truth: its paths exist, its commands are there, its settings have these names.

So do the commands of docs/add-your-shop.md and docs/snowflake.md.
"""

from __future__ import annotations

import re
import subprocess

import pytest
from typer.testing import CliRunner

from caves_dagster.cli import app
from caves_dagster.settings import PROJECT_ROOT

README = (PROJECT_ROOT / "README.md").read_text()
_BLOCKS = re.findall(r"```\n(.*?)```", README, re.DOTALL)
_CODE = "\n".join(re.findall(r"`([^`\n]+)`", re.sub(r"```.*?```", "", README, flags=re.DOTALL)) + _BLOCKS)
PATHS = sorted(set(re.findall(r"^(?:caves_dagster|sql|docs)/[\w./]*$", _CODE, re.MULTILINE)))
LINKS = sorted(set(re.findall(r"\]\(([^)#:]+)\)", README)))
_COMMAND = r"^(?:\.venv/bin/|\$ )?caves ((?:local |gaps |alerts |dead-letters |snowflake )?[a-z][a-z-]*)"
_SHOP = (PROJECT_ROOT / "docs" / "add-your-shop.md").read_text()
_SNOWFLAKE = (PROJECT_ROOT / "docs" / "snowflake.md").read_text().replace("`", "\n")
COMMANDS = sorted(set(re.findall(_COMMAND, f"{_CODE}\n{_SHOP}\n{_SNOWFLAKE}", re.MULTILINE)))
TARGETS = sorted(set(re.findall(r"^make ([a-z-]+)", _CODE, re.MULTILINE)))
# Not what stands behind a schema or an equals sign: tables and values have such names too.
SETTINGS = sorted(set(re.findall(r"(?<![.=\w])(?:CAVES|SNOWFLAKE|KAFKA)_[A-Z_]*[A-Z]\b", README)))


def test_the_patterns_find_something() -> None:
    assert len(PATHS) > 5
    assert len(COMMANDS) > 5
    assert len(TARGETS) > 3
    assert len(SETTINGS) > 5


@pytest.mark.parametrize("path", PATHS + LINKS)
def test_a_path_in_the_readme_exists(path: str) -> None:
    assert (PROJECT_ROOT / path).exists()


@pytest.mark.parametrize("command", COMMANDS)
def test_a_command_in_the_readme_is_there(command: str) -> None:
    result = CliRunner().invoke(app, [*command.split(), "--help"])
    assert result.exit_code == 0, result.output


@pytest.mark.parametrize("setting", SETTINGS)
def test_a_setting_in_the_readme_stands_in_the_example(setting: str) -> None:
    assert re.search(rf"\b{setting}\b", (PROJECT_ROOT / ".env.example").read_text())


@pytest.mark.parametrize("target", TARGETS)
def test_a_make_target_in_the_readme_is_there(target: str) -> None:
    found = subprocess.run(["make", "-n", target], cwd=PROJECT_ROOT, capture_output=True, check=False)
    assert found.returncode == 0, found.stderr
