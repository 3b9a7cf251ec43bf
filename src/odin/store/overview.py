"""All pipelines at a glance: what runs, what ended or was removed lately, how many tasks are in which state."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

from sqlalchemy import ColumnElement, Select, func, or_, select

from odin.model.states import PipelineStatus
from odin.store.queries import PipelineView, Queries, pipeline_view
from odin.store.schema import pipelines, tasks, tombstones

NEWEST = 100
MOST = 1_000  # that ended, or were removed, since a moment: beyond that everything is listed anew
UNDER_WAY = (PipelineStatus.BUILDING, PipelineStatus.RUNNING)


@dataclass(frozen=True, slots=True)
class Glance:
    """A pipeline without its tasks; ``counts`` says how many of them are in which status."""

    pipeline: PipelineView
    counts: dict[str, int]


@dataclass(frozen=True, slots=True)
class Listed:
    """Pipelines by their numbers, oldest first, and the ids of those that were removed."""

    numbers: list[int]
    removed: list[str]


class Overview:
    """Reads through snapshots; may be used from any thread."""

    def __init__(self, queries: Queries) -> None:
        self._queries = queries

    def current(self) -> Listed:
        """Every pipeline that is under way, and the newest hundred."""
        newest = select(pipelines.c.number).order_by(pipelines.c.number.desc()).limit(NEWEST)
        with self._queries.snapshot() as connection:
            numbers = {*connection.execute(_under_way()).scalars(), *connection.execute(newest).scalars()}
        return Listed(sorted(numbers), [])

    def since(self, at: float) -> Listed | None:
        """Every pipeline that is under way, and what ended or was removed since a moment; None if that is too much."""
        ended = select(pipelines.c.number).where(pipelines.c.completed_at >= at).limit(MOST + 1)
        gone = select(tombstones.c.id).where(tombstones.c.at >= at).order_by(tombstones.c.at).limit(MOST + 1)
        with self._queries.snapshot() as connection:
            over = connection.execute(ended).scalars().all()
            removed = connection.execute(gone).scalars().all()
            if max(len(over), len(removed)) > MOST:
                return None
            numbers = {*connection.execute(_under_way()).scalars(), *over}
        return Listed(sorted(numbers), list(removed))

    def by_number(self, numbers: Collection[int]) -> list[Glance]:
        """Those that are still there, oldest first."""
        return self._glances(pipelines.c.number.in_(numbers))

    def by_id(self, ids: Collection[str]) -> list[Glance]:
        return self._glances(pipelines.c.id.in_(ids))

    def _glances(self, wanted: ColumnElement[bool]) -> list[Glance]:
        counted = select(tasks.c.pipeline, tasks.c.status, func.count()).group_by(tasks.c.pipeline, tasks.c.status)
        with self._queries.snapshot() as connection:
            rows = connection.execute(select(pipelines).where(wanted).order_by(pipelines.c.number)).all()
            counts: dict[str, dict[str, int]] = {row.id: {} for row in rows}
            for pipeline, status, count in connection.execute(counted.where(tasks.c.pipeline.in_(counts))):
                counts[pipeline][status] = count
        return [Glance(pipeline_view(row, ()), counts[row.id]) for row in rows]


def _under_way() -> Select[tuple[int]]:
    # A pipeline has one of these as long as it has no outcome; so the index by status finds it.
    return select(pipelines.c.number).where(or_(*(pipelines.c.status == status for status in UNDER_WAY)))
