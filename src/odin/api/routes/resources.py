"""Resources: what is known of a pipeline or a task, and its events.

Others than Odin's own only for admins, and where a setting lists them: reliability.md, A-58.
"""

from __future__ import annotations

from typing import Any

from anyio.to_thread import run_sync
from starlette.responses import Response

from odin.api import shapes
from odin.api.answers import answer
from odin.api.routes.pipelines import view_of
from odin.api.routing import router
from odin.api.services import Context, Ctx, Who
from odin.model.errors import NotFound
from odin.model.ids import TaskId, attempt_id, split_resource
from odin.model.names import nearest, shown
from odin.model.users import Role, User
from odin.store.queries import AttemptView, PipelineView, TaskView

Found = tuple[PipelineView, TaskView, list[AttemptView]]
routes = router()


@routes.get("/v1/resources/{resource:path}/data")
async def data(resource: str, odin: Ctx, who: Who) -> Response:
    """The data of a pipeline or a task."""
    return answer(await data_of(resource, odin, who.user if who else None))


@routes.get("/v1/resources/{resource:path}/events")
async def events(resource: str, odin: Ctx, who: Who) -> Response:
    """What happened to a pipeline or a task, oldest first."""
    return answer({"events": await events_of(resource, odin, who.user if who else None)})


async def data_of(resource: str, odin: Context, user: User | None) -> dict[str, Any]:
    """What is known of a pipeline or a task; raises NotFound with the nearest names."""
    if is_foreign(resource):
        await admit_foreign(resource, odin, user)
        return {"success": True, "jobs": await odin.services.resources.data(resource)}
    if is_pipeline(resource):
        found: dict[str, Any] = shapes.pipeline_data(await view_of(resource, odin))
    else:
        found = await _task_data(*await task_of(resource, odin), odin)
    return {"success": True, "jobs": found}


async def _task_data(view: PipelineView, task: TaskView, attempts: list[AttemptView], odin: Context) -> dict[str, Any]:
    """With what the place says of each attempt, where it says something."""
    found = shapes.task_data(view, task, attempts)
    names = [attempt_id(TaskId(task.id), attempt.number) for attempt in attempts]
    known = await odin.services.resources.facts(names)
    for shape, name in zip(found["attempts"], names, strict=True):
        if name in known:
            shape["cluster"] = known[name]
    return found


async def events_of(resource: str, odin: Context, user: User | None) -> list[shapes.Shape]:
    """The history of a pipeline or a task, oldest first; raises NotFound with the nearest names."""
    if is_foreign(resource):
        await admit_foreign(resource, odin, user)
        return [shapes.foreign_event(each) for each in await odin.services.resources.events(resource)]
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
    told = await run_sync(lambda: odin.services.queries.happenings(view.id, idx=idx))
    own = [(row.at, shapes.event(view.id, row, names)) for row in rows]
    places = [(each.at, shapes.happening(view.id, at, number, each, names)) for at, number, each in told]
    return [shape for _, shape in sorted(own + places, key=lambda one: one[0])]


def is_foreign(resource: str) -> bool:
    """Whether an object of the place is meant that is not Odin's: ``kind/name``."""
    return "/" in resource


async def admit_foreign(resource: str, odin: Context, user: User | None) -> None:
    """Raises NotFound for all but admins, as if nothing were called so (A-58)."""
    if user is None or user.role is not Role.ADMIN or not user.uid:
        await view_of(resource, odin)
        raise NotFound(f"there is no pipeline {shown(resource)}")


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
