"""Puts a backup in the place of the database and the jobs, with no server on them."""

from __future__ import annotations

import tempfile
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

from odin.backup import archive
from odin.backup.archive import Manifest
from odin.backup.switch import Switch
from odin.faults import reach
from odin.jobs import bundle
from odin.model.errors import Conflict, InvalidInput, Unavailable
from odin.settings import Settings
from odin.store import copying
from odin.store.holder import Holder, check_owner
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
    database = copying.file_of(settings.database_url)
    settings.data.mkdir(mode=0o700, parents=True, exist_ok=True)
    check_owner(settings.data)
    with ExitStack() as stack:
        _hold(stack, settings.data / "server.lock", f"the data folder {settings.data}")
        _hold(stack, Path(f"{database}.lock"), f"the database {database}")
        place = stack.enter_context(tempfile.TemporaryDirectory(prefix="restore-", dir=settings.data))
        manifest = archive.read(source, Path(place))
        _check(manifest, Path(place) / archive.DATABASE)
        switch = Switch(settings.data, database, settings.data / "jobs.git")
        switch.clear()
        bundle.read(Path(place) / archive.JOBS, switch.new(switch.jobs))
        copying.copy(Path(place) / archive.DATABASE, switch.new(database))
        copying.raise_fences(switch.new(database))
        reach("restore:ready")
        return Restored(manifest, tuple(switch.make()))


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
