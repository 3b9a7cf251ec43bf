"""The git backend at ``/git/jobs.git``: who may fetch and push, before git is asked anything.

git sends user name and password as Basic; a token may stand in the password's place, or come as Bearer.
"""

from __future__ import annotations

import base64
import binascii

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from odin.api.access import GIT_FETCH, GIT_PUSH, admit
from odin.api.accounts import Session
from odin.api.limits import Limited
from odin.api.problems import of_error
from odin.api.routes.auth import client
from odin.api.routes.jobs import author
from odin.api.services import Context
from odin.jobs.http import is_push
from odin.jobs.values import Author
from odin.model.errors import NotSignedIn, OdinError

PATH = "/git/jobs.git"
CHALLENGE = 'Basic realm="odin", charset="UTF-8"'


class GitDoor:
    """Lets in who may; the backend behind it finds the user in the scope."""

    def __init__(self, backend: ASGIApp, odin: Context) -> None:
        self._backend = backend
        self._odin = odin

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        scope["odin.route"] = PATH
        try:
            session = await self._identify(Request(scope, receive))
        except OdinError as error:
            await _refusal(error)(scope, receive, send)
            return
        scope["odin.session"] = session
        await self._backend(scope, _patient(receive), send)

    async def _identify(self, request: Request) -> Session:
        session = await self._session(request)
        access = GIT_PUSH if is_push(request.scope) else GIT_FETCH
        admit(access, session.user if session else None, anonymous_reads=False)
        assert session is not None, "git is never anonymous"
        return session

    async def _session(self, request: Request) -> Session | None:
        given = request.headers.getlist("authorization")
        if not given:
            return None
        scheme, _, rest = given[0].partition(" ")
        if len(given) == 1 and scheme.lower() == "bearer":
            return await self._odin.accounts.session(rest.strip())
        if len(given) > 1 or scheme.lower() != "basic":
            raise NotSignedIn("sign in with a user name and a password, or a token as password")
        username, password = _basic(rest)
        if looks_like_token(password):
            return await self._by_token(username, password)
        return Session(await self._odin.accounts.sign_in(username, password, client(request)))

    async def _by_token(self, username: str, token: str) -> Session:
        session = await self._odin.accounts.session(token)
        if username and username.lower() != session.user.username:
            raise NotSignedIn("the token belongs to another user")
        return session


def author_of(scope: Scope) -> Author:
    """Whose commits a push through this request makes."""
    session: Session = scope["odin.session"]
    return author(session.user)


def looks_like_token(password: str) -> bool:
    return password.startswith("eyJ") and password.count(".") == 2


def _basic(encoded: str) -> tuple[str, str]:
    try:
        username, colon, password = base64.b64decode(encoded, validate=True).decode().partition(":")
    except (binascii.Error, UnicodeDecodeError, ValueError) as error:
        raise NotSignedIn("the Authorization header cannot be read") from error
    if not colon:
        raise NotSignedIn("the Authorization header cannot be read")
    return username, password


def _patient(receive: Receive) -> Receive:
    """A body that comes too slowly ends as if the client had left: git's answer may be on its way already."""
    limited = Limited(receive, None)

    async def patient() -> Message:
        try:
            return await limited()
        except HTTPException:
            return {"type": "http.disconnect"}

    return patient


def _refusal(error: OdinError) -> Response:
    response = of_error(error)
    if response.status_code == 401:
        response.headers["WWW-Authenticate"] = CHALLENGE
    return response
