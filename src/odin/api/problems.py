"""Errors as RFC 9457 problem details. The one table from Odin's errors to HTTP is here.

Never a top-level ``message``: older clients read that as a token. Never a path, a query or a class name: what an
unexpected error was stands in the server's log, under the request id that the answer names.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from http import HTTPStatus
from typing import Any

import msgspec
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response

from odin.model.errors import (
    Conflict,
    InvalidInput,
    NoSpace,
    NotAllowed,
    NotFound,
    NotSignedIn,
    NotSupported,
    OdinError,
    Problem,
    TooLarge,
    TooManyRequests,
    Unavailable,
    ValidationFailed,
)

MEDIA_TYPE = "application/problem+json"
CHALLENGE = "Bearer"

STATUS: Mapping[type[OdinError], int] = {
    InvalidInput: 400,
    TooLarge: 413,
    ValidationFailed: 422,
    NotSupported: 422,
    NotSignedIn: 401,
    NotAllowed: 403,
    NotFound: 404,
    Conflict: 409,
    TooManyRequests: 429,
    Unavailable: 503,
    NoSpace: 507,
    OdinError: 500,  # an illegal move, say: a bug in Odin
}

# Statuses that no error of Odin's stands for, because only HTTP knows them.
SLOW, WRONG_TYPE, WRONG_HOST, LONG_HEADERS = 408, 415, 421, 431


def status_of(error: OdinError) -> int:
    return next(STATUS[kind] for kind in type(error).__mro__ if kind in STATUS)


def of_error(error: OdinError) -> Response:
    """The answer to an error of Odin's."""
    status = status_of(error)
    if status == HTTPStatus.INTERNAL_SERVER_ERROR:
        raise error
    headers = {}
    if error.retry_after_s is not None:
        headers["Retry-After"] = str(error.retry_after_s)
    if status == HTTPStatus.UNAUTHORIZED:
        headers["WWW-Authenticate"] = CHALLENGE
    return problem(status, str(error), title=error.title, problems=error.problems, headers=headers)


def problem(
    status: int,
    detail: str,
    *,
    title: str = "",
    problems: Sequence[Problem] = (),
    headers: Mapping[str, str] | None = None,
) -> Response:
    """One problem as an answer; ``title`` is HTTP's own phrase unless given."""
    body = document(status, detail, title=title, problems=problems)
    return Response(body, status, headers=dict(headers or {}), media_type=MEDIA_TYPE)


def document(status: int, detail: str, *, title: str = "", problems: Sequence[Problem] = ()) -> bytes:
    title = title or HTTPStatus(status).phrase
    content: dict[str, Any] = {
        "type": "urn:odin:problem:" + title.lower().replace(" ", "-"),
        "title": title,
        "status": status,
        "detail": printable(detail),
    }
    if problems:
        content["errors"] = [place(one) for one in problems]
    return msgspec.json.encode(content)


def place(one: Problem) -> dict[str, Any]:
    return {
        "path": one.path,
        "message": printable(one.message),
        "file": one.file,
        "line": one.line,
        "column": one.column,
    }


def printable(text: str) -> str:
    """The text with what a terminal would act on, or JSON cannot carry, shown as escapes."""
    if text.isprintable():
        return text
    return "".join(
        letter if letter.isprintable() or letter == "\n" else letter.encode("unicode_escape").decode()
        for letter in text
    )


async def on_odin_error(_request: Request, error: Exception) -> Response:
    assert isinstance(error, OdinError)
    return of_error(error)


async def on_http_error(_request: Request, error: Exception) -> Response:
    """What the router itself refuses: 404 for no route, 405 for no method."""
    assert isinstance(error, HTTPException)
    detail = error.detail
    if error.status_code == HTTPStatus.NOT_FOUND and detail == HTTPStatus.NOT_FOUND.phrase:
        detail = "there is no such route; /v1/openapi.json lists them"
    return problem(error.status_code, detail, headers=error.headers)


async def on_invalid_request(_request: Request, error: Exception) -> Response:
    """A body, query or path that FastAPI found to break its model: every place at once."""
    assert isinstance(error, RequestValidationError)
    places = [_place_of(one) for one in error.errors()]
    detail = "; ".join(str(one) for one in places[:3]) + ("; …" if len(places) > 3 else "")
    return problem(422, detail, title=ValidationFailed.title, problems=places)


def _place_of(error: Any) -> Problem:
    where = [str(part) for part in error["loc"] if part != "body"]
    return Problem(str(error["msg"]), path=".".join(where))
