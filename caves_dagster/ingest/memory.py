"""What keeps the memory of a long run flat beside the bounds of its batches."""

from __future__ import annotations

import ctypes
from contextlib import suppress

_M_MMAP_THRESHOLD = -3
_LARGE_BYTES = 128 * 2**10


def return_large_blocks() -> None:
    """Let freed blocks of 128 KiB and more go back to the system at once, where the C library is glibc.

    It begins so, but raises its limit to the largest block it has seen freed. From then on large messages and
    columns lie among the small objects of each thread's heap, which cannot shrink: seen to cost 140 MB with
    messages of 1 MiB, and 20 MB with events of 500 bytes.
    """
    # Others (musl, macOS) have no such function, and their own ways.
    with suppress(AttributeError):
        ctypes.CDLL(None).mallopt(_M_MMAP_THRESHOLD, _LARGE_BYTES)
