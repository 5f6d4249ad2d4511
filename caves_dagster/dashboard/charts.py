"""The chart of revenue per day. Its colours stand out 3:1 from a white and from a dark page."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta

import altair as alt
import pandas as pd

from caves_dagster.dashboard.figures import Line
from caves_dagster.dashboard.formats import Formats

_COLOURS = {"STREAMING": "#C2476B", "BATCH": "#5B8DB8"}
_FEWEST_DAYS = 14
_MONEY, _NUMBER = "$,.2f", ",d"


def revenue_per_day(lines: Sequence[Line], formats: Formats) -> alt.Chart:
    """Bars per day, batch and stream on each other."""
    words = formats.words
    sources = [source for source in _COLOURS if any(line.source == source for line in lines)]
    days = [line.moment for line in lines if line.moment is not None]
    # A day or two would be bars as wide as the page.
    begin = min(min(days), max(days) - timedelta(days=_FEWEST_DAYS - 1))
    rows = pd.DataFrame(
        {
            "day": [line.moment for line in lines],
            "source": [words.sources.get(line.source or "", line.source) for line in lines],
            "revenue": [float(line.amount.revenue) for line in lines],
            "orders": [line.amount.items for line in lines],
        }
    )
    colour = alt.Color(
        "source:N",
        title=None,
        scale=alt.Scale(
            domain=[words.sources[source] for source in sources],
            range=[_COLOURS[source] for source in sources],
        ),
        legend=alt.Legend(orient="top"),
    )
    chart: alt.Chart = (
        alt.Chart(rows)
        .mark_bar()
        .encode(
            x=alt.X(
                "yearmonthdate(day):T",
                title=None,
                scale=alt.Scale(domain=[_vega(begin), _vega(max(days) + timedelta(days=1))]),
                axis=alt.Axis(format="%d/%m/%y" if formats.french else "%-d %b %y", labelOverlap=True),
            ),
            y=alt.Y("revenue:Q", title=None, axis=alt.Axis(format="~s", tickCount=5, domain=False)),
            color=colour,
            tooltip=[
                alt.Tooltip("yearmonthdate(day):T", title=words.day, format="%d/%m/%Y"),
                alt.Tooltip("source:N", title=words.source),
                alt.Tooltip("revenue:Q", title=words.revenue_per_day, format=_MONEY),
                alt.Tooltip("orders:Q", title=words.sales, format=_NUMBER),
            ],
        )
    )
    located: alt.Chart = chart.properties(height=280, config=_located(formats))
    return located


def _vega(day: datetime) -> alt.DateTime:
    return alt.DateTime(year=day.year, month=day.month, date=day.day)


def _located(formats: Formats) -> alt.Config:
    return alt.Config(locale=formats.vega)
