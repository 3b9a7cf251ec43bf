"""Resources: what the database holds on a pipeline or a task, and its events. Only Odin's own: reliability.md, A-58."""

from __future__ import annotations

from typing import Any

from anyio.to_thread import run_sync
from starlette.responses import Response

from odin.api import shapes
from odin.api.answers import answer
from odin.api.routes.pipelines import view_of
from odin.api.routing import router
from odin.api.services import Context, Ctx
from odin.model.errors import NotFound
from odin.model.ids import split_resource
from odin.model.names import nearest, shown
from odin.store.queries import AttemptView, PipelineView, TaskView

Found = tuple[PipelineView, TaskView, list[AttemptView]]
routes = router()


@routes.get("/v1/resources/{resource}/data")
async def data(resource: str, odin: Ctx) -> Response:
    """The data of a pipeline or a task."""
    return answer(await data_of(resource, odin))


@routes.get("/v1/resources/{resource}/events")
async def events(resource: str, odin: Ctx) -> Response:
    """What happened to a pipeline or a task, oldest first."""
    return answer({"events": await events_of(resource, odin)})


async def data_of(resource: str, odin: Context) -> dict[str, Any]:
    """What the database holds on a pipeline or a task; raises NotFound with the nearest names."""
    if is_pipeline(resource):
        found: dict[str, Any] = shapes.pipeline_data(await view_of(resource, odin))
    else:
        found = shapes.task_data(*await task_of(resource, odin))
    return {"success": True, "jobs": found}


async def events_of(resource: str, odin: Context) -> list[shapes.Shape]:
    """The history of a pipeline or a task, oldest first; raises NotFound with the nearest names."""
    idx = None
    if is_pipeline(resource):
        view = await view_of(resource, odin)
    else:
        view, task, _ = await task_of(resource, odin)
        idx = task.idx
    names = [one.name for one in view.tasks]
    rows = await run_sync(lambda: odin.services.queries.events(view.id, idx=idx))
    if not rows:  # a task that waits: how its pipeline began is its own history too, and older clients cannot show none
        began = await run_sync(lambda: odin.services.queries.events(view.id, limit=2))
        rows = [row for row in began if row.idx is None]
    return [shapes.event(view.id, row, names) for row in rows]


def is_pipeline(resource: str) -> bool:
    return split_resource(resource)[1] is None


async def task_of(resource: str, odin: Context) -> Found:
    """The task of a task's or an attempt's id; raises NotFound with the nearest names."""
    found = await run_sync(odin.services.queries.task, resource)
    if found is None:
        view = await view_of(split_resource(resource)[0], odin)
        near = nearest(resource, (one.id for one in view.tasks))
        raise NotFound(f"there is no task {shown(resource)}", near=near)
    return found
