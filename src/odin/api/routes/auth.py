"""Signing in: ``POST /v1/auth``."""

from __future__ import annotations

from typing import Any
from urllib.parse import parse_qsl

from pydantic import BaseModel, ConfigDict, ValidationError
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response

from odin.api.answers import answer, moment
from odin.api.problems import WRONG_TYPE
from odin.api.routing import router
from odin.api.services import Ctx
from odin.api.strictjson import loads
from odin.model.errors import InvalidInput, NotSignedIn, OdinError, TooManyRequests, ValidationFailed

LARGEST_FORM = 100  # fields
routes = router()


class Credentials(BaseModel):
    """Who signs in; further fields are ignored, as older clients send some."""

    model_config = ConfigDict(strict=True)

    username: str
    password: str


CONTENT = {
    kind: {"schema": Credentials.model_json_schema()}
    for kind in ("application/json", "application/x-www-form-urlencoded")
}


@routes.post("/v1/auth", openapi_extra={"requestBody": {"content": CONTENT, "required": True}})
async def sign_in(request: Request, odin: Ctx) -> Response:
    """A token for a user name and a password, as JSON or as a form."""
    given = await _credentials(request)
    try:
        user = await odin.accounts.sign_in(given.username, given.password, client(request))
    except OdinError as error:
        odin.metrics.sign_ins[OUTCOMES.get(type(error), "failed")] += 1
        raise
    odin.metrics.sign_ins["ok"] += 1
    token, expires_at = odin.services.tokens.issue(user)
    return answer({"message": token, "expiresAt": moment(expires_at)})


OUTCOMES = {NotSignedIn: "wrong", TooManyRequests: "slowed"}


def client(request: Request) -> str:
    """The address that asks, as far as it can be known."""
    return request.client.host if request.client else ""


async def _credentials(request: Request) -> Credentials:
    body = await request.body()
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind == "application/json":
        fields: Any = loads(body)
    elif kind == "application/x-www-form-urlencoded":
        fields = _form(body)
    else:
        raise HTTPException(WRONG_TYPE, "send user name and password as application/json or as a form")
    try:
        return Credentials.model_validate(fields)
    except ValidationError as error:
        raise ValidationFailed("username and password must be given, both as text") from error


def _form(body: bytes) -> dict[str, str]:
    try:
        return dict(parse_qsl(body.decode(), keep_blank_values=True, errors="strict", max_num_fields=LARGEST_FORM))
    except ValueError as error:
        raise InvalidInput("the form cannot be read") from error
