"""Streamlit's scripts, styles and fonts, out of memory: a first page asks for more than a hundred of them.

Streamlit reads each from the disk, in pieces and threads, while the browser waits and the page is being made.
And a browser asks for what draws a choice or a figure when there is one to be drawn: here it is told before.
"""

from __future__ import annotations

import functools
import mimetypes
import re
from collections.abc import Iterable
from pathlib import Path

import streamlit
from starlette.datastructures import MutableHeaders
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

_ROOT = Path(streamlit.__file__).with_name("static")
_FOR_EVER = {"Cache-Control": "public, immutable, max-age=31536000"}
"""As Streamlit has it: their names change with their contents."""
_DRAWN_FIRST = ("Selectbox", "ButtonGroup", "Html")
"""The scripts of what the page begins with. That of the chart may come after it."""
_IMPORT = re.compile(r"""\b(?:from|import)["']\./([^"']+\.js)["']""")


class StaticFiles:
    """ASGI middleware in front of Streamlit's application."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app
        # By the addresses that there are: nothing that a request says leads to another file.
        self._files = {
            f"/{path.relative_to(_ROOT).as_posix()}": path for path in (_ROOT / "static").rglob("*.*")
        }
        # Without those that the page names itself: a proxy may take no headers of more than 4 KB.
        page = (_ROOT / "index.html").read_text(encoding="utf-8")
        addresses = [path.relative_to(_ROOT).as_posix() for path in _scripts(_DRAWN_FIRST)]
        self._links = ", ".join(
            f"</{address}>; rel=modulepreload" for address in addresses if address not in page
        )

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer what asks for one of the files; Streamlit answers everything else."""
        path = self._files.get(scope.get("path", ""))
        if path is not None and scope.get("method") == "GET":
            await _response(path)(scope, receive, send)
        elif scope["type"] == "http" and scope["path"] == "/":
            await self._app(scope, receive, functools.partial(self._with_links, send))
        else:
            await self._app(scope, receive, send)

    async def _with_links(self, send: Send, message: Message) -> None:
        """The page itself, with what the browser may ask for at once."""
        if message["type"] == "http.response.start" and self._links:
            MutableHeaders(scope=message).append("Link", self._links)
        await send(message)


def _scripts(names: Iterable[str]) -> list[Path]:
    """Scripts of Streamlit's components, and all that those import; none where it has none of the name."""
    folder = _ROOT / "static" / "js"
    found: dict[Path, None] = {}
    waiting = [path for name in names for path in folder.glob(f"{name}.*.js")]
    while waiting:
        path = waiting.pop()
        if path not in found and path.is_file():
            found[path] = None
            waiting += [folder / name for name in _IMPORT.findall(path.read_text(encoding="utf-8"))]
    return list(found)


@functools.cache
def _response(path: Path) -> Response:
    media_type = mimetypes.guess_type(path.name)[0] or "application/octet-stream"
    return Response(path.read_bytes(), media_type=media_type, headers=_FOR_EVER)
