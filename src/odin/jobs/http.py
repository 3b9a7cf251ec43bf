"""git's smart HTTP for the jobs repository, as an ASGI application over git's own backend.

Three routes and no others: the list of refs, fetching and pushing. Nothing of a request reaches git but its body
and a few headers of known form. Source: git-http-backend(1); gitprotocol-http(5); reliability.md, A-30, A-35, F-71.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Awaitable, Callable, MutableMapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import parse_qs

import anyio

from odin.jobs import child
from odin.jobs.cgi import Backend, backend
from odin.jobs.repository import Repository
from odin.jobs.values import MAX_PUSH_BYTES, MIB, Author

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]

SERVICES = ("git-upload-pack", "git-receive-pack")
PASSED_BACK = ("content-type", "cache-control", "expires", "pragma")
VERSION = re.compile(r"version=[0-2](:[a-z0-9=:-]{0,100})?")
MAX_FETCH_BYTES = 16 * MIB  # what a client says of the commits it has
GZIP = (b"gzip", b"x-gzip")
TIME_LIMIT_S = 600.0
AT_ONCE = 8
log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Call:
    """A request that git shall answer. ``service`` is what it is for, ``length`` None where it is not told."""

    method: str
    path: str
    service: str
    length: int | None = None

    @property
    def limit(self) -> int:
        return MAX_PUSH_BYTES + MIB if self.service == "git-receive-pack" else MAX_FETCH_BYTES


class Refused(Exception):
    """The request is none of the three; ``status`` and a sentence."""

    def __init__(self, status: int, sentence: str) -> None:
        super().__init__(sentence)
        self.status = status


def is_push(scope: Scope) -> bool:
    """Whether the request wants to write, for whoever decides who may."""
    try:
        return _call(scope).service == "git-receive-pack"
    except Refused:
        return False


class GitBackend:
    """The application; mount it where the repository's URL is to be, behind authentication.

    ``author_of`` tells whose request it is. It is asked once for each request and may raise.
    """

    def __init__(
        self,
        repository: Repository,
        author_of: Callable[[Scope], Author],
        *,
        time_limit_s: float = TIME_LIMIT_S,
    ) -> None:
        self._repository = repository
        self._author_of = author_of
        self._time_limit_s = time_limit_s
        self._places: anyio.Semaphore | None = None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return
        try:
            call = _call(scope)
        except Refused as refused:
            await _answer(send, refused.status, str(refused))
            return
        env = self._environment(scope, call, self._author_of(scope))
        if self._places is None:
            self._places = anyio.Semaphore(AT_ONCE)
        async with self._places:
            await self._serve(env, call, receive, send)

    async def _serve(self, env: dict[str, str], call: Call, receive: Receive, send: Send) -> None:
        talk = _Talk(call, receive, send)
        with anyio.move_on_after(self._time_limit_s):
            async with backend(env, keep=self._repository.owner) as git, anyio.create_task_group() as tasks:
                tasks.start_soon(talk.upload, git, tasks.cancel_scope)
                await talk.download(git)
                tasks.cancel_scope.cancel()
        await talk.close()

    def _environment(self, scope: Scope, call: Call, author: Author) -> dict[str, str]:
        """The variables of a CGI request. Source: RFC 3875, section 4.1."""
        name, address = author.line()
        folder = self._repository.path
        remote = self._repository.remote
        headers = dict(scope["headers"])
        return {
            **child.environment(folder),
            "GIT_PROJECT_ROOT": str(folder.parent),
            "GIT_HTTP_EXPORT_ALL": "1",
            "PATH_INFO": f"/{folder.name}{call.path}",
            "REQUEST_METHOD": call.method,
            "QUERY_STRING": f"service={call.service}" if call.method == "GET" else "",
            "CONTENT_TYPE": f"application/x-{call.service}-request" if call.method == "POST" else "",
            "REMOTE_USER": address.partition("@")[0],
            "REMOTE_ADDR": "127.0.0.1",
            "GIT_COMMITTER_NAME": name,
            "GIT_COMMITTER_EMAIL": address,
            "ODIN_JOBS_BRANCH": self._repository.branch.name,
            **(remote.environment() if remote is not None else {}),
            **({"CONTENT_LENGTH": str(call.length)} if call.length is not None else {}),
            **_known(headers),
        }


class _Talk:
    """One request and its answer, flowing at the same time."""

    def __init__(self, call: Call, receive: Receive, send: Send) -> None:
        self._call = call
        self._receive = receive
        self._send = send
        self._began = False
        self._complete = False
        self._problem = (504, "git took too long")
        self._gone = False

    async def upload(self, git: Backend, all_of_it: anyio.CancelScope) -> None:
        """Pass the body on, then wait for the client to leave, which ends the child."""
        size, more = 0, True
        while True:
            message = await self._receive()
            if message["type"] == "http.disconnect":
                self._gone = True
                break
            piece = message.get("body", b"")
            size += len(piece)
            if size > self._call.limit:
                self._problem = (413, f"a request may have {self._call.limit} bytes")
                break
            if piece:
                await git.feed(piece)
            if more and not message.get("more_body", False):
                more = False
                git.finish()
        all_of_it.cancel()

    async def download(self, git: Backend) -> None:
        try:
            status, headers = await git.head()
        except EOFError:
            self._problem = (500, "git could not answer; the server's log says more")
            return
        await self._start(status, headers)
        async for piece in git.pieces():
            await self._send({"type": "http.response.body", "body": piece, "more_body": True})
            # A client that is gone neither stops nor suspends what is sent to it.
            await anyio.lowlevel.checkpoint()
        await self._send({"type": "http.response.body", "body": b""})
        self._complete = True

    async def close(self) -> None:
        """End the answer, or give one where there is none yet. git tells one that was cut short by its content."""
        if self._gone or self._complete:
            return
        log.warning("a call of git was cut short: %s", self._problem[1])
        if self._began:
            await self._send({"type": "http.response.body", "body": b""})
        else:
            await _answer(self._send, *self._problem)

    async def _start(self, status: int, headers: dict[str, str]) -> None:
        passed = [(name.encode(), headers[name].encode("latin-1")) for name in PASSED_BACK if name in headers]
        self._began = True
        await self._send({"type": "http.response.start", "status": status, "headers": passed})


def _call(scope: Scope) -> Call:
    """The request, if it is one of the three. Raises Refused."""
    path = scope["path"].removeprefix(scope.get("root_path", ""))
    method = scope["method"]
    if path == "/info/refs":
        return _refs_call(scope, method, path)
    service = path.removeprefix("/")
    if service not in SERVICES:
        raise Refused(404, "only git's smart HTTP is served here; try git clone")
    if method != "POST":
        raise Refused(405, "this takes a POST")
    headers = dict(scope["headers"])
    if headers.get(b"content-type", b"").decode("latin-1") != f"application/x-{service}-request":
        raise Refused(415, f"this takes application/x-{service}-request")
    if headers.get(b"content-encoding", b"identity").lower() not in (b"identity", *GZIP):
        raise Refused(415, "this takes gzip and no other encoding")
    call = Call(method, path, service, _length(headers.get(b"content-length")))
    if call.length is not None and call.length > call.limit:
        raise Refused(413, f"a request may have {call.limit} bytes")
    return call


def _refs_call(scope: Scope, method: str, path: str) -> Call:
    if method != "GET":
        raise Refused(405, "this takes a GET")
    query = parse_qs(scope.get("query_string", b"").decode("latin-1"))
    service = query.get("service", [""])[0]
    if service not in SERVICES:
        raise Refused(403, "only git's smart HTTP is served here; use git 1.6.6 or newer")
    return Call(method, path, service)


def _length(value: bytes | None) -> int | None:
    if value is None:
        return None
    if not re.fullmatch(rb"[0-9]{1,15}", value):
        raise Refused(400, "Content-Length is no number")
    return int(value)


def _known(headers: dict[bytes, bytes]) -> dict[str, str]:
    """Headers that change how git reads the request, where they have a form that it defines."""
    known = {}
    if headers.get(b"content-encoding", b"").lower() in GZIP:
        known["HTTP_CONTENT_ENCODING"] = "gzip"
    version = headers.get(b"git-protocol", b"").decode("latin-1")
    if VERSION.fullmatch(version):
        known["GIT_PROTOCOL"] = version
    return known


async def _answer(send: Send, status: int, sentence: str) -> None:
    body = f"{sentence}\n".encode()
    headers = [(b"content-type", b"text/plain; charset=utf-8"), (b"content-length", str(len(body)).encode())]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})
