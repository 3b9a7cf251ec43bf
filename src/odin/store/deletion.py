"""Taking a pipeline's rows away: marked, then deleted, with a tombstone so that its id is never given again."""

from __future__ import annotations

import json
import time
from dataclasses import dataclass

from sqlalchemy import delete, insert, select, update

from odin.model.ids import PipelineId, Sha
from odin.store.database import Database
from odin.store.schema import attempts, cluster_events, events, pipelines, rendered, tasks, tombstones


@dataclass(frozen=True, slots=True)
class Deletion:
    """A cleanup that was begun: what was asked for."""

    pipeline: PipelineId
    version: Sha
    db: bool
    fs: bool


class Deletions:
    """Only pipelines that are final can be deleted, so the engine is never in the way."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def begin(self, pipeline: PipelineId, *, db: bool, fs: bool) -> bool:
        """Commit that the pipeline is being cleaned up; False if it is not final or not there."""
        mark = json.dumps({"db": db, "fs": fs})
        with self._database.writer() as connection:
            wanted = pipelines.c.id == pipeline, pipelines.c.outcome.is_not(None)
            return connection.execute(update(pipelines).where(*wanted).values(deleting=mark)).rowcount == 1

    def begun(self) -> list[Deletion]:
        """The cleanups that were begun and not finished, oldest first."""
        wanted = select(pipelines).where(pipelines.c.deleting.is_not(None)).order_by(pipelines.c.number)
        with self._database.reader() as connection:
            rows = connection.execute(wanted).all()
        return [Deletion(PipelineId(row.id), Sha(row.version), **json.loads(row.deleting)) for row in rows]

    def finish(self, pipeline: PipelineId, *, db: bool) -> None:
        """The rest is gone: delete the rows (with ``db``), or only take the mark away. May be repeated."""
        with self._database.writer() as connection:
            if not db:
                connection.execute(update(pipelines).where(pipelines.c.id == pipeline).values(deleting=None))
                return
            buried = insert(tombstones).prefix_with("OR IGNORE", dialect="sqlite")
            connection.execute(buried.values(id=pipeline, at=time.time()))
            for table in (events, cluster_events, attempts, tasks, rendered):
                connection.execute(delete(table).where(table.c.pipeline == pipeline))
            connection.execute(delete(pipelines).where(pipelines.c.id == pipeline))
