"""What moved in pipelines since a position in the history of each: one reading, however many are watched."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy import Connection, Row, and_, select

from odin.store.functions import GIVEN, GIVEN_NAME, GIVEN_NUMBER, given
from odin.store.queries import EVENTS_PAGE, PipelineView, Queries, TaskView, pipeline_view, task_view
from odin.store.schema import events, pipelines, tasks

Place = tuple[str, int]  # a pipeline, and a position in its history

_PIPELINES = select(pipelines).join(GIVEN, pipelines.c.id == GIVEN_NAME)
_HISTORY = (
    select(events.c.pipeline, events.c.idx, events.c.seq)
    .join(GIVEN, and_(events.c.pipeline == GIVEN_NAME, events.c.seq > GIVEN_NUMBER))
    .order_by(events.c.pipeline, events.c.seq)
    .limit(EVENTS_PAGE)
)
_TASKS = select(tasks).join(GIVEN, and_(tasks.c.pipeline == GIVEN_NAME, tasks.c.idx == GIVEN_NUMBER))


@dataclass(frozen=True, slots=True)
class Moves:
    """What moved in a pipeline up to ``seq``, as it is now.

    ``newest`` holds the last position of each task's idx, of the pipeline's own under None. ``pipeline`` has its
    tasks only when it moved itself or is over; ``tasks`` are those that moved, or then all.
    """

    pipeline: PipelineView
    tasks: tuple[TaskView, ...]
    newest: dict[int | None, int]
    seq: int


@dataclass(slots=True)
class _Moving:
    """Moves while they are read; all of the pipeline where it is not said since when."""

    row: Row[Any]
    since: int | None
    newest: dict[int | None, int] = field(default_factory=dict)
    tasks: list[TaskView] = field(default_factory=list)

    @property
    def seq(self) -> int:
        return self.row.seq if self.since is None else max(self.newest.values(), default=self.since)

    @property
    def is_whole(self) -> bool:
        return self.since is None or None in self.newest or (self.row.outcome is not None and self.seq >= self.row.seq)

    def wanted(self) -> Iterable[int]:
        """The idx of each task that is to be read."""
        return range(self.row.task_count) if self.is_whole else (idx for idx in self.newest if idx is not None)

    def moves(self) -> Moves:
        found = tuple(sorted(self.tasks, key=lambda task: task.idx))
        return Moves(pipeline_view(self.row, found if self.is_whole else ()), found, self.newest, self.seq)


def read(queries: Queries, after: Collection[Place]) -> dict[Place, Moves]:
    """What moved after these places, all of one moment; a pipeline that is not there is left out.

    Of very much not all is read: ``seq`` is then below the pipeline's, and what follows is read from there.
    """
    positions = dict(after)  # of one pipeline two places are read one after the other
    if len(positions) < len(after):
        return read(queries, positions.items()) | read(queries, set(after) - positions.items())
    with queries.snapshot() as connection:
        return {(name, positions[name]): each for name, each in read_since(connection, positions).items()}


def read_since(connection: Connection, positions: Mapping[str, int | None]) -> dict[str, Moves]:
    """The same by the pipelines' ids; with None for a position all of the pipeline, and nothing in ``newest``."""
    rows = _all(connection, _PIPELINES, positions.items())
    found = {row.id: _Moving(row, positions[row.id]) for row in rows}
    for pipeline, idx, seq in _all(connection, _HISTORY, [(k, v) for k, v in positions.items() if v is not None]):
        found[pipeline].newest[idx] = seq
    for row in _all(connection, _TASKS, [(name, idx) for name, each in found.items() for idx in each.wanted()]):
        found[row.pipeline].tasks.append(task_view(row))
    return {name: each.moves() for name, each in found.items()}


def _all(connection: Connection, statement: Any, places: Collection[tuple[str, int | None]]) -> Any:
    return connection.execute(statement, given(places)).all() if places else ()
