"""The engine's own way to the database: a connection to write turns on, and pipelines read back from their rows.

A commit whose outcome was lost with its connection is settled by what it would have made: ``seq`` and ``fence``.
"""

from __future__ import annotations

import secrets
from collections.abc import Mapping, Sequence
from contextlib import suppress

from sqlalchemy import Connection
from sqlalchemy.exc import DBAPIError

from odin.faults import reach
from odin.model.errors import OutcomeUnknown, Unavailable
from odin.model.ids import PipelineId
from odin.model.world import Changes, Pipeline
from odin.store import leases, loading
from odin.store.commit import ALONE, Driver, Promise, commit
from odin.store.database import Database, commit_begun, is_broken, repeated, translated


class Rows:
    """Used by one thread. ``open`` comes first; raises Unavailable, NoSpace."""

    def __init__(self, database: Database, driver: Driver = ALONE) -> None:
        """``driver`` is who this server is among several: only what it drives is read back."""
        self._database = database
        self._driver = driver
        self._name = f"odin-engine-{secrets.token_hex(8)}"
        self._connection: Connection | None = None

    def open(self) -> Connection:
        """Connect, if that was not done or the connection broke."""
        if self._connection is None:
            self._connection = self._database.connect_writer(self._name)
        return self._connection

    def close(self) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def commit(self, changes: Changes, promises: Mapping[PipelineId, Promise], *, now: float) -> set[PipelineId]:
        """Write a turn in one transaction; the pipelines that were left out of it.

        Raises OutcomeUnknown when it may have happened: then ``settle`` comes next.
        """

        def attempt() -> set[PipelineId]:
            return self._attempt(changes, promises, now)

        try:
            return repeated(attempt)
        except OutcomeUnknown:
            raise
        except Unavailable:
            if self._connection is not None:
                raise
            return repeated(attempt)  # the connection had broken before, so nothing of it happened

    def settle(self, changes: Changes) -> set[PipelineId] | None:
        """What a commit of unknown outcome left out, None if it did not happen. Raises Unavailable to be asked again.

        Not before the session that it ran in is gone: until then it may still happen.
        """
        if not self._database.end_sessions(self._name):
            raise Unavailable("the session in which the commit ran is not over yet")
        with self._database.reader() as connection:
            found = loading.positions(connection, list(changes.pipelines))
        there = {each.id for each in changes.submitted if each.id in found}
        moved = {name for name, each in changes.pipelines.items() if found.get(name) == (each.fence, each.seq)}
        happened = there | moved
        return changes.pipelines.keys() - happened if happened else None

    def in_flight(self) -> list[Pipeline]:
        """Every pipeline of ours that is not final, oldest first."""
        with self._database.reader() as connection:
            mine = loading.in_flight(connection, self._driver.owner)
            return list(loading.load_all(connection, mine, self._driver.owner))

    def load(self, ids: Sequence[PipelineId]) -> list[Pipeline]:
        """Those of the ids that are in flight and not another server's."""
        with self._database.reader() as connection:
            return list(loading.load_all(connection, ids, self._driver.owner))

    def raise_fences(self, seen: Mapping[PipelineId, int]) -> list[PipelineId]:
        """Put the fences of these above those given; the ones that were not there yet and are driven by this server.

        A database that was put back to an older state has fences which the place has seen the successors of.
        """
        return self._database.write(lambda connection: leases.raise_fences(connection, seen, self._driver.owner))

    def final(self, ids: Sequence[PipelineId]) -> list[PipelineId]:
        """Those of the ids that nothing is owed to any more: final, or not in this store."""
        with self._database.reader() as connection:
            return loading.final(connection, ids)

    def _attempt(self, changes: Changes, promises: Mapping[PipelineId, Promise], now: float) -> set[PipelineId]:
        connection = self.open()
        try:
            with translated():
                connection.begin()
                lost = commit(connection, changes, promises, now=now, driver=self._driver)
            reach("engine:in-commit")
            commit_begun(connection)
        except BaseException:
            self._undo(connection)
            raise
        return lost

    def _undo(self, connection: Connection) -> None:
        with suppress(DBAPIError):  # that it broke is seen now at the latest
            if not is_broken(connection):
                connection.rollback()
                return
        self._connection = None
        connection.invalidate()
        connection.close()
