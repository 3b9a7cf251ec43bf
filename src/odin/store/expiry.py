"""Which pipelines are over for long, and the mark that one of them is being removed.

Source: architecture.md, "Folders"; store/deletion.py does the rest.
"""

from __future__ import annotations

import json
from dataclasses import dataclass

from sqlalchemy import exists, select, update

from odin.model.ids import PipelineId, Sha
from odin.store.database import Database
from odin.store.schema import pipelines


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

    def finished(self) -> list[Finished]:
        """Those that are over and nobody cleans up, the longest first."""
        wanted = select(pipelines.c.id, pipelines.c.version, pipelines.c.completed_at).where(
            pipelines.c.outcome.is_not(None), pipelines.c.completed_at.is_not(None), pipelines.c.deleting.is_(None)
        )
        with self._database.reader() as connection:
            rows = connection.execute(wanted.order_by(pipelines.c.completed_at)).all()
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
