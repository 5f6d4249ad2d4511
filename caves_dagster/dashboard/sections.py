"""What the page is made of, from top to bottom. Nothing here asks for anything."""

from __future__ import annotations

import re
from collections.abc import Sequence
from decimal import Decimal

import streamlit as st
from markupsafe import Markup

from caves_dagster.dashboard import charts, parts
from caves_dagster.dashboard.figures import Figures, Line
from caves_dagster.dashboard.formats import Formats
from caves_dagster.dashboard.parts import Box, Column, Tone
from caves_dagster.dashboard.snapshots import Snapshot
from caves_dagster.dashboard.trust import Validation
from caves_dagster.errors import CavesError
from caves_dagster.shop import Shop

_MARKDOWN = re.compile(r"([\\`*_\[\]<>$:~|#!])")
_TONES: dict[str, Tone] = {"PASS": "good", "WARN": "warning", "FAIL": "bad"}
_CHANGES: dict[int, tuple[str, Tone]] = {1: ("↑ ", "good"), 0: ("", "plain"), -1: ("↓ ", "bad")}


def problems(snapshot: Snapshot, formats: Formats) -> None:
    """What is away, what to do about it, and how old the figures are that are shown all the same."""
    words = formats.words
    if snapshot.warehouse_error is not None:
        said = [words.no_figures, _told(snapshot.warehouse_error), words.tries_again]
        if snapshot.figures is not None:
            said.append(words.figures_of.format(formats.moment(snapshot.figures.at)))
        st.error("  \n".join(said))
    if snapshot.kafka_error is not None:
        st.warning(f"{words.broker_away}  \n{_told(snapshot.kafka_error)}")


def sales(shop: Shop, figures: Figures, formats: Formats) -> Markup:
    """The last 24 hours against those before, and the period."""
    words = formats.words
    shown = []
    if shop.dashboard.sales:
        now, before = figures.amount("last_day"), figures.amount("day_before")
        total = figures.total
        average = "" if total.average is None else words.average.format(formats.money(total.average))
        shown += [
            _compared(words.orders_last_day, formats.number(now.items), formats, now.items, before.items),
            _compared(
                words.revenue_last_day, formats.money(now.revenue), formats, now.revenue, before.revenue
            ),
            Box(words.orders, formats.number(total.items)),
            Box(words.revenue, formats.money(total.revenue), average),
        ]
    if shop.dashboard.rows:
        rows = figures.amount("rows_last_day")
        shown.append(
            _compared(words.rows_last_day, formats.number(rows.items), formats, rows.items, rows.quantity)
        )
    shown += [
        Box(words.rows.format(line.name), formats.number(line.amount.items)) for line in figures.lines("rows")
    ]
    return parts.boxes("", shown)


def trust(snapshot: Snapshot, validation: Validation | None, formats: Formats) -> Markup:
    """Validation, dead letters, what waits, and the last event."""
    words, figures = formats.words, snapshot.figures
    assert figures is not None
    if validation is None:
        validated = Box(words.validation, words.not_validated, words.to_validate)
    else:
        tone = _TONES[validation.status]
        validated = Box(words.validation, words.statuses[validation.status], formats.age(validation.at), tone)
    recent = words.of_last_day.format(formats.number(figures.recent_dead_letters))
    known = snapshot.lag is not None and snapshot.kafka_error is None
    last = snapshot.last_event
    shown = [
        validated,
        Box(
            words.dead_letters,
            formats.number(figures.dead_letters),
            recent,
            "bad" if figures.recent_dead_letters else "plain",
        ),
        Box(words.lag, formats.number(snapshot.lag or 0) if known else words.unknown, words.messages),
        Box(
            words.last_event,
            words.never if last is None else formats.age(last),
            "" if last is None else formats.moment(last),
        ),
    ]
    return parts.boxes(words.trust, shown)


def wanting(validation: Validation | None, formats: Formats) -> None:
    """The checks that did not pass."""
    words = formats.words
    if validation is not None and validation.wanting:
        checks = [f"`{name}` ({words.statuses[status]})" for name, status in validation.wanting.items()]
        st.caption(words.wanting.format(", ".join(checks)))


def revenue_heading(formats: Formats) -> None:
    """What stands above the chart, and keeps its room until it comes (`style.css`)."""
    st.subheader(f"{formats.words.revenue_per_day} ({formats.currency})", anchor=False)


def revenue_per_day(figures: Figures, formats: Formats) -> None:
    """The chart, of a period in which something was sold."""
    words = formats.words
    told = f"{formats.money(figures.total.revenue)}, {formats.number(figures.total.items)} {words.sales}"
    chart = charts.revenue_per_day(figures.lines("day"), formats)
    st.altair_chart(chart, key="per_day", alt=f"{words.revenue_per_day}: {told}")


def panels(shop: Shop, figures: Figures, formats: Formats) -> None:
    """Bars and tables of what the shop declares."""
    words = formats.words
    if shop.dashboard.sales:
        if figures.lines("day"):
            _sold(figures, formats)
        else:
            st.info(words.nothing_chosen if figures.lines("latest") else words.nothing_yet.format(shop.name))
    if shop.dashboard.stock:
        _stock(figures, formats)
    if shop.dashboard.sales and figures.lines("latest"):
        _latest(figures.lines("latest"), formats)
    if shop.dashboard.rows:
        _latest_rows(figures.lines("latest_rows"), shop, formats)


def _sold(figures: Figures, formats: Formats) -> None:
    words = formats.words
    st.html(
        parts.beside(
            parts.bars(words.top_by_quantity, "quantity", figures.lines("by_quantity"), formats),
            parts.bars(words.top_by_revenue, "revenue", figures.lines("by_revenue"), formats),
        )
    )
    if figures.lines("channel"):
        st.html(parts.bars(words.by_channel, "revenue", figures.lines("channel"), formats))


def _stock(figures: Figures, formats: Formats) -> None:
    words = formats.words
    count = figures.amount("low").items
    columns = [
        Column(words.product, lambda line: line.name or ""),
        Column(words.place, lambda line: line.detail or ""),
        Column(words.stock, lambda line: formats.number(line.amount.quantity), is_figure=True),
    ]
    remark = words.low_stock_of.format(formats.number(count)) if count else words.no_low_stock
    low = parts.table(words.low_stock, figures.lines("lowest") if count else (), columns, remark)
    stock = figures.lines("stock")
    if stock:
        low = parts.beside(parts.bars(words.stock_by_category, "quantity", stock, formats), low)
    st.html(low)


def _latest(lines: Sequence[Line], formats: Formats) -> None:
    words = formats.words
    columns = [
        Column(words.date, lambda line: "" if line.moment is None else formats.day(line.moment)),
        Column(words.time, lambda line: "" if line.moment is None else formats.clock(line.moment)),
        Column(words.number, lambda line: line.id or ""),
        Column(words.product, lambda line: line.name or ""),
        Column(words.quantity, lambda line: formats.number(line.amount.quantity), is_figure=True),
        Column(words.revenue_column, lambda line: formats.money(line.amount.revenue), is_figure=True),
        Column(words.channel, lambda line: line.detail or ""),
        Column(words.customer, lambda line: line.customer or ""),
        Column(words.source, lambda line: words.sources.get(line.source or "", line.source or "")),
    ]
    with st.container(key="latest"):
        st.html(parts.table(words.latest, lines, columns))


def _latest_rows(lines: Sequence[Line], shop: Shop, formats: Formats) -> None:
    words = formats.words
    columns = [
        Column(words.date, lambda line: "" if line.moment is None else formats.moment(line.moment)),
        Column("Id", lambda line: line.id or ""),
        Column(words.details, lambda line: line.detail or ""),
    ]
    with st.container(key="latest_rows"):
        st.html(parts.table(words.latest_rows, lines, columns))
    if not lines:
        st.info(words.nothing_yet.format(shop.name))


def _compared(label: str, value: str, formats: Formats, now: int | Decimal, before: int | Decimal) -> Box:
    """A figure, and its change against the day before."""
    change = formats.change(now, before)
    if change is None:
        return Box(label, value)
    arrow, tone = _CHANGES[(now > before) - (now < before)]
    return Box(label, value, f"{arrow}{change}", tone, formats.words.on_the_day_before)


def plain(text: str) -> str:
    """Text of an event as it is: Streamlit would take it for Markdown, and fetch an image that it names.

    Also a time of day, whose minutes it takes for an emoji's name; to find none it loads their whole list.
    """
    return _MARKDOWN.sub(r"\\\1", text)


def _told(error: CavesError) -> str:
    """An error's text: what is wrong, and what to do."""
    # Its remedy is ours, with commands between backticks; the problem quotes others.
    return f"{plain(error.problem)} {error.remedy}".strip()
