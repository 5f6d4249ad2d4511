"""Which port a server of the platform gets: the one it had, the one it prefers, or any free one."""

from __future__ import annotations

import socket

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
    """A port that was free a moment ago."""
    with socket.socket() as probe:
        probe.bind((host, 0))
        port: int = probe.getsockname()[1]
        return port


def choose(host: str, wanted: int | None) -> int:
    """`wanted` where it is free, else any free port."""
    return wanted if wanted and is_free(host, wanted) else any_free(host)
