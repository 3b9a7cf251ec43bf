"""Files of jobs. What one user pushes another opens, so no answer here can run in a browser.

Source: reliability.md, A-64.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from urllib.parse import quote

from anyio.to_thread import run_sync
from fastapi import Header, Request
from starlette.responses import Response

from odin.api.answers import answer
from odin.api.jobshapes import text_of
from odin.api.routes.jobs import author, sha_of
from odin.api.routing import router
from odin.api.services import Actor, Context, Ctx
from odin.jobs.values import Written
from odin.model.ids import Sha
from odin.model.names import decode
from odin.model.users import User

SANDBOX = {"Content-Security-Policy": "sandbox; default-src 'none'"}
MULTIPART = {
    "requestBody": {
        "required": True,
        "content": {
            "multipart/form-data": {
                "schema": {
                    "type": "object",
                    "additionalProperties": {"type": "string", "format": "binary"},
                }
            }
        },
    }
}
BYTES = {
    "requestBody": {
        "required": True,
        "content": {"application/octet-stream": {"schema": {"type": "string", "format": "binary"}}},
    }
}
routes = router()


@routes.get("/v1/jobs/{job}/files/{file:path}")
async def show_file(job: str, file: str, odin: Ctx, at: str | None = None) -> Response:
    """The bytes of a file, now or at a commit."""
    content = await run_sync(odin.services.repository.read, job, file, Sha(at) if at is not None else None)
    if text_of(content) is not None:
        return Response(content, media_type="text/plain; charset=utf-8", headers=SANDBOX)
    name = quote(file.rpartition("/")[2], safe="")
    headers = SANDBOX | {"Content-Disposition": f"attachment; filename*=UTF-8''{name}"}
    return Response(content, media_type="application/octet-stream", headers=headers)


@routes.post("/v1/jobs/{job}/files/{file:path}", openapi_extra=BYTES)
async def push_file(
    job: str,
    file: str,
    request: Request,
    odin: Ctx,
    actor: Actor,
    create: bool = False,
    draft: bool = False,
    if_match: str | None = Header(default=None),
) -> Response:
    """Write one file; ``draft`` skips the check of the job."""
    async with odin.uploads.one(request) as content:
        write = Write(job, {file: content}, create=create, draft=draft, if_match=sha_of(if_match))
        asked = odin.once.identify(request, actor, write.parts())
        return await odin.once.answer(asked, partial(write.one, odin, actor))


@routes.post("/v1/jobs/{job}/files", openapi_extra=MULTIPART)
async def push_files(
    job: str,
    request: Request,
    odin: Ctx,
    actor: Actor,
    create: bool = False,
    draft: bool = False,
    if_match: str | None = Header(default=None),
) -> Response:
    """Write many files by one commit, all or nothing; each part's ``filename`` is a path in the job."""
    async with odin.uploads.many(request) as files:
        write = Write(job, files, create=create, draft=draft, if_match=sha_of(if_match))
        asked = odin.once.identify(request, actor, write.parts())
        return await odin.once.answer(asked, partial(write.many, odin, actor))


@routes.delete("/v1/jobs/{job}/files/{file:path}")
async def delete_file(
    job: str, file: str, odin: Ctx, actor: Actor, if_match: str | None = Header(default=None)
) -> Response:
    """Remove one file, by a commit."""
    write = partial(odin.services.repository.write, job, {file: None}, author(actor), if_match=sha_of(if_match))
    written = await run_sync(write)
    return answer({"location": f"{written.paths[0]}@{written.version}"})


@dataclass(frozen=True)
class Write:
    """Files to be written to a job, and how."""

    job: str
    files: Mapping[str, bytes]
    create: bool
    draft: bool
    if_match: Sha | None

    def parts(self) -> list[bytes]:
        """What tells this write from another, in whatever order and with whatever boundary it came."""
        pairs = sorted(self.files.items())
        return [part for name, data in pairs for part in (name.encode(), hashlib.sha256(data).digest())]

    async def one(self, odin: Context, actor: User) -> Response:
        written = await run_sync(self._carry_out, odin, actor)
        return answer({"location": f"{written.paths[0]}@{written.version}", "bytes": written.sizes[0]})

    async def many(self, odin: Context, actor: User) -> Response:
        written = await run_sync(self._carry_out, odin, actor)
        files = [
            {"location": f"{path}@{written.version}", "bytes": size}
            for path, size in zip(written.paths, written.sizes, strict=True)
        ]
        return answer({"location": f"{decode(self.job)}@{written.version}", "files": files})

    def _carry_out(self, odin: Context, actor: User) -> Written:
        return odin.services.repository.write(
            self.job,
            self.files,
            author(actor),
            create=self.create,
            draft=self.draft,
            if_match=self.if_match,
        )
