"""A browser that opens the page finds the figures in it; nothing else asks for them."""

from __future__ import annotations

import asyncio
import re
import threading
import time
from collections.abc import Callable
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from caves_dagster.dashboard import ahead
from caves_dagster.dashboard.ahead import AskAhead
from caves_dagster.dashboard.figures import Amount, Figures, Line
from caves_dagster.dashboard.period import Period, period, today
from caves_dagster.dashboard.snapshots import Snapshot
from caves_dagster.errors import WarehouseUnreachable
from caves_dagster.shop import Shop

NAVIGATES = [(b"sec-fetch-mode", b"navigate")]
LAST_WEEK = period("7d", (), today())


class _Snapshots:
    """Remembers what was asked for."""

    def __init__(self) -> None:
        self.asked: list[tuple[str, Period]] = []

    def get(self, shop: Shop, days: Period) -> Snapshot:
        self.asked.append((shop.name, days))
        return Snapshot()


def all_asked() -> None:
    """Wait until nothing is being asked any more."""
    for thread in threading.enumerate():
        if thread.name == "ask ahead":
            thread.join()


def comes(
    monkeypatch: pytest.MonkeyPatch,
    address: str,
    headers: list[tuple[bytes, bytes]],
    only: str = "",
    path: str = "/",
) -> list[tuple[str, Period]]:
    """What is asked for when somebody asks for this."""
    found, passed = _Snapshots(), []
    monkeypatch.setattr(ahead, "snapshots", lambda: found)

    async def streamlits(scope: Any, receive: Any, send: Any) -> None:
        passed.append(scope)

    scope = {
        "type": "http",
        "method": "GET",
        "path": path,
        "query_string": address.encode(),
        "headers": headers,
    }
    asyncio.run(AskAhead(streamlits, only)(scope, None, None))  # type: ignore[arg-type]
    assert passed == [scope], "Streamlit answers"
    all_asked()
    return found.asked


@pytest.mark.parametrize(
    ("address", "only", "shop", "days"),
    [
        ("", "", "caves", Period()),
        ("", "dropship", "dropship", Period()),
        ("shop=dropship&period=7d&language=fr", "", "dropship", LAST_WEEK),
        ("shop=bakery&period=ever", "", "caves", Period()),
        ("shop=dropship", "caves", "caves", Period()),
    ],
)
def test_the_figures_of_the_address_are_asked_for(
    monkeypatch: pytest.MonkeyPatch, address: str, only: str, shop: str, days: Period
) -> None:
    assert comes(monkeypatch, address, NAVIGATES, only) == [(shop, days)]


@pytest.mark.parametrize(
    ("address", "headers", "path"),
    [
        ("", [], "/"),
        ("", [*NAVIGATES, (b"sec-purpose", b"prefetch")], "/"),
        ("", NAVIGATES, "/_stcore/health"),
        ("period=chosen&days=2026-01-01&days=2026-01-31", NAVIGATES, "/"),
    ],
    ids=["looks whether it answers", "may be opened later", "another address", "days of its own"],
)
def test_nothing_else_asks_the_warehouse(
    monkeypatch: pytest.MonkeyPatch, address: str, headers: list[tuple[bytes, bytes]], path: str
) -> None:
    assert comes(monkeypatch, address, headers, path=path) == []


# --- the page with them

BEFORE, AFTER = "<head>Streamlit</head><body>", '<div id="root"></div></body>'
LAST = Line(None, None, None, None, None, None, Amount(1234, 2000, Decimal("5678.9")))
FIGURES = Figures(datetime(2026, 6, 30, 14, 3, 22, tzinfo=UTC), {"last_day": [LAST], "day": [LAST]})


def page(
    monkeypatch: pytest.MonkeyPatch,
    reports: Path,
    get: Callable[[], Snapshot],
    address: str = "",
    language: str = "en-GB,en;q=0.9",
    times: int = 1,
) -> tuple[dict[str, str], dict[str, str], str]:
    """What Streamlit is asked for, and what the browser gets, the last time: headers, headers, HTML."""
    found = SimpleNamespace(get=lambda *_: get(), settings=SimpleNamespace(reports=reports))
    monkeypatch.setattr(ahead, "snapshots", lambda: found)
    asked: dict[str, str] = {}
    sent: list[Any] = []

    async def streamlits(scope: Any, receive: Any, send: Any) -> None:
        asked.update({name.decode(): value.decode() for name, value in scope["headers"]})
        headers = [(b"content-length", b"57"), (b"etag", b"1"), (b"cache-control", b"no-cache"), (b"x", b"y")]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": (BEFORE + AFTER).encode()})

    async def send(message: Any) -> None:
        sent.append(message)

    headers = [*NAVIGATES, (b"accept-encoding", b"gzip"), (b"if-none-match", b"1")]
    headers.append((b"accept-language", language.encode()))
    scope = {"type": "http", "path": "/", "query_string": address.encode(), "headers": headers}
    application = AskAhead(streamlits, "")
    for _ in range(times):
        asyncio.run(application(scope, None, send))  # type: ignore[arg-type]
        if times > 1:
            all_asked()
    start, body = sent[-2:]
    return asked, {name.decode(): value.decode() for name, value in start["headers"]}, body["body"].decode()


def test_the_page_comes_with_its_figures(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    asked, headers, html = page(monkeypatch, tmp_path, lambda: Snapshot(FIGURES, lag=5))
    assert html.startswith(BEFORE + '<div id="first"')
    assert html.endswith(AFTER)
    assert "As of 14:03:22" in html
    assert re.findall(r'<dd class="figure">([^<]*)<', html)[:4] == ["1,234", "€5,678.90"] * 2
    assert set(asked) == {"sec-fetch-mode", "accept-language"}, "neither compressed nor one that is kept"
    assert headers == {"x": "y", "cache-control": "no-store"}


@pytest.mark.parametrize(
    ("address", "language"), [("language=fr", "en"), ("language=xx", "fr-FR,en"), ("", "fr")]
)
def test_they_are_in_the_language_of_the_page(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, address: str, language: str
) -> None:
    html = page(monkeypatch, tmp_path, lambda: Snapshot(FIGURES), address, language)[2]
    assert "5\u202f678,90\u00a0€" in html


def _away() -> Snapshot:
    return Snapshot(FIGURES, warehouse_error=WarehouseUnreachable("It is away.", "Start it."))


@pytest.mark.parametrize("get", [Snapshot, _away])
def test_without_figures_of_now_it_is_streamlit_s(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, get: Callable[[], Snapshot]
) -> None:
    assert page(monkeypatch, tmp_path, get)[2] == BEFORE + AFTER


def test_figures_that_take_long_are_not_waited_for(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(ahead, "_PATIENCE_SECONDS", 0.1)
    there = threading.Event()

    def late() -> Snapshot:
        there.wait(20)
        return Snapshot(FIGURES)

    try:
        assert page(monkeypatch, tmp_path, late)[2] == BEFORE + AFTER
    finally:
        there.set()
    all_asked()


@pytest.mark.parametrize(("times", "there"), [(1, False), (2, False), (3, True)])
def test_after_some_that_took_too_long_the_next_page_goes_at_once(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, times: int, there: bool
) -> None:
    monkeypatch.setattr(ahead, "_PATIENCE_SECONDS", 0.5)
    seconds = iter((0.7, 0.1, 0.1))

    def wakes_up() -> Snapshot:
        time.sleep(next(seconds))
        return Snapshot(FIGURES)

    html = page(monkeypatch, tmp_path, wakes_up, times=times)[2]
    assert ("As of 14:03:22" in html) is there
