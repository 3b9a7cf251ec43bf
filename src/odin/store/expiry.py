"""Which pipelines are over for long, and the mark that one of them is being removed.

Source: architecture.md, "Folders"; store/deletion.py does the rest.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from dataclasses import dataclass

from sqlalchemy import exists, select, tuple_, update

from odin.model.ids import PipelineId, Sha
from odin.store.database import Database
from odin.store.schema import pipelines

PAGE = 500


@dataclass(frozen=True, slots=True)
class Finished:
    """A pipeline that is over; ``completed_at`` in POSIX seconds."""

    id: PipelineId
    version: Sha
    completed_at: float


class Expiry:
    """Used from one thread."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def finished(self) -> Iterator[Finished]:
        """Those that are over and nobody cleans up, the longest first; a page at a time, for there may be very many."""
        after = -math.inf, ""
        while found := self._page(after):
            yield from found
            after = found[-1].completed_at, found[-1].id

    def _page(self, after: tuple[float, str]) -> list[Finished]:
        ended = pipelines.c.completed_at, pipelines.c.id
        wanted = select(*ended, pipelines.c.version).where(
            pipelines.c.outcome.is_not(None), pipelines.c.deleting.is_(None), tuple_(*ended) > after
        )
        with self._database.reader() as connection:
            rows = connection.execute(wanted.order_by(*ended).limit(PAGE)).all()
        return [Finished(PipelineId(row.id), Sha(row.version), row.completed_at) for row in rows]

    def begin(self, pipeline: PipelineId) -> bool:
        """Commit that all of a pipeline is being removed.

        False if it is not over, is being cleaned up, or one that runs goes on from it.
        """
        followers = pipelines.alias()
        goes_on = exists().where(followers.c.rerun_of == pipeline, followers.c.outcome.is_(None))
        change = (
            update(pipelines)
            .where(
                pipelines.c.id == pipeline,
                pipelines.c.outcome.is_not(None),
                pipelines.c.deleting.is_(None),
                ~goes_on,
            )
            .values(deleting=json.dumps({"db": True, "fs": True}))
        )
        return self._database.write(lambda connection: connection.execute(change).rowcount == 1)
