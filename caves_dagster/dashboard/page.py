"""The page itself, which Streamlit runs from top to bottom for each session and after each choice.

`caves dashboard` starts it. What is below the choices is a fragment, which alone is run again and again.
"""

from __future__ import annotations

import sys
import time
from contextlib import suppress
from datetime import date
from pathlib import Path

import streamlit as st

from caves_dagster.dashboard import sections
from caves_dagster.dashboard.formats import Formats
from caves_dagster.dashboard.parts import STYLE
from caves_dagster.dashboard.period import CHOSEN, Period, period, today
from caves_dagster.dashboard.shared import PERIODS, asked, asked_language, declared, snapshots
from caves_dagster.dashboard.trust import latest_validation
from caves_dagster.dashboard.words import LANGUAGES, WORDS, Language
from caves_dagster.shop import Shop

_HEAD_START_SECONDS = 0.5
"""A browser draws what comes together when all of it is loaded: the first chart, whose scripts are by far the
largest, comes so long after the figures."""


def page(only: str) -> None:
    """Choices, then what was chosen.

    Args:
        only: the one shop to be shown; "" for each of them.
    """
    st.set_page_config("Dashboard", Path(__file__).with_name("icon.svg"), layout="wide")
    st.html(STYLE)
    heading = st.container(key="heading")
    shop, language, days = _choices(declared(only))
    heading.title(shop.title, anchor=False)
    interval = snapshots().settings.dashboard.refresh_seconds
    st.fragment(_live, run_every=interval)(shop, days, Formats(language, shop.dashboard.currency))


def _choices(shops: dict[str, Shop]) -> tuple[Shop, Language, Period]:
    """Shop, language and period; kept in the page's address, so that a bookmark keeps them too."""
    there = st.query_params
    language: Language = st.session_state.get("language") or asked_language(there, st.context.locale)
    words = WORDS[language]
    with st.container(horizontal=True, vertical_alignment="bottom", key="choices"):
        names = list(shops)
        first_shop = asked(there, "shop", names, names[0])
        name = st.selectbox(
            words.shop, names, names.index(first_shop), lambda one: shops[one].title, key="shop", width=220
        )
        first_period = asked(there, "period", PERIODS, PERIODS[0])
        chosen = st.selectbox(
            words.period,
            PERIODS,
            PERIODS.index(first_period),
            lambda one: words.periods[one],
            key="period",
            width=220,
        )
        days = _days(words.days, language) if chosen == CHOSEN else ()
        st.segmented_control(
            words.language,
            list(LANGUAGES),
            default=language,
            required=True,
            format_func=lambda one: LANGUAGES[one],
            key="language",
        )
    address = {
        "shop": name,
        "period": chosen,
        "language": language,
        "days": [one.isoformat() for one in days],
    }
    st.query_params.from_dict({key: value for key, value in address.items() if value})
    return shops[name], language, period(chosen, days, today())


def _days(label: str, language: Language) -> tuple[date, ...]:
    """First and last day; the first alone while somebody is about to choose the last."""
    first, last = period("30d", (), today()).first, today()
    # Days of an address that are none are passed over.
    with suppress(ValueError):
        first, last = (date.fromisoformat(one) for one in st.query_params.get_all("days"))
    found = st.date_input(
        label,
        (first, last),
        min_value=date(1970, 1, 1),
        max_value=date(2199, 12, 31),
        format="DD/MM/YYYY" if language == "fr" else "YYYY-MM-DD",
        key="days",
        width=260,
    )
    return found if isinstance(found, tuple) else (found,)


def _live(shop: Shop, days: Period, formats: Formats) -> None:
    """What is run again and again."""
    snapshot = snapshots().get(shop, days)
    sections.problems(snapshot, formats)
    figures = snapshot.figures
    if figures is None:
        return
    st.caption(formats.words.as_of.format(sections.plain(formats.clock(figures.at))))
    st.html(sections.sales(shop, figures, formats))
    validation = latest_validation(snapshots().settings.reports, shop)
    st.html(sections.trust(snapshot, validation, formats))
    sections.wanting(validation, formats)
    chart = st.container(key="chart")
    sold = shop.dashboard.sales and figures.lines("day")
    if sold:
        with chart:
            sections.revenue_heading(formats)
    sections.panels(shop, figures, formats)
    if sold:
        if not st.session_state.get("drawn"):
            time.sleep(_HEAD_START_SECONDS)
            st.session_state["drawn"] = True
        with chart:
            sections.revenue_per_day(figures, formats)


if __name__ == "__main__":
    page(sys.argv[1] if len(sys.argv) > 1 else "")
