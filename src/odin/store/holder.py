"""One server for a data folder and a database: a lock that dies with its holder and names it. Source: reliability.md, F-15."""

from __future__ import annotations

import fcntl
import os
import socket
from pathlib import Path

from odin.model.errors import Conflict


class Holder:
    """Holds a lock file until ``release`` or the end of the process, however that ends."""

    def __init__(self, path: Path, what: str, remedy: str) -> None:
        """Raises Conflict, naming the holder's process and host, if somebody else has the lock.

        ``what`` is locked, in words; ``remedy`` says what else can be done than stopping the holder.
        """
        self._file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            holder = os.pread(self._file, 256, 0).decode(errors="replace").strip() or "another process"
            os.close(self._file)
            raise Conflict(f"{what} is in use by {holder}; stop that server, or {remedy}") from None
        os.ftruncate(self._file, 0)
        os.pwrite(self._file, f"process {os.getpid()} on {socket.gethostname()}\n".encode(), 0)

    def release(self) -> None:
        os.close(self._file)
