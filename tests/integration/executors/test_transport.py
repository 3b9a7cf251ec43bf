"""The connections to a cluster, against a real server: what comes back, and what each fault is called."""

from __future__ import annotations

import asyncio
import gzip
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import httpx2
import pytest
from aiohttp import web

from odin.executors.kubernetes.transport import Transport

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


async def zipped(_: web.Request) -> web.Response:
    return web.Response(body=gzip.compress(b"many lines"), headers={"Content-Encoding": "gzip"})


async def echo(request: web.Request) -> web.Response:
    told = {"body": (await request.read()).decode(), "query": dict(request.query), "type": request.content_type}
    return web.json_response(told, status=409)


async def pieces(request: web.Request) -> web.StreamResponse:
    answer = web.StreamResponse()
    await answer.prepare(request)
    for piece in (b"one\n", b"two\n"):
        await answer.write(piece)
        await asyncio.sleep(0.05)
    return answer


async def cut(request: web.Request) -> web.StreamResponse:
    answer = web.StreamResponse()
    answer.content_length = 100
    await answer.prepare(request)
    await answer.write(b"half")
    assert request.transport is not None
    request.transport.abort()
    return answer


async def silent(_: web.Request) -> web.Response:
    await asyncio.sleep(60)
    raise AssertionError


@asynccontextmanager
async def client(**handlers: Handler) -> AsyncIterator[httpx2.AsyncClient]:
    application = web.Application()
    for name, handler in handlers.items():
        application.router.add_route("*", f"/{name}", handler)
    runner = web.AppRunner(application, handler_cancellation=True, shutdown_timeout=0)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    server = f"http://127.0.0.1:{runner.addresses[0][1]}"
    try:
        async with httpx2.AsyncClient(base_url=server, transport=Transport(server, True, 4)) as one:
            yield one
    finally:
        await runner.cleanup()


@pytest.mark.anyio
async def test_a_request_arrives_as_it_was_made_and_any_status_comes_back() -> None:
    async with client(echo=echo) as one:
        answer = await one.patch("/echo", params={"a": "ü&"}, content=b"{}", headers={"Content-Type": "application/x"})
    assert answer.status_code == 409
    assert answer.json() == {"body": "{}", "query": {"a": "ü&"}, "type": "application/x"}


@pytest.mark.anyio
async def test_a_packed_answer_is_unpacked_once() -> None:
    async with client(zipped=zipped) as one:
        assert (await one.get("/zipped")).text == "many lines"


@pytest.mark.anyio
async def test_a_stream_comes_as_it_is_written_and_may_be_left() -> None:
    async with client(pieces=pieces, echo=echo) as one:
        async with one.stream("GET", "/pieces") as answer:
            async for piece in answer.aiter_bytes():
                assert piece == b"one\n"
                break
        assert (await one.get("/echo")).status_code == 409


@pytest.mark.anyio
async def test_each_fault_has_its_name() -> None:
    async with client(cut=cut, silent=silent) as one:
        with pytest.raises(httpx2.ReadError):
            await one.get("/cut")
        with pytest.raises(httpx2.ReadTimeout):
            await one.get("/silent", timeout=httpx2.Timeout(5.0, read=0.1))
        with pytest.raises(httpx2.ConnectError):
            await one.get("http://127.0.0.1:1/")


@pytest.mark.anyio
async def test_a_proxy_of_the_environment_is_used_but_for_those_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    async with client(echo=echo) as proxy:
        address = str(proxy.base_url)
        monkeypatch.setenv("http_proxy", address)
        monkeypatch.setenv("no_proxy", "direct.invalid")
        async with httpx2.AsyncClient(transport=Transport("http://api.invalid", True, 1)) as one:
            assert (await one.get("http://api.invalid/echo")).status_code == 409
        async with httpx2.AsyncClient(transport=Transport("http://direct.invalid", True, 1)) as one:
            with pytest.raises(httpx2.ConnectError):
                await one.get("http://direct.invalid/echo")
