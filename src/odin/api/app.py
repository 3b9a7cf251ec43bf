"""The application: routes behind one guard, the git backend behind its own, the edge around both."""

from __future__ import annotations

from fastapi import FastAPI
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.types import ASGIApp

from odin import __version__
from odin.api.access import ROUTES
from odin.api.accounts import Accounts
from odin.api.channels import Channels
from odin.api.cursors import Cursors
from odin.api.edge import Edge
from odin.api.endings import Endings
from odin.api.git import PATH, GitDoor, author_of
from odin.api.idempotency import Once
from odin.api.jobshapes import JobShapes
from odin.api.metrics import Metrics
from odin.api.panorama import Panorama
from odin.api.portraits import Portraits
from odin.api.problems import on_http_error, on_invalid_request, on_odin_error
from odin.api.routes import auth, files, jobs, logs, nodes, pipelines, resources, server, sockets, stream, users
from odin.api.routing import Guarded
from odin.api.services import Context, Services
from odin.api.tails import Tails
from odin.api.uploads import Uploads
from odin.jobs.http import GitBackend
from odin.model.errors import OdinError

ROUTERS = (auth, users, jobs, files, pipelines, stream, resources, logs, nodes, server, sockets)


def build_app(services: Services) -> FastAPI:
    """The ASGI application of one server."""
    odin = build_context(services)
    app = FastAPI(
        title="Odin",
        version=__version__,
        openapi_url=None,
        docs_url=None,
        redoc_url=None,
        redirect_slashes=False,
    )
    app.state.context = odin
    for module in ROUTERS:
        # Flat, not included: what is guarded and what has its row is checked route by route.
        app.router.routes.extend(module.routes.routes)
    app.mount(PATH, GitDoor(_git(services), odin))
    app.add_exception_handler(OdinError, on_odin_error)
    app.add_exception_handler(HTTPException, on_http_error)
    app.add_exception_handler(RequestValidationError, on_invalid_request)
    app.add_middleware(Edge, odin=odin)
    check_routes(app)
    return app


def build_context(services: Services) -> Context:
    accounts = Accounts(services.users, services.tokens)
    portraits = Portraits(services.queries)
    return Context(
        services=services,
        accounts=accounts,
        once=Once(services.queries, services.tokens.derive("idempotency")),
        metrics=Metrics(),
        uploads=Uploads(),
        jobs=JobShapes(services.repository),
        cursors=Cursors(services.tokens.derive("cursors")),
        channels=Channels(services.queries, services.feed, portraits),
        tails=Tails(services.logs, services.queries, services.feed),
        panorama=Panorama(services.queries, services.feed, services.commands.engine.clock.now),
        portraits=portraits,
        endings=Endings(accounts, services.stopping),
        anonymous_reads=services.settings.anonymous_reads,
    )


def check_routes(app: FastAPI) -> None:
    """Every route is guarded and has its row, every row its route: a start without that would be a hole."""
    for route in app.routes:
        if getattr(route, "path", None) != PATH and not isinstance(route, Guarded):
            raise RuntimeError(f"{route} is not guarded")
    routes = {(m, r.path) for r in app.routes if isinstance(r, Guarded) for m in r.methods or ()}
    if routes != ROUTES.keys():
        raise RuntimeError(f"routes and rows of odin.api.access differ: {routes ^ ROUTES.keys()}")


def _git(services: Services) -> ASGIApp:
    return GitBackend(services.repository, author_of)
