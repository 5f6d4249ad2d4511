"""Streamlit's files as the dashboard serves them: they, and nothing else."""

from __future__ import annotations

import asyncio
import re
from pathlib import Path
from typing import Any

import pytest
import streamlit

from caves_dagster.dashboard.files import StaticFiles

ROOT = Path(streamlit.__file__).with_name("static")
SCRIPT = next((ROOT / "static" / "js").glob("index.*.js"))


def answered(path: str, method: str = "GET") -> tuple[dict[str, str], bytes] | None:
    """Headers and body of what it answers by itself; None where it leaves that to Streamlit."""
    passed: list[str] = []
    sent: list[Any] = []

    async def streamlits(scope: Any, receive: Any, send: Any) -> None:
        passed.append(scope["path"])

    async def receive() -> Any:
        raise AssertionError("nothing is read of the request")

    async def send(message: Any) -> None:
        sent.append(message)

    scope = {"type": "http", "method": method, "path": path, "headers": []}
    asyncio.run(StaticFiles(streamlits)(scope, receive, send))
    if passed:
        assert not sent
        return None
    start, *bodies = sent
    assert start["status"] == 200
    headers = {name.decode(): value.decode() for name, value in start["headers"]}
    return headers, b"".join(body["body"] for body in bodies)


def test_a_script_is_served_as_streamlit_does() -> None:
    found = answered(f"/static/js/{SCRIPT.name}")
    assert found is not None
    headers, body = found
    assert body == SCRIPT.read_bytes()
    assert "javascript" in headers["content-type"]
    assert headers["cache-control"] == "public, immutable, max-age=31536000"
    assert headers["content-length"] == str(len(body))


@pytest.mark.parametrize(
    "path",
    ["/", "/_stcore/health", "/static/js/none.js", "/static/../index.html", "/static/js/", "/index.html"],
)
def test_everything_else_is_left_to_streamlit(path: str) -> None:
    assert answered(path) is None


def test_what_only_asks_for_the_headers_is_left_to_streamlit() -> None:
    assert answered(f"/static/js/{SCRIPT.name}", "HEAD") is None


def test_the_page_names_what_its_choices_are_drawn_with() -> None:
    sent: list[Any] = []

    async def streamlits(scope: Any, receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": [(b"x-its-own", b"1")]})
        await send({"type": "http.response.body", "body": b"the page"})

    async def send(message: Any) -> None:
        sent.append(message)

    def asked(path: str) -> dict[str, str]:
        sent.clear()
        scope = {"type": "http", "method": "GET", "path": path, "headers": []}
        asyncio.run(StaticFiles(streamlits)(scope, None, send))  # type: ignore[arg-type]
        assert sent[1]["body"] == b"the page"
        return {name.decode(): value.decode() for name, value in sent[0]["headers"]}

    assert "link" not in asked("/_stcore/health")
    headers = asked("/")
    assert headers["x-its-own"] == "1"
    links = headers["link"].split(", ")
    assert len(links) == len(set(links))
    named = [re.fullmatch(r"</(static/js/([\w-]+)\.[^>]+\.js)>; rel=modulepreload", link) for link in links]
    assert all(one is not None and (ROOT / one[1]).is_file() for one in named)
    assert len(headers["link"]) < 4000
    # By the names that this version of Streamlit gives them; what they import is there too.
    assert {"Selectbox", "ButtonGroup", "Html"} < {one[2] for one in named if one is not None}
