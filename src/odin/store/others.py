"""How far pipelines are that another server drives: what moved, and what was removed, since the last look."""

from __future__ import annotations

import time
from collections.abc import Callable

from sqlalchemy import func, or_, select

from odin.store.database import Database
from odin.store.queries import heads
from odin.store.schema import pipelines, tombstones

NEWEST = 100  # looked at although they are over: one may begin and end between two looks
SINCE_S = 60.0  # removed so long ago, by clocks that differ a little


class Others:
    """Used by one thread."""

    def __init__(self, database: Database, owner: str | None, now: Callable[[], float] = time.time) -> None:
        self._database = database
        self._now = now
        self._owner = owner
        self._seen: dict[str, int] = {}
        self._removed: set[str] = set()

    def look(self) -> tuple[dict[str, int], set[str]]:
        """Pipelines and how far they are now, if that is further than at the last look; and the ids of removed ones."""
        newest = select(func.coalesce(func.max(pipelines.c.number), 0)).scalar_subquery()
        flying = pipelines.c.status.in_(("BUILDING", "RUNNING"))
        theirs = or_(pipelines.c.owner.is_(None), pipelines.c.owner != self._owner)
        wanted = select(pipelines.c.id, pipelines.c.seq).where(
            theirs, or_(flying, pipelines.c.number > newest - NEWEST)
        )
        buried = select(tombstones.c.id).where(tombstones.c.at > self._now() - SINCE_S)
        with self._database.reader() as connection:
            found = {row.id: row.seq for row in connection.execute(wanted)}
            over = {head.id: head.seq for head in heads(connection, self._seen.keys() - found.keys())}
            removed = set(connection.execute(buried).scalars())
        moved = {name: seq for name, seq in (found | over).items() if seq != self._seen.get(name)}
        gone = removed - self._removed
        self._seen, self._removed = found, removed
        return moved, gone
