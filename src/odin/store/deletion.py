"""Taking a pipeline's rows away: marked, then deleted, with a tombstone so that its id is never given again."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from dataclasses import dataclass

from sqlalchemy import Connection, delete, select, update

from odin.model.ids import PipelineId, Sha
from odin.store.database import Database
from odin.store.functions import insert_into
from odin.store.schema import attempts, cluster_events, events, orders, pipelines, rendered, tasks, tombstones


@dataclass(frozen=True, slots=True)
class Deletion:
    """A cleanup that was begun: what was asked for."""

    pipeline: PipelineId
    version: Sha
    db: bool
    fs: bool


class Deletions:
    """Only pipelines that are final can be deleted, so the engine is never in the way."""

    def __init__(self, database: Database, now: Callable[[], float] = time.time) -> None:
        self._database = database
        self._now = now

    def begin(self, pipeline: PipelineId, *, db: bool, fs: bool) -> bool:
        """Commit that the pipeline is being cleaned up; False if it is not final or not there."""
        mark = json.dumps({"db": db, "fs": fs})
        wanted = pipelines.c.id == pipeline, pipelines.c.outcome.is_not(None)
        marked = update(pipelines).where(*wanted).values(deleting=mark)
        return self._database.write(lambda connection: connection.execute(marked).rowcount == 1)

    def begun(self) -> list[Deletion]:
        """The cleanups that were begun and not finished, oldest first."""
        wanted = select(pipelines).where(pipelines.c.deleting.is_not(None)).order_by(pipelines.c.number)
        with self._database.reader() as connection:
            rows = connection.execute(wanted).all()
        return [Deletion(PipelineId(row.id), Sha(row.version), **json.loads(row.deleting)) for row in rows]

    def finish(self, pipeline: PipelineId, *, db: bool) -> None:
        """The rest is gone: delete the rows (with ``db``), or only take the mark away. May be repeated."""
        unmarked = update(pipelines).where(pipelines.c.id == pipeline).values(deleting=None)
        self._database.write(
            lambda connection: _bury(connection, pipeline, self._now()) if db else connection.execute(unmarked)
        )


def _bury(connection: Connection, pipeline: PipelineId, now: float) -> None:
    buried = insert_into(connection, tombstones).values(id=pipeline, at=now)
    connection.execute(buried.on_conflict_do_nothing())
    # The tasks first: who keeps events of a cluster holds them until those are written.
    for table in (tasks, attempts, events, cluster_events, rendered):
        connection.execute(delete(table).where(table.c.pipeline == pipeline))
    connection.execute(delete(orders).where(orders.c.pipeline == pipeline))
    connection.execute(delete(pipelines).where(pipelines.c.id == pipeline))
