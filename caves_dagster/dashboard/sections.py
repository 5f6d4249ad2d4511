"""What the page is made of, from top to bottom. Nothing here asks for anything."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from decimal import Decimal

import pandas as pd
import streamlit as st

from caves_dagster.dashboard import charts
from caves_dagster.dashboard.figures import Amount, Figures, Line
from caves_dagster.dashboard.formats import Formats
from caves_dagster.dashboard.snapshots import Snapshot
from caves_dagster.dashboard.trust import Validation
from caves_dagster.errors import CavesError
from caves_dagster.shop import Shop

Cells = dict[str, Callable[[Line], str | float | None]]
Shown = dict[str, Callable[[float], str]]
"""How the columns of figures are written."""
_MARKDOWN = re.compile(r"([\\`*_\[\]<>$:~|#!])")
_COLOURS = {"PASS": "green", "WARN": "orange", "FAIL": "red"}


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


def sales(shop: Shop, figures: Figures, formats: Formats) -> None:
    """The last 24 hours against those before, and the period."""
    words = formats.words
    with _row("sales"):
        if shop.dashboard.sales:
            now, before = figures.amount("last_day"), figures.amount("day_before")
            _compared(words.orders_last_day, formats.number(now.items), formats, now.items, before.items)
            _compared(
                words.revenue_last_day, formats.money(now.revenue), formats, now.revenue, before.revenue
            )
            total = figures.total
            _metric(words.orders, formats.number(total.items))
            average = "" if total.average is None else words.average.format(formats.money(total.average))
            _metric(words.revenue, formats.money(total.revenue), average)
        if shop.dashboard.rows:
            rows = figures.amount("rows_last_day")
            _compared(words.rows_last_day, formats.number(rows.items), formats, rows.items, rows.quantity)
        for line in figures.lines("rows"):
            _metric(words.rows.format(line.name), formats.number(line.amount.items))


def trust(snapshot: Snapshot, validation: Validation | None, formats: Formats) -> None:
    """Validation, dead letters, what waits, and the last event."""
    words, figures = formats.words, snapshot.figures
    assert figures is not None
    st.subheader(words.trust, anchor=False)
    with _row("trust"):
        if validation is None:
            _metric(words.validation, words.not_validated, words.to_validate)
        else:
            colour = _COLOURS[validation.status]
            _metric(words.validation, words.statuses[validation.status], formats.age(validation.at), colour)
        recent = words.of_last_day.format(formats.number(figures.recent_dead_letters))
        colour = "red" if figures.recent_dead_letters else "gray"
        _metric(words.dead_letters, formats.number(figures.dead_letters), recent, colour)
        known = snapshot.lag is not None and snapshot.kafka_error is None
        _metric(words.lag, formats.number(snapshot.lag or 0) if known else words.unknown, words.messages)
        last = snapshot.last_event
        age = words.never if last is None else formats.age(last)
        _metric(words.last_event, age, "" if last is None else formats.moment(last))
    if validation is not None and validation.wanting:
        wanting = ", ".join(
            f"`{name}` ({words.statuses[status]})" for name, status in validation.wanting.items()
        )
        st.caption(words.wanting.format(wanting))


def panels(shop: Shop, figures: Figures, formats: Formats) -> None:
    """Charts and tables of what the shop declares."""
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
    st.subheader(f"{words.revenue_per_day} ({formats.currency})", anchor=False)
    told = f"{formats.money(figures.total.revenue)}, {formats.number(figures.total.items)} {words.sales}"
    chart = charts.revenue_per_day(figures.lines("day"), formats)
    st.altair_chart(chart, key="per_day", alt=f"{words.revenue_per_day}: {told}")
    left, right = st.columns(2, gap="large")
    with left:
        _bars("by_quantity", figures.lines("by_quantity"), "quantity", words.top_by_quantity, formats)
    with right:
        _bars("by_revenue", figures.lines("by_revenue"), "revenue", words.top_by_revenue, formats)
    if figures.lines("channel"):
        _bars("channel", figures.lines("channel"), "revenue", words.by_channel, formats)


def _stock(figures: Figures, formats: Formats) -> None:
    words = formats.words
    left, right = st.columns(2, gap="large")
    with left:
        if figures.lines("stock"):
            _bars("stock", figures.lines("stock"), "quantity", words.stock_by_category, formats)
    with right:
        st.subheader(words.low_stock, anchor=False)
        count = figures.amount("low").items
        if not count:
            st.caption(words.no_low_stock)
            return
        st.caption(words.low_stock_of.format(formats.number(count)))
        cells: Cells = {
            words.product: lambda line: line.name,
            words.place: lambda line: line.detail,
            words.stock: lambda line: line.amount.quantity,
        }
        _table("low", figures.lines("lowest"), cells, {words.stock: _number(formats)}, words.low_stock)


def _latest(lines: Sequence[Line], formats: Formats) -> None:
    words = formats.words
    cells: Cells = {
        words.date: lambda line: None if line.moment is None else formats.day(line.moment),
        words.time: lambda line: None if line.moment is None else formats.clock(line.moment),
        words.number: lambda line: line.id,
        words.product: lambda line: line.name,
        words.quantity: lambda line: line.amount.quantity,
        words.revenue_column: lambda line: float(line.amount.revenue),
        words.channel: lambda line: line.detail,
        words.customer: lambda line: line.customer,
        words.source: lambda line: words.sources.get(line.source or "", line.source),
    }
    st.subheader(words.latest, anchor=False)
    figures: Shown = {
        words.quantity: _number(formats),
        words.revenue_column: lambda value: formats.money(Decimal(repr(value))),
    }
    _table("latest", lines, cells, figures, words.latest)


def _latest_rows(lines: Sequence[Line], shop: Shop, formats: Formats) -> None:
    words = formats.words
    st.subheader(words.latest_rows, anchor=False)
    if not lines:
        st.info(words.nothing_yet.format(shop.name))
        return
    cells: Cells = {
        words.date: lambda line: None if line.moment is None else formats.moment(line.moment),
        "Id": lambda line: line.id,
        words.details: lambda line: line.detail,
    }
    _table("latest_rows", lines, cells, {}, words.latest_rows)


def _row(key: str) -> st.delta_generator.DeltaGenerator:
    """Boxes beside each other, as many as there is room for."""
    return st.container(horizontal=True, key=key)


def _metric(label: str, value: str, below: str = "", colour: str = "gray") -> None:
    st.metric(
        label,
        value,
        delta=below or None,
        delta_color=colour,  # type: ignore[arg-type]
        delta_arrow="off",
        border=True,
        height="stretch",
    )


def _compared(label: str, value: str, formats: Formats, now: int | Decimal, before: int | Decimal) -> None:
    """A figure, and its change against the day before."""
    change = formats.change(now, before)
    st.metric(
        label,
        value,
        delta=change,
        delta_description=formats.words.on_the_day_before if change else None,
        border=True,
        height="stretch",
    )


def _bars(key: str, lines: Sequence[Line], figure: charts.Figure, title: str, formats: Formats) -> None:
    st.subheader(title, anchor=False)
    told = [f"{line.name} {_figure(line.amount, figure, formats)}" for line in lines]
    st.altair_chart(
        charts.bars(lines, figure, title, formats, _ink()), key=key, alt=f"{title}: {', '.join(told)}"
    )


def _figure(amount: Amount, figure: charts.Figure, formats: Formats) -> str:
    return formats.money(amount.revenue) if figure == "revenue" else formats.number(amount.quantity)


def _table(key: str, lines: Sequence[Line], cells: Cells, figures: Shown, alt: str) -> None:
    """A table as HTML has it, of the columns that hold anything, figures flush right."""
    columns: dict[str, list[object]] = {}
    for name, cell in cells.items():
        found = [cell(line) for line in lines]
        if name in figures:
            columns[name] = list(found)
        elif any(found):
            columns[name] = [plain(str(one or "")) for one in found]
    # An id of its own would make Streamlit draw the table anew each time.
    styled = pd.DataFrame(columns).style.set_uuid(key).format(figures)  # type: ignore[arg-type]
    with st.container(key=f"table_{key}"):
        st.table(styled, border="horizontal", hide_index=True, alt=alt)


def _number(formats: Formats) -> Callable[[float], str]:
    return lambda value: formats.number(int(value))


def _ink() -> str:
    """The colour of text."""
    return "#FAFAFA" if st.context.theme.type == "dark" else "#31333F"


def plain(text: str) -> str:
    """Text of an event as it is: Streamlit would take it for Markdown, and fetch an image that it names."""
    return _MARKDOWN.sub(r"\\\1", text)


def _told(error: CavesError) -> str:
    """An error's text: what is wrong, and what to do."""
    # Its remedy is ours, with commands between backticks; the problem quotes others.
    return f"{plain(error.problem)} {error.remedy}".strip()
