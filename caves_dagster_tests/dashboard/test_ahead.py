"""The figures are asked for when a browser opens the page, and by nothing else."""

from __future__ import annotations

import asyncio
import threading
from typing import Any

import pytest

from caves_dagster.dashboard import ahead
from caves_dagster.dashboard.ahead import AskAhead
from caves_dagster.dashboard.period import Period, period, today
from caves_dagster.shop import Shop

NAVIGATES = [(b"sec-fetch-mode", b"navigate")]
LAST_WEEK = period("7d", (), today())


class _Snapshots:
    """Remembers what was asked for."""

    def __init__(self) -> None:
        self.asked: list[tuple[str, Period]] = []

    def get(self, shop: Shop, days: Period) -> None:
        self.asked.append((shop.name, days))


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
    for thread in threading.enumerate():
        if thread.name == "ask ahead":
            thread.join()
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
