"""What waits for a peer to be taken, and whether it takes any of it. Source: reliability.md, F-72."""

from __future__ import annotations

import array
import asyncio
import fcntl
import termios
from contextlib import suppress

LEAST_BYTES_PER_S = 1_000


class Backlog:
    """The bytes that wait now. A slow peer is one that takes less than 1 kB/s of them, not one with much to take."""

    def __init__(self, transport: asyncio.Transport, within_s: float) -> None:
        self.bytes = waiting(transport)
        self._transport = transport
        self._least = LEAST_BYTES_PER_S * within_s

    @property
    def shrank(self) -> bool:
        """Asked after ``within_s``: whether enough of it was taken."""
        return self.bytes - waiting(self._transport) >= self._least


def waiting(transport: asyncio.Transport) -> int:
    """Bytes that the peer has not taken yet, here and in the kernel, which alone may hold megabytes."""
    count = array.array("i", [0])
    with suppress(OSError, ValueError):
        fcntl.ioctl(transport.get_extra_info("socket").fileno(), termios.TIOCOUTQ, count)
    return transport.get_write_buffer_size() + count[0]
