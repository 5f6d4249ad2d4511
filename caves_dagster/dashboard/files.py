"""Streamlit's scripts, styles and fonts, out of memory: a first page asks for more than a hundred of them.

Streamlit reads each from the disk, in pieces and threads, while the browser waits and the page is being made.
"""

from __future__ import annotations

import functools
import mimetypes
from pathlib import Path

import streamlit
from starlette.responses import Response
from starlette.types import ASGIApp, Receive, Scope, Send

_ROOT = Path(streamlit.__file__).with_name("static")
_FOR_EVER = {"Cache-Control": "public, immutable, max-age=31536000"}
"""As Streamlit has it: their names change with their contents."""


class StaticFiles:
    """ASGI middleware in front of Streamlit's application."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app
        # By the addresses that there are: nothing that a request says leads to another file.
        self._files = {
            f"/{path.relative_to(_ROOT).as_posix()}": path for path in (_ROOT / "static").rglob("*.*")
        }

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer what asks for one of the files; Streamlit answers everything else."""
        path = self._files.get(scope.get("path", ""))
        if path is None or scope.get("method") != "GET":
            await self._app(scope, receive, send)
        else:
            await _response(path)(scope, receive, send)


@functools.cache
def _response(path: Path) -> Response:
    media_type = mimetypes.guess_type(path.name)[0] or "application/octet-stream"
    return Response(path.read_bytes(), media_type=media_type, headers=_FOR_EVER)
