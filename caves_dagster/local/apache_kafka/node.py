"""The node under one home: started, looked at, ended, by any process."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from dataclasses import replace
from pathlib import Path

from caves_dagster.errors import PlatformError
from caves_dagster.local import ports
from caves_dagster.local.apache_kafka.artifacts import class_path, class_path_file
from caves_dagster.local.files import held, read_json, write_json
from caves_dagster.local.process import Outcome
from caves_dagster.local.server import HOST, Server, ServerStatus, State

PREFERRED_PORT = 19096
MOST_PARTITIONS = 6
"""Of a topic here: unlike the embedded broker, it keeps what is in them."""
_MODULE = "caves_dagster.local.apache_kafka"


class ApacheKafka:
    """One Kafka node and its data under one home.

    Args:
        home: folder of its state; made when needed.
        preferred_port: tried first where no port is recorded; None: any free one.
        topics: partitions by topic name, made where they are missing.
        settings: broker settings beside those it needs.
        owner: process whose end ends the node too; None: it outlives everything.
        cache: remembers the class path; `home/cache` otherwise.
        timeout_seconds: how long it may take until it answers.
        grace_seconds: how long it may take to end after SIGTERM.
    """

    def __init__(
        self,
        home: Path,
        *,
        preferred_port: int | None = PREFERRED_PORT,
        topics: Mapping[str, int] | None = None,
        settings: Mapping[str, str] | None = None,
        owner: int | None = None,
        cache: Path | None = None,
        timeout_seconds: float = 90.0,
        grace_seconds: float = 20.0,
    ) -> None:
        self.home = home.expanduser().resolve()
        self.cache = cache or self.home / "cache"
        self._preferred_port = preferred_port
        self._topics = topics or {}
        self._timeout_seconds = timeout_seconds
        self._grace_seconds = grace_seconds
        options = [f"--set={name}={value}" for name, value in (settings or {}).items()]
        options += [] if owner is None else [f"--owner={owner}"]
        self._options = tuple(options)
        self._folder = self.home / "kafka"
        self._server = Server("kafka", _MODULE, self.home, self._options)

    @property
    def bootstrap_servers(self) -> str:
        """Where it listens, or did when it last ran; "" where it never did."""
        return str((read_json(self._folder / "address.json") or {}).get("bootstrap_servers", ""))

    @property
    def data(self) -> Path:
        """Its log. Removed while it is stopped, the next start makes another, empty cluster."""
        return self._folder / "data"

    def status(self) -> ServerStatus:
        """What it is doing."""
        found = self._server.status()
        return replace(found, remedy=found.remedy.replace("caves local start", "caves kafka start"))

    def start(self) -> list[str]:
        """Start it unless it runs, wait until it answers, and make its topics.

        Returns:
            What is worth telling: a node that had died, a port that was taken.

        Raises:
            PlatformError: Java or Maven is missing, or the node did not come up (its log is quoted).
        """
        jars = class_path(self.cache)
        with self._locked():
            notes: list[str] = []
            before = self.status()
            if before.state is not State.RUNNING:
                notes += [before.detail] if before.detail else []
                self._server.stop(self._grace_seconds)
                self._launch(jars, notes)
            if self._topics:
                make_topics(self.bootstrap_servers, self._topics, self._timeout_seconds)
            return notes

    def stop(self) -> Outcome:
        """End it; its data and its port are kept."""
        with self._locked():
            return self._server.stop(self._grace_seconds)

    def _launch(self, jars: str, notes: list[str]) -> None:
        known = self.bootstrap_servers.rpartition(":")[2]
        wanted = int(known) if known else self._preferred_port
        port = ports.choose(HOST, wanted, patience_seconds=1.0 if known else 0.0)
        if wanted and wanted != port:
            notes.append(f"Port {wanted} is taken by another program: Kafka listens on {port} instead.")
        java = shutil.which("java") or "java"
        self._server.options = (
            f"--java={java}",
            f"--class-path={class_path_file(self.cache)}",
            *self._options,
        )
        try:
            self._server.launch(port)
            self._server.await_answer(self._timeout_seconds)
        except BaseException:
            self._server.stop(self._grace_seconds)
            raise
        write_json(self._folder / "address.json", {"bootstrap_servers": f"{HOST}:{port}"})

    def _locked(self) -> AbstractContextManager[None]:
        """One command at a time changes what runs under this home."""
        patience = self._timeout_seconds + self._grace_seconds
        return held(self.home / "kafka.lock", "the Kafka", patience)


def make_topics(
    bootstrap_servers: str,
    topics: Mapping[str, int],
    timeout_seconds: float = 30.0,
    config: Mapping[str, str] | None = None,
) -> None:
    """Make those topics that are missing.

    Args:
        topics: partitions by topic name.
        config: settings of each topic that is made.

    Raises:
        PlatformError: the broker does not answer, or refuses.
    """
    from confluent_kafka import KafkaException
    from confluent_kafka.admin import AdminClient
    from confluent_kafka.cimpl import NewTopic

    from caves_dagster.kafka.client import client_config
    from caves_dagster.settings import KafkaSettings

    admin = AdminClient(client_config(KafkaSettings.model_construct(bootstrap_servers=bootstrap_servers)))
    try:
        there = admin.list_topics(timeout=timeout_seconds).topics
        new = [
            NewTopic(name, partitions, 1, config=dict(config or {}))
            for name, partitions in topics.items()
            if name not in there
        ]
        for future in admin.create_topics(new).values() if new else ():
            future.result(timeout_seconds)
    except KafkaException as error:
        raise PlatformError(
            f"Kafka at {bootstrap_servers} did not make its topics: {error.args[0].str()}."
        ) from error


@contextmanager
def running_kafka(
    home: Path, *, settings: Mapping[str, str] | None = None, cache: Path | None = None
) -> Iterator[ApacheKafka]:
    """A node without topics on a free port while the block runs. It ends with this process too."""
    node = ApacheKafka(
        home, preferred_port=None, topics={}, settings=settings, owner=os.getpid(), cache=cache
    )
    node.start()
    try:
        yield node
    finally:
        node.stop()
