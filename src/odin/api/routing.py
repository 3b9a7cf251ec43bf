"""The one way into every route: who asks, whether they may, and what they send, in this order.

It stands before FastAPI reads a body, so that a stranger cannot make the server read one.
"""

from __future__ import annotations

import email.message
from collections.abc import Callable, Coroutine, Mapping
from typing import Any

from fastapi import APIRouter
from fastapi.routing import APIRoute
from starlette.exceptions import HTTPException
from starlette.requests import HTTPConnection, Request
from starlette.responses import Response
from starlette.types import Receive, Scope

from odin.api.access import ROUTES, Access, admit, is_agents
from odin.api.accounts import Session
from odin.api.limits import FILE_BYTES, JSON_BYTES, REPORT_BYTES, UPLOAD_BYTES, Limited, check_length
from odin.api.problems import MEDIA_TYPE, WRONG_TYPE
from odin.api.services import Context, context
from odin.api.strictjson import loads
from odin.model.errors import InvalidInput, NotSignedIn

MOST_BYTES: Mapping[str, int] = {
    "/v1/nodes/{node}/report": REPORT_BYTES,
    "/v1/jobs/{job}/files": UPLOAD_BYTES,
    "/v1/jobs/{job}/files/{file:path}": FILE_BYTES,
}

PROBLEM = {
    "description": "What went wrong, as problem details (RFC 9457).",
    "content": {
        MEDIA_TYPE: {
            "schema": {
                "type": "object",
                "required": ["type", "title", "status", "detail"],
                "properties": {
                    "type": {"type": "string"},
                    "title": {"type": "string"},
                    "status": {"type": "integer"},
                    "detail": {"type": "string"},
                    "errors": {"type": "array", "items": {"type": "object"}},
                },
            }
        }
    },
}

Handler = Callable[[Request], Coroutine[Any, Any, Response]]


class JsonRequest(Request):
    """A request whose JSON body has been read."""

    def __init__(self, scope: Scope, receive: Receive, body: bytes) -> None:
        super().__init__(scope, receive)
        self._raw = body
        self._value = loads(body)

    async def body(self) -> bytes:
        return self._raw

    async def json(self) -> Any:
        return self._value


class Guarded(APIRoute):
    """A route that lets in whom its row in ``odin.api.access`` names."""

    def get_route_handler(self) -> Handler:
        handle = super().get_route_handler()
        assert self.methods
        (method,) = self.methods
        access = ROUTES.get((method, self.path))
        most = MOST_BYTES.get(self.path, JSON_BYTES)
        reads_json = self.body_field is not None

        async def guarded(request: Request) -> Response:
            request.scope["odin.route"] = self.path
            request.scope["odin.session"] = await identify(request, access, context(request))
            check_length(request.scope["headers"], most)
            receive = Limited(request.receive, most)
            if reads_json:
                return await handle(await _read_json(request, receive))
            return await handle(Request(request.scope, receive))

        return guarded


def router() -> APIRouter:
    """A router whose routes are guarded."""
    return APIRouter(route_class=Guarded, responses={"default": PROBLEM})


async def identify(request: Request, access: Access | None, odin: Context) -> Session | None:
    """Who asks; raises NotSignedIn or NotAllowed unless they may."""
    token = None if access is Access.OPEN else bearer(request)
    if access is Access.NODE and token is not None and is_agents(token, odin.services.settings.midgard_token):
        return None
    found = await odin.accounts.session(token) if token is not None else None
    admit(access, found.user if found else None, anonymous_reads=odin.anonymous_reads)
    return found


def bearer(request: HTTPConnection) -> str | None:
    """The token of the ``Authorization`` header, None without one; raises NotSignedIn for another scheme."""
    given = request.headers.getlist("authorization")
    if not given:
        return None
    scheme, _, token = given[0].partition(" ")
    if len(given) > 1 or scheme.lower() != "bearer" or not token.strip():
        raise NotSignedIn("send one header like this: Authorization: Bearer <token>")
    return token.strip()


async def _read_json(request: Request, receive: Receive) -> JsonRequest:
    kind = email.message.Message()
    kind["content-type"] = request.headers.get("content-type", "")
    if kind.get_content_type() != "application/json" and not kind.get_content_subtype().endswith("+json"):
        raise HTTPException(WRONG_TYPE, "send the body as application/json")
    body = await Request(request.scope, receive).body()
    if not body.strip():
        raise InvalidInput("the body is empty")
    return JsonRequest(request.scope, receive, body)
