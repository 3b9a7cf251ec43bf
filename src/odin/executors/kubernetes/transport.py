"""Carries the client library's requests over aiohttp, whose parser is in C: a third of the CPU of each call.

The library keeps what it is there for (credentials and their renewal, redirects, encodings). Faults are told in its
own terms. Source: decision 12; performance.md, W11.
"""

from __future__ import annotations

import ssl
from collections.abc import AsyncIterator
from urllib.parse import urlsplit
from urllib.request import getproxies, proxy_bypass

import aiohttp
import httpx2


class Transport(httpx2.AsyncBaseTransport):
    """At most ``connections`` at once to ``server``, by way of the proxy that the environment names for it.

    Belongs to the event loop that it is first used in.
    """

    def __init__(self, server: str, tls: ssl.SSLContext | bool, connections: int) -> None:
        self._proxy = _proxy(server)
        self._tls = tls
        self._connections = connections
        self._session: aiohttp.ClientSession | None = None

    async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
        given = request.extensions.get("timeout", {})
        timeout = aiohttp.ClientTimeout(None, sock_connect=given.get("connect"), sock_read=given.get("read"))
        try:
            answer = await self._opened().request(
                request.method,
                str(request.url),
                headers=request.headers.multi_items(),
                data=await request.aread() or None,
                timeout=timeout,
                allow_redirects=False,
                skip_auto_headers=("Content-Type", "User-Agent"),
            )
        except (aiohttp.ClientError, OSError) as error:
            raise _fault(error) from error
        return httpx2.Response(answer.status, headers=answer.raw_headers, stream=_Body(answer))

    async def aclose(self) -> None:
        if self._session is not None:
            await self._session.close()

    def _opened(self) -> aiohttp.ClientSession:
        if self._session is None:
            connector = aiohttp.TCPConnector(ssl=self._tls, limit=self._connections)
            jar = aiohttp.DummyCookieJar()
            self._session = aiohttp.ClientSession(
                connector=connector, cookie_jar=jar, auto_decompress=False, proxy=self._proxy
            )
        return self._session


class _Body(httpx2.AsyncByteStream):
    def __init__(self, answer: aiohttp.ClientResponse) -> None:
        self._answer = answer

    async def __aiter__(self) -> AsyncIterator[bytes]:
        try:
            async for piece in self._answer.content.iter_any():
                yield piece
        except (aiohttp.ClientError, OSError) as error:
            raise _fault(error) from error

    async def aclose(self) -> None:
        """What was read to its end goes back to the pool, the rest is cut."""
        self._answer.release()


def _proxy(server: str) -> str | None:
    url = urlsplit(server)
    return None if proxy_bypass(url.hostname or "") else getproxies().get(url.scheme)


def _fault(error: Exception) -> httpx2.TransportError:
    said = str(error) or type(error).__name__
    if isinstance(error, aiohttp.ConnectionTimeoutError):
        return httpx2.ConnectTimeout(said)
    if isinstance(error, TimeoutError):
        return httpx2.ReadTimeout(said)
    if isinstance(error, aiohttp.ClientConnectorError):
        return httpx2.ConnectError(said)
    return httpx2.ReadError(said)
