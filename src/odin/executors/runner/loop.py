"""The runner's one thread: children that ended, requests, timers, then one journal write and one send a turn."""

from __future__ import annotations

import os
import select
import signal
import socket
import struct
import sys
import time
from collections.abc import Callable, Iterable
from contextlib import suppress
from functools import partial
from typing import Any

from . import shutdown
from .adoption import Adopted
from .bodies import Bodies
from .ledger import Ledger, pipeline_of
from .requests import Requests
from .servers import Server, Servers
from .wire import PROTOCOL, Connection, encode

REQUESTS_A_TURN = 16  # of each server: ends do not wait behind a long row of launches
MOST_PEERS = 64
FULL_S = 0.5  # until a full disk is looked at again
LINGER_S = 30.0  # how long a runner with nothing to do waits for a server


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
        servers: Servers,
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
        self._servers = servers
        self._facts = facts
        self._stay = stay
        self._reach = reach
        self._peers: dict[int, Connection] = {}
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
            self._serve()
            self._heed()
            now = time.monotonic()
            self._bodies.advance(now)
            self._adopted.look(now)
            ends = self._bodies.settle()
            if self._ledger.recovers() or ends:
                self._try(self._requests.start, "a launch that waited")
            self._ledger.flush()  # before the signals: a stop that began is seen through
            self._bodies.signal_all()
            for _ in ends:
                self._reach("runner:after-end")
            self._sync(now)
            begun, self._requests.begun = self._requests.begun, []
            self._tell([*begun, *ends], now)
            self._send(now)
            for _ in begun:
                self._reach("runner:told")

    def _idle(self) -> bool:
        if self._bodies.by_id or (self._stay and not self._leaving):
            return False
        if self._leaving:
            return True
        return not self._servers.connected and time.monotonic() - self._alone_since > LINGER_S

    def _patience_ms(self) -> float:
        if self._servers.talking():
            return 0
        now = time.monotonic()
        waits = [self._bodies.next_in(now), self._adopted.next_in(), self._ledger.sync_in(now), LINGER_S]
        waits.append(FULL_S if self._ledger.full else None)
        waits += [server.due_in(now) for server in self._servers.connected]
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

    def _serve(self) -> None:
        """What a server said before it went away still counts, until another one comes."""
        now = time.monotonic()
        for server in self._servers.talking():
            asked = server.link.requests
            for _ in range(min(REQUESTS_A_TURN, len(asked))):
                request = asked.popleft()
                self._try(partial(self._do, request, server, now), request)

    def _do(self, request: dict[str, Any], server: Server, now: float) -> None:
        lines = self._answer(request, server)
        self._reach("runner:request-done")
        server.tell(lines, now)

    def _answer(self, request: dict[str, Any], server: Server) -> list[str]:
        if request["op"] == "bye":
            self._leaving = not self._stay and all(each is server for each in self._servers.connected)
            return []
        if request["op"] == "upgrade":
            self.upgrade = None if self._ledger.full else request["argv"]
            return []
        return self._requests.answer(request, server)

    def _try(self, act: Callable[[], None], request: object) -> None:
        try:
            act()
        except (KeyError, TypeError, ValueError) as error:
            print(f"bad request {str(request)[:200]}: {error!r}", file=sys.stderr, flush=True)

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
        if peer.requests and not self._servers.knows(peer):
            alive = alive and self._greet(peer)
        if alive:
            self._listen(peer)
        else:
            self._drop(peer)

    def _greet(self, peer: Connection) -> bool:
        hello = peer.requests.popleft()
        fits = hello.get("op") == "hello" and hello.get("protocol") == PROTOCOL
        answer = {"op": "hello", "protocol": PROTOCOL, **self._facts, "pipelines": self._ledger.pipelines}
        if not fits or hello.get("boot") not in (None, self._ledger.boot):
            peer.send([encode(answer)])
            return False
        self._drop_dead()
        self._servers.greet(peer, hello)
        self._ledger.date(hello.get("now"))
        self._leaving = False
        ends = self._ledger.unacknowledged()
        untold = [line for attempt, line in ends if self._servers.driver(pipeline_of(attempt)) is None]
        return peer.send([encode(answer), *untold])

    def _drop_dead(self) -> None:
        """What a dead server had sent must not be done after its successor was greeted."""
        for server in list(self._servers.connected):
            if not server.link.drain():
                self._drop(server.link)

    def _listen(self, peer: Connection) -> None:
        self._poll.modify(peer.fd, select.POLLIN | (select.POLLOUT if peer.pending else 0))

    def _drop(self, peer: Connection) -> None:
        del self._peers[peer.fd]
        self._poll.unregister(peer.fd)
        peer.close()
        if self._servers.leave(peer):
            self._alone_since = time.monotonic()

    def _sync(self, now: float) -> None:
        if self._ledger.sync_in(now) == 0:
            self._ledger.sync()

    def _tell(self, news: Iterable[tuple[str, str]], now: float) -> None:
        """Whoever drives the pipeline of each attempt."""
        for attempt, line in news:
            for server in self._servers.listeners(pipeline_of(attempt)):
                server.tell([line], now)

    def _send(self, now: float) -> None:
        for server in list(self._servers.connected):
            if server.due_in(now) != 0:
                continue
            if server.send():
                self._listen(server.link)
            else:
                self._drop(server.link)

    def _ask_to_leave(self, *_: object) -> None:
        """SIGTERM: the runner ends when nothing runs any more."""
        self._leaving = self._asked = True

    def _heed(self) -> None:
        """Of a machine that shuts down whatever runs is stopped, so that it ends while somebody can see it."""
        asked, self._asked = self._asked, False
        if asked and shutdown.is_near():
            self._requests.room.close()
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
