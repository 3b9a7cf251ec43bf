"""The commands of a WebSocket, one row for each; those that go on are in modules of their own.

Source: api.md, "WebSocket tier".
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from anyio.to_thread import run_sync

from odin.api import shapes as rest
from odin.api.answers import ENCODER
from odin.api.routes.resources import data_of, events_of
from odin.api.sockets import shapes
from odin.api.sockets.ask import Answer, Ask, Replies
from odin.api.sockets.logs import logs
from odin.api.sockets.messages import OK, Fields, Reply, text
from odin.api.sockets.start import start
from odin.model.errors import InvalidInput
from odin.model.names import decode
from odin.store.queries import Filter

LARGEST_LIST = 1 << 20  # bytes: what common clients take at most in one message
LARGEST_SHOW = 8 << 20


async def ping(ask: Ask) -> Replies:
    said = "" if ask.request is None else ask.request
    if not isinstance(said, str):
        raise InvalidInput("the request of PING must be a text")
    yield Reply(OK, f"PONG {said}")


async def status(ask: Ask) -> Replies:
    """The newest pipelines whose id contains the pattern, 100 at most; fewer where they are long."""
    if not isinstance(ask.request, str | None):
        raise InvalidInput("the request of STATUS must be a text: a pipeline's id, or part of one")
    wanted = Filter(query=(ask.request or "").strip().strip("*"))

    def found() -> list[Any]:
        views, _ = ask.odin.services.queries.pipelines(wanted)
        return _fitting([shapes.status(view) for view in views])

    yield Reply(OK, await run_sync(found))


def _fitting(shown: list[Any]) -> list[Any]:
    """As many from the front as fit into one message, and never none of some."""
    size = 0
    for count, one in enumerate(shown):
        size += len(ENCODER.encode(one))
        if count and size > LARGEST_LIST:
            return shown[:count]
    return shown


async def show(ask: Ask) -> Replies:
    """The text files of a job by name; what is no text, or larger than 1 MiB, is left out."""
    job = text(ask.request, "the request of SHOW, a job,")
    yield Reply(OK, await run_sync(ask.odin.jobs.files, decode(job), LARGEST_SHOW))


async def data(ask: Ask) -> Replies:
    fields = Fields.read(ask.request, '{"resource": "<pipeline or task>"}')
    yield Reply(OK, await data_of(fields.text("resource"), ask.odin, ask.user))


async def events(ask: Ask) -> Replies:
    fields = Fields.read(ask.request, '{"resource": "<pipeline or task>"}')
    fields.optional("namespace")  # of another nothing is told, whatever is asked
    found = await events_of(fields.text("resource"), ask.odin, ask.user)
    yield Reply(OK, [shapes.event(one) for one in found])


async def cleanup(ask: Ask) -> Replies:
    fields = Fields.read(ask.request, '{"work": "<pipeline>", "purge_db": false, "purge_fs": false}')
    services = ask.odin.services
    cleaning = services.commands.cleanup(
        fields.text("work"), ask.actor, db=fields.flag("purge_db"), fs=fields.flag("purge_fs"), dry_run=False
    )
    yield Reply(OK, [shapes.cleanup(rest.cleanup(one)) for one in await services.stopping.unless(cleaning)])


async def generate(ask: Ask) -> Replies:
    fields = Fields.read(ask.request, '{"template": "<job>", "context": {"lr": 0.1}}')
    context = fields.of.get("context")
    if not isinstance(context, dict | None):
        raise InvalidInput('context must be an object, such as {"lr": 0.1}')
    template, name = decode(fields.text("template")), fields.optional("name")
    yield Reply(OK, await ask.odin.services.commands.generate(template, context or {}, ask.actor, name))


ANSWERS: Mapping[str, Answer] = {
    "PING": ping,
    "START": start,
    "STATUS": status,
    "SHOW": show,
    "DATA": data,
    "EVENTS": events,
    "LOGS": logs,
    "CLEANUP": cleanup,
    "GENERATE": generate,
}
