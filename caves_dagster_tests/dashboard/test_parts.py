"""Boxes, bars and tables as the page draws them."""

from __future__ import annotations

import re
from decimal import Decimal

from caves_dagster.dashboard import parts
from caves_dagster.dashboard.figures import Amount, Line
from caves_dagster.dashboard.formats import Formats
from caves_dagster.dashboard.parts import Box, Column

EN, FR = Formats("en"), Formats("fr")
EVIL = '"><img src=x onerror=alert(1)> & co'


def line(name: str | None, quantity: int, revenue: str = "0") -> Line:
    return Line(None, None, name, None, None, None, Amount(1, quantity, Decimal(revenue)))


def widths(html: str) -> list[float]:
    return [float(found) for found in re.findall(r"width: ([-\d.e+]+)%", html)]


def texts(html: str, tag: str) -> list[str]:
    return re.findall(rf"<{tag}\b[^>]*>([^<]*)</{tag}>", html)


def test_bars_are_as_long_as_their_figures_and_in_their_order() -> None:
    html = parts.bars("Top", "revenue", [line("Cognac", 8, "1234.5"), line(None, 2, "617.25")], FR)
    assert texts(html, "th") == ["Cognac", "–"]
    assert re.findall(r"</span>([^<]*)</td>", html) == ["1\u202f234,50\u00a0€", "617,25\u00a0€"]
    assert widths(html) == [70.0, 35.0]
    pieces = parts.bars("Top", "quantity", [line("Cognac", 8000), line("Madiran", 2000)], EN)
    assert re.findall(r"</span>([^<]*)</td>", pieces) == ["8,000", "2,000"]
    assert widths(pieces) == [70.0, 17.5]


def test_nothing_and_less_than_nothing_have_no_bar() -> None:
    def stock(*quantities: int) -> list[float]:
        return widths(parts.bars("Stock", "quantity", [line("A", one) for one in quantities], EN))

    assert stock(5, 0, -3) == [70.0, 0.0, 0.0]
    assert stock(0, -3) == [0.0, 0.0]
    assert stock() == []


def test_a_box_has_what_there_is_to_say_below_its_figure() -> None:
    shown = [Box("Orders", "12", "↑ +20%", "good", "on the day before"), Box("Rows", "3")]
    html = parts.boxes("Trust", shown)
    assert texts(html, "h2") == ["Trust"]
    assert texts(html, "dt") == ["Orders", "Rows"]
    assert texts(html, "dd") == ["12", "3"]
    assert '<span class="note good">↑ +20%</span> on the day before' in html
    assert html.count("<dd") == 3
    assert "<h2>" not in parts.boxes("", shown)


def test_a_table_has_the_columns_that_hold_anything() -> None:
    columns = [
        Column("Product", lambda one: one.name or ""),
        Column("Channel", lambda one: one.detail or ""),
        Column("Stock", lambda one: EN.number(one.amount.quantity), is_figure=True),
    ]
    html = parts.table("Low", [line("Cognac", 1200), line(None, 0)], columns, "2 in all")
    assert texts(html, "th") == ["Product", "Stock"]
    assert texts(html, "td") == ["Cognac", "1,200", "", "0"]
    assert html.count('class="figure"') == 3
    assert texts(html, "p") == ["2 in all"]
    assert "<table" not in parts.table("Low", [], columns, "none")


def test_text_of_events_stays_text() -> None:
    shown = [
        parts.bars(EVIL, "revenue", [line(EVIL, 1, "2")], Formats("en", EVIL)),
        parts.boxes(EVIL, [Box(EVIL, EVIL, EVIL, remark=EVIL)]),
        parts.table(EVIL, [line(EVIL, 1)], [Column(EVIL, lambda one: one.name or "")], EVIL),
    ]
    for html in (*shown, parts.beside(*shown)):
        assert "<img" not in html
        assert "&lt;img src=x onerror=alert(1)&gt; &amp; co" in html
