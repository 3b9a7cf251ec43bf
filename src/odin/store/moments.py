"""What time it is for those who drive the pipelines of a database."""

from __future__ import annotations

import time

from sqlalchemy import and_, func, select

from odin.store.database import Database
from odin.store.schema import events, pipelines


def moment(database: Database) -> float:
    """POSIX seconds: of servers that share a database its clock, and never before what is in flight last happened.

    So what waits until a moment does not wait for longer because a clock was put back, or differs between servers.
    Source: reliability.md, F-12.
    """
    last = and_(events.c.pipeline == pipelines.c.id, events.c.seq == pipelines.c.seq)
    in_flight = pipelines.join(events, last)
    latest = select(func.max(events.c.at)).select_from(in_flight).where(pipelines.c.outcome.is_(None))
    with database.reader() as connection:
        known = connection.execute(latest).scalar() or 0.0
        shared = select(func.extract("epoch", func.clock_timestamp()))
        now = time.time() if database.kind == "sqlite" else float(connection.execute(shared).scalar_one())
    return max(now, known)
