"""Dagster's daemon and webserver as children of a command: started together, and ended to the last child.

`dagster dev` in the background ignores SIGTERM and leaves its children behind, so the two services are
started directly.
"""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path

import psutil

from caves_dagster.errors import PlatformError
from caves_dagster.local.process import end, spawn
from caves_dagster.local.server import HOST
from caves_dagster.settings import PROJECT_ROOT

DAEMON, WEBSERVER = "dagster-daemon", "dagster-webserver"
_GRACE_SECONDS = 10.0
_MODULE = ["-m", "caves_dagster.definitions"]


def dagster_home(home: Path) -> Path:
    """Dagster's own state under a platform's home, with the project's `dagster.yaml` and its databases made.

    Two services that start on an empty folder at the same time both make the databases, and break them: seen
    as "alembic_version has more than one head".
    """
    import dagster as dg

    folder = home / "dagster"
    folder.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(PROJECT_ROOT / "dagster.yaml", folder / "dagster.yaml")
    with dg.DagsterInstance.from_config(str(folder)):
        return folder


@contextmanager
def dagster_services(
    home: Path, environment: Mapping[str, str], webserver_port: int | None = None
) -> Iterator[list[psutil.Process]]:
    """The daemon (and the UI on 127.0.0.1, given a port) while the block runs.

    Args:
        home: the platform's home; state goes to `home/dagster`, output to `home/log`.
        environment: of the services, and so of the runs they start.
        webserver_port: port of the UI; None for no UI.
    """
    env = dict(environment) | {"DAGSTER_HOME": str(dagster_home(home))}
    with ExitStack() as started:
        processes = []
        daemon = start_service(home, env, DAEMON, "dagster._daemon", "run")
        started.callback(end, daemon, _GRACE_SECONDS)
        processes.append(daemon)
        if webserver_port is not None:
            address = ("--host", HOST, "--port", str(webserver_port))
            webserver = start_service(home, env, WEBSERVER, "dagster_webserver", *address)
            started.callback(end, webserver, _GRACE_SECONDS)
            processes.append(webserver)
        yield processes


def start_service(
    home: Path, environment: Mapping[str, str], name: str, module: str, *arguments: str
) -> psutil.Process:
    """Start one of Dagster's services on this project's code, without waiting for it.

    Args:
        environment: with DAGSTER_HOME.
        name: of its log, under `home/log`.

    Raises:
        PlatformError: it ended at once.
    """
    command = [sys.executable, "-m", module, *arguments, *_MODULE]
    log = home / "log" / f"{name}.log"
    process = spawn(command, 0, log, PROJECT_ROOT, environment=environment).find()
    if process is None:
        raise PlatformError(f"{name} ended while starting.", f"Its log is {log}.")
    return process


def inherited_environment(home: Path) -> dict[str, str]:
    """This process's environment, with CAVES_HOME set to `home`."""
    return dict(os.environ) | {"CAVES_HOME": str(home)}
