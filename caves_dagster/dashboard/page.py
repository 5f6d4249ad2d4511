"""The page itself, which Streamlit runs from top to bottom for each session and after each choice.

`caves dashboard` starts it. What is below the choices is a fragment, which alone is run again and again.
"""

from __future__ import annotations

import sys
from contextlib import suppress
from datetime import date
from pathlib import Path
from typing import Any

import streamlit as st

from caves_dagster.dashboard import sections
from caves_dagster.dashboard.formats import Formats
from caves_dagster.dashboard.period import CHOSEN, Period, period, today
from caves_dagster.dashboard.snapshots import Snapshots
from caves_dagster.dashboard.trust import latest_validation
from caves_dagster.dashboard.words import LANGUAGES, WORDS, Language
from caves_dagster.settings import load_settings
from caves_dagster.shop import Shop
from caves_dagster.shops import find_shop, shops

_STYLE = Path(__file__).with_name("style.css")


@st.cache_resource(show_spinner=False)
def _snapshots() -> Snapshots:
    """One for all sessions: what one browser has been told, the others are told too."""
    return Snapshots(load_settings())


@st.cache_resource(show_spinner=False)
def _shops(only: str) -> dict[str, Shop]:
    settings = load_settings()
    chosen = [find_shop(settings, only)] if only else shops(settings)
    return {shop.name: shop for shop in chosen}


def page(only: str) -> None:
    """Choices, then what was chosen.

    Args:
        only: the one shop to be shown; "" for each of them.
    """
    st.set_page_config("Dashboard", Path(__file__).with_name("icon.svg"), layout="wide")
    st.html(_STYLE)
    declared = _shops(only)
    heading = st.container(key="heading")
    shop, language, days = _choices(declared)
    heading.title(shop.title, anchor=False)
    interval = _snapshots().settings.dashboard.refresh_seconds
    st.fragment(_live, run_every=interval)(shop, days, Formats(language, shop.dashboard.currency))


def _choices(declared: dict[str, Shop]) -> tuple[Shop, Language, Period]:
    """Shop, language and period; kept in the page's address, so that a bookmark keeps them too."""
    first: Language = "fr" if (st.context.locale or "").lower().startswith("fr") else "en"
    asked_language: Any = st.session_state.get("language") or _asked("language", list(LANGUAGES), first)
    language: Language = asked_language
    words = WORDS[language]
    with st.container(horizontal=True, vertical_alignment="bottom", key="choices"):
        names = list(declared)
        asked = _asked("shop", names, names[0])
        name = st.selectbox(
            words.shop, names, names.index(asked), lambda one: declared[one].title, key="shop", width=220
        )
        periods = list(words.periods)
        asked = _asked("period", periods, periods[0])
        chosen = st.selectbox(
            words.period,
            periods,
            periods.index(asked),
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
    return declared[name], language, period(chosen, days, today())


def _asked(key: str, options: list[str], default: str) -> str:
    """What the page's address asks for, if there is such a thing."""
    value = st.query_params.get(key, default)
    return value if value in options else default


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
    snapshot = _snapshots().get(shop, days)
    sections.problems(snapshot, formats)
    if snapshot.figures is None:
        return
    st.caption(formats.words.as_of.format(formats.clock(snapshot.figures.at)))
    sections.sales(shop, snapshot.figures, formats)
    reports = _snapshots().settings.reports
    sections.trust(snapshot, latest_validation(reports, shop), formats)
    sections.panels(shop, snapshot.figures, formats)


if __name__ == "__main__":
    page(sys.argv[1] if len(sys.argv) > 1 else "")
