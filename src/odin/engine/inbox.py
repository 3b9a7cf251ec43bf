"""What waits for the engine's next turn: events from other threads, and who waits for their commit."""

from __future__ import annotations

import os
import socket
import threading
from collections import deque
from concurrent.futures import Future
from dataclasses import dataclass, field

from odin.model.commands import Event
from odin.store.commit import Promise


@dataclass(frozen=True, slots=True)
class Item:
    """One event; ``done`` resolves once what it changed is committed. ``promise`` is an answer to keep with it."""

    event: Event
    done: Future[None] | None = None
    promise: Promise | None = None


@dataclass(slots=True)
class Inbox:
    """A queue with a descriptor that is readable while something is in it."""

    _items: deque[Item] = field(default_factory=deque)
    _lock: threading.Lock = field(default_factory=threading.Lock)
    _ends: tuple[socket.socket, socket.socket] = field(default_factory=socket.socketpair)
    _rung: bool = False

    def __post_init__(self) -> None:
        for end in self._ends:
            end.setblocking(False)

    def fileno(self) -> int:
        return self._ends[0].fileno()

    def put(self, item: Item) -> None:
        """Add an event from any thread; wakes the engine if it sleeps."""
        with self._lock:
            self._items.append(item)
            self._ring()

    def ring(self) -> None:
        """Wake the engine without an event."""
        with self._lock:
            self._ring()

    def take(self, most: int) -> list[Item]:
        """Up to ``most`` events, oldest first; the descriptor stays readable if there are more."""
        with self._lock:
            taken = [self._items.popleft() for _ in range(min(most, len(self._items)))]
            if not self._items and self._rung:
                os.read(self.fileno(), 1)
                self._rung = False
        return taken

    def _ring(self) -> None:
        """Under the lock, or ``take`` could look for the byte before it was sent."""
        if not self._rung:
            self._ends[1].send(b"\0")
            self._rung = True

    def close(self) -> None:
        for end in self._ends:
            end.close()
