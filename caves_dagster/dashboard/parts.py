"""Boxes, bars and tables as HTML, which a browser draws at once.

Streamlit's own are loaded when one is there to be drawn, read each of their texts as Markdown, and are drawn
when the slowest of them is there: that took a browser a second and more for the first page.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import Any, Literal

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from caves_dagster.dashboard.figures import Line
from caves_dagster.dashboard.formats import Formats

Figure = Literal["revenue", "quantity"]
Tone = Literal["plain", "good", "warning", "bad"]

_TEMPLATES = Environment(
    loader=FileSystemLoader(Path(__file__).parent),
    autoescape=True,
    undefined=StrictUndefined,
    trim_blocks=True,
    lstrip_blocks=True,
)
STYLE = Path(__file__).with_name("style.css")
_PARTS: Any = _TEMPLATES.get_template("parts.html").module


@dataclass(frozen=True)
class Box:
    """One figure. `note` stands below it in the colour of `tone`, and `remark` behind that."""

    label: str
    value: str
    note: str = ""
    tone: Tone = "plain"
    remark: str = ""


@dataclass(frozen=True)
class Column:
    """One column of a table: what it shows of a line, "" where the line has no such thing."""

    name: str
    cell: Callable[[Line], str]
    is_figure: bool = False


@dataclass(frozen=True)
class _Bar:
    name: str
    figure: str
    share: float


def first(title: str, as_of: str, *shown: Markup) -> Markup:
    """The same as the page begins with, for its HTML."""
    style = Markup(STYLE.read_text(encoding="utf-8"))
    return Markup(
        _TEMPLATES.get_template("first.html").render(title=title, as_of=as_of, parts=shown, style=style)
    )


def boxes(heading: str, shown: Sequence[Box]) -> Markup:
    """Boxes beside each other, as many as there is room for."""
    return Markup(_PARTS.boxes(heading, shown))


def bars(title: str, figure: Figure, lines: Sequence[Line], formats: Formats) -> Markup:
    """One horizontal bar a line, in their order, with its figure at its end."""
    amounts = [line.amount.revenue if figure == "revenue" else line.amount.quantity for line in lines]
    most = max(amounts, default=0)
    shown = [
        _Bar(
            line.name or "–",
            formats.money(amount) if isinstance(amount, Decimal) else formats.number(amount),
            max(0.0, float(amount) / float(most)) if most > 0 else 0.0,
        )
        for line, amount in zip(lines, amounts, strict=True)
    ]
    return Markup(_PARTS.bars(title, figure, shown))


def table(title: str, lines: Sequence[Line], columns: Sequence[Column], remark: str = "") -> Markup:
    """A table of the columns that hold anything, figures flush right.

    Without lines it is its title and its remark alone.
    """
    cells = [[column.cell(line) for line in lines] for column in columns]
    held = [index for index, column in enumerate(columns) if column.is_figure or any(cells[index])]
    rows = [[cells[index][number] for index in held] for number in range(len(lines))]
    return Markup(_PARTS.table(title, remark, [columns[index] for index in held], rows))


def beside(*parts: Markup) -> Markup:
    """Parts beside each other; below each other on a narrow page."""
    return Markup(_PARTS.beside(parts))
