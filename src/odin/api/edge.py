"""What every request passes, whatever route it is for: names, paths, crowds, headers of the answer, and the last net.

Source: reliability.md, A-01, A-56, A-61, A-62, A-65, A-66, A-76, A-80, A-103.
"""

from __future__ import annotations

import asyncio
import logging
import secrets
import time
from collections import Counter
from collections.abc import Iterator, Mapping
from http import HTTPStatus
from urllib.parse import unquote_to_bytes

from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from odin.api.access import COMMANDS, Access
from odin.api.addresses import block, is_loopback
from odin.api.metrics import UNROUTED
from odin.api.problems import WRONG_HOST, printable, problem
from odin.api.protocol import PER_ADDRESS
from odin.api.services import Context
from odin.api.sockets.door import Door
from odin.api.stopping import STOPPING_RETRY_S

HEADERS = {
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Content-Security-Policy": "default-src 'none'; frame-ancestors 'none'",
    "Cache-Control": "no-store",
}
HSTS = "max-age=31536000"
LONGEST_LOGGED = 200
BEGINNINGS = ("http.response.start", "websocket.http.response.start", "websocket.accept")
READS = ("GET", "HEAD", "OPTIONS", *(name for name, access in COMMANDS.items() if access is not Access.EDITOR))
QUIET = ("/v1/nodes/{node}/report",)  # a few each second where there are many nodes
SOCKET = "WS"  # the method of a WebSocket until its command is known
access_log = logging.getLogger("odin.access")
log = logging.getLogger(__name__)


class Passage:
    """One request on its way: its id, what was answered, and how long it took."""

    def __init__(self, scope: Scope, send: Send) -> None:
        self.id = scope["odin.request"] = secrets.token_hex(8)
        self.status = 0
        self._scope = scope
        self._send = send
        self._begun = time.monotonic()

    async def send(self, message: Message) -> None:
        if message["type"] in BEGINNINGS:
            self.status = message.get("status", HTTPStatus.SWITCHING_PROTOCOLS)
            headers = MutableHeaders(scope=message)
            for name, value in HEADERS.items():
                headers.setdefault(name, value)
            headers["X-Request-Id"] = self.id
            if self._scope["scheme"] in ("https", "wss"):
                headers["Strict-Transport-Security"] = HSTS
        await self._send(message)

    def finish(self, odin: Context) -> None:
        """Count the answer and write it to the log; queries are left out, they may hold what is private."""
        seconds = time.monotonic() - self._begun
        method = self._scope.get("method", SOCKET)
        route = self._scope.get("odin.route", UNROUTED)
        streamed = "odin.stream" in self._scope or method == SOCKET
        odin.metrics.answered("any" if route == UNROUTED else method, route, self.status, None if streamed else seconds)
        status = self.status
        if method == SOCKET and status == HTTPStatus.SWITCHING_PROTOCOLS:
            method, status = self._scope.get("odin.command", SOCKET), self._scope["odin.socket"].code
        is_quiet = method in READS or (route in QUIET and status < HTTPStatus.BAD_REQUEST)
        level = logging.DEBUG if is_quiet else logging.INFO
        if access_log.isEnabledFor(level):
            session = self._scope.get("odin.session")
            access_log.log(
                level,
                "%s %s %d %.0f ms %s %s",
                method,
                printable(self._scope["path"])[:LONGEST_LOGGED],
                status,
                seconds * 1000,
                session.user.username if session else "-",
                self.id,
            )


class Edge:
    """The outermost middleware of the application."""

    def __init__(self, app: ASGIApp, odin: Context) -> None:
        self._app = app
        self._apps: Mapping[str, ASGIApp] = {"http": app, "websocket": Door(odin)}
        self._odin = odin
        self._hosts = _hosts(odin)
        self._busy: Counter[str] = Counter()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] not in self._apps:
            await self._app(scope, receive, send)
            return
        passage = Passage(scope, send)
        place = block((scope.get("client") or ("",))[0])
        counts = int(scope["type"] == "http")  # sockets stay open for long and have limits of their own
        self._busy[place] += counts
        self._odin.metrics.in_flight += counts
        try:
            await self._answer(scope, receive, passage, place)
        finally:
            self._odin.metrics.in_flight -= counts
            self._busy[place] -= counts
            if not self._busy[place]:
                del self._busy[place]
            passage.finish(self._odin)

    async def _answer(self, scope: Scope, receive: Receive, passage: Passage, place: str) -> None:
        refusal = next(self._refusals(scope, place), None)
        if refusal is not None:
            await refusal(scope, receive, passage.send)
            return
        try:
            await self._apps[scope["type"]](scope, receive, passage.send)
        except asyncio.CancelledError:
            # The grace of a stopping server is over: whoever still waits is told so, not cut off.
            if passage.status or not self._odin.services.stopping:
                raise
            await _later()(scope, receive, passage.send)
        except Exception:  # border: request
            log.exception("request %s failed", passage.id)
            if passage.status:
                raise  # the answer is on its way: only closing the connection tells the client
            detail = f"something went wrong in Odin; the server's log says what, under {passage.id}"
            await problem(500, detail)(scope, receive, passage.send)

    def _refusals(self, scope: Scope, place: str) -> Iterator[Response]:
        """What forbids answering at all; the first counts."""
        if self._odin.services.stopping:
            yield _later()
        if place and self._busy[place] > PER_ADDRESS:
            yield problem(429, "too many requests at once from one address", headers={"Retry-After": "1"})
        headers = Headers(scope=scope)
        if not self._known_host(headers):
            yield problem(WRONG_HOST, "this server is not called so; ODIN_ALLOWED_HOSTS lists more names")
        if headers.get("sec-fetch-site") == "cross-site":
            yield problem(403, "pages of other sites may not use this server")
        fault = settle_path(scope)
        if fault:
            yield problem(400, fault)

    def _known_host(self, headers: Headers) -> bool:
        """Host must name this server, so that a foreign name that resolves to it (rebinding) reads nothing."""
        if self._hosts is None:
            return True
        given = headers.getlist("host")
        name = host_name(given[0]) if len(given) == 1 else ""
        return is_loopback(name) or name in self._hosts


def _later() -> Response:
    headers = {"Retry-After": str(STOPPING_RETRY_S), "Connection": "close"}
    return problem(503, "the server is stopping; try again", headers=headers)


def _hosts(odin: Context) -> frozenset[str] | None:
    """Names besides loopback's, None where any will do: a server for others without a list of names."""
    settings = odin.services.settings
    if not settings.allowed_hosts and not settings.loopback_only:
        return None
    return frozenset(name.lower() for name in (*settings.allowed_hosts, settings.host))


def host_name(given: str) -> str:
    """The name in a Host header: without port, brackets and final dot, in lower case."""
    name = given.strip().lower()
    if name.startswith("["):
        return name[1:].partition("]")[0]
    return name.partition(":")[0].removesuffix(".")


def settle_path(scope: Scope) -> str | None:
    """Decode the path once, strictly; the sentence that says what is wrong with it, if something is.

    A ``/`` that was written ``%2F`` in the segment of a job becomes ``__``, which means the same there.
    """
    raw: bytes = scope.get("raw_path") or scope["path"].encode()
    try:
        segments = [unquote_to_bytes(segment).decode() for segment in raw.split(b"/")]
    except UnicodeDecodeError:
        return "the path is not UTF-8"
    decoded = "/".join(segments)
    if any(ord(letter) < 0x20 or ord(letter) == 0x7F or letter == "\\" for letter in decoded):
        return "the path holds a control character or a backslash"
    if {".", ".."} & set(decoded.split("/")):
        return "the path leaves its folder"
    if segments[1:3] == ["v1", "jobs"] and len(segments) > 3:
        segments[3] = segments[3].replace("/", "__")
    scope["path"] = "/".join(segments)
    return None
