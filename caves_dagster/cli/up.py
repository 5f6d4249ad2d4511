"""`caves up`: platform, live producers and the Dagster UI, until Ctrl-C."""

from __future__ import annotations

import secrets
import signal
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from datetime import UTC, datetime
from typing import Annotated

import psutil
import typer
from rich.console import Console

from caves_dagster.errors import CavesError, PlatformError
from caves_dagster.kafka.producer import DeliveryReport, publish
from caves_dagster.local import ports
from caves_dagster.local.dagster_services import dagster_services, inherited_environment
from caves_dagster.local.platform import Platform
from caves_dagster.local.server import HOST, State
from caves_dagster.settings import Settings, load_settings
from caves_dagster.shop import Shop
from caves_dagster.shops import shops, topics


def up(
    rate: Annotated[float, typer.Option(min=0, help="Events a second for each shop; 0 publishes none.")] = 5,
    port: Annotated[int, typer.Option(min=1, max=65535, help="Port of the Dagster UI.")] = 3000,
) -> None:
    """Start the platform, live producers and the Dagster UI; Ctrl-C stops everything it started."""
    from caves_dagster.deploy.carry_out import set_up
    from caves_dagster.warehouse.connection import Warehouse

    console = Console(soft_wrap=True, highlight=False)
    if not ports.is_free(HOST, port):
        raise PlatformError(f"Port {port} is taken by another program.", "Choose another one with --port.")
    stop = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: stop.set())
    with _platform(load_settings(), console) as settings:
        declared = shops(settings)
        with Warehouse(settings.snowflake) as warehouse:
            for shop in declared:
                set_up(warehouse, shop)
        environment = inherited_environment(settings.home)
        with dagster_services(settings.home, environment, port) as services:
            names = ", ".join(shop.topic for shop in declared)
            console.print(f"Kafka      {settings.kafka.bootstrap_servers}, topics {names}")
            console.print(f"Dagster    http://{HOST}:{port} (in about ten seconds)")
            console.print(f"Logs       {settings.home / 'log'}")
            console.print("Ctrl-C stops everything.")
            with ExitStack() as producers:
                for shop in declared:
                    producers.enter_context(_producer(settings, shop, rate, stop, console))
                _wait(stop, services.all)
                console.print("Stopping …")
    console.print("Stopped.")


@contextmanager
def _platform(settings: Settings, console: Console) -> Iterator[Settings]:
    """The settings, once the servers they point at run; those that this command started stop with it."""
    if not settings.embedded:
        yield settings
        return
    platform = Platform(settings.home, topics=topics(settings), servers=settings.embedded)
    ours = [one.name for one in platform.status().servers if one.state is not State.RUNNING]
    for note in platform.start():
        console.print(note)
    try:
        yield load_settings()
    finally:
        if ours:
            Platform(settings.home, servers=tuple(ours)).stop()


@contextmanager
def _producer(
    settings: Settings, shop: Shop, rate: float, stop: threading.Event, console: Console
) -> Iterator[None]:
    """Publish live events from a thread until the block ends."""
    if not rate or not shop.generates:
        yield
        return
    seed = secrets.randbelow(2**31)
    console.print(f"Producer   {shop.name}: {rate:g} events/s, seed {seed}")
    report = DeliveryReport(shop.topic)

    def produce() -> None:
        nonlocal report
        messages = shop.generate(seed, 0.0, lambda: datetime.now(UTC))
        try:
            report = publish(settings.kafka, shop.topic, messages, rate=rate, stop=stop)
        except CavesError as error:
            console.print(f"[red]The producer of {shop.name} stopped:[/] {error}")

    thread = threading.Thread(target=produce, name="producer", daemon=True)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join(timeout=40)
        said = f"{report.delivered:,} events, {report.failed:,} not delivered."
        console.print(f"Published to {shop.topic}: {said}")


def _wait(stop: threading.Event, services: list[psutil.Process]) -> None:
    """Until somebody ends it, or a service ends by itself."""
    while not stop.wait(1.0):
        for service in services:
            if not service.is_running() or service.status() == psutil.STATUS_ZOMBIE:
                raise PlatformError(
                    f"A Dagster service (process {service.pid}) ended by itself.",
                    "Its last lines are in the log folder printed above.",
                )
