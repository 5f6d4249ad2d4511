"""A PostgreSQL server of the tests' own: Debian's package, on a free port, in a folder of its own."""

from __future__ import annotations

import os
import pwd
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from caves_dagster.local import ports
from caves_dagster_tests.brokers import until

HOST = "127.0.0.1"


@dataclass(frozen=True)
class Postgres:
    """A running server with one empty database, named like its user."""

    port: int
    user: str
    password: str
    programs: Path

    def query(self, sql: str) -> str:
        """What psql prints, without decoration."""
        address = ["-h", HOST, "-p", str(self.port), "-U", self.user, "-d", self.user]
        done = subprocess.run(
            [self.programs / "psql", *address, "-Atc", sql],
            env={"PGPASSWORD": self.password},
            capture_output=True,
            text=True,
            check=True,
            timeout=30,
        )
        return done.stdout.strip()


def require_postgres() -> Path:
    """Folder of its programs; without them the test is skipped, on CI it fails."""
    debian = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"))
    if found := debian[-1] if debian else shutil.which("initdb"):
        return Path(found).parent
    problem = "PostgreSQL's initdb is not installed (Debian's package `postgresql`)."
    if os.environ.get("CI", "").lower() in ("true", "1"):
        pytest.fail(f"CI has to run the stack on a real PostgreSQL. {problem}", pytrace=False)
    pytest.skip(problem)


@contextmanager
def running_postgres(user: str, password: str) -> Iterator[Postgres]:
    """A server that asks for the password, while the block runs."""
    programs = require_postgres()
    # Not under pytest's folder: the server does not run as root, and nobody else may look into that.
    with tempfile.TemporaryDirectory(prefix="caves-postgres-") as name:
        folder, owner = Path(name), _owner()
        data, secret = folder / "data", folder / "password"
        secret.write_text(password, encoding="utf-8")
        if owner:
            for path in (folder, secret):
                shutil.chown(path, owner)

        def run(program: str, *arguments: str | Path) -> None:
            environment = {"PGPASSWORD": password}
            command = [programs / program, *arguments]
            done = subprocess.run(
                command, cwd=folder, env=environment, user=owner, capture_output=True, text=True, timeout=120
            )
            assert done.returncode == 0, done.stderr

        sign_in = ("--auth=scram-sha-256", f"--username={user}", f"--pwfile={secret}")
        run("initdb", "-D", data, "--no-sync", *sign_in)
        port = ports.any_free(HOST)
        options = {"port": port, "listen_addresses": HOST, "unix_socket_directories": folder, "fsync": "off"}
        with (folder / "log").open("wb") as log:
            server = subprocess.Popen(
                [programs / "postgres", "-D", data, *(f"--{key}={value}" for key, value in options.items())],
                cwd=folder,
                env={},
                user=owner,
                stdout=log,
                stderr=subprocess.STDOUT,
            )
        try:
            until(lambda: ports.answers(HOST, port), "PostgreSQL answers", 60)
            run("createdb", f"--host={HOST}", f"--port={port}", f"--username={user}", user)
            yield Postgres(port, user, password, programs)
        finally:
            # Clients are cut off, what is committed stays.
            server.send_signal(signal.SIGINT)
            server.wait(30)


def _owner() -> str | None:
    """Whom to run it as where we are root, as which it refuses to run."""
    if os.geteuid() != 0:
        return None
    names = {entry.pw_name for entry in pwd.getpwall()}
    return "postgres" if "postgres" in names else "nobody"
