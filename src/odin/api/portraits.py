"""Pipelines as JSON, encoded once for each position of their history, whoever asks and however often.

Where a pipeline's history has not moved, its rows have not either. So a reading asks the store how far the histories
are, and reads and encodes only what moved since; what it answers is never older than the question.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Collection, Mapping
from dataclasses import dataclass

import msgspec
from anyio.to_thread import run_sync

from odin.api import shapes
from odin.api.answers import ENCODER
from odin.api.gathering import Gathering
from odin.store.queries import Filter, PipelineView, Queries

KEPT_BYTES = 8 << 20


@dataclass(frozen=True, slots=True)
class Portrait:
    """A pipeline as it was at ``position``; ``is_over`` if nothing can follow. ``data`` is the REST object as JSON."""

    id: str
    position: int
    is_over: bool
    data: msgspec.Raw


class Portraits:
    """The portraits of a server. ``get`` and ``page`` are used from the event loop."""

    def __init__(self, queries: Queries) -> None:
        self._queries = queries
        self._gathering = Gathering(self._read)
        self._lock = threading.Lock()
        self._kept: OrderedDict[str, Portrait] = OrderedDict()  # whoever was asked for last stands last
        self._bytes = 0

    async def get(self, pipeline: str) -> Portrait | None:
        """The pipeline of that id as of now, None if there is none."""
        return await self._gathering.get(pipeline)

    async def page(self, wanted: Filter, limit: int) -> tuple[list[Portrait], int | None]:
        """A page, newest first, and the ``before`` of the next one; see ``Queries.page``."""
        return await run_sync(self._page, wanted, limit)

    def _read(self, pipelines: Collection[str]) -> Mapping[str, Portrait]:
        found = self._queries.newest(pipelines, self._known)
        return {each.id: each for each in map(self._portrait, found)}

    def _page(self, wanted: Filter, limit: int) -> tuple[list[Portrait], int | None]:
        found, following = self._queries.page(wanted, limit, self._known)
        return [self._portrait(each) for each in found], following

    def _known(self, pipeline: str, position: int) -> Portrait | None:
        with self._lock:
            found = self._kept.get(pipeline)
            if found is None or found.position != position:
                return None
            self._kept.move_to_end(pipeline)
            return found

    def _portrait(self, found: Portrait | PipelineView) -> Portrait:
        if isinstance(found, Portrait):
            return found
        data = msgspec.Raw(ENCODER.encode(shapes.pipeline(found)))
        portrait = Portrait(found.id, found.seq, found.outcome is not None, data)
        with self._lock:
            self._keep(portrait)
        return portrait

    def _keep(self, portrait: Portrait) -> None:
        before = self._kept.pop(portrait.id, None)
        self._kept[portrait.id] = portrait
        self._bytes += len(portrait.data) - (len(before.data) if before is not None else 0)
        while self._bytes > KEPT_BYTES:
            self._bytes -= len(self._kept.popitem(last=False)[1].data)
