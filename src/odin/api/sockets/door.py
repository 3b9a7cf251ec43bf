"""Who may open a socket: the path, the page it is from, the token of its handshake, and how many there are already.

A handshake is refused as any request is, with problem details; whoever gets through begins a conversation.
Source: api.md, "WebSocket tier"; reliability.md, A-57, A-59, A-60, A-81.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from urllib.parse import parse_qs

from starlette.requests import HTTPConnection
from starlette.types import Receive, Scope, Send
from uvicorn.protocols.utils import ClientDisconnected

from odin.api.access import SOCKETS
from odin.api.accounts import Session
from odin.api.addresses import block
from odin.api.problems import of_error
from odin.api.routing import bearer
from odin.api.services import Context
from odin.api.sockets.conversation import Conversation
from odin.api.sockets.origins import is_own
from odin.model.errors import NotAllowed, NotFound, OdinError, TooManyRequests
from odin.model.users import Role, User

PER_USER = 200
# Whom a token-less client of the setting for old clients stands for; nobody can be called so.
ANYBODY = Session(User(0, "anonymous", Role.ADMIN))
DEPRECATED = (b"deprecation", b"true")


class Places:
    """How many sockets each user has open; those without a user count by their address."""

    def __init__(self) -> None:
        self._open: Counter[str] = Counter()

    @contextmanager
    def take(self, session: Session | None, address: str) -> Iterator[None]:
        """Raises TooManyRequests for one too many."""
        known = session is not None and session is not ANYBODY
        key = f"user {session.user.uid}" if known and session else f"address {block(address)}"
        if self._open[key] >= PER_USER:
            raise TooManyRequests(f"{PER_USER} sockets of yours are open already; close one first", retry_after_s=1)
        self._open[key] += 1
        try:
            yield
        finally:
            self._open[key] -= 1
            if not self._open[key]:
                del self._open[key]


class Door:
    """The ASGI application for websocket scopes."""

    def __init__(self, odin: Context) -> None:
        self._odin = odin
        self._places = Places()
        self._legacy = odin.services.settings.legacy_ws

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        with suppress(ClientDisconnected):
            await self._serve(scope, receive, send)

    async def _serve(self, scope: Scope, receive: Receive, send: Send) -> None:
        connection = HTTPConnection(scope)
        try:
            self._check(connection)
            session = scope["odin.session"] = await self._session(connection)
        except OdinError as error:
            await of_error(error)(scope, receive, send)
            return
        headers = [DEPRECATED] if self._query_token(connection) else []
        await send({"type": "websocket.accept", "headers": headers})
        fallback = ANYBODY if self._legacy else None
        await Conversation(self._odin, scope, session, fallback, self._places.take).hold(receive)

    def _check(self, connection: HTTPConnection) -> None:
        path = connection.scope["path"]
        if path not in SOCKETS:
            raise NotFound(f"there are no WebSockets here; use {' or '.join(SOCKETS)}")
        connection.scope["odin.route"] = path
        if not is_own(connection.headers.getlist("origin"), connection.headers.getlist("host")):
            raise NotAllowed("pages of other sites may not use this server")

    async def _session(self, connection: HTTPConnection) -> Session | None:
        """Who signed the handshake, None if nobody did; raises NotSignedIn for a token that does not count."""
        token = bearer(connection) or self._query_token(connection)
        return None if token is None else await self._odin.accounts.session(token)

    def _query_token(self, connection: HTTPConnection) -> str | None:
        """``?token=``, read for old clients only: addresses end up in logs and histories."""
        if not self._legacy:
            return None
        given = parse_qs(connection.scope["query_string"].decode("latin-1"), keep_blank_values=True).get("token")
        return given[0] if given else None
