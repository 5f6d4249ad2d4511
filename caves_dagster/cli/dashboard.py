"""`caves dashboard`: the shop manager's page."""

from __future__ import annotations

from importlib.util import find_spec
from typing import Annotated

import typer
from rich.console import Console

from caves_dagster.errors import CavesError
from caves_dagster.local import ports
from caves_dagster.settings import load_settings
from caves_dagster.shops import find_shop


def dashboard(
    shop: Annotated[str | None, typer.Option(help="Only this shop.")] = None,
    port: Annotated[
        int | None, typer.Option(min=1, max=65535, help="Instead of CAVES_DASHBOARD_PORT.")
    ] = None,
    host: Annotated[str | None, typer.Option(help="Instead of CAVES_DASHBOARD_HOST.")] = None,
) -> None:
    """Serve the page with the shops' figures and what they can be trusted by, until told to stop."""
    settings = load_settings()
    # What is wrong with a declaration is said here, not on the page.
    find_shop(settings, shop)
    address = host or settings.dashboard.host
    number = port or settings.dashboard.port
    if find_spec("streamlit") is None:
        raise CavesError(
            "The dashboard needs Streamlit, which is not installed.",
            "Install the extra: `pip install 'caves-dagster[dashboard]'`; `make install` does.",
        )
    if not ports.is_free(address, number):
        raise CavesError(
            f"Port {number} of {address} is taken by another program, or {address} is not this machine's.",
            "Choose another one with --port, or --host.",
        )
    from caves_dagster.dashboard.server import serve

    Console(soft_wrap=True, highlight=False).print(f"Dashboard  http://{address}:{number}  Ctrl-C ends it.")
    serve(address, number, shop)
