"""Streamlit's server in this process, until SIGINT or SIGTERM."""

from __future__ import annotations

import logging
from pathlib import Path

from streamlit import config
from streamlit.web import bootstrap

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
    # Streamlit, Altair and pandas import when an icon, a choice, a chart and a table are first drawn.
    import narwhals._pandas_like.namespace  # noqa: F401
    import pandas.io.formats.style  # noqa: F401
    import PIL.Image  # noqa: F401
    import pyarrow.pandas_compat  # noqa: F401
    import streamlit.emojis  # noqa: F401

    import caves_dagster.dashboard.page  # noqa: F401

    options = _OPTIONS | {"server.address": host, "server.port": port}
    # Streamlit would write its own lines about where it listens.
    logging.getLogger("streamlit").setLevel(logging.WARNING)
    bootstrap.load_config_options({name.replace(".", "_"): value for name, value in options.items()})
    config.set_option("server.port", port)
    bootstrap.run(str(Path(__file__).with_name("page.py")), False, [shop] if shop else [], {})
