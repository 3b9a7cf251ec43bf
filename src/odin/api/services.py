"""What the application is built from, and what its routes are given."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Annotated

from fastapi import Depends, Request

from odin.api.accounts import Accounts, Session
from odin.api.channels import Channels
from odin.api.cursors import Cursors
from odin.api.endings import Endings
from odin.api.idempotency import Once
from odin.api.jobshapes import JobShapes
from odin.api.metrics import Metrics
from odin.api.panorama import Panorama
from odin.api.portraits import Portraits
from odin.api.stopping import Stopping
from odin.api.tails import Tails
from odin.api.tokens import Tokens
from odin.api.uploads import Uploads
from odin.engine.retention import Figures
from odin.executors.nodereports import NodeReports
from odin.executors.protocol import NoResources
from odin.model.users import User

if TYPE_CHECKING:
    from odin.engine.commands import Commands
    from odin.engine.feed import Feed
    from odin.executors.protocol import Logs, Nodes, Resources
    from odin.jobs.repository import Repository
    from odin.settings import Settings
    from odin.store.queries import Queries
    from odin.store.users import Users


@dataclass(frozen=True)
class Services:
    """The rooms below, as main has built them. ``stopping`` is shared with the server around the application."""

    settings: Settings
    repository: Repository
    commands: Commands
    queries: Queries
    users: Users
    tokens: Tokens
    logs: Logs
    nodes: Nodes
    feed: Feed
    resources: Resources = field(default_factory=NoResources)
    reports: NodeReports = field(default_factory=NodeReports)
    stopping: Stopping = field(default_factory=Stopping)
    retained: Figures = field(default_factory=Figures)


@dataclass(frozen=True)
class Context:
    """One for an application: its services, and what the tier itself keeps between requests."""

    services: Services
    accounts: Accounts
    once: Once
    metrics: Metrics
    uploads: Uploads
    jobs: JobShapes
    cursors: Cursors
    channels: Channels
    tails: Tails
    panorama: Panorama
    portraits: Portraits
    endings: Endings
    anonymous_reads: bool


def context(request: Request) -> Context:
    found: Context = request.app.state.context
    return found


# FastAPI calls what is not a coroutine in a thread: two hops for each of these, and a place in the queue for one.


async def _context(request: Request) -> Context:
    return context(request)


async def _session(request: Request) -> Session | None:
    """Who is signed in, None on open routes and for anonymous readers."""
    found: Session | None = request.scope.get("odin.session")
    return found


async def _actor(request: Request) -> User:
    """The user, on routes that have one."""
    found = await _session(request)
    assert found is not None, "the route's access lets nobody in without a token"
    return found.user


Ctx = Annotated[Context, Depends(_context)]
Who = Annotated[Session | None, Depends(_session)]
Actor = Annotated[User, Depends(_actor)]
