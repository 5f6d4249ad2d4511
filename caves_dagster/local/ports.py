"""Which port a server of the platform gets: the one it had, the one it prefers, or any free one."""

from __future__ import annotations

import secrets
import socket
import time

# Below the ranges from which Linux (32768) and macOS (49152) number outgoing connections.
_LISTENING_PORTS = range(20_000, 32_000)
_CONNECT_TIMEOUT_SECONDS = 0.5


def answers(host: str, port: int) -> bool:
    """Whether something accepts connections there."""
    with socket.socket() as probe:
        probe.settimeout(_CONNECT_TIMEOUT_SECONDS)
        return probe.connect_ex((host, port)) == 0


def is_free(host: str, port: int) -> bool:
    """Whether a server could listen there now."""
    # macOS lets a bind to 127.0.0.1 pass while another process listens on every address.
    if answers(host, port):
        return False
    with socket.socket() as probe:
        # Without it, connections in TIME_WAIT after a restart would make our own port look taken.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError:
            return False
    return True


def any_free(host: str) -> int:
    """A port that was free a moment ago.

    Not one the system would pick: it lends those to outgoing connections, which could take the port while
    the server that should keep it is stopped.
    """
    candidates = iter(lambda: secrets.choice(_LISTENING_PORTS), None)
    return next(port for port in candidates if is_free(host, port))


def choose(host: str, wanted: int | None, patience_seconds: float = 0.0) -> int:
    """`wanted` where it is free, or gets so within the patience; else any free port."""
    if not wanted:
        return any_free(host)
    deadline = time.monotonic() + patience_seconds
    while not (free := is_free(host, wanted)) and time.monotonic() < deadline:
        time.sleep(0.02)
    return wanted if free else any_free(host)
