"""docs/delivery.md: behind each of its sentences stands a test that exists."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from caves_dagster.settings import PROJECT_ROOT

TESTS = Path(__file__).parent
TEXT = (PROJECT_ROOT / "docs" / "delivery.md").read_text()
_NAMED = re.compile(r"`([\w/]+\.py)::(\w+)`")
NAMED = sorted(set(_NAMED.findall(TEXT)))


def sentences() -> list[str]:
    """Every bullet, and every row of the table."""
    bullets = re.findall(r"^- .*?(?=^- |^#|\Z)", TEXT, re.MULTILINE | re.DOTALL)
    rows = [line for line in TEXT.splitlines() if line.startswith("| ") and not line.startswith("| killed")]
    return bullets + rows


def test_the_patterns_find_something() -> None:
    assert len(NAMED) > 40
    assert len(sentences()) > 30
    for part in ("guarantee", "How", "conditions", "Not covered"):
        assert part in TEXT


@pytest.mark.parametrize(("file", "name"), NAMED)
def test_a_test_that_is_named_exists(file: str, name: str) -> None:
    path = TESTS / file
    assert path.is_file()
    assert re.search(rf"^def {name}\(", path.read_text(), re.MULTILINE)


@pytest.mark.parametrize("sentence", sentences(), ids=lambda sentence: sentence[2:50])
def test_a_sentence_has_a_test_or_says_why_not(sentence: str) -> None:
    assert _NAMED.search(sentence) or "No test: " in sentence
