"""Pipelines as JSON, encoded once for each position of their history, whoever asks and however often.

Where a pipeline's history has not moved, its rows have not either. So a reading asks the store how far the histories
are, and reads and encodes only the tasks that moved since; what it answers is never older than the question.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from functools import partial

from anyio.to_thread import run_sync
from msgspec import Raw

from odin.api import shapes
from odin.api.answers import ENCODER
from odin.api.gathering import Gathering
from odin.store import latest
from odin.store.latest import Latest
from odin.store.moves import Moves
from odin.store.queries import Filter, Queries

KEPT_BYTES = 8 << 20
TASK_BYTES = 40  # what a task's JSON takes beyond its own size


@dataclass(frozen=True, slots=True)
class Portrait:
    """A pipeline as it was at ``position``; ``is_over`` if nothing can follow. ``summary`` and ``tasks`` are JSON."""

    id: str
    position: int
    is_over: bool
    summary: bytes
    tasks: tuple[bytes, ...]

    @property
    def data(self) -> Raw:
        """The REST object."""
        return Raw(b'%s,"tasks":[%s]}' % (self.summary[:-1], b",".join(self.tasks)))

    @property
    def size(self) -> int:
        return len(self.summary) + sum(map(len, self.tasks)) + TASK_BYTES * len(self.tasks)


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
        """A page, newest first, and the ``before`` of the next one; see ``Queries.pipelines``."""
        return await run_sync(self._page, wanted, limit)

    def _read(self, pipelines: Collection[str]) -> Mapping[str, Portrait]:
        had: dict[str, Portrait] = {}
        found = latest.by_id(self._queries, pipelines, partial(self._recall, had))
        return {each.id: self._now(each, had) for each in found}

    def _page(self, wanted: Filter, limit: int) -> tuple[list[Portrait], int | None]:
        had: dict[str, Portrait] = {}
        found, following = latest.page(self._queries, wanted, limit, partial(self._recall, had))
        return [self._now(each, had) for each in found], following

    def _recall(self, had: dict[str, Portrait], pipeline: str) -> int | None:
        """The position of what is kept, which is put into ``had``: from now on others may drive it out."""
        with self._lock:
            found = self._kept.get(pipeline)
            if found is None:
                return None
            self._kept.move_to_end(pipeline)
        had[pipeline] = found
        return found.position

    def _now(self, found: Latest, had: Mapping[str, Portrait]) -> Portrait:
        before = had.get(found.id)
        if found.moves is None:
            assert before is not None
            return before
        portrait = _moved(before, found.moves)
        with self._lock:
            self._keep(portrait)
        return portrait

    def _keep(self, portrait: Portrait) -> None:
        before = self._kept.pop(portrait.id, None)
        self._kept[portrait.id] = portrait
        self._bytes += portrait.size - (before.size if before is not None else 0)
        while self._bytes > KEPT_BYTES:
            self._bytes -= self._kept.popitem(last=False)[1].size


def _moved(before: Portrait | None, moves: Moves) -> Portrait:
    view, built = moves.pipeline, shapes.is_built(moves.pipeline)
    tasks = dict(enumerate(before.tasks)) if before is not None else {}
    tasks |= {each.idx: ENCODER.encode(shapes.task(each, built=built)) for each in moves.tasks}
    summary = ENCODER.encode(shapes.summary(view))
    return Portrait(view.id, view.seq, view.outcome is not None, summary, tuple(tasks.values()))
