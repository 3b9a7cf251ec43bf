"""All that the rows say should be there, read in one moment, for who compares it with what is there."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from sqlalchemy import Connection, delete, exists, func, select, text, update

from odin.model.ids import AttemptId, PipelineId, Sha, attempt_id, task_id
from odin.model.states import PipelineStatus
from odin.store.database import Database
from odin.store.schema import attempts, cluster_events, events, pipelines, rendered, tasks, tombstones

_SESSIONS = text("""
SELECT count(*) FROM pg_stat_activity
WHERE application_name LIKE 'odin%' AND datname = current_database() AND pid <> pg_backend_pid()""")
PARTS = {table.name: table for table in (tasks, attempts, events, cluster_events, rendered)}


@dataclass(frozen=True, slots=True)
class Known:
    """A pipeline; ``deleting``: its cleanup was begun and not finished."""

    version: Sha
    status: str
    is_over: bool
    deleting: bool
    tasks: Mapping[str, bool]  # by name, whether it was kept of another pipeline

    @property
    def stands(self) -> bool:
        """Whether its folders must be there: they are made, and nothing has removed them."""
        return self.status == PipelineStatus.RUNNING and not self.deleting


@dataclass(frozen=True, slots=True)
class Tried:
    """An attempt; ``log_bytes`` None where nobody counted them."""

    pipeline: PipelineId
    idx: int
    number: int
    is_over: bool
    log_bytes: int | None
    message: str | None


@dataclass(frozen=True, slots=True)
class Census:
    """``adrift``: rows of no pipeline, by table and pipeline. ``gaps``: how many events a pipeline should have, has."""

    pipelines: Mapping[PipelineId, Known]
    buried: frozenset[str]
    attempts: Mapping[AttemptId, Tried]
    adrift: Mapping[tuple[str, str], int]
    gaps: Mapping[PipelineId, tuple[int, int]]


def take(database: Database) -> Census:
    with database.reader() as connection:
        names = _names(connection)
        return Census(
            _pipelines(connection, names),
            frozenset(connection.execute(select(tombstones.c.id)).scalars()),
            _attempts(connection, names),
            {(name, row.pipeline): row.rows for name in PARTS for row in _adrift(connection, name)},
            _gaps(connection),
        )


def sessions(database: Database) -> int:
    """How many sessions others have, of Odin too: servers of other machines. 0 of a database that is a file."""
    if database.kind != "postgresql":
        return 0
    with database.reader() as connection:
        return int(connection.execute(_SESSIONS).scalar_one())


def remove_adrift(database: Database, table: str, pipeline: str) -> None:
    """Delete the rows that a table has of a pipeline which has none of its own."""
    of = PARTS[table]
    nobody = ~exists().where(pipelines.c.id == pipeline)
    database.write(lambda connection: connection.execute(delete(of).where(of.c.pipeline == pipeline, nobody)))


def note_log(database: Database, tried: Tried, there: int | None) -> None:
    """Have an attempt's row say how much is left of its log, None where nothing is."""
    lost = f"{there or 0} of the {tried.log_bytes} bytes of its log are left (odin-fsck)"
    message = f"{tried.message}; {lost}" if tried.message else lost
    change = (
        update(attempts)
        .where(attempts.c.pipeline == tried.pipeline, attempts.c.idx == tried.idx, attempts.c.number == tried.number)
        .values(log_bytes=there, message=message)
    )
    database.write(lambda connection: connection.execute(change))


def _names(connection: Connection) -> dict[tuple[str, int], tuple[str, bool]]:
    rows = connection.execute(select(tasks.c.pipeline, tasks.c.idx, tasks.c.name, tasks.c.origin))
    return {(row.pipeline, row.idx): (row.name, row.origin is not None) for row in rows}


def _pipelines(connection: Connection, names: Mapping[tuple[str, int], tuple[str, bool]]) -> dict[PipelineId, Known]:
    of: dict[str, dict[str, bool]] = {}
    for (pipeline, _), (name, is_kept) in names.items():
        of.setdefault(pipeline, {})[name] = is_kept
    wanted = pipelines.c.id, pipelines.c.version, pipelines.c.status, pipelines.c.outcome, pipelines.c.deleting
    rows = connection.execute(select(*wanted).order_by(pipelines.c.number))
    return {
        PipelineId(row.id): Known(
            Sha(row.version), row.status, row.outcome is not None, row.deleting is not None, of.get(row.id, {})
        )
        for row in rows
    }


def _attempts(connection: Connection, names: Mapping[tuple[str, int], tuple[str, bool]]) -> dict[AttemptId, Tried]:
    wanted = (
        attempts.c.pipeline,
        attempts.c.idx,
        attempts.c.number,
        attempts.c.state,
        attempts.c.log_bytes,
        attempts.c.message,
    )
    found: dict[AttemptId, Tried] = {}
    for row in connection.execute(select(*wanted)):
        named = names.get((row.pipeline, row.idx))
        if named is not None:
            pipeline = PipelineId(row.pipeline)
            identity = attempt_id(task_id(pipeline, named[0]), row.number)
            found[identity] = Tried(pipeline, row.idx, row.number, row.state == "ended", row.log_bytes, row.message)
    return found


def _adrift(connection: Connection, name: str) -> list:  # type: ignore[type-arg]
    of = PARTS[name]
    wanted = select(of.c.pipeline, func.count().label("rows")).where(~exists().where(pipelines.c.id == of.c.pipeline))
    return list(connection.execute(wanted.group_by(of.c.pipeline)))


def _gaps(connection: Connection) -> dict[PipelineId, tuple[int, int]]:
    counted = select(events.c.pipeline, func.count().label("rows")).group_by(events.c.pipeline).subquery()
    wanted = (
        select(pipelines.c.id, pipelines.c.seq, func.coalesce(counted.c.rows, 0).label("rows"))
        .outerjoin(counted, counted.c.pipeline == pipelines.c.id)
        .where(pipelines.c.seq != func.coalesce(counted.c.rows, 0))
    )
    return {PipelineId(row.id): (row.seq, row.rows) for row in connection.execute(wanted)}
