"""A plot of a view's rows, as an image inside Markdown.

SVG by leather: drawn in milliseconds, in a few kilobytes. Every run is a process of its own, and matplotlib
takes a second to import. Dates become a line over time, anything else bars.
"""

from __future__ import annotations

import base64
from collections.abc import Mapping, Sequence
from datetime import date, timedelta
from decimal import Decimal
from typing import Any

from caves_dagster.shop import Plot

_WIDTH, _LINE_HEIGHT, _BAR_HEIGHT = 640, 260, 28
_MOST_BARS = 12
_MOST_DAYS = 90
_LABEL = 32
_COLOURS = ("#7b1e3b", "#c9a227")


def plot_markdown(plot: Plot, rows: Sequence[Mapping[str, Any]]) -> str:
    """The plot as a Markdown image of a few kilobytes; a sentence where there is nothing to plot."""
    lines: dict[str, dict[Any, float]] = {}
    for row in rows:
        x, y = row[plot.x], row[plot.y]
        if x is not None and isinstance(y, int | float | Decimal):
            lines.setdefault(_text(row[plot.series]) if plot.series else "", {})[x] = float(y)
    if not lines:
        return "*(nothing to plot)*"
    places = {x for line in lines.values() for x in line}
    over_time = len(places) > 1 and all(isinstance(x, date) for x in places)
    svg = _line(plot, lines) if over_time else _bars(plot, lines)
    image = base64.b64encode(svg.encode()).decode()
    return f"![{plot.title}](data:image/svg+xml;base64,{image})"


def _line(plot: Plot, lines: Mapping[str, Mapping[date, float]]) -> str:
    chart = _chart(plot)
    latest = {name: sorted(line.items())[-_MOST_DAYS:] for name, line in sorted(lines.items())}
    values = [y for line in latest.values() for _, y in line]
    first = min(line[0][0] for line in latest.values())
    days = max((line[-1][0] - first).days for line in latest.values())
    # Over days counted from the first: leather's own scale of dates does not stand every range of them.
    chart.add_x_scale(0, days)
    chart.add_x_axis(
        tick_formatter=lambda day, *_: str(first + timedelta(days=int(day))) if day <= days else ""
    )
    chart.add_y_scale(min(0.0, *values), max(1.0, *values))
    for name, line in latest.items():
        draw = chart.add_line if len(line) > 1 else chart.add_dots
        draw([((day - first).days, value) for day, value in line], name=name or None)
    return str(chart.to_svg(width=_WIDTH, height=_LINE_HEIGHT))


def _bars(plot: Plot, lines: Mapping[str, Mapping[Any, float]]) -> str:
    chart = _chart(plot)
    bars = [
        (value, _text(f"{name} {x}" if name else x))
        for name, line in lines.items()
        for x, value in line.items()
    ]
    shown = bars[:_MOST_BARS]
    # Twice the same label would be one bar upon the other.
    named = {label: value for value, label in reversed(shown)}
    values = list(named.values())
    chart.add_x_scale(min(0.0, *values, 0.0), max(1.0, *values, 1.0))
    chart.add_bars([(value, label) for label, value in reversed(named.items())])
    return str(chart.to_svg(width=_WIDTH, height=90 + _BAR_HEIGHT * len(named)))


def _chart(plot: Plot) -> Any:
    # Imported where it is used: the code location does not wait for it.
    import leather
    from leather import theme

    theme.background_color = "#ffffff"
    theme.default_series_colors = list(_COLOURS)
    for part in ("title", "legend", "axis_title", "tick"):
        setattr(theme, f"{part}_font_family", "sans-serif")
        setattr(theme, f"{part}_font_size", "12")
    return leather.Chart(_text(plot.title))


def _text(value: Any) -> str:
    """A label: cut, and without the control characters that XML does not allow."""
    text = "".join(letter if letter.isprintable() else " " for letter in str(value))
    return text if len(text) <= _LABEL else text[: _LABEL - 1] + "…"
