"""`caves consume`: land events as they come, until told to stop."""

from __future__ import annotations

import faulthandler
import logging
import os
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Annotated

import typer

from caves_dagster.settings import load_settings
from caves_dagster.shops import find_shop

log = logging.getLogger(__name__)

STOP_SECONDS = 8.5
"""After a signal it ends within this, whatever does not answer: Docker kills after ten."""


def consume(
    shop: Annotated[str | None, typer.Option(help="Whose events; the first shop's.")] = None,
    transform: Annotated[
        bool, typer.Option("--transform", help="Take them on to STAGING and PRODUCTION too.")
    ] = False,
    metrics_port: Annotated[
        int | None,
        typer.Option(min=0, max=65535, help="Instead of CAVES_METRICS_PORT; 0 serves no metrics."),
    ] = None,
) -> None:
    """Land a shop's events within a second or two, for ever. Start it again beside itself to share the work.

    SIGINT and SIGTERM finish the batch in hand; a second one ends it at once.
    """
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s")
    settings = load_settings()
    found = find_shop(settings, shop)
    port = settings.metrics.port if metrics_port is None else metrics_port
    with _stopped_by_signals() as stop:
        # Dagster and the connector take seconds to import: not for the sake of another command.
        from caves_dagster.consumer.service import serve

        # Told to stop before it began, which takes a while on a busy machine.
        if not stop.is_set():
            serve(settings, found, transform, port, stop)


@contextmanager
def _stopped_by_signals() -> Iterator[threading.Event]:
    """An event that the first SIGINT or SIGTERM sets; a second one ends the process."""
    stop = threading.Event()

    def give_up() -> None:
        log.error("Not at an end after %.0f s: what is in hand is rolled back, and read again.", STOP_SECONDS)
        # Where it stands, for whoever has to find out why.
        faulthandler.dump_traceback()
        os._exit(1)

    def on_signal(number: int, frame: FrameType | None) -> None:
        # Not by the signal's usual effect: the first process of a container has none.
        if stop.is_set():
            os._exit(128 + number)
        stop.set()
        timer = threading.Timer(STOP_SECONDS, give_up)
        timer.daemon = True
        timer.start()

    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, on_signal)
    yield stop
