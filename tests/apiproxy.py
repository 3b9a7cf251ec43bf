"""A proxy before an API server that does to calls what networks and servers do: loses, delays, refuses, cuts.

It speaks plain HTTP to the client and passes its credentials on. ``fault`` is asked about each call.
``ODIN_FAULT_TALLY`` names a file that gets a line with what was done to calls, when a proxy ends.
"""

from __future__ import annotations

import asyncio
import gc
import json
import os
import socket
import ssl
import struct
import threading
import time
import warnings
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import aiohttp
import yaml
from aiohttp import web

HOP = {"connection", "keep-alive", "transfer-encoding", "host", "content-length", "content-encoding", "accept-encoding"}
SUBRESOURCES = ("log", "status")


@dataclass(frozen=True)
class Call:
    """``verb`` as API servers name them: get, list, watch, create, patch, delete."""

    verb: str
    resource: str
    name: str
    query: dict[str, str]
    at: float
    path: str = ""

    @property
    def is_page(self) -> bool:
        return "continue" in self.query


@dataclass(frozen=True)
class Say:
    """Answer this instead of asking the API server."""

    status: int
    reason: str = ""
    message: str = "said by the proxy"
    retry_after: int | None = None


@dataclass(frozen=True)
class Lose:
    """Carry it out and break the connection ``after_s`` later, without an answer."""

    after_s: float = 0.0


@dataclass(frozen=True)
class Hold:
    """Carry it out so much later."""

    seconds: float


@dataclass(frozen=True)
class Expire:
    """Let a watch begin, and say in it that its version is too old."""


class Break:
    """Break the connection, with nothing carried out."""


Fault = Say | Lose | Hold | Expire | Break


@dataclass
class ApiProxy:
    """In front of the server that ``kubeconfig`` names; use it as a context manager."""

    kubeconfig: Path
    fault: Callable[[Call], Fault | None] = lambda _: None
    calls: Counter[tuple[str, str]] = field(default_factory=Counter)
    log: list[tuple[Call, Fault | None]] = field(default_factory=list)
    faults: int = 0
    ever: Counter[str] = field(default_factory=Counter)  # since it is there, whatever was forgotten meanwhile
    most_at_once: int = 0
    port: int = 0
    _at_once: int = 0
    _watches: dict[int, tuple[web.BaseRequest, asyncio.Event]] = field(default_factory=dict)

    def __enter__(self) -> Self:
        self._loop = asyncio.new_event_loop()
        self._stop = asyncio.Event()
        ready = threading.Event()
        self._thread = threading.Thread(target=self._run, args=(ready,), daemon=True)
        self._thread.start()
        ready.wait()
        assert self.port, "the proxy did not come up"
        return self

    def _run(self, ready: threading.Event) -> None:
        try:
            self._loop.run_until_complete(self._serve(ready))
        finally:
            ready.set()

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        if tally := os.environ.get("ODIN_FAULT_TALLY"):
            with Path(tally).open("a") as file:
                print(json.dumps(self.ever), file=file)
        self._loop.call_soon_threadsafe(self._stop.set)
        self._thread.join()
        self._loop.close()
        with warnings.catch_warnings():  # a connection that came as this ended has nobody to close it
            warnings.simplefilter("ignore", ResourceWarning)
            gc.collect()

    def reset(self) -> None:
        """Do nothing to calls, and forget those that there were."""
        self.fault = lambda _: None
        self.calls.clear()
        self.log.clear()
        self.faults = self.most_at_once = 0

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def through(self, kubeconfig: Path) -> Path:
        """A copy of a kubeconfig (with a token) that goes through here."""
        config = yaml.safe_load(kubeconfig.read_text())
        config["clusters"][0]["cluster"] = {"server": self.url}
        path = kubeconfig.with_name(f"{kubeconfig.name}.proxy")
        path.write_text(yaml.safe_dump(config))
        return path

    def cut(self, how: str = "rst") -> int:
        """End every watch: ``rst``, ``fin`` (as if it were over), or ``swallow`` (nothing comes any more); how many."""
        return asyncio.run_coroutine_threadsafe(self._cut(how), self._loop).result()

    async def _cut(self, how: str) -> int:
        cut = list(self._watches.items())
        for key, (request, over) in cut:
            if how == "rst":
                _reset(request)
            if how != "swallow":
                over.set()
            self._watches.pop(key, None)
        self.ever["cut"] += len(cut)
        return len(cut)

    async def _serve(self, ready: threading.Event) -> None:
        config = yaml.safe_load(self.kubeconfig.read_text())["clusters"][0]["cluster"]
        self._upstream = config["server"]
        trust = ssl.create_default_context()
        trust.check_hostname, trust.verify_mode = False, ssl.CERT_NONE
        self._session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(limit=0, ssl=trust), timeout=aiohttp.ClientTimeout(total=None)
        )
        runner = web.ServerRunner(web.Server(self._handle, keepalive_timeout=60), shutdown_timeout=0.1)
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", self.port)
        await site.start()
        self.port = runner.addresses[0][1]
        ready.set()
        await self._stop.wait()
        for _, over in self._watches.values():
            over.set()
        await runner.cleanup()
        left = asyncio.all_tasks() - {asyncio.current_task()}
        for task in left:
            task.cancel()
        await asyncio.gather(*left, return_exceptions=True)
        await self._session.close()
        await asyncio.sleep(0.25)  # its TLS connections say goodbye

    async def _handle(self, request: web.BaseRequest) -> web.StreamResponse:
        call = _call(request)
        fault = self.fault(call)
        self.calls[call.verb, call.resource] += 1
        self.log.append((call, fault))
        self.faults += fault is not None
        self.ever["faults"] += fault is not None
        self.ever["expired"] += isinstance(fault, Expire) or (isinstance(fault, Say) and fault.status == 410)
        self._at_once += call.verb != "watch"
        self.most_at_once = max(self.most_at_once, self._at_once)
        try:
            return await self._answer(request, call, fault)
        except (aiohttp.ClientError, ConnectionError):
            _reset(request)
            return web.Response(status=502)
        finally:
            self._at_once -= call.verb != "watch"

    async def _answer(self, request: web.BaseRequest, call: Call, fault: Fault | None) -> web.StreamResponse:
        if isinstance(fault, Break):
            _reset(request)
            return web.Response(status=502)
        if isinstance(fault, Say):
            return _said(fault)
        if isinstance(fault, Expire):
            return await _expired(request)
        if isinstance(fault, Hold):
            await asyncio.sleep(fault.seconds)
        async with self._session.request(
            request.method,
            self._upstream + request.raw_path,
            headers={name: value for name, value in request.headers.items() if name.lower() not in HOP},
            data=await request.read() or None,
        ) as answer:
            if call.verb == "watch":
                return await self._pass_on(request, answer)
            body = await answer.read()
        if isinstance(fault, Lose):
            await asyncio.sleep(fault.after_s)
            _reset(request)
        headers = {name: value for name, value in answer.headers.items() if name.lower() not in HOP}
        return web.Response(status=answer.status, body=body, headers=headers)

    async def _pass_on(self, request: web.BaseRequest, answer: aiohttp.ClientResponse) -> web.StreamResponse:
        headers = {name: value for name, value in answer.headers.items() if name.lower() not in HOP}
        response = web.StreamResponse(status=answer.status, headers=headers)
        await response.prepare(request)
        over = asyncio.Event()
        self._watches[id(request)] = request, over
        passing = asyncio.ensure_future(self._copy(request, answer, response))
        ending = asyncio.ensure_future(over.wait())
        await asyncio.wait({passing, ending}, return_when=asyncio.FIRST_COMPLETED)
        for task in (passing, ending):
            task.cancel()
        await asyncio.gather(passing, ending, return_exceptions=True)
        self._watches.pop(id(request), None)
        return response

    async def _copy(
        self, request: web.BaseRequest, answer: aiohttp.ClientResponse, response: web.StreamResponse
    ) -> None:
        async for piece in answer.content.iter_any():
            if id(request) not in self._watches:  # swallowed: kept open, silent
                await asyncio.sleep(3600)
            await response.write(piece)


def _call(request: web.BaseRequest) -> Call:
    parts = [part for part in request.path.split("/") if part]
    rest = parts[2:] if parts[0] == "api" else parts[3:]
    if rest[:1] == ["namespaces"] and len(rest) > 2:
        rest = rest[2:]
    resource, name, sub = (*rest, "", "", "")[:3]
    query = dict(request.query)
    if request.method == "GET":
        verb = "watch" if query.get("watch") == "true" else "get" if name else "list"
    else:
        verb = {"POST": "create", "PATCH": "patch", "DELETE": "delete", "PUT": "update"}[request.method]
    return Call(
        verb, f"{resource}/{sub}" if sub in SUBRESOURCES else resource, name, query, time.monotonic(), request.path
    )


def _said(say: Say) -> web.Response:
    status: dict[str, Any] = {"kind": "Status", "apiVersion": "v1", "status": "Failure", "code": say.status}
    status |= {"reason": say.reason, "message": say.message}
    headers = {"Content-Type": "application/json"}
    if say.retry_after is not None:
        headers["Retry-After"] = str(say.retry_after)
    return web.Response(status=say.status, body=json.dumps(status).encode(), headers=headers)


async def _expired(request: web.BaseRequest) -> web.StreamResponse:
    response = web.StreamResponse(headers={"Content-Type": "application/json"})
    await response.prepare(request)
    status = {"kind": "Status", "code": 410, "reason": "Expired", "message": "too old resource version"}
    await response.write(json.dumps({"type": "ERROR", "object": status}).encode() + b"\n")
    return response


def _reset(request: web.BaseRequest) -> None:
    transport = request.transport
    if transport is not None:
        sock = transport.get_extra_info("socket")
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        transport.abort()
