"""Asks for a browser's figures when it asks for the page, as its scripts take most of a second to do so."""

from __future__ import annotations

import threading
from urllib.parse import parse_qsl

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Receive, Scope, Send

from caves_dagster.dashboard.shared import first_selection, snapshots


class AskAhead:
    """ASGI middleware in front of Streamlit's application.

    Args:
        only: the one shop to be shown; "" for each of them.
    """

    def __init__(self, app: ASGIApp, only: str) -> None:
        self._app = app
        self._only = only

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Let Streamlit answer; the figures come meanwhile."""
        if scope["type"] == "http" and scope["path"] == "/" and _navigates(Headers(scope=scope)):
            address = dict(parse_qsl(scope["query_string"].decode("latin-1")))
            # Not of the event loop's: those are waited for at the end.
            threading.Thread(target=self._ask, args=(address,), name="ask ahead", daemon=True).start()
        await self._app(scope, receive, send)

    def _ask(self, address: dict[str, str]) -> None:
        """As the page does a moment later, which then finds the snapshot, or says what is wrong."""
        selection = first_selection(self._only, address)
        if selection is not None:
            snapshots().get(*selection)


def _navigates(headers: Headers) -> bool:
    """Whether somebody opens the page: what only looks whether it answers would keep a warehouse awake.

    Browsers say so to a server of HTTPS, or of their own machine; to others the page is a little later.
    """
    return headers.get("sec-fetch-mode") == "navigate" and "sec-purpose" not in headers
