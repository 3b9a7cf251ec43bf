"""Requests that a client repeats get the answer of the first. Source: api.md, "Errors"; reliability.md, F-70.

The kept hash of a body is keyed with a secret, so that a password in a body cannot be guessed from the database.
"""

from __future__ import annotations

import asyncio
import hmac
import logging
from collections.abc import Awaitable, Callable, Iterable
from typing import TYPE_CHECKING
from weakref import WeakValueDictionary

import anyio.to_thread
from starlette.requests import Request
from starlette.responses import Response

from odin.model.errors import InvalidInput, OdinError
from odin.model.users import User
from odin.store.idempotency import Answer, Idempotency

if TYPE_CHECKING:
    from odin.store.queries import Queries

LONGEST_KEY = 255
REPLAYED = {"Idempotent-Replayed": "true"}
log = logging.getLogger(__name__)

Act = Callable[[], Awaitable[Response]]


class Once:
    """One for a server; used from the event loop only."""

    def __init__(self, queries: Queries, key: bytes) -> None:
        self._queries = queries
        self._key = key
        self._locks: WeakValueDictionary[tuple[int, str, str], asyncio.Lock] = WeakValueDictionary()

    def identify(self, request: Request, user: User, body: Iterable[bytes]) -> Idempotency | None:
        """What makes the request the same as another; None without an ``Idempotency-Key``.

        ``body`` is in parts that say the same however the client happens to encode them.
        """
        key = request.headers.get("idempotency-key")
        if key is None:
            return None
        if not 1 <= len(key) <= LONGEST_KEY or not key.isascii() or not key.isprintable():
            raise InvalidInput(f"an Idempotency-Key has 1 to {LONGEST_KEY} printable ASCII characters")
        route = f"{request.method} {request.url.path}?{request.url.query}"
        # Where and what stand in the hash too: the column for the route is short.
        digest = hmac.new(self._key, route.encode(), "sha256")
        for part in body:
            digest.update(len(part).to_bytes(8, "big") + part)
        return Idempotency(user.uid, str(request.scope["odin.route"]), key, digest.hexdigest())

    async def answer(self, asked: Idempotency | None, act: Act, *, keep: bool = True) -> Response:
        """The kept answer, else that of ``act``; a twin waits for the first. Only successes are kept.

        ``keep`` is False where ``act`` itself keeps the answer, in the transaction of what it does.
        """
        if asked is None:
            return await act()
        async with self._locks.setdefault((asked.user_uid, asked.route, asked.key), asyncio.Lock()):
            kept = await anyio.to_thread.run_sync(self._queries.idempotent, asked)
            if kept is not None:
                return Response(kept.body, kept.status, media_type="application/json", headers=REPLAYED)
            response = await act()
            if keep and response.status_code < 300:
                await self._remember(asked, response)
            return response

    async def _remember(self, asked: Idempotency, response: Response) -> None:
        answer = Answer(response.status_code, bytes(response.body).decode())
        try:
            await anyio.to_thread.run_sync(self._queries.remember, asked, answer)
        except OdinError as error:  # it is done: a refusal now would be a lie
            log.warning("an answer could not be kept for a repeated request: %s", error)
