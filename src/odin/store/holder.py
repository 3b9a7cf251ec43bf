"""One server for a data folder and a database: a lock that dies with its holder. Source: reliability.md, F-15."""

from __future__ import annotations

import fcntl
import os
import socket
import time
from pathlib import Path

from odin.model.errors import Conflict

NAMED_BYTES = 256
PATIENCE = 50


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
            holder = _named(self._file)
            os.close(self._file)
            raise Conflict(f"{what} is in use by {holder}; stop that server, or {remedy}") from None
        os.pwrite(self._file, f"process {os.getpid()} on {socket.gethostname()}\n".encode().ljust(NAMED_BYTES), 0)

    def release(self) -> None:
        os.close(self._file)


def _named(file: int) -> str:
    """Who wrote their name; a holder of this moment may not have done so yet, so the dead are asked for again."""
    for _ in range(PATIENCE):
        name = os.pread(file, NAMED_BYTES, 0).decode(errors="replace").strip()
        if name and _may_live(name):
            return name
        time.sleep(0.02)
    return "another process"


def _may_live(name: str) -> bool:
    process, _, host = name.removeprefix("process ").partition(" on ")
    if host != socket.gethostname() or not process.isdigit():
        return True
    try:
        os.kill(int(process), 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        pass
    return True
