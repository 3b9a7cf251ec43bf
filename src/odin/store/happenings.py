"""The events of a cluster, kept after it has forgotten them. Written a few times a second at most, many at once."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from sqlalchemy import Connection, delete, func, insert, select

from odin.model.happenings import Happening, owner
from odin.model.ids import split_resource
from odin.store.database import Database
from odin.store.schema import cluster_events, tasks

MOST = 500  # of a task; the oldest go first
LONGEST = 1000  # characters of a message


class Happenings:
    """May be used from any thread."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def keep(self, told: Sequence[Happening]) -> None:
        """Keep these in one transaction, those of no pipeline that is here left out; may be repeated.

        Raises Unavailable, NoSpace.
        """
        by_pipeline: dict[str, list[Happening]] = defaultdict(list)
        for each in told:
            by_pipeline[each.name.partition("--")[0]].append(each)
        with self._database.writer() as connection:
            for pipeline, some in by_pipeline.items():
                if rows := list(_rows(connection, pipeline, some)):
                    connection.execute(_KEEP, rows)
                    _trim(connection, pipeline, {row["idx"] for row in rows})


_KEEP = insert(cluster_events).prefix_with("OR REPLACE", dialect="sqlite")


def _rows(connection: Connection, pipeline: str, told: Iterable[Happening]) -> Iterator[dict[str, Any]]:
    found = connection.execute(select(tasks.c.name, tasks.c.idx).where(tasks.c.pipeline == pipeline)).all()
    known: dict[str, int] = {row.name: row.idx for row in found}
    for each in told:
        whose = _owner(each, known)
        if whose is not None:
            yield {
                "pipeline": pipeline,
                "idx": known[whose[0]],
                "uid": each.uid,
                "attempt": whose[1],
                "kind": each.kind,
                "name": each.name,
                "at": each.at,
                "times": each.count,
                "type": each.type,
                "reason": each.reason,
                "source": each.source,
                "message": each.message[:LONGEST],
            }


def _owner(told: Happening, known: dict[str, int]) -> tuple[str, int] | None:
    if told.attempt is None:
        return owner(told.name.partition("--")[2], known)
    _, task, number = split_resource(told.attempt)
    return (task, number or 1) if task in known else None


def _trim(connection: Connection, pipeline: str, idxs: set[int]) -> None:
    of = cluster_events.c
    many = select(of.idx).where(of.pipeline == pipeline, of.idx.in_(idxs)).group_by(of.idx).having(func.count() > MOST)
    for (idx,) in connection.execute(many).all():
        newest = select(of.uid).where(of.pipeline == pipeline, of.idx == idx).order_by(of.at.desc()).limit(MOST)
        old = delete(cluster_events).where(of.pipeline == pipeline, of.idx == idx, of.uid.not_in(newest))
        connection.execute(old)
