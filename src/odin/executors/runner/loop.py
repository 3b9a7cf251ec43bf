"""The runner's one thread: children that ended, requests, timers, then one journal write and one send a turn."""

from __future__ import annotations

import os
import select
import signal
import socket
import struct
import sys
import time
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from typing import Any

from . import shutdown
from .adoption import Adopted
from .bodies import Bodies
from .ledger import Ledger
from .requests import Requests
from .spawn import Starter
from .wire import PROTOCOL, Connection, encode

REQUESTS_A_TURN = 16  # so that ends do not wait behind a long row of launches
MOST_PEERS = 8
LINGER_S = 30.0  # how long a runner with nothing to do waits for its server
HOLD_S = 0.02
STARTED = '{"op":"started"'


class Loop:
    def __init__(
        self,
        listener: socket.socket,
        poll: select.poll,
        *,
        ledger: Ledger,
        bodies: Bodies,
        adopted: Adopted,
        requests: Requests,
        starter: Starter,
        facts: dict[str, Any],
        stay: bool,
        reach: Callable[[str], None],
    ) -> None:
        self._listener = listener
        self._poll = poll
        self._ledger = ledger
        self._bodies = bodies
        self._adopted = adopted
        self._requests = requests
        self._starter = starter
        self._facts = facts
        self._stay = stay
        self._reach = reach
        self._peers: dict[int, Connection] = {}
        self._server: Connection | None = None
        self._inbox: deque[dict[str, Any]] = deque()
        self._lines: list[str] = []
        self._held: float | None = None
        self._leaving = False
        self._asked = False
        self._alone_since = time.monotonic()
        self.upgrade: list[str] | None = None
        self._alarm = _alarm(self._ask_to_leave)
        poll.register(listener, select.POLLIN)
        poll.register(self._alarm, select.POLLIN)

    def run(self) -> None:
        """Until there is nothing to do and nobody to do it for, or an upgrade was asked for."""
        self.upgrade = None
        while not (self._idle() or self.upgrade):
            for fd, _ in self._poll.poll(self._patience_ms()):
                self._attend(fd)
            self._reap()
            lines = self._serve()
            self._heed()
            now = time.monotonic()
            self._bodies.advance(now)
            self._adopted.look(now)
            ends = self._bodies.settle()
            self._ledger.flush()  # before the signals: a stop that began is seen through
            self._bodies.signal_all()
            for _ in ends:
                self._reach("runner:after-end")
            self._sync(now)
            self._send(lines + ends, now)

    def _idle(self) -> bool:
        if self._bodies.by_id or (self._stay and not self._leaving):
            return False
        if self._leaving:
            return True
        return self._server is None and time.monotonic() - self._alone_since > LINGER_S

    def _patience_ms(self) -> float:
        if self._inbox:
            return 0
        now = time.monotonic()
        held = None if self._held is None else max(0.0, self._held - now)
        waits = [self._bodies.next_in(now), self._adopted.next_in(), self._ledger.sync_in(now), held, LINGER_S]
        return 1000 * min(wait for wait in waits if wait is not None) + 1

    def _attend(self, fd: int) -> None:
        if fd == self._alarm.fileno():
            with suppress(BlockingIOError):
                self._alarm.recv(1 << 16)
        elif fd == self._listener.fileno():
            self._accept()
        elif fd in self._peers:
            self._hear(self._peers[fd])
        else:
            self._adopted.readable(fd)

    def _reap(self) -> None:
        with suppress(ChildProcessError):
            while True:
                pid, status, usage = os.wait4(-1, os.WNOHANG)
                if not pid:
                    return
                self._bodies.reaped(pid, status, usage)

    def _serve(self) -> list[str]:
        """What a server said before it went away still counts, until another one comes."""
        lines: list[str] = []
        for _ in range(min(REQUESTS_A_TURN, len(self._inbox))):
            request = self._inbox.popleft()
            try:
                lines += self._answer(request)
            except (KeyError, TypeError, ValueError) as error:
                print(f"bad request {str(request)[:200]}: {error!r}", file=sys.stderr, flush=True)
        return lines

    def _answer(self, request: dict[str, Any]) -> list[str]:
        if request["op"] == "bye":
            self._leaving = not self._stay
            return []
        if request["op"] == "upgrade":
            self.upgrade = None if self._ledger.full else request["argv"]
            return []
        return self._requests.answer(request)

    def _accept(self) -> None:
        sock, _ = self._listener.accept()
        if len(self._peers) >= MOST_PEERS or not _trusted(sock):
            sock.close()
            return
        peer = Connection(sock)
        self._peers[peer.fd] = peer
        self._poll.register(peer.fd, select.POLLIN)

    def _hear(self, peer: Connection) -> None:
        alive = peer.read() and peer.flush()
        if peer is not self._server and peer.requests:
            alive = alive and self._greet(peer)
        if alive:
            self._listen(peer)
        else:
            self._drop(peer)

    def _greet(self, peer: Connection) -> bool:
        """The newest server to say hello is the server; what an older one still had to say is discarded."""
        hello = peer.requests.popleft()
        fits = hello.get("op") == "hello" and hello.get("protocol") == PROTOCOL
        answer = {"op": "hello", "protocol": PROTOCOL, **self._facts, "pipelines": self._ledger.pipelines}
        if not fits or hello.get("boot") not in (None, self._ledger.boot):
            peer.send([encode(answer)])
            return False
        if self._server:
            self._requests.suspect = False
            self._drop(self._server)
        self._server, self._inbox, self._leaving = peer, peer.requests, False
        self._lines = []
        self._starter.greet(hello["env"], hello["user"])
        return peer.send([encode(answer), *self._ledger.unacknowledged()])

    def _listen(self, peer: Connection) -> None:
        self._poll.modify(peer.fd, select.POLLIN | (select.POLLOUT if peer.pending else 0))

    def _drop(self, peer: Connection) -> None:
        del self._peers[peer.fd]
        self._poll.unregister(peer.fd)
        peer.close()
        if peer is self._server:
            self._server = None
            self._requests.suspect = False
            self._alone_since = time.monotonic()

    def _sync(self, now: float) -> None:
        if self._ledger.sync_in(now) == 0:
            self._ledger.sync()

    def _send(self, lines: list[str], now: float) -> None:
        """Starts wait a little for company: nothing hangs on them, and many tasks end before they are told."""
        if self._held is None and lines:
            self._held = now + HOLD_S
        self._lines += lines
        urgent = any(not line.startswith(STARTED) for line in lines)
        if self._held is None or not (urgent or now >= self._held):
            return
        lines, self._lines, self._held = self._lines, [], None
        if self._server and self._server.send(lines):
            self._listen(self._server)
        elif self._server:
            self._drop(self._server)

    def _ask_to_leave(self, *_: object) -> None:
        """SIGTERM: the runner ends when nothing runs any more."""
        self._leaving = self._asked = True

    def _heed(self) -> None:
        """Of a machine that shuts down whatever runs is stopped, so that it ends while somebody can see it."""
        asked, self._asked = self._asked, False
        if asked and shutdown.is_near():
            for body in list(self._bodies.by_id.values()):
                self._bodies.stop(body, shutdown.stop(body.grace_s))


def _alarm(leave: Callable[..., None]) -> socket.socket:
    """A socket that becomes readable when a child ends."""
    read, write = socket.socketpair()
    read.setblocking(False)
    write.setblocking(False)
    signal.set_wakeup_fd(write.detach(), warn_on_full_buffer=False)
    signal.signal(signal.SIGCHLD, lambda *_: None)
    signal.signal(signal.SIGTERM, leave)
    for number in (signal.SIGINT, signal.SIGHUP):  # not SIG_IGN: tasks would inherit that
        signal.signal(number, lambda *_: None)
    return read


def _trusted(sock: socket.socket) -> bool:
    """Only our own user and root may talk to us; the socket's mode says the same."""
    if not hasattr(socket, "SO_PEERCRED"):
        return True
    _, uid, _ = struct.unpack("3i", sock.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12))
    return uid in (0, os.getuid())
