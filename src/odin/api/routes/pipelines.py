"""Pipelines: launching, listing, showing, cancelling, running again, cleaning up."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from anyio.to_thread import run_sync
from fastapi import Query
from pydantic import BaseModel, ConfigDict, Field, JsonValue, model_validator
from starlette.requests import Request
from starlette.responses import Response

from odin.api import shapes
from odin.api.answers import answer
from odin.api.routes.files import SANDBOX
from odin.api.routing import router
from odin.api.services import Actor, Context, Ctx
from odin.engine.commands import launched
from odin.engine.resuming import Again
from odin.model.errors import NotFound
from odin.model.names import decode, nearest, shown
from odin.model.resume import Choice
from odin.model.states import Outcome, PipelineStatus
from odin.store.queries import LARGEST_PAGE, PAGE, Filter, PipelineView

routes = router()


class Launch(BaseModel):
    model_config = ConfigDict(strict=True)

    job: str


class LaunchBody(BaseModel):
    """The job to run, and what its templates are filled in with."""

    model_config = ConfigDict(strict=True)

    pipeline: Launch
    context: dict[str, JsonValue] = Field(default_factory=dict)

    @model_validator(mode="before")
    @classmethod
    def leave_out(cls, given: Any) -> Any:
        """A context that is null is none."""
        if isinstance(given, dict) and given.get("context", ...) is None:
            return {key: value for key, value in given.items() if key != "context"}
        return given


class RerunBody(BaseModel):
    """What to run again, at which commit, with what in its context; with ``plan`` that is only told."""

    model_config = ConfigDict(strict=True, extra="forbid")

    start: Literal["start", "failed"] | None = Field(default=None, alias="from")
    task: str | None = Field(default=None, alias="fromTask")
    only: str | None = None
    at: str | None = None
    context: dict[str, JsonValue] | None = None
    plan: bool = False

    @model_validator(mode="after")
    def choose_one(self) -> RerunBody:
        if sum(each is not None for each in (self.start, self.task, self.only)) > 1:
            raise ValueError("give one of from, fromTask and only")
        return self

    def again(self) -> Again:
        choice = Choice(everything=self.start == "start", start=self.task, only=self.only)
        return Again(choice, self.at, self.context or {})


@routes.post("/v1/pipelines")
async def launch(given: LaunchBody, request: Request, odin: Ctx, actor: Actor) -> Response:
    """Run a job. Answers once the pipeline is durable."""
    asked = odin.once.identify(request, actor, [await request.body()])

    async def act() -> Response:
        # The engine keeps the answer in the transaction of the pipeline itself.
        ref = await odin.services.commands.launch(given.pipeline.job, actor, context=given.context, idempotency=asked)
        return answer(launched(ref))

    return await odin.once.answer(asked, act, keep=False)


@routes.get("/v1/pipelines")
async def list_pipelines(
    odin: Ctx,
    q: str = "",
    limit: Annotated[int, Query(ge=1, le=LARGEST_PAGE)] = PAGE,
    cursor: str | None = None,
    status: PipelineStatus | None = None,
    outcome: Outcome | None = None,
    job: str | None = None,
    user: str | None = None,
) -> Response:
    """A page of pipelines whose id contains ``q``, newest first."""
    wanted = Filter(
        query=q,
        status=status,
        outcome=outcome,
        job=decode(job) if job is not None else None,
        user=user.lower() if user is not None else None,
        before=odin.cursors.read(cursor) if cursor else None,
    )
    found, following = await odin.portraits.page(wanted, limit)
    page: dict[str, Any] = {"pipelines": [each.data for each in found]}
    if following is not None:
        page["nextCursor"] = odin.cursors.write(following)
    return answer(page)


@routes.get("/v1/pipelines/{pipeline}")
async def show_pipeline(pipeline: str, odin: Ctx) -> Response:
    return await _shown(pipeline, odin)


async def _shown(pipeline: str, odin: Context) -> Response:
    found = await odin.portraits.get(pipeline)
    if found is None:
        raise await _unknown(pipeline, odin)
    shown: dict[str, Any] = {"pipeline": found.data}
    # Beside it: its own history does not move when another goes on from it. Nobody resumes what still runs.
    if found.is_over and (reruns := await run_sync(odin.services.queries.reruns, pipeline)):
        shown["reruns"] = reruns
    return answer(shown)


@routes.get("/v1/pipelines/{pipeline}/files")
async def list_rendered(pipeline: str, odin: Ctx) -> Response:
    """What the job's templates became for this pipeline, by their path in the job."""
    files = await _rendered(pipeline, odin)
    return answer({"files": [{"name": name, "bytes": len(text.encode())} for name, text in files.items()]})


@routes.get("/v1/pipelines/{pipeline}/files/{file:path}")
async def show_rendered(pipeline: str, file: str, odin: Ctx) -> Response:
    """One rendered file, as it was when the pipeline was launched: tasks cannot change it."""
    files = await _rendered(pipeline, odin)
    if file not in files:
        raise NotFound(f"the pipeline {pipeline} has no rendered file {shown(file)}", near=nearest(file, files))
    return Response(files[file], media_type="text/plain; charset=utf-8", headers=SANDBOX)


async def _rendered(pipeline: str, odin: Context) -> dict[str, str]:
    """From the rows, never from a folder that tasks can write. Raises NotFound."""
    files = await run_sync(odin.services.queries.rendered, pipeline)
    if not files:
        await view_of(pipeline, odin)
    return files


@routes.post("/v1/pipelines/{pipeline}/cancel")
async def cancel(pipeline: str, request: Request, odin: Ctx, actor: Actor) -> Response:
    """Stop a pipeline and keep everything."""
    asked = odin.once.identify(request, actor, [])

    async def act() -> Response:
        await odin.services.commands.cancel(pipeline, actor)
        return await _shown(pipeline, odin)

    return await odin.once.answer(asked, act)


@routes.post("/v1/pipelines/{pipeline}/rerun")
async def rerun(pipeline: str, given: RerunBody, request: Request, odin: Ctx, actor: Actor) -> Response:
    """Go on from a pipeline that is over, by a new one that keeps what need not run again; or tell the plan of that."""
    commands = odin.services.commands
    if given.plan:
        return answer(shapes.planned(await commands.plan(pipeline, actor, given.again())))
    asked = odin.once.identify(request, actor, [await request.body()])

    async def act() -> Response:
        return answer(launched(await commands.resume(pipeline, actor, given.again(), idempotency=asked)))

    return await odin.once.answer(asked, act, keep=False)


@routes.delete("/v1/pipelines/{pipeline}")
async def clean_up(
    pipeline: str,
    odin: Ctx,
    actor: Actor,
    db: bool = False,
    fs: bool = False,
    dry_run: Annotated[bool, Query(alias="dryRun")] = False,
) -> Response:
    """Stop a pipeline, wait for its end, then remove what was asked for."""
    cleaning = odin.services.commands.cleanup(pipeline, actor, db=db, fs=fs, dry_run=dry_run)
    done = await odin.services.stopping.unless(cleaning)
    return answer({"cleanups": [shapes.cleanup(one) for one in done]})


async def view_of(pipeline: str, odin: Context) -> PipelineView:
    """Raises NotFound with the nearest ids."""
    found = await run_sync(odin.services.queries.pipeline, pipeline)
    if found is None:
        raise await _unknown(pipeline, odin)
    return found


async def _unknown(pipeline: str, odin: Context) -> NotFound:
    near = await run_sync(odin.services.queries.nearest, pipeline)
    return NotFound(f"there is no pipeline {shown(pipeline)}", near=near)
