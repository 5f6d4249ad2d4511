"""`caves dashboard` in a process of its own, and a browser to look at it with."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, sync_playwright

from caves_dagster.local import ports
from caves_dagster.settings import PROJECT_ROOT, embedded_environment
from caves_dagster_tests.brokers import until

CHROMIUM = Path("/usr/bin/chromium")
SECONDS = 60.0
"""A machine may be busy."""


@dataclass
class Site:
    """The page of a platform."""

    port: int
    process: subprocess.Popen[bytes]

    @property
    def address(self) -> str:
        """Where it is."""
        return f"http://127.0.0.1:{self.port}"

    def stop(self, number: signal.Signals) -> int:
        """Send the signal; its exit code."""
        self.process.send_signal(number)
        return self.process.wait(30)


def command(home: Path, *arguments: str, **settings: str) -> subprocess.Popen[bytes]:
    """A `caves …` on the platform of `home`, writing to `home/command.log`."""
    code = "from caves_dagster.cli import main; main()"
    with (home / f"{arguments[0]}.log").open("ab") as log:
        return subprocess.Popen(
            [sys.executable, "-c", code, *arguments],
            cwd=PROJECT_ROOT,
            env=embedded_environment(home) | settings,
            stdout=log,
            stderr=subprocess.STDOUT,
        )


@contextmanager
def serving(home: Path, *options: str, **settings: str) -> Iterator[Site]:
    """The page while the block runs."""
    port = ports.any_free("127.0.0.1")
    settings = {"CAVES_DASHBOARD_REFRESH_SECONDS": "1", "CAVES_DASHBOARD_TIMEOUT_SECONDS": "3"} | settings
    process = command(home, "dashboard", "--port", str(port), *options, **settings)
    try:
        until(
            lambda: ports.answers("127.0.0.1", port) or process.poll() is not None, "the page's port", SECONDS
        )
        assert process.poll() is None, (home / "dashboard.log").read_text()
        yield Site(port, process)
    finally:
        if process.poll() is None:
            process.kill()
        process.wait(10)


@contextmanager
def browser() -> Iterator[Browser]:
    """Headless Chromium; skips where there is none, and fails on CI."""
    if not CHROMIUM.is_file():
        reason = f"There is no browser at {CHROMIUM}."
        if os.environ.get("CI", "").lower() in ("true", "1"):
            pytest.fail(reason)
        pytest.skip(reason)
    with sync_playwright() as playwright:
        running = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        try:
            yield running
        finally:
            running.close()


@dataclass
class Look:
    """A page in the browser, with what went wrong there and what it asked for."""

    page: Page
    errors: list[str] = field(default_factory=list)
    requests: list[str] = field(default_factory=list)

    def figure(self, label: str) -> str:
        """The figure in the box that is called so."""
        box = self.page.locator(".boxes > div").filter(has_text=label)
        return box.locator(".figure").inner_text(timeout=SECONDS * 1000)

    def number(self, label: str) -> int:
        """The same as a number."""
        return int("".join(letter for letter in self.figure(label) if letter.isdigit()))

    def wait(self, text: str) -> None:
        """Wait until a text is seen."""
        self.page.get_by_text(text).first.wait_for(timeout=SECONDS * 1000)


@contextmanager
def looking(
    browser: Browser, address: str, locale: str = "en-GB", dark: bool = False, script: str = ""
) -> Iterator[Look]:
    """A page while the block runs; with a script of one's own in it, before its own."""
    context = browser.new_context(
        locale=locale, color_scheme="dark" if dark else "light", viewport={"width": 1280, "height": 2400}
    )
    context.add_init_script(script)
    look = Look(context.new_page())
    look.page.on("console", lambda one: look.errors.append(one.text) if one.type == "error" else None)
    look.page.on("pageerror", lambda error: look.errors.append(str(error)))
    look.page.on("request", lambda request: look.requests.append(request.url))
    look.page.on("websocket", lambda socket: look.requests.append(socket.url))
    try:
        look.page.goto(address, timeout=SECONDS * 1000)
        # Until Streamlit has drawn its own there is nothing to be chosen.
        look.page.locator("#first").wait_for(state="detached", timeout=SECONDS * 1000)
        yield look
    finally:
        context.close()
