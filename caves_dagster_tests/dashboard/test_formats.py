"""What the page writes, in French and in English; what it says of validation."""

from __future__ import annotations

import json
from dataclasses import fields
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from pathlib import Path

import pytest

from caves_dagster.dashboard.formats import Formats
from caves_dagster.dashboard.sections import plain
from caves_dagster.dashboard.trust import latest_validation
from caves_dagster.dashboard.words import ENGLISH, FRENCH
from caves_dagster.shops.caves import CAVES

FR, EN = Formats("fr"), Formats("en")
NOW = datetime(2026, 6, 30, 18, 30, tzinfo=UTC)


def test_figures_and_amounts() -> None:
    assert (EN.number(1234567), FR.number(1234567)) == ("1,234,567", "1\u202f234\u202f567")
    assert (EN.money(Decimal("1234.5")), FR.money(Decimal("1234.5"))) == ("€1,234.50", "1\u202f234,50\u00a0€")
    assert (EN.money(Decimal("-0.005")), FR.money(Decimal("-2"))) == ("-€0.01", "-2,00\u00a0€")
    assert Formats("en", "£").money(Decimal(1)) == "£1.00"


def test_changes() -> None:
    assert (EN.change(112, 100), FR.change(112, 100)) == ("+12.0%", "+12,0\u00a0%")
    assert (EN.change(Decimal("1.5"), Decimal(3)), EN.change(3, 0)) == ("-50.0%", None)


def test_days_and_ages() -> None:
    assert (EN.day(date(2026, 6, 3)), FR.day(date(2026, 6, 3))) == ("3 Jun 2026", "03/06/2026")
    for seconds, english, french in (
        (-5, "0\u00a0s ago", "il y a 0\u00a0s"),
        (59, "59\u00a0s ago", "il y a 59\u00a0s"),
        (7300, "2\u00a0h ago", "il y a 2\u00a0h"),
        (200_000, "2\u00a0d ago", "il y a 2\u00a0j"),
    ):
        then = NOW - timedelta(seconds=seconds)
        assert (EN.age(then, NOW), FR.age(then, NOW)) == (english, french)


def test_both_languages_say_the_same_things() -> None:
    for one in fields(ENGLISH):
        english, french = getattr(ENGLISH, one.name), getattr(FRENCH, one.name)
        if isinstance(english, str):
            assert french
            assert english.count("{}") == french.count("{}"), one.name
        elif isinstance(english, dict):
            assert english.keys() == french.keys()


def test_text_of_events_is_no_markdown() -> None:
    assert plain("![x](http://127.0.0.1/x) *a* <b> $e$ :red[x]") == (
        r"\!\[x\](http\://127.0.0.1/x) \*a\* \<b\> \$e\$ \:red\[x\]"
    )
    assert plain("Château d'Yquem 🥂 0.75-l") == "Château d'Yquem 🥂 0.75-l"


@pytest.mark.parametrize(
    ("statuses", "worst", "wanting"),
    [
        ({"b": "PASS", "a": "PASS"}, "PASS", []),
        ({"b": "PASS", "a": "WARN"}, "WARN", ["a"]),
        ({"b": "FAIL", "a": "WARN", "c": "PASS"}, "FAIL", ["b", "a"]),
    ],
)
def test_the_latest_report_counts(
    tmp_path: Path, statuses: dict[str, str], worst: str, wanting: list[str]
) -> None:
    def write(name: str, shop: str, checks: dict[str, str]) -> None:
        report = {
            "shop": shop,
            "timestamp": NOW.isoformat(),
            "checks": {check: {"status": status} for check, status in checks.items()},
        }
        (tmp_path / f"validate_report_{name}.json").write_text(json.dumps(report))

    assert latest_validation(tmp_path, CAVES) is None
    write("20260629T000000.000000Z", "caves", {"old": "FAIL"})
    write("20260630T000000.000000Z", "caves", statuses)
    write("20260701T000000.000000Z", "dropship", {"other": "FAIL"})
    (tmp_path / "validate_report_20260702T000000.000000Z.json").write_text("half of a re")

    found = latest_validation(tmp_path, CAVES)

    assert found is not None
    assert (found.at, found.status, list(found.wanting)) == (NOW, worst, wanting)
