"""Several servers on one PostgreSQL: each pipeline is driven by one of them, as long as its lease lasts.

A server's lease is one row, which it renews. What a server drove whose lease is over is taken by another that reaches
the same place, under the next fence: what the former still commits is refused then. Moments are the database's.
Source: architecture.md, "Store"; reliability.md, F-50 to F-52.
"""

from __future__ import annotations

import secrets
import time
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from sqlalchemy import Connection, Row, TextClause, delete, insert, select, text, update

from odin.model.ids import PipelineId
from odin.model.states import Stop
from odin.store.commit import Driver
from odin.store.database import Database
from odin.store.schema import orders, pipelines

LEASE_S = 6.0
MOST = 500  # taken over at once

_NOW = "extract(epoch FROM clock_timestamp())"
_SUCCEED = text("DELETE FROM servers WHERE home = :home AND id <> :id")
_RENEW = text(f"""
INSERT INTO servers (id, home, place, name, expires_at) VALUES (:id, :home, :place, :name, {_NOW} + :lease_s)
ON CONFLICT (id) DO UPDATE SET expires_at = excluded.expires_at""")
_TAKE_OVER = text(f"""
UPDATE pipelines SET owner = :id, place = :place, fence = fence + 1 WHERE number IN (
 SELECT number FROM pipelines AS p WHERE status IN ('BUILDING', 'RUNNING') AND coalesce(place, :place) = :place
 AND NOT EXISTS (SELECT 1 FROM servers AS s WHERE s.id = p.owner AND s.expires_at > {_NOW})
 ORDER BY number LIMIT {MOST} FOR UPDATE SKIP LOCKED)
RETURNING id""")
_OTHERS = text(f"SELECT name FROM servers WHERE id <> :id AND expires_at > {_NOW} ORDER BY name")


def raise_fences(connection: Connection, seen: Mapping[PipelineId, int], owner: str | None) -> list[PipelineId]:
    """Put the fences of pipelines in flight above those given; without ``owner`` of all, else of its own."""
    raised = []
    for identity, fence in seen.items():
        mine = update(pipelines).where(pipelines.c.id == identity, pipelines.c.fence <= fence)
        mine = mine.where(pipelines.c.outcome.is_(None))
        if owner is not None:
            mine = mine.where(pipelines.c.owner == owner)
        if connection.execute(mine.values(fence=fence + 1)).rowcount:
            raised.append(identity)
    return raised


class Order(NamedTuple):
    """What another server was asked to do to a pipeline of ours."""

    number: int
    pipeline: PipelineId
    stop: Stop
    message: str


class Leases:
    """One server's. ``holds`` and ``ask`` are for any thread, the rest for one. Raises Unavailable."""

    def __init__(self, database: Database, *, home: str, place: str, name: str, lease_s: float = LEASE_S) -> None:
        """``home`` is a seat at a data folder: who holds it knows that nobody who had it before lives."""
        self.driver = Driver(secrets.token_hex(16), place)
        self._database = database
        self._values = {"id": self.driver.owner, "home": home, "place": place, "name": name, "lease_s": lease_s}
        self._lease_s = lease_s
        self._until = 0.0

    def take(self) -> None:
        """Begin: the lease of who had this seat before is over."""
        self._run(_SUCCEED)
        self.renew()
        while self.take_over():
            pass

    def renew(self) -> None:
        """Counted from before it is asked for."""
        before = time.monotonic()
        self._run(_RENEW)
        self._until = before + self._lease_s

    def holds(self, for_s: float = 0.0) -> bool:
        """Whether nobody else can have taken anything over, now and for so long."""
        return time.monotonic() + for_s < self._until

    def take_over(self) -> list[PipelineId]:
        """Pipelines that are ours from now on, because nobody drives them."""
        return [PipelineId(row.id) for row in self._run(_TAKE_OVER)]

    def release(self) -> None:
        """Let others take over at once."""
        self._until = 0.0
        self._run(text("DELETE FROM servers WHERE id = :id"))

    def others(self) -> list[str]:
        """The names of the other servers that live."""
        with self._database.reader() as connection:
            return list(connection.execute(_OTHERS, self._values).scalars())

    def ask(self, pipeline: PipelineId, stop: Stop, message: str) -> None:
        """Leave an order for whoever drives the pipeline."""
        order = insert(orders).values(pipeline=pipeline, stop=stop.value, message=message)
        self._database.write(lambda connection: connection.execute(order))

    def asked(self) -> list[Order]:
        """The orders for pipelines of ours, oldest first; they stay until ``done``."""
        wanted = select(orders).join(pipelines, pipelines.c.id == orders.c.pipeline)
        wanted = wanted.where(pipelines.c.owner == self.driver.owner).order_by(orders.c.number)
        with self._database.reader() as connection:
            rows = connection.execute(wanted).all()
        return [Order(row.number, PipelineId(row.pipeline), Stop(row.stop), row.message) for row in rows]

    def done(self, order: Order) -> None:
        self._database.write(
            lambda connection: connection.execute(delete(orders).where(orders.c.number == order.number))
        )

    def _run(self, statement: TextClause) -> Sequence[Row[Any]]:
        with self._database.writer() as connection:
            found = connection.execute(statement, self._values)
            return found.all() if found.returns_rows else ()
