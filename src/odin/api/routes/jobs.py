"""Jobs as wholes: listing, showing, making, saving, deleting. Every write is a commit by the user."""

from __future__ import annotations

import re
from functools import partial
from typing import Any

from anyio.to_thread import run_sync
from fastapi import Header
from pydantic import BaseModel, ConfigDict, Field, model_validator
from starlette.requests import Request
from starlette.responses import Response

from odin.api.answers import answer
from odin.api.routing import router
from odin.api.services import Actor, Context, Ctx
from odin.jobs.values import Author
from odin.model.errors import InvalidInput
from odin.model.ids import Sha
from odin.model.users import User

MOST_TASKS = 10_000
SHA = re.compile(r"[0-9a-f]{40}")
routes = router()


class NewJob(BaseModel):
    """The job to be made."""

    model_config = ConfigDict(strict=True)

    name: str


class NewJobBody(BaseModel):
    model_config = ConfigDict(strict=True)

    job: NewJob


class Config(BaseModel):
    """A text file beside main.yml."""

    model_config = ConfigDict(strict=True)

    name: str
    content: str


class SavedJob(BaseModel):
    """What a job is to hold; tasks as ``GET`` answers them. What is missing stays as it is."""

    model_config = ConfigDict(strict=True)

    tasks: list[dict[str, Any]] | None = Field(default=None, max_length=MOST_TASKS)
    configs: list[Config] = Field(default_factory=list)

    @model_validator(mode="before")
    @classmethod
    def unwrap(cls, given: Any) -> Any:
        """The fields may be wrapped in ``job``."""
        return given["job"] if isinstance(given, dict) and isinstance(given.get("job"), dict) else given


def author(user: User) -> Author:
    return Author(user.username, f"{user.firstname} {user.lastname}".strip())


@routes.get("/v1/jobs")
async def list_jobs(odin: Ctx, q: str = "") -> Response:
    """Jobs whose path contains ``q``."""
    return answer({"jobs": await run_sync(odin.jobs.all, q.replace("__", "/"))})


@routes.get("/v1/jobs/{job}")
async def show_job(job: str, odin: Ctx, at: str | None = None) -> Response:
    """A job, now or at a commit."""
    return answer({"job": await run_sync(odin.jobs.one, job, at)})


@routes.post("/v1/jobs")
async def create_job(given: NewJobBody, request: Request, odin: Ctx, actor: Actor) -> Response:
    """Make a job: a ``main.yml`` with no tasks."""
    asked = odin.once.identify(request, actor, [await request.body()])
    return await odin.once.answer(asked, partial(_create, given.job.name, odin, actor))


async def _create(name: str, odin: Context, actor: User) -> Response:
    await run_sync(odin.services.repository.create, name, author(actor))
    made = await run_sync(odin.jobs.one, name)
    return answer({"job": {key: made[key] for key in ("id", "name", "location", "creationTime")}})


@routes.put("/v1/jobs/{job}")
async def save_job(
    job: str, given: SavedJob, odin: Ctx, actor: Actor, if_match: str | None = Header(default=None)
) -> Response:
    """Change tasks and text files; with ``If-Match: <sha>`` only if the job has not changed since."""
    save = partial(
        odin.services.repository.save,
        job,
        given.tasks,
        [config.model_dump() for config in given.configs],
        author(actor),
        if_match=sha_of(if_match),
    )
    await run_sync(save)
    return answer({"job": await run_sync(odin.jobs.one, job)})


@routes.delete("/v1/jobs/{job}")
async def delete_job(job: str, odin: Ctx, actor: Actor) -> Response:
    """Remove a job with all its files, by a commit."""
    shape = await run_sync(odin.jobs.one, job)
    await run_sync(odin.services.repository.delete, job, author(actor))
    return answer({"job": {"id": shape["id"]}})


def sha_of(if_match: str | None) -> Sha | None:
    """The commit in an ``If-Match``, quoted or not; None without one, and for ``*``."""
    if if_match is None or if_match.strip() == "*":
        return None
    sha = if_match.strip().strip('"')
    if not SHA.fullmatch(sha):
        raise InvalidInput("If-Match holds the full id of a commit: 40 hexadecimal digits")
    return Sha(sha)
