"""The server and its machines: whether it is there, whether it is ready, what it is, what it counts."""

from __future__ import annotations

from typing import Any

from anyio.to_thread import run_sync
from starlette.requests import Request
from starlette.responses import Response

from odin import __version__
from odin.api.answers import answer
from odin.api.metrics import MEDIA_TYPE, render
from odin.api.routing import router
from odin.api.services import Ctx
from odin.model.errors import OdinError, Unavailable

routes = router()


@routes.get("/v1/ping")
async def ping() -> Response:
    """``"pong"``."""
    return answer("pong", headers={"Odin-Version": __version__})


@routes.get("/healthz")
async def health() -> Response:
    """200 while the server answers at all, with or without its store."""
    return answer({"healthy": True})


@routes.get("/readyz")
async def readiness(odin: Ctx) -> Response:
    """200 while the store answers and pipelines can be launched and are driven, else 503 with the reason."""
    await run_sync(odin.services.queries.alive)
    commands = odin.services.commands
    engine = commands.engine
    if engine.failure is not None:
        raise Unavailable(f"pipelines are not driven: {engine.failure}")
    if (why := commands.check.waits()) is not None:
        raise Unavailable(f"no job can be launched yet: {why}; {engine.away}", retry_after_s=1)
    return answer({"ready": True, "placeAway": engine.away})


@routes.get("/v1/app")
async def facts(odin: Ctx) -> Response:
    """What this server is."""
    services = odin.services
    head = await run_sync(services.repository.head)
    return answer(
        {
            "pipelines_root": str(services.settings.shared / "runs"),
            "pipelines_version": head,
            "pipelines_repo_dirty": False,
            "version": __version__,
            "executor": services.settings.executor,
            "database": services.settings.database_url.partition(":")[0].partition("+")[0],
        }
    )


@routes.get("/metrics")
async def metrics(odin: Ctx) -> Response:
    """For Prometheus."""
    try:
        pipelines = await run_sync(odin.services.queries.counts)
    except OdinError:  # the store is away: the rest is worth having then
        pipelines = {}
    ready = odin.services.commands.engine.failure is None
    text = render(odin.metrics, pipelines, odin.services.retained, ready=ready)
    return Response(text, media_type=MEDIA_TYPE)


@routes.get("/v1/openapi.json")
async def description(request: Request) -> Response:
    """This API in OpenAPI's words."""
    document: dict[str, Any] = request.app.openapi()
    return answer(document)
