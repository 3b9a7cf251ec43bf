"""The events of a cluster, kept after it has forgotten them. Written a few times a second at most, many at once."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import partial
from typing import Any

from sqlalchemy import Connection, String, delete, func, select

from odin.model.happenings import Happening, owner
from odin.model.ids import split_resource
from odin.store.database import Database
from odin.store.functions import insert_into
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
        self._database.write(partial(_keep, by_pipeline))


def _keep(told: Mapping[str, Sequence[Happening]], connection: Connection) -> None:
    kept = insert_into(connection, cluster_events)
    newer = {column.name: kept.excluded[column.name] for column in cluster_events.c if not column.primary_key}
    kept = kept.on_conflict_do_update(index_elements=list(cluster_events.primary_key), set_=newer)
    for pipeline in sorted(told):
        if rows := list(_rows(connection, pipeline, told[pipeline])):
            connection.execute(kept, rows)
            _trim(connection, pipeline, {row["idx"] for row in rows})


def _rows(connection: Connection, pipeline: str, told: Iterable[Happening]) -> Iterator[dict[str, Any]]:
    held = select(tasks.c.name, tasks.c.idx).where(tasks.c.pipeline == pipeline).with_for_update(key_share=True)
    found = connection.execute(held).all()
    known: dict[str, int] = {row.name: row.idx for row in found}
    for each in told:
        whose = _owner(each, known)
        if whose is not None:
            row = {
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
            yield {name: _fitting(name, value) for name, value in row.items()}


def _fitting(name: str, value: Any) -> Any:
    """What a cluster says may be longer than a column."""
    kind = cluster_events.c[name].type
    return value[: kind.length] if isinstance(kind, String) and isinstance(value, str) else value


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
