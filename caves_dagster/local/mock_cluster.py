"""librdkafka's mock cluster on a fixed port, through ctypes.

The library is the one inside the confluent-kafka wheel; `confluent_kafka` itself is not imported. The mock
binds a random port and has no call to choose another. So the listening socket it opened is found among
this process's descriptors and replaced (dup2) by one bound to the wanted port, and the broker's advertised
address is set to match: clients bootstrap and stay on one stable address, with nothing between them and the
broker. `open_cluster` is to be followed by a real request, which proves the replacement.
"""

from __future__ import annotations

import ctypes
import ctypes.util
import os
import socket
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from caves_dagster.errors import PlatformError

_BROKER_ID = 1
_PRODUCER = 0
_HIGHEST_DESCRIPTOR = 1024
# A consumer group's first rebalance waits this long for more members; the mock's own 3 s only slow a laptop.
_REBALANCE_DELAY_MS = 100

_handle, _text, _int = ctypes.c_void_p, ctypes.c_char_p, ctypes.c_int
_SIGNATURES: dict[str, tuple[Any, list[Any]]] = {
    "rd_kafka_conf_new": (_handle, []),
    "rd_kafka_conf_set": (_int, [_handle, _text, _text, _text, ctypes.c_size_t]),
    "rd_kafka_new": (_handle, [_int, _handle, _text, ctypes.c_size_t]),
    "rd_kafka_destroy": (None, [_handle]),
    "rd_kafka_mock_cluster_new": (_handle, [_handle, _int]),
    "rd_kafka_mock_cluster_destroy": (None, [_handle]),
    "rd_kafka_mock_cluster_bootstraps": (_text, [_handle]),
    "rd_kafka_mock_topic_create": (_int, [_handle, _text, _int, _int]),
    "rd_kafka_mock_set_controller_id": (_int, [_handle, ctypes.c_int32]),
    "rd_kafka_mock_broker_set_host_port": (None, [_handle, ctypes.c_int32, _text, _int]),
    "rd_kafka_mock_group_initial_rebalance_delay_ms": (None, [_handle, ctypes.c_int32]),
}


@dataclass(frozen=True)
class MockCluster:
    """A running mock cluster of one broker, to be closed by the process that opened it."""

    library: ctypes.CDLL
    client: int
    cluster: int
    host: str
    port: int

    def close(self) -> None:
        """End it; every topic and message is gone."""
        self.library.rd_kafka_mock_cluster_destroy(self.cluster)
        self.library.rd_kafka_destroy(self.client)


def open_cluster(host: str, port: int, topics: Mapping[str, int]) -> MockCluster:
    """Start a mock cluster that listens on `host`:`port` (0: any free port).

    Args:
        topics: number of partitions by topic name.

    Raises:
        PlatformError: the port is taken, or librdkafka is not as expected.
    """
    listener = _listen(host, port)
    with listener:
        library = _load_library()
        problem = ctypes.create_string_buffer(512)
        configuration = library.rd_kafka_conf_new()
        # The client never speaks to a broker: without this it warns that it has no bootstrap.servers.
        library.rd_kafka_conf_set(configuration, b"log_level", b"3", problem, len(problem))
        client = library.rd_kafka_new(_PRODUCER, configuration, problem, len(problem))
        cluster = library.rd_kafka_mock_cluster_new(client, 1) if client else None
        if not cluster:
            raise PlatformError(f"librdkafka could not start a mock cluster: {problem.value.decode()}.")
        own_port = int(library.rd_kafka_mock_cluster_bootstraps(cluster).rpartition(b":")[2])
        os.dup2(listener.fileno(), _listening_descriptor(own_port))
        bound_port = listener.getsockname()[1]
    library.rd_kafka_mock_broker_set_host_port(cluster, _BROKER_ID, host.encode(), bound_port)
    # No controller, no describe_topics: the admin client would wait for one until it times out.
    library.rd_kafka_mock_set_controller_id(cluster, _BROKER_ID)
    library.rd_kafka_mock_group_initial_rebalance_delay_ms(cluster, _REBALANCE_DELAY_MS)
    for topic, partitions in topics.items():
        code = library.rd_kafka_mock_topic_create(cluster, topic.encode(), partitions, 1)
        if code:
            raise PlatformError(f"librdkafka refused topic {topic!r} with {partitions} partitions ({code}).")
    return MockCluster(library, client, cluster, host, bound_port)


def _listen(host: str, port: int) -> socket.socket:
    listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((host, port))
        listener.listen(128)
    except OSError as error:
        listener.close()
        raise PlatformError(
            f"The broker cannot listen on {host}:{port}: {error.strerror}.", "Choose another port."
        ) from error
    return listener


def _listening_descriptor(port: int) -> int:
    """The descriptor on which the mock listens."""
    for descriptor in range(_HIGHEST_DESCRIPTOR):
        with suppress(OSError), socket.socket(fileno=os.dup(descriptor)) as candidate:
            listening = candidate.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN)
            if listening and candidate.getsockname()[1] == port:
                return descriptor
    raise PlatformError(f"The mock cluster's listening socket on port {port} was not found.")


def _load_library() -> ctypes.CDLL:
    path = _bundled_library() or ctypes.util.find_library("rdkafka")
    if path is None:
        raise PlatformError(
            "librdkafka was not found: neither in the confluent-kafka wheel nor on this system.",
            "Reinstall confluent-kafka from its wheel.",
        )
    library = ctypes.CDLL(str(path))
    for name, (result, arguments) in _SIGNATURES.items():
        function = getattr(library, name, None)
        if function is None:
            raise PlatformError(f"{path} has no {name}.", "Install the pinned confluent-kafka.")
        function.restype, function.argtypes = result, arguments
    return library


def _bundled_library() -> Path | None:
    """The wheel's own copy: beside the package on Linux, inside it on macOS."""
    package = find_spec("confluent_kafka")
    if package is None or package.origin is None:
        return None
    folder = Path(package.origin).parent
    places = (
        (folder.with_name("confluent_kafka.libs"), "librdkafka*.so*"),
        (folder / ".dylibs", "librdkafka*.dylib"),
    )
    return next((found for place, pattern in places for found in sorted(place.glob(pattern))), None)
