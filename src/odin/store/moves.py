"""What moved in pipelines since a position in the history of each: one reading, however many are watched."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, Row, and_, bindparam, func, select

from odin.store.queries import EVENTS_PAGE, PipelineView, Queries, TaskView, given, pipeline_view, task_view
from odin.store.schema import events, pipelines, tasks

Place = tuple[str, int]  # a pipeline, and a position in its history

_GIVEN = func.json_each(bindparam("given")).table_valued("value")
_NAME, _NUMBER = _GIVEN.c.value.op("->>")(0), _GIVEN.c.value.op("->>")(1)
_PIPELINES = select(pipelines).join(_GIVEN, pipelines.c.id == _NAME)
_HISTORY = (
    select(events.c.pipeline, events.c.idx, events.c.seq)
    .join(_GIVEN, and_(events.c.pipeline == _NAME, events.c.seq > _NUMBER))
    .order_by(events.c.pipeline, events.c.seq)
    .limit(EVENTS_PAGE)
)
_TASKS = select(tasks).join(_GIVEN, and_(tasks.c.pipeline == _NAME, tasks.c.idx == _NUMBER))


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
    """Moves while they are read."""

    row: Row[Any]
    seq: int
    newest: dict[int | None, int]
    tasks: list[TaskView]

    @property
    def is_whole(self) -> bool:
        return None in self.newest or (self.row.outcome is not None and self.seq >= self.row.seq)

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
        rows = _all(connection, _PIPELINES, positions.items())
        found = {row.id: _Moving(row, positions[row.id], {}, []) for row in rows}
        _read_history(connection, found)
        _read_tasks(connection, found)
    return {(name, positions[name]): each.moves() for name, each in found.items()}


def _read_history(connection: Connection, found: dict[str, _Moving]) -> None:
    for pipeline, idx, seq in _all(connection, _HISTORY, [(name, each.seq) for name, each in found.items()]):
        found[pipeline].newest[idx] = found[pipeline].seq = seq


def _read_tasks(connection: Connection, found: dict[str, _Moving]) -> None:
    wanted = [(name, idx) for name, each in found.items() for idx in each.wanted()]
    for row in _all(connection, _TASKS, wanted) if wanted else ():
        found[row.pipeline].tasks.append(task_view(row))


def _all(connection: Connection, statement: Any, places: Iterable[Place]) -> Any:
    return connection.execute(statement, given(places)).all()
