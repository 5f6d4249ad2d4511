"""Dagster's code server, daemon and webserver as children of a command: ended to the last child.

`dagster dev` in the background ignores SIGTERM and leaves its children behind, so they are started directly.
Daemon and webserver share one code server: left to themselves each starts its own, and the daemon another one
every minute, for seconds of a processor each time.
"""

from __future__ import annotations

import json
import os
import shutil
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

import psutil

from caves_dagster.errors import PlatformError
from caves_dagster.local import ports
from caves_dagster.local.process import end, spawn
from caves_dagster.local.server import HOST
from caves_dagster.settings import PROJECT_ROOT

CODE_SERVER, DAEMON, WEBSERVER = "dagster-code-server", "dagster-daemon", "dagster-webserver"
_GRACE_SECONDS = 10.0
_START_SECONDS = 120.0
_LOOK_SECONDS = 0.05


@dataclass(frozen=True)
class Services:
    """Dagster's processes; runs are children of the code server."""

    code_server: psutil.Process
    daemon: psutil.Process
    webserver: psutil.Process | None

    @property
    def all(self) -> list[psutil.Process]:
        """Those that there are."""
        return [one for one in (self.code_server, self.daemon, self.webserver) if one is not None]


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
) -> Iterator[Services]:
    """Code server and daemon (and the UI on 127.0.0.1, given a port) while the block runs.

    Args:
        home: the platform's home; state goes to `home/dagster`, output to `home/log`.
        environment: of the services, and so of the runs they start.
        webserver_port: port of the UI; None for no UI.

    Raises:
        PlatformError: one of them ended while starting.
    """
    env = dict(environment) | {"DAGSTER_HOME": str(dagster_home(home))}
    with ExitStack() as started:
        code_server = start_code_server(home, env)
        started.callback(end, code_server, _GRACE_SECONDS)
        daemon = start_daemon(home, env)
        started.callback(end, daemon, _GRACE_SECONDS)
        webserver = None
        if webserver_port is not None:
            address = ("--host", HOST, "--port", str(webserver_port))
            webserver = _start(home, env, WEBSERVER, "-m", "dagster_webserver", *address, *_workspace(home))
            started.callback(end, webserver, _GRACE_SECONDS)
        yield Services(code_server, daemon, webserver)


def start_code_server(home: Path, environment: Mapping[str, str]) -> psutil.Process:
    """Start the process that has this project's code loaded and starts the runs; returns once it answers.

    Args:
        environment: with DAGSTER_HOME.

    Raises:
        PlatformError: it ended, as where the code cannot be loaded, or does not answer in time.
    """
    port = ports.any_free(HOST)
    address = ("--host", HOST, "--port", str(port))
    code = ("-m", "caves_dagster.definitions", "--use-python-environment-entry-point")
    # Not `-m dagster`: each run's process would import that module anew, and all of the command line with it.
    command = ("-c", "from dagster._cli import main; main()", "api", "grpc")
    process = _start(home, environment, CODE_SERVER, *command, *address, *code)
    try:
        _await_answer(process, home, port)
        # The location's name stays when the port changes: sensors keep their state under it.
        server = {"host": HOST, "port": port, "location_name": "caves_dagster"}
        # JSON is YAML.
        (home / "dagster" / "workspace.yaml").write_text(json.dumps({"load_from": [{"grpc_server": server}]}))
    except BaseException:
        # Also one that a signal raised: nobody else knows of the process yet.
        end(process, 0)
        raise
    return process


def _await_answer(process: psutil.Process, home: Path, port: int) -> None:
    deadline = time.monotonic() + _START_SECONDS
    while not ports.answers(HOST, port):
        if not _runs(process) or time.monotonic() > deadline:
            raise PlatformError(f"{CODE_SERVER} does not answer.", f"Its log is {_log(home, CODE_SERVER)}.")
        time.sleep(_LOOK_SECONDS)


def start_daemon(home: Path, environment: Mapping[str, str]) -> psutil.Process:
    """Start the daemon on a code server that runs, without waiting for its first tick.

    Raises:
        PlatformError: it ended at once.
    """
    return _start(home, environment, DAEMON, "-m", "dagster._daemon", "run", *_workspace(home))


def _workspace(home: Path) -> tuple[str, str]:
    return "--workspace", str(home / "dagster" / "workspace.yaml")


def _log(home: Path, name: str) -> Path:
    return home / "log" / f"{name}.log"


def _start(home: Path, environment: Mapping[str, str], name: str, *arguments: str) -> psutil.Process:
    log = _log(home, name)
    process = spawn([sys.executable, *arguments], 0, log, PROJECT_ROOT, environment=environment).find()
    if process is None:
        raise PlatformError(f"{name} ended while starting.", f"Its log is {log}.")
    return process


def _runs(process: psutil.Process) -> bool:
    return process.is_running() and process.status() != psutil.STATUS_ZOMBIE


def inherited_environment(home: Path) -> dict[str, str]:
    """This process's environment, with CAVES_HOME set to `home`."""
    return dict(os.environ) | {"CAVES_HOME": str(home)}
