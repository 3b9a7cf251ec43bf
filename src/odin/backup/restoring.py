"""Puts a backup in the place of the database and the jobs, with no server on them.

A database that is no file, on PostgreSQL, is not replaced: an empty one is filled.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from contextlib import ExitStack, closing
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from odin.backup import archive
from odin.backup.archive import Manifest
from odin.backup.switch import Switch
from odin.faults import reach
from odin.jobs import bundle
from odin.model.errors import Conflict, InvalidInput, Unavailable
from odin.settings import Settings
from odin.store import copying, transfer
from odin.store.database import Database
from odin.store.holder import Holder, check_owner
from odin.store.migrate import bring_up_to_date
from odin.store.migrations import HEAD, VERSIONS


@dataclass(frozen=True, slots=True)
class Restored:
    """``kept`` is where the former database and jobs are now."""

    manifest: Manifest
    kept: tuple[Path, ...]


def restore(settings: Settings, source: Path) -> Restored:
    """Replace the database and the jobs by those of a backup: both or, for a server that is started, none.

    Raises Conflict while a server holds them and for a backup of a newer schema, NotAllowed for another user than the
    data folder's, NotFound, InvalidInput (no backup, or a damaged one; nothing was touched then), NoSpace, Unavailable.
    """
    database = Database(settings.database_url)
    settings.data.mkdir(mode=0o700, parents=True, exist_ok=True)
    check_owner(settings.data)
    with ExitStack() as stack:
        _hold(stack, settings.data / "server.lock", f"the data folder {settings.data}")
        stack.callback(database.close)
        if database.path is not None:
            _hold(stack, Path(f"{database.path}.lock"), f"the database {database.path}")
        place = stack.enter_context(tempfile.TemporaryDirectory(prefix="restore-", dir=settings.data))
        manifest = archive.read(source, Path(place))
        _check(manifest, Path(place) / archive.DATABASE)
        # A server that is started without the setting would go on with the file of before.
        former = settings.data / archive.DATABASE if database.path is None else None
        switch = Switch(settings.data, database.path, settings.data / "jobs.git", former)
        switch.clear()
        stack.callback(switch.clear)  # what is refused leaves nothing behind
        bundle.read(Path(place) / archive.JOBS, switch.new(switch.jobs))
        copying.raise_fences(Path(place) / archive.DATABASE)
        if database.path is None:
            fill = _filling(Path(place) / archive.DATABASE, database, manifest, is_again=switch.is_begun)
            reach("restore:ready")
            return Restored(manifest, tuple(switch.make(fill)))
        copying.copy(Path(place) / archive.DATABASE, switch.new(database.path))
        reach("restore:ready")
        return Restored(manifest, tuple(switch.make()))


def _filling(file: Path, target: Database, manifest: Manifest, *, is_again: bool) -> Callable[[], None]:
    """What fills an empty database that is no file; where an interrupted restore did so already, nothing is left."""
    if transfer.holds(target, manifest.store):
        if is_again:
            return lambda: None
        raise Conflict("the database holds what this backup was made of; restore it into an empty one: see createdb")
    with closing(Database(f"sqlite:///{file}")) as source:
        bring_up_to_date(source)
    bring_up_to_date(target)
    return partial(_fill, file, target)


def _fill(file: Path, target: Database) -> None:
    with closing(Database(f"sqlite:///{file}")) as source:
        transfer.fill(source, target)


def _hold(stack: ExitStack, lock: Path, what: str) -> None:
    stack.callback(Holder(lock, what, "wait until it has ended").release)


def _check(manifest: Manifest, database: Path) -> None:
    """Before anything is touched: that this program can use what it is about to put in place."""
    if manifest.schema not in VERSIONS:
        raise Conflict(
            f"the backup has schema {manifest.schema}, made by Odin {manifest.odin};"
            f" this program knows up to {HEAD}. Restore it with that version"
        )
    try:
        found = copying.facts(database)
    except Unavailable as error:
        raise InvalidInput(f"the database in the backup is damaged: {error}") from error
    if found.schema != manifest.schema:
        raise InvalidInput(f"the database in the backup has schema {found.schema}, not {manifest.schema}")
