"""Files that clients send: kept on disk while they come, read into memory two requests at a time.

So many slow uploads cost disk, not memory. Source: reliability.md, A-80.
"""

from __future__ import annotations

import asyncio
import tempfile
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import BinaryIO, cast

from anyio.to_thread import run_sync
from fastapi import Request
from starlette.datastructures import UploadFile
from starlette.exceptions import HTTPException

from odin.api.limits import FILE_BYTES, UPLOAD_FILES, too_large
from odin.api.problems import WRONG_TYPE
from odin.model.errors import InvalidInput

IN_MEMORY = 64 * 1024
AT_ONCE = 2
FIELDS = 16


class Uploads:
    """One for a server: the turns in which uploads may be held in memory."""

    def __init__(self) -> None:
        self._turns = asyncio.Semaphore(AT_ONCE)

    @asynccontextmanager
    async def one(self, request: Request) -> AsyncIterator[bytes]:
        """The body, within a turn."""
        with tempfile.SpooledTemporaryFile(IN_MEMORY) as spool:
            async for piece in request.stream():
                spool.write(piece)
            async with self._turns:
                yield await run_sync(_whole, cast(BinaryIO, spool))

    @asynccontextmanager
    async def many(self, request: Request) -> AsyncIterator[Mapping[str, bytes]]:
        """The files of a multipart body by their names, within a turn.

        Raises InvalidInput for a part without a name and for a name that comes twice.
        """
        if request.headers.get("content-type", "").partition(";")[0].strip().lower() != "multipart/form-data":
            raise HTTPException(WRONG_TYPE, "send the files as multipart/form-data")
        async with request.form(max_files=UPLOAD_FILES, max_fields=FIELDS) as form:
            parts = [part for _, part in form.multi_items() if isinstance(part, UploadFile)]
            _check(parts)
            async with self._turns:
                yield {part.filename or "": await run_sync(_whole, part.file) for part in parts}


def _check(parts: list[UploadFile]) -> None:
    names = [part.filename for part in parts]
    if not names:
        raise InvalidInput("the body holds no files")
    if not all(names):
        raise InvalidInput("every part needs a filename, relative to the job's folder")
    if len(set(names)) < len(names):
        raise InvalidInput("a file comes twice")
    if any((part.size or 0) > FILE_BYTES for part in parts):
        raise too_large(FILE_BYTES)


def _whole(file: BinaryIO) -> bytes:
    file.seek(0)
    return file.read()
