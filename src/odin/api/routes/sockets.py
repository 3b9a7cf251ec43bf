"""The address of the WebSockets, asked for over plain HTTP. Source: RFC 9110, sections 7.8 and 15.5.22."""

from __future__ import annotations

from http import HTTPStatus

from starlette.responses import Response

from odin.api.problems import problem
from odin.api.routing import router

WANTED = {"Upgrade": "websocket", "Connection": "Upgrade"}
REMEDY = (
    "WebSockets are served here: open ws://… or wss://… with this address in a WebSocket client; "
    "over plain HTTP /v1/pipelines, /v1/resources and /v1/stream say the same"
)

routes = router()


@routes.get("/v1/ws", include_in_schema=False)
async def use_a_websocket() -> Response:
    """426 for whoever does not ask for a WebSocket. It is no operation, so it is not described as one."""
    return problem(HTTPStatus.UPGRADE_REQUIRED, REMEDY, headers=WANTED)
