"""Who has a data folder and a database file: locks that die with their holders. Source: reliability.md, F-15."""

from __future__ import annotations

import fcntl
import os
import secrets
import socket
import time
from contextlib import suppress
from itertools import count
from pathlib import Path

from odin.model.errors import Conflict, NotAllowed

NAMED_BYTES = 256
PATIENCE = 50


class Holder:
    """Holds a lock file until ``release`` or the end of the process, however that ends."""

    def __init__(self, path: Path, what: str, remedy: str, *, shared: bool = False) -> None:
        """Raises Conflict, naming the holder's process and host, if somebody else has the lock.

        ``what`` is locked, in words; ``remedy`` says what else can be done than stopping the holder. ``shared``: with
        others who say so too.
        """
        self._what, self._how = what, fcntl.LOCK_SH if shared else fcntl.LOCK_EX
        self._file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            _take(self._file, self._how)
        except BlockingIOError:
            holder = _named(self._file)
            os.close(self._file)
            raise Conflict(f"{what} is in use by {holder}; stop that server, or {remedy}") from None
        os.pwrite(self._file, f"process {os.getpid()} on {socket.gethostname()}\n".encode().ljust(NAMED_BYTES), 0)

    def claim(self, path: Path, store: str) -> None:
        """Note in ``path`` which store it is held for, as all do who hold it together.

        Raises Conflict while others hold it for another store: each would remove what it does not know.
        """
        _make_once(path, store)
        if path.read_text() == store:
            return
        try:
            _take(self._file, fcntl.LOCK_EX)
        except BlockingIOError:
            said = f"{self._what} is in use by {_named(self._file)}, on another database"
            raise Conflict(f"{said}; stop that server, or give this one another --data") from None
        fresh = path.with_name(f"{path.name}.{os.getpid()}")
        fresh.write_text(store)
        fresh.replace(path)
        _take(self._file, self._how)

    def release(self) -> None:
        os.close(self._file)


class Seat:
    """One of the places of the servers that share a data folder. Whoever had this ``number`` before is dead."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir(mode=0o700, exist_ok=True)
        for number in count(1):
            self._file = os.open(folder / f"{number}.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
            try:
                fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                os.close(self._file)
            else:
                self.number = number
                return

    def release(self) -> None:
        os.close(self._file)


def holder_of(path: Path) -> str | None:
    """Who holds a lock file, or one of them; None if nobody does, or it is not there.

    Whoever takes it just now must try again.
    """
    try:
        file = os.open(path, os.O_RDWR | os.O_CLOEXEC)
    except FileNotFoundError:
        return None
    try:
        _take(file, fcntl.LOCK_EX)
    except BlockingIOError:
        return _named(file)
    finally:
        os.close(file)
    return None


def check_owner(folder: Path) -> None:
    """Raises NotAllowed for another user than the folder's: the server could not use what that one makes there."""
    owner = folder.stat().st_uid
    if owner != os.geteuid():
        raise NotAllowed(f"{folder} belongs to the user with the id {owner}; run this as that user")


def _take(file: int, how: int) -> None:
    """Whoever only looks (``holder_of``) is gone in a moment: another try tells."""
    try:
        fcntl.flock(file, how | fcntl.LOCK_NB)
    except BlockingIOError:
        time.sleep(0.02)
        fcntl.flock(file, how | fcntl.LOCK_NB)


def data_id(folder: Path) -> str:
    """What a data folder is called, made once, whoever comes first. For who holds its lock."""
    path = folder / "id"
    _make_once(path, secrets.token_hex(16))
    return path.read_text().strip()


def _make_once(path: Path, text: str) -> None:
    """A file with all of the text, unless somebody else was quicker."""
    if not path.exists():
        fresh = path.with_name(f"{path.name}.{os.getpid()}")
        fresh.write_text(text)
        with suppress(FileExistsError):
            os.link(fresh, path)
        fresh.unlink()


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
