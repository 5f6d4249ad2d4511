"""The embedded platform: a Kafka broker and a Snowflake-compatible server under one home.

Both are processes of their own that outlive the command that started them. Their addresses are in
`home/endpoints.json`, which stays when they stop, so that ports do not change from one start to the next.
Several platforms with different homes live side by side.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from caves_dagster.errors import PlatformError
from caves_dagster.local import ports
from caves_dagster.local.broker import DEFAULT_TOPICS
from caves_dagster.local.files import held, write_json
from caves_dagster.local.process import Outcome
from caves_dagster.local.server import HOST, Server, ServerStatus, State
from caves_dagster.settings import ENDPOINTS_FILE, Endpoints

BROKER, WAREHOUSE = "broker", "warehouse"
_MODULES = {BROKER: "caves_dagster.local.broker", WAREHOUSE: "caves_dagster.local.warehouse"}
_LAUNCH_ATTEMPTS = 3
_RELEASE_SECONDS = 1.0


@dataclass(frozen=True)
class PlatformStatus:
    """The platform at one moment."""

    home: Path
    endpoints: Endpoints
    servers: tuple[ServerStatus, ...]

    @property
    def running(self) -> bool:
        """Whether every server answers."""
        return all(server.state is State.RUNNING for server in self.servers)

    def problem(self) -> PlatformError:
        """What is wrong with a platform that is not running, and what to do about it."""
        details = [f"{server.detail} {server.remedy}" for server in self.servers if server.detail]
        if details:
            return PlatformError(" ".join(details))
        states = ", ".join(f"{server.name} {server.state}" for server in self.servers)
        return PlatformError(
            f"The platform in {self.home} is not running ({states}).", "Start it with `caves local start`."
        )


class Platform:
    """The embedded platform under one home. Its methods may be called from any process, at the same time.

    Args:
        home: folder of its state; made when needed.
        preferred_ports: begin with the well-known ports; otherwise with any free ones.
        topics: partitions by topic name; they exist when the broker answers.
        servers: which of the two servers to run.
        owner: process whose end ends the servers too; None: they outlive everything.
        timeout_seconds: how long a server may take until it answers.
        grace_seconds: how long a server may take to end after SIGTERM.
    """

    def __init__(
        self,
        home: Path,
        *,
        preferred_ports: bool = True,
        topics: Mapping[str, int] = DEFAULT_TOPICS,
        servers: tuple[str, ...] = (BROKER, WAREHOUSE),
        owner: int | None = None,
        timeout_seconds: float = 30.0,
        grace_seconds: float = 5.0,
    ) -> None:
        self.home = home.expanduser().resolve()
        self._preferred_ports = preferred_ports
        self._timeout_seconds = timeout_seconds
        self._grace_seconds = grace_seconds
        topic_options = tuple(f"--topic={name}:{partitions}" for name, partitions in topics.items())
        owned = () if owner is None else (f"--owner={owner}",)
        options = {BROKER: (*topic_options, *owned), WAREHOUSE: owned}
        self._servers = [Server(name, _MODULES[name], self.home, options[name]) for name in servers]

    @property
    def endpoints(self) -> Endpoints:
        """The addresses recorded by the last start."""
        return Endpoints.read(self.home)

    def status(self) -> PlatformStatus:
        """What each server is doing."""
        return PlatformStatus(self.home, self.endpoints, tuple(server.status() for server in self._servers))

    def start(self) -> list[str]:
        """Start what is not running and wait until it answers.

        Returns:
            What is worth telling: a server that had died, a port that was taken.

        Raises:
            PlatformError: a server did not come up; those that this call started are ended again.
        """
        with self._locked():
            notes: list[str] = []
            chosen: dict[str, int] = {}
            try:
                for server in self._servers:
                    self._launch(server, chosen, notes)
                for server in self._servers:
                    if server.name in chosen:
                        self._await(server, chosen, notes)
            except BaseException:
                for server in self._servers:
                    if server.name in chosen:
                        server.stop(self._grace_seconds)
                raise
            self._record({server.name: server.status().port for server in self._servers})
            return notes

    def stop(self) -> dict[str, Outcome]:
        """End the servers and their children; how each one ended, by name. Their addresses stay recorded."""
        with self._locked():
            return self._stop()

    def reset(self) -> list[Path]:
        """Stop, and remove all state that this platform made in its home, and nothing else.

        Returns:
            What stands where its state would be, was not made by it, and was left alone.
        """
        with self._locked():
            self._stop()
            left = [folder for server in self._servers if (folder := server.forget())]
            (self.home / ENDPOINTS_FILE).unlink(missing_ok=True)
            for folder in (self.home / "log", self.home / "run"):
                with suppress(OSError):  # somebody else's file is in it
                    folder.rmdir()
            return left

    def _stop(self) -> dict[str, Outcome]:
        return {server.name: server.stop(self._grace_seconds) for server in reversed(self._servers)}

    def _launch(self, server: Server, chosen: dict[str, int], notes: list[str]) -> None:
        """Launch a server that does not run, and note the port it was given."""
        status = server.status()
        if status.state is State.RUNNING:
            return
        if status.detail:
            notes.append(status.detail)
        if status.state is not State.STOPPED:
            server.stop(self._grace_seconds)
        wanted = self._wanted_port(server.name)
        # The kernel closes a killed process's sockets a moment after the process is gone.
        patience = _RELEASE_SECONDS if status.state is State.DEAD and status.port == wanted else 0.0
        chosen[server.name] = ports.choose(HOST, wanted, patience)
        if wanted and wanted != chosen[server.name]:
            notes.append(_moved(server.name, wanted, chosen[server.name]))
        server.launch(chosen[server.name])

    def _await(self, server: Server, chosen: dict[str, int], notes: list[str]) -> None:
        """Wait for a launched server; move it when its port was taken between the choice and the bind."""
        for attempt in range(1, _LAUNCH_ATTEMPTS + 1):
            try:
                server.await_answer(self._timeout_seconds)
                return
            except PlatformError:
                taken = server.status().state is State.DEAD and not ports.is_free(HOST, chosen[server.name])
                if not taken or attempt == _LAUNCH_ATTEMPTS:
                    raise
            before, chosen[server.name] = chosen[server.name], ports.any_free(HOST)
            notes.append(_moved(server.name, before, chosen[server.name]))
            server.launch(chosen[server.name])

    def _wanted_port(self, name: str) -> int | None:
        if not self._preferred_ports and not (self.home / ENDPOINTS_FILE).is_file():
            return None
        endpoints = self.endpoints
        if name == WAREHOUSE:
            return endpoints.snowflake.port
        return int(endpoints.kafka.bootstrap_servers.rpartition(":")[2])

    def _record(self, running: Mapping[str, int | None]) -> None:
        endpoints = self.endpoints
        if port := running.get(BROKER):
            endpoints.kafka.bootstrap_servers = f"{HOST}:{port}"
        if port := running.get(WAREHOUSE):
            endpoints.snowflake.host, endpoints.snowflake.port = HOST, port
        write_json(self.home / ENDPOINTS_FILE, endpoints.model_dump())

    def _locked(self) -> AbstractContextManager[None]:
        """One command at a time changes what runs under this home."""
        patience = 2 * (self._timeout_seconds + self._grace_seconds)
        return held(self.home / "platform.lock", "the platform", patience)


@contextmanager
def running_platform(
    home: Path,
    *,
    preferred_ports: bool = False,
    topics: Mapping[str, int] = DEFAULT_TOPICS,
    servers: tuple[str, ...] = (BROKER, WAREHOUSE),
) -> Iterator[Platform]:
    """A platform that runs while the block does, on free ports unless asked otherwise.

    It ends with this process too, however that ends.
    """
    platform = Platform(
        home, preferred_ports=preferred_ports, topics=topics, servers=servers, owner=os.getpid()
    )
    platform.start()
    try:
        yield platform
    finally:
        platform.stop()


def _moved(name: str, wanted: int, given: int) -> str:
    return f"Port {wanted} is taken by another program: the {name} listens on {given} instead."
