"""One socket from its acceptance to its end: the request, who asks, the replies, and what may end it before.

Three things happen at once: the talking; listening, which hears the request and that the client is gone; and a watch
for the server's stop and the token's end. What is being done is finished whatever happens, what is followed is not.
Source: reliability.md, section 0 item 1, F-07, F-71, F-72, A-47, A-57, A-81.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncGenerator, Callable
from contextlib import AbstractContextManager, ExitStack, aclosing, suppress

from starlette.types import Receive, Scope
from uvicorn.protocols.utils import ClientDisconnected

from odin.api.access import COMMANDS, admit
from odin.api.accounts import Session
from odin.api.services import Context
from odin.api.sockets import wire
from odin.api.sockets.ask import Ask
from odin.api.sockets.commands import ANSWERS
from odin.api.sockets.messages import ERROR, Asked, Reply, check_command, failure, read
from odin.api.sockets.wire import SocketProtocol
from odin.api.turns import Turns
from odin.model.errors import NotAllowed, NotSignedIn, OdinError, TooManyRequests

FIRST_S = 10.0
STOPPING = "the server is stopping"
UNSAID = "no token, and no request that needs none, came within 10 seconds"
CODES: tuple[tuple[type[OdinError], int], ...] = (
    (NotSignedIn, wire.NOT_SIGNED_IN),
    (NotAllowed, wire.NOT_ALLOWED),
    (TooManyRequests, wire.LATER),
)
log = logging.getLogger(__name__)

Place = Callable[[Session | None, str], AbstractContextManager[None]]


class Conversation:
    """``session`` is that of the handshake; ``fallback`` stands for whoever brings no token at all."""

    def __init__(
        self, odin: Context, scope: Scope, session: Session | None, fallback: Session | None, place: Place
    ) -> None:
        self._odin = odin
        self._scope = scope
        self._session = session
        self._fallback = fallback
        self._place = place
        self._socket: SocketProtocol = scope["odin.socket"]
        self._asked = Asked()
        self._first: asyncio.Future[bytes] = asyncio.get_running_loop().create_future()
        self._loose = asyncio.Event()  # nothing is being done that must be finished
        self._loose.set()
        self._following = False
        self._turns = Turns()

    async def hold(self, receive: Receive) -> None:
        """Return when it is over; whatever it does runs no longer then."""
        self._odin.metrics.sockets += 1
        loop = asyncio.get_running_loop()
        talking = loop.create_task(self._talk())
        others = {loop.create_task(self._listen(receive)), loop.create_task(self._watch())}
        tasks = {talking, *others}
        try:
            await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
            if not talking.done():
                tasks.add(loop.create_task(self._loosened()))
                await asyncio.wait(tasks - others, return_when=asyncio.FIRST_COMPLETED)
        finally:
            self._odin.metrics.sockets -= 1
            for task in tasks:
                task.cancel()
            await asyncio.wait(tasks)
            if talking.cancelled():
                self._socket.end(wire.RESTART, STOPPING)

    async def _loosened(self) -> None:
        await self._loose.wait()

    # Listening

    async def _listen(self, receive: Receive) -> None:
        while (message := await receive())["type"] != "websocket.disconnect":
            if message["type"] == "websocket.receive" and not self._first.done():
                text = message.get("text")
                self._first.set_result(message["bytes"] if text is None else text.encode())

    async def _watch(self) -> None:
        """Return when the server stops, or the token that opened the socket has ended."""
        if not await self._odin.endings.wait(lambda: self._session):
            self._socket.end(wire.NOT_SIGNED_IN, "the token has ended")

    # Talking

    async def _talk(self) -> None:
        with ExitStack() as held:
            try:
                code = await self._answer(held)
            except OdinError as error:
                code = next((code for kind, code in CODES if isinstance(error, kind)), wire.NORMAL)
                await self._fail(failure(error), code)
            except ClientDisconnected:
                return
            except Exception:  # border: request
                identity = self._scope.get("odin.request", "")
                log.exception("socket %s failed", identity)
                sentence = f"something went wrong in Odin; the server's log says what, under {identity}"
                await self._fail(Reply(ERROR, sentence), wire.INTERNAL)
            else:
                self._socket.end(code)

    async def _answer(self, held: ExitStack) -> int:
        """Hear the request and give its replies; the code to close with."""
        signed = self._session
        if signed is not None:
            held.enter_context(self._place(signed, self._address))
        try:
            async with asyncio.timeout(FIRST_S):
                data = await self._first
        except TimeoutError:
            self._socket.end(wire.NOT_SIGNED_IN if signed is None else wire.SILENT, UNSAID if signed is None else "")
            return wire.NORMAL
        self._asked = asked = read(data)
        check_command(asked)
        self._scope["odin.command"] = asked.command
        if signed is None:
            await self._sign_in(asked)
            held.enter_context(self._place(self._session, self._address))
        user = self._session.user if self._session else None
        admit(COMMANDS[asked.command], user, anonymous_reads=self._odin.anonymous_reads)
        ask = Ask(self._odin, asked.request, user, self._follow)
        return await self._say_all(ANSWERS[asked.command](ask))

    async def _sign_in(self, asked: Asked) -> None:
        if asked.token is not None:
            self._session = await self._odin.accounts.session(asked.token)
        else:
            self._session = self._fallback
        self._scope["odin.session"] = self._session

    async def _say_all(self, replies: AsyncGenerator[Reply]) -> int:
        self._loose.clear()
        async with aclosing(replies):
            async for reply in replies:
                self._odin.metrics.replied(self._asked.command, reply.status)
                await self._say(reply)
        return wire.NORMAL

    async def _say(self, reply: Reply) -> None:
        self._loose.set()
        await self._socket.say(self._asked.encode(reply))
        if reply.bookmark is not None:
            self._socket.bookmark = reply.bookmark
        if not self._following:
            self._loose.clear()
        await self._turns.done()

    async def _fail(self, reply: Reply, code: int) -> None:
        with suppress(ClientDisconnected):
            await self._say(reply)
            self._socket.end(code, "" if code == wire.NORMAL else reply.response)

    def _follow(self) -> None:
        """From here on only what happens is told."""
        self._following = True
        self._loose.set()

    @property
    def _address(self) -> str:
        return (self._scope.get("client") or ("",))[0]
