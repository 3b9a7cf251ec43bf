"""Makes a backup while the server runs: first the database, then the jobs, so that every row finds its commit.

Without secrets: whoever reads a backup can sign in as nobody. Without logs, results and checkouts either, which are
files like others, or can be made again.
"""

from __future__ import annotations

import tempfile
from datetime import UTC, datetime
from pathlib import Path

import odin
from odin.backup import archive
from odin.backup.archive import Manifest
from odin.backup.switch import refuse_half_done
from odin.faults import reach
from odin.jobs import bundle
from odin.model.errors import Conflict, NotFound, Unavailable
from odin.settings import Settings
from odin.store import copying


def make(settings: Settings, target: Path) -> Manifest:
    """Back the database and the jobs up into one file that is not there yet.

    Raises Conflict if it is there, NotFound if there is nothing to back up, NoSpace, Unavailable (the database or
    the repository is damaged).
    """
    refuse_half_done(settings.data)
    if target.exists():
        raise Conflict(f"{target} is there already; name another file")
    if not target.absolute().parent.is_dir():
        raise NotFound(f"there is no folder {target.absolute().parent}")
    with tempfile.TemporaryDirectory(prefix=f".{target.name}.", dir=target.absolute().parent) as place:
        folder = Path(place)
        at = datetime.now(UTC)
        copying.copy(copying.file_of(settings.database_url), folder / archive.DATABASE)
        reach("backup:database-copied")
        bundle.write(settings.data / "jobs.git", folder / archive.JOBS)
        manifest = _described(folder, at)
        archive.write(target, manifest, folder)
    return manifest


def _described(folder: Path, at: datetime) -> Manifest:
    try:
        facts = copying.facts(folder / archive.DATABASE)
    except Unavailable as error:
        raise Unavailable(f"the database is damaged, no backup was made: {error}") from error
    parts = {name: archive.part_of(folder / name) for name in archive.PARTS}
    return Manifest(odin.__version__, f"{at:%Y-%m-%dT%H:%M:%SZ}", facts.schema, facts.store, facts.pipelines, parts)
