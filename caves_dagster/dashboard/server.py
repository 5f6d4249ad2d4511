"""Streamlit's server in this process, until SIGINT or SIGTERM."""

from __future__ import annotations

import logging
import sys
from contextlib import suppress
from importlib import import_module
from pathlib import Path

import streamlit as st
import uvicorn
from starlette.middleware import Middleware
from streamlit.web import bootstrap

from caves_dagster.dashboard import shared
from caves_dagster.dashboard.ahead import AskAhead
from caves_dagster.dashboard.files import StaticFiles
from caves_dagster.serving import Server

_PAGE = Path(__file__).with_name("page.py")
_LATE = (
    "PIL.Image",
    "streamlit.emojis",
    "narwhals._pandas_like.namespace",
    "pyarrow.pandas_compat",
)
_OPTIONS: dict[str, object] = {
    # No mail address asked for, no figures sent anywhere, no browser opened, no menu, no traceback shown.
    "server.headless": True,
    "server.showEmailPrompt": False,
    "browser.gatherUsageStats": False,
    "client.toolbarMode": "minimal",
    "client.showErrorDetails": "none",
    "client.showErrorLinks": "false",
    # Nothing is edited while it runs.
    "server.fileWatcherType": "none",
    "runner.magicEnabled": False,
    "global.developmentMode": False,
    "theme.metricValueFontSize": "1.6rem",
    "theme.light.primaryColor": "#A8325A",
    "theme.dark.primaryColor": "#E07A9A",
    "theme.headingFontSizes": ["2rem", "1.5rem", "1.2rem", "1.1rem", "1rem", "1rem"],
}


def serve(host: str, port: int, shop: str | None) -> None:
    """Serve `page.py`; returns when a signal has ended it.

    Args:
        shop: the one shop to be shown; None for each of them.
    """
    # What the page imports takes seconds, for which the first browser would have to wait; and so does what
    # Streamlit, Altair and pandas import when an icon, a choice and a chart are first drawn.
    import caves_dagster.dashboard.page  # noqa: F401

    # Made before there are threads, two of which could make them twice.
    only = shop or ""
    shared.declared(only)
    shared.snapshots()
    for name in _LATE:
        with suppress(ImportError):
            import_module(name)

    options = _OPTIONS | {"server.address": host, "server.port": port}
    # Streamlit would write its own lines about what it does.
    logging.getLogger("streamlit").setLevel(logging.WARNING)
    bootstrap.load_config_options({name.replace(".", "_"): value for name, value in options.items()})
    # The page is a script, which Streamlit runs with these.
    sys.argv = [str(_PAGE), only]
    app = st.App(_PAGE, middleware=[Middleware(StaticFiles), Middleware(AskAhead, only=only)])
    config = uvicorn.Config(
        app,
        host=host,
        port=port,
        log_level=logging.WARNING,
        access_log=False,
        # As Streamlit itself does.
        ssl_certfile=st.get_option("server.sslCertFile"),
        ssl_keyfile=st.get_option("server.sslKeyFile"),
        ws="websockets-sansio",
        ws_per_message_deflate=bool(st.get_option("server.enableWebsocketCompression")),
        ws_ping_interval=30,
        ws_ping_timeout=30,
        # A page that is left open never ends its connection.
        timeout_graceful_shutdown=2,
    )
    Server(config).run()
