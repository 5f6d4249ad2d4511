"""The services of docker-compose.yml as processes of this machine: same commands, environments, checks.

What a container would do for them is replaced, and nothing else: service names become 127.0.0.1, ports free
ones, `/app` a folder that holds what the image holds there, `/run/secrets` another one. Services with images
of their own (Redpanda, PostgreSQL, …) are whatever the test puts in their place.
"""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import yaml

from caves_dagster.local import ports
from caves_dagster.settings import PROJECT_ROOT

HOST = "127.0.0.1"
# Where each one listens within the network.
PORTS = {
    "redpanda": 9092,
    "postgres": 5432,
    "warehouse": 19094,
    "code-location": 4000,
    "webserver": 3000,
    "dashboard": 8501,
    "consumer": 8000,
    "metrics": 8000,
}
_VARIABLE = re.compile(r"\$\{([A-Z_]+)(?::([-?])([^}]*))?\}")


def compose_services() -> dict[str, dict[str, Any]]:
    """The services by name, as they are written."""
    text = (PROJECT_ROOT / "docker-compose.yml").read_text(encoding="utf-8")
    found: dict[str, dict[str, Any]] = yaml.safe_load(text)["services"]
    return found


class Stack:
    """Starts services and what they depend on, in the file's own order; `down` ends them.

    Args:
        folder: for the image's files, the secrets and the logs.
        provided: ports of the services that run already, by name.
        variables: what `.env` sets.
        secrets: what the files in `secrets/` hold, by name.
    """

    def __init__(
        self,
        folder: Path,
        provided: Mapping[str, int],
        variables: Mapping[str, str],
        secrets: Mapping[str, str],
    ) -> None:
        self.services = compose_services()
        self.ports = {name: provided.get(name) or ports.any_free(HOST) for name in PORTS}
        self.processes: dict[str, subprocess.Popen[bytes]] = {}
        self._variables = variables
        # What is provided is there and well, and so is what it would have needed.
        self._well = {*provided, "topics"}
        self._log, self.app, self._secrets = folder / "log", folder / "app", folder / "secrets"
        self._lay_out(secrets)

    def up(self, *names: str) -> None:
        """Start services once what they depend on is as far as the file says."""
        for name in names:
            if name in self._well or name in self.processes:
                continue
            for other, wanted in self.services[name].get("depends_on", {}).items():
                self.up(other)
                self._await(other, wanted["condition"])
            self._start(name)

    def is_healthy(self, name: str) -> bool:
        """Whether the service's own health check succeeds."""
        program, *arguments = self.services[name]["healthcheck"]["test"][1:]
        done = subprocess.run(
            self._command(name, [program, *arguments]),
            cwd=self.app,
            env=self._environment(name),
            capture_output=True,
            timeout=120,
        )
        return done.returncode == 0

    def await_health(self, *names: str) -> None:
        """Wait until services are healthy."""
        for name in names:
            self._await(name, "service_healthy")

    def down(self, names: Iterable[str] = ()) -> dict[str, int]:
        """End services as `docker stop` does, the last started first; exit codes by name."""
        codes = {}
        for name in list(names) or [*reversed(self.processes)]:
            process = self.processes.pop(name)
            if process.poll() is None:
                process.send_signal(signal.SIGTERM)
            try:
                codes[name] = process.wait(30)
            except subprocess.TimeoutExpired:
                os.killpg(process.pid, signal.SIGKILL)
                codes[name] = process.wait(10)
        return codes

    def said(self, name: str) -> str:
        """What a service printed."""
        return (self._log / f"{name}.log").read_text(encoding="utf-8", errors="replace")

    def _start(self, name: str) -> None:
        with (self._log / f"{name}.log").open("ab") as log:
            self.processes[name] = subprocess.Popen(
                self._command(name, self.services[name]["command"]),
                cwd=self.app,
                env=self._environment(name),
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )

    def _await(self, name: str, condition: str, seconds: float = 300.0) -> None:
        if name in self._well:
            return
        deadline = time.monotonic() + seconds
        process = self.processes[name]
        while True:
            code = process.poll()
            if condition == "service_completed_successfully" and code == 0:
                break
            assert code is None, f"{name} ended with {code}: {self.said(name)}"
            if condition == "service_healthy" and self.is_healthy(name):
                break
            assert time.monotonic() < deadline, f"{name} does not get {condition}: {self.said(name)}"
            time.sleep(0.2)

    def _command(self, name: str, command: list[str]) -> list[str]:
        program, *arguments = (self._localised(name, word) for word in command)
        return [str(Path(sys.executable).with_name(program)), *arguments]

    def _environment(self, name: str) -> dict[str, str]:
        service = self.services[name]
        found = {"PATH": f"{Path(sys.executable).parent}:/usr/bin:/bin", "HOME": str(self.app)}
        found |= {"CAVES_ENV_FILE": os.devnull, "CAVES_SECRETS_DIR": os.devnull, "PYTHONUNBUFFERED": "1"}
        if "./secrets:/run/secrets:ro" in service["volumes"]:
            found["CAVES_SECRETS_DIR"] = str(self._secrets)
        if "env_file" in service:
            found |= self._variables
        return found | {key: self._localised(name, value) for key, value in service["environment"].items()}

    def _localised(self, name: str, text: str) -> str:
        text = _VARIABLE.sub(self._variable, text)
        for other, port in PORTS.items():
            text = re.sub(rf"\b{other}:{port}\b", f"{HOST}:{self.ports[other]}", text)
        if name in PORTS:
            text = re.sub(rf"(?<![\w.]){PORTS[name]}\b", str(self.ports[name]), text)
        return text.replace("0.0.0.0", HOST).replace("/app", str(self.app))

    def _variable(self, found: re.Match[str]) -> str:
        name, kind, rest = found.groups()
        value = self._variables.get(name, "")
        assert value or kind == "-", f"{name} is not set: {rest}"
        return value or rest

    def _lay_out(self, secrets: Mapping[str, str]) -> None:
        """The image's folders, with the files that its Dockerfile puts there."""
        written = [self.app / name for name in ("dagster/storage", ".caves", "data")]
        for folder in (*written, self._log, self._secrets):
            folder.mkdir(parents=True)
        for name, value in secrets.items():
            (self._secrets / name).write_text(value, encoding="utf-8")
        docker = PROJECT_ROOT / "docker"
        instance = [PROJECT_ROOT / "dagster.yaml", docker / "storage.yaml"]
        (self.app / "dagster" / "dagster.yaml").write_text("".join(path.read_text() for path in instance))
        workspace = yaml.safe_load((docker / "workspace.yaml").read_text())
        self._point_here(workspace["load_from"][0]["grpc_server"])
        (self.app / "dagster" / "workspace.yaml").write_text(yaml.safe_dump(workspace))
        endpoints = json.loads((docker / "endpoints.json").read_text())
        self._point_here(endpoints["snowflake"])
        (self.app / ".caves" / "endpoints.json").write_text(json.dumps(endpoints))

    def _point_here(self, address: dict[str, Any]) -> None:
        assert address["port"] == PORTS[address["host"]]
        address |= {"host": HOST, "port": self.ports[address["host"]]}
