"""The embedded Kafka broker: `python -m caves_dagster.local.broker --home DIR --host 127.0.0.1 --port N`.

librdkafka's mock cluster, one broker, in a process of its own. When it answers, `DIR/broker/endpoint.json`
says where: {"bootstrap_servers", "port", "pid"}. SIGTERM and SIGINT end it with exit code 0; a port that is
taken, with 1 and one line on stderr.

What works as on Kafka: idempotent and keyed producing, every compression, fetching, metadata, topic ids (new
at every start), `list_offsets` latest and earliest (64 partitions in a millisecond), out-of-range positions,
groups and their committed offsets, kcat. What does not, seen with librdkafka 2.16:

- All of it is in memory, and gone when the process ends.
- A partition keeps 5 MiB of record batches, as compressed by their producer, and drops the oldest batch
  without a word; also beyond 100,000 batches (not messages), which 5 MiB never hold.
- The cluster id is made of a memory address: usually another one at each start, but the same at every start
  where address randomisation is off. The topic ids are random.
- Transactions are accepted, and take offsets for their markers, but isolate nothing: `read_committed` readers
  get the messages of open and aborted ones, and the last stable offset is the end offset.
- An empty fetch waits its whole `fetch.wait.max.ms`, even if a record arrives meanwhile. A fetch brings one
  batch of each partition at most.
- A second member joins a group, or leaves it, only after `session.timeout.ms` less a second.
- Whoever asks for the metadata of one unknown topic creates it, with four partitions.
- Not there: creating and deleting topics, describe_configs, delete_records, offsets by timestamp (-1 is
  answered), list_consumer_groups (empty).
"""

from __future__ import annotations

import argparse
import os
import signal
import socket
import struct
import sys
import threading
from collections.abc import Mapping, Sequence
from pathlib import Path

from caves_dagster.errors import PlatformError
from caves_dagster.local.files import write_json
from caves_dagster.local.mock_cluster import open_cluster
from caves_dagster.local.process import end_with

DEFAULT_TOPICS: Mapping[str, int] = {"sales_events": 64, "orders_topic": 3}
_PROOF_TIMEOUT_SECONDS = 5.0


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the broker until a signal ends it."""
    options = _parser().parse_args(arguments)
    ended = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: ended.set())
    end_with(options.owner)
    endpoint = options.home / "broker" / "endpoint.json"
    try:
        cluster = open_cluster(options.host, options.port, dict(options.topic) or DEFAULT_TOPICS)
        _prove(cluster.host, cluster.port)
    except PlatformError as error:
        sys.stderr.write(f"{error}\n")
        return 1
    address = f"{cluster.host}:{cluster.port}"
    write_json(endpoint, {"bootstrap_servers": address, "port": cluster.port, "pid": os.getpid()})
    ended.wait()
    endpoint.unlink(missing_ok=True)
    cluster.close()
    return 0


def _prove(host: str, port: int) -> None:
    """Ask for the API versions, by hand: whoever reads endpoint.json finds a broker that answers."""
    api_versions, version, correlation_id = 18, 0, 7
    request = struct.pack(">hhih", api_versions, version, correlation_id, -1)
    try:
        with socket.create_connection((host, port), timeout=_PROOF_TIMEOUT_SECONDS) as connection:
            connection.sendall(struct.pack(">i", len(request)) + request)
            answer = connection.recv(8, socket.MSG_WAITALL)
    except OSError as error:
        raise PlatformError(f"The broker on {host}:{port} does not answer: {error}.") from error
    if len(answer) < 8 or struct.unpack(">ii", answer)[1] != correlation_id:
        raise PlatformError(f"What answers on {host}:{port} is not this broker.")


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="caves_dagster.local.broker", description="Embedded Kafka broker.")
    parser.add_argument("--home", type=Path, required=True, help="folder of the platform's state")
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=19092, help="0 takes any free port")
    parser.add_argument("--owner", type=int, help="end when the process with this id is gone")
    parser.add_argument(
        "--topic", type=_topic, action="append", default=[], metavar="NAME:PARTITIONS", help="repeatable"
    )
    return parser


def _topic(text: str) -> tuple[str, int]:
    name, _, partitions = text.rpartition(":")
    if not name or not partitions.isdigit() or int(partitions) < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is not NAME:PARTITIONS, as in sales_events:64")
    return name, int(partitions)


if __name__ == "__main__":
    sys.exit(main())
