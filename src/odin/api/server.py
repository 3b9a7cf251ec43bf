"""The HTTP and WebSocket server process around the application: sockets, limits, signals, and an orderly end."""

from __future__ import annotations

import contextlib
import errno
import logging
import math
import resource
import signal
import socket
import threading
import time
from collections.abc import Iterator
from types import FrameType
from typing import TYPE_CHECKING, Any

import uvicorn
from fastapi import FastAPI

from odin.api.metrics import Histogram
from odin.api.protocol import Doors, behind
from odin.api.sockets.wire import SocketProtocol
from odin.api.stopping import Stopping
from odin.api.watchdog import Watchdog

if TYPE_CHECKING:
    from odin.settings import Settings

BACKLOG = 2048
KEEP_ALIVE_S = 65  # longer than the 60 s for which proxies keep a connection by default
GRACE_S = 8  # of the 10 s that a stop may take
KEPT_DESCRIPTORS = 256  # for the database, git, logs that are read, and children
TICK_S = 0.1  # uvicorn's
SIGNALS = (signal.SIGINT, signal.SIGTERM)
log = logging.getLogger("odin.api")


class Server(uvicorn.Server):
    """uvicorn's server, told to stop by SIGINT or SIGTERM, at once by a second one; ``serve`` then returns.

    The first signal closes the listening sockets, refuses new requests with 503, ends streams with a hint to come
    back and lets what runs finish. Nothing is raised at the end, so the process may exit with 0.
    """

    def __init__(self, config: uvicorn.Config, stopping: Stopping, lag: Histogram) -> None:
        super().__init__(config)
        self.stopping = stopping
        self._lag = lag
        self._due_at = math.inf

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        if threading.current_thread() is not threading.main_thread():
            yield
            return
        before = {number: signal.signal(number, self.handle_exit) for number in SIGNALS}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:  # noqa: ARG002 - uvicorn's signature
        self.force_exit = self.should_exit
        self.should_exit = True

    async def serve(self, sockets: list[socket.socket] | None = None) -> None:
        with Watchdog():
            await super().serve(sockets)

    async def on_tick(self, counter: int) -> bool:
        now = time.monotonic()
        self._lag.observe(max(0.0, now - self._due_at))
        self._due_at = now + TICK_S
        return await super().on_tick(counter)

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        self.stopping.set()
        await super().shutdown(sockets)


def make_server(app: FastAPI, settings: Settings, stopping: Stopping, *, grace_s: int = GRACE_S) -> Server:
    """A server for ``await server.serve(sockets=[listen(...)])``; ``stopping`` is that of the app's services."""
    proxies = list(settings.trusted_proxies)
    doors = Doors(_affordable(settings.max_connections), proxies)
    config = uvicorn.Config(
        app,
        host=settings.host,
        port=settings.port,
        loop="uvloop",
        http=behind(doors),
        ws=type("OdinSocketProtocol", (SocketProtocol,), {"doors": doors}),
        ws_per_message_deflate=False,
        lifespan="off",  # the app has nothing to do there, and a second signal would end it with a traceback
        log_config=None,
        access_log=False,
        server_header=False,
        proxy_headers=bool(proxies),
        forwarded_allow_ips=proxies,
        timeout_keep_alive=KEEP_ALIVE_S,
        timeout_graceful_shutdown=grace_s,
        backlog=BACKLOG,
    )
    return Server(config, stopping, app.state.context.metrics.lag)


def _affordable(most: int) -> int:
    """As many connections as leave descriptors for what the server itself opens. Source: reliability.md, F-10."""
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    fit = soft - min(KEPT_DESCRIPTORS, soft // 2)
    if soft == resource.RLIM_INFINITY or most <= fit:
        return most
    log.info("connections at once: %d of %d; the limit of open files is %d (ulimit -n, LimitNOFILE)", fit, most, soft)
    return fit


def listen(host: str, port: int) -> list[socket.socket]:
    """Listening sockets for the addresses of ``host``; port 0 takes one free port for all of them.

    An address that this machine does not have (``localhost`` without IPv6) is left out. Raises OSError when the
    port is taken or no address is left.
    """
    found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    sockets: list[socket.socket] = []
    for family, *_, address in dict.fromkeys(found):
        taken = sockets[0].getsockname()[1] if sockets else port
        try:
            sockets.append(_bound(family, (address[0], taken, *address[2:])))
        except OSError as error:
            if error.errno not in (errno.EADDRNOTAVAIL, errno.EAFNOSUPPORT):
                _close(sockets)
                raise
    if not sockets:
        raise OSError(errno.EADDRNOTAVAIL, f"this machine has no address {host}")
    return sockets


def _close(sockets: list[socket.socket]) -> None:
    for sock in sockets:
        sock.close()


def _bound(family: int, address: tuple[Any, ...]) -> socket.socket:
    sock = socket.socket(family, socket.SOCK_STREAM)
    try:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if family == socket.AF_INET6:
            sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        sock.bind(address)
        sock.listen(BACKLOG)
        sock.setblocking(False)
    except OSError:
        sock.close()
        raise
    return sock
