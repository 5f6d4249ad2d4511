"""Puts the figures into the page's HTML, where a browser shows them before Streamlit's scripts have run.

These take it most of two seconds; then Streamlit draws the same in the same place.
"""

from __future__ import annotations

import asyncio
import functools
import threading
import time
from contextlib import suppress
from urllib.parse import parse_qsl

from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from caves_dagster.dashboard import parts, sections
from caves_dagster.dashboard.formats import Formats
from caves_dagster.dashboard.shared import asked_language, first_selection, snapshots
from caves_dagster.dashboard.trust import latest_validation

_PATIENCE_SECONDS = 1.0
"""After that long the page goes without figures, which Streamlit then shows as soon as they are there; the
next one goes at once."""
_ROOT = b'<div id="root">'
_NOT_FOR_STREAMLIT = {b"accept-encoding", b"if-none-match", b"if-modified-since"}
"""The page is not compressed before there is all of it, and is never the one that a browser still has."""


class AskAhead:
    """ASGI middleware in front of Streamlit's application.

    Args:
        only: the one shop to be shown; "" for each of them.
    """

    def __init__(self, app: ASGIApp, only: str) -> None:
        self._app = app
        self._only = only
        self._took_seconds = 0.0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Let Streamlit answer, with the figures if they are there in time."""
        if scope["type"] == "http" and scope["path"] == "/" and _navigates(Headers(scope=scope)):
            figures = asyncio.get_running_loop().create_future()
            address = dict(parse_qsl(scope["query_string"].decode("latin-1")))
            arguments = (address, Headers(scope=scope).get("accept-language"), figures)
            # Not of the event loop's: those are waited for at the end.
            threading.Thread(target=self._ask, args=arguments, name="ask ahead", daemon=True).start()
            # The page waits: beside the scripts that a browser then asks for, the figures take twice as long.
            if self._took_seconds <= _PATIENCE_SECONDS:
                await asyncio.wait([figures], timeout=_PATIENCE_SECONDS)
            headers = [header for header in scope["headers"] if header[0] not in _NOT_FOR_STREAMLIT]
            scope = dict(scope) | {"headers": headers}
            send = functools.partial(_with_figures, send, figures.result() if figures.done() else "")
        await self._app(scope, receive, send)

    def _ask(self, address: dict[str, str], browsers: str | None, figures: asyncio.Future[str]) -> None:
        """As the page does a moment later, which then finds the snapshot, or says what is wrong."""
        html, began = "", time.monotonic()
        try:
            html = _first(self._only, address, browsers)
        finally:
            self._took_seconds = time.monotonic() - began
            # The server may have ended meanwhile.
            with suppress(RuntimeError):
                figures.get_loop().call_soon_threadsafe(_tell, figures, html)


def _first(only: str, address: dict[str, str], browsers: str | None) -> str:
    """What the page begins with; "" where there is something to be said before."""
    selection = first_selection(only, address)
    if selection is None:
        return ""
    shop, days = selection
    snapshot = snapshots().get(shop, days)
    if snapshot.figures is None or snapshot.warehouse_error:
        return ""
    formats = Formats(asked_language(address, browsers), shop.dashboard.currency)
    return parts.first(
        shop.title,
        formats.words.as_of.format(formats.clock(snapshot.figures.at)),
        sections.sales(shop, snapshot.figures, formats),
        sections.trust(snapshot, latest_validation(snapshots().settings.reports, shop), formats),
    )


def _tell(figures: asyncio.Future[str], html: str) -> None:
    """Unless nobody waits any more."""
    if not figures.done():
        figures.set_result(html)


async def _with_figures(send: Send, html: str, message: Message) -> None:
    """Send the page with the figures in it."""
    if message["type"] == "http.response.start":
        headers = MutableHeaders(scope=message)
        for name in ("content-length", "etag", "last-modified", "accept-ranges"):
            del headers[name]
        # A page that is gone back to would show its old figures for a moment.
        headers["cache-control"] = "no-store"
    elif _ROOT in message.get("body", b""):
        message = dict(message) | {"body": message["body"].replace(_ROOT, html.encode() + _ROOT, 1)}
    await send(message)


def _navigates(headers: Headers) -> bool:
    """Whether somebody opens the page: what only looks whether it answers would keep a warehouse awake.

    Browsers say so to a server of HTTPS, or of their own machine; to others the page is a little later.
    """
    return headers.get("sec-fetch-mode") == "navigate" and "sec-purpose" not in headers
