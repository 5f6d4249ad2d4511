"""Run the warehouse server: `python -m caves_dagster.local.warehouse --home DIR [--port N]`."""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import fcntl
import json
import logging
import os
import socket
import sys
from collections.abc import Iterator
from pathlib import Path

import uvicorn

from caves_dagster.local.process import end_with
from caves_dagster.local.warehouse.catalog import Catalog
from caves_dagster.local.warehouse.registry import Registry
from caves_dagster.local.warehouse.server import Credentials, Warehouse
from caves_dagster.serving import Server

ENDPOINT = "endpoint.json"
_LOOPBACK = {"127.0.0.1", "::1", "localhost"}
_OPEN_PASSWORD = "caves"


class CannotStart(Exception):
    """Why the server does not start, in one line."""


def main(arguments: list[str] | None = None) -> int:
    """Serve until SIGTERM or SIGINT. The exit code: 0, or 1 if the server could not start."""
    options = _options(arguments)
    logging.basicConfig(
        level=options.log_level.upper(), format="%(asctime)s %(levelname)s %(name)s: %(message)s"
    )
    logging.getLogger("sqlglot").setLevel(logging.ERROR)  # its warnings quote statements
    try:
        serve(options)
    except CannotStart as error:
        sys.stderr.write(f"The warehouse server cannot start: {error}\n")
        return 1
    return 0


def serve(options: argparse.Namespace) -> None:
    """Take the home, listen, publish the endpoint, serve, and leave everything written."""
    home = Path(options.home).resolve() / "warehouse"
    home.mkdir(parents=True, exist_ok=True)
    if options.host not in _LOOPBACK and options.password == _OPEN_PASSWORD:
        raise CannotStart(
            f"it listens on loopback only, not on {options.host}, while its password is no secret."
        )
    with _lock(home), _listen(options.host, options.port) as listener:
        catalog = Catalog(home, options.memory_limit, options.threads)
        registry = Registry(catalog, options.transaction_idle_seconds)
        try:
            catalog.ensure_database(options.database)
            warehouse = Warehouse(registry, Credentials(options.account, options.user, options.password))
            config = uvicorn.Config(
                warehouse.app(),
                log_config=None,
                access_log=False,
                lifespan="off",
                timeout_keep_alive=3600,  # one closed under a client would have its statement sent again
                timeout_graceful_shutdown=5,
            )
            host, port = listener.getsockname()[:2]
            server = Server(config)
            end_with(options.owner)
            asyncio.run(
                _serve(server, listener, home / ENDPOINT, {"host": host, "port": port, "pid": os.getpid()})
            )
        finally:
            (home / ENDPOINT).unlink(missing_ok=True)
            registry.stop()
            catalog.close()


async def _serve(server: Server, listener: socket.socket, path: Path, endpoint: dict[str, object]) -> None:
    serving = asyncio.create_task(server.serve(sockets=[listener]))
    while not server.started and not serving.done():
        await asyncio.sleep(0.005)
    if server.started:
        draft = path.with_suffix(".tmp")
        draft.write_text(json.dumps(endpoint))
        draft.replace(path)
    await serving


@contextlib.contextmanager
def _lock(home: Path) -> Iterator[None]:
    """Hold the home: two servers on one would each believe in their own half of it."""
    with (home / "lock").open("a+") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            file.seek(0)
            raise CannotStart(f"process {file.read().strip() or '?'} already serves {home}.") from None
        file.truncate(0)
        file.write(str(os.getpid()))
        file.flush()
        (home / ENDPOINT).unlink(missing_ok=True)
        yield


@contextlib.contextmanager
def _listen(host: str, port: int) -> Iterator[socket.socket]:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    # IPPROTO_TCP named: asyncio sets TCP_NODELAY only then, and every answer would wait 40 ms without it.
    with socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP) as listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listener.bind((host, port))
            listener.listen(128)
        except OSError as error:
            raise CannotStart(f"{host}:{port} is taken ({error.strerror}).") from None
        yield listener


def _options(arguments: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m caves_dagster.local.warehouse", description=__doc__)
    parser.add_argument("--home", required=True, help="folder of the embedded platform's state")
    parser.add_argument(
        "--host", default="127.0.0.1", help="address to listen on; not a loopback one only with a password"
    )
    parser.add_argument("--port", type=int, default=0, help="port to listen on; 0 takes a free one")
    parser.add_argument("--owner", type=int, help="end when the process with this id is gone")
    parser.add_argument(
        "--transaction-idle-seconds", type=float, default=10.0, help="idle transactions are rolled back"
    )
    parser.add_argument("--database", default="CAVES_ALBERT_DB", help="database that is always there")
    parser.add_argument("--account", default="caves_local")
    parser.add_argument("--user", default="caves")
    parser.add_argument("--password", default=_OPEN_PASSWORD)
    parser.add_argument("--memory-limit", default="2GB", help="DuckDB's")
    parser.add_argument("--threads", type=int, default=max(2, os.cpu_count() or 2), help="DuckDB's")
    parser.add_argument("--log-level", default="info", choices=["debug", "info", "warning", "error"])
    return parser.parse_args(arguments)


if __name__ == "__main__":
    code = main()
    logging.shutdown()
    # Not sys.exit: DuckDB's binding reports its Python functions as leaked when the interpreter is torn down.
    os._exit(code)
