"""`python -m caves_dagster.local.apache_kafka --home DIR --host 127.0.0.1 --port N`: becomes the broker.

The process formats its storage if that is new, then turns into Java (exec), so that the process on record is
the broker itself: a signal sent to it reaches Kafka. Before that it leaves a small companion behind, which
writes `DIR/kafka/endpoint.json` once the broker listens, and ends the broker when its owner is gone.
"""

from __future__ import annotations

import argparse
import base64
import os
import signal
import subprocess
import sys
import time
import uuid
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

import psutil

from caves_dagster.local import ports
from caves_dagster.local.apache_kafka.artifacts import LOGGING
from caves_dagster.local.files import write_json

NODE_ID = 1
HEAP = ("-Xms128m", "-Xmx512m")
_LOOK_SECONDS = 0.1
_GRACE_SECONDS = 10.0


def main(arguments: Sequence[str] | None = None) -> int:
    """Prepare, and become Java."""
    options = _parser().parse_args(arguments)
    folder: Path = options.home / "kafka"
    environment = os.environ | {"CLASSPATH": options.class_path.read_text(encoding="utf-8").strip()}
    broker = os.getpid()
    if os.fork() == 0:
        _accompany(psutil.Process(broker), options.owner, folder, options.host, options.port)
        os._exit(0)
    properties = folder / "server.properties"
    properties.write_text(
        _properties(options.host, options.port, folder / "data", options.set), encoding="utf-8"
    )
    java = [options.java, f"-Dlog4j2.configurationFile={LOGGING}"]
    if not (folder / "data" / "meta.properties").is_file():
        command = [*java, "-Xmx128m", "-XX:TieredStopAtLevel=1", "kafka.tools.StorageTool", "format"]
        command += ["--cluster-id", _cluster_id(), "--config", str(properties)]
        done = subprocess.run(command, env=environment, check=False)
        if done.returncode:
            return done.returncode
    command = [
        *java,
        *HEAP,
        "-XX:+UseSerialGC",
        "-XX:+ExitOnOutOfMemoryError",
        "kafka.Kafka",
        str(properties),
    ]
    os.execve(options.java, command, environment)


def _properties(host: str, port: int, data: Path, more: Sequence[str]) -> str:
    """`server.properties` of a single node that is broker and controller."""
    controller = ports.any_free(host)
    settings = {
        "process.roles": "broker,controller",
        "node.id": NODE_ID,
        "controller.quorum.voters": f"{NODE_ID}@{host}:{controller}",
        "controller.listener.names": "CONTROLLER",
        "listeners": f"PLAINTEXT://{host}:{port},CONTROLLER://{host}:{controller}",
        "advertised.listeners": f"PLAINTEXT://{host}:{port}",
        "listener.security.protocol.map": "PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT",
        "log.dirs": data,
        "auto.create.topics.enable": "false",
        # Above this project's own limit of an event (CAVES_MAX_EVENT_BYTES).
        "message.max.bytes": 8 * 2**20,
        "offsets.topic.replication.factor": 1,
        "offsets.topic.num.partitions": 4,
        "transaction.state.log.replication.factor": 1,
        "transaction.state.log.min.isr": 1,
        "transaction.state.log.num.partitions": 4,
        "group.initial.rebalance.delay.ms": 100,
    }
    settings |= dict(_setting(text) for text in more)
    return "".join(f"{name}={value}\n" for name, value in settings.items())


def _cluster_id() -> str:
    """A new one, in Kafka's spelling: 16 bytes in base64, not beginning like an option."""
    while True:
        text = base64.urlsafe_b64encode(uuid.uuid4().bytes).decode().rstrip("=")
        if not text.startswith("-"):
            return text


def _accompany(broker: psutil.Process, owner: int | None, folder: Path, host: str, port: int) -> None:
    """Announce the broker while it listens; end it when its owner is gone."""
    endpoint = folder / "endpoint.json"
    announced = False
    try:
        master = psutil.Process(owner) if owner is not None else None
    except psutil.NoSuchProcess:
        _end(broker)
        return
    while _lives(broker):
        if master is not None and not _lives(master):
            _end(broker)
        if not announced and ports.answers(host, port):
            content = {"bootstrap_servers": f"{host}:{port}", "port": port, "pid": broker.pid}
            write_json(endpoint, content)
            announced = True
        time.sleep(_LOOK_SECONDS if not announced else 5 * _LOOK_SECONDS)


def _lives(process: psutil.Process) -> bool:
    with suppress(psutil.Error):
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    return False


def _end(process: psutil.Process) -> None:
    with suppress(psutil.Error):
        process.send_signal(signal.SIGTERM)
        psutil.wait_procs([process], timeout=_GRACE_SECONDS)
        process.kill()


def _setting(text: str) -> tuple[str, str]:
    name, _, value = text.partition("=")
    return name, value


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="caves_dagster.local.apache_kafka", description="Apache Kafka.")
    parser.add_argument("--home", type=Path, required=True, help="folder of the platform's state")
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--owner", type=int, help="end when the process with this id is gone")
    parser.add_argument("--java", default="java", help="path of the Java launcher")
    parser.add_argument("--class-path", type=Path, required=True, help="file that holds the class path")
    parser.add_argument("--set", action="append", default=[], metavar="NAME=VALUE", help="broker setting")
    return parser


if __name__ == "__main__":
    sys.exit(main())
