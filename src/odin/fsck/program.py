"""The command: looks, looks again where a server works meanwhile, and repairs only where none does.

Beside a server nothing is changed, and what is young or gone at the second look is not told: it was in the making.
``--repair`` takes the locks that a server takes, so that nothing is in the making at all.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path

from odin import settings as configuration
from odin import wiring
from odin.backup.switch import refuse_half_done
from odin.engine.layout import Layout
from odin.executors import records
from odin.exits import DIFFERENCES, DONE, told
from odin.fsck import commits, files, living, remains, rows
from odin.fsck.report import Finding, as_json, as_lines
from odin.fsck.scene import JOBS, Difference, Differences, Scene, Tools
from odin.jobs.inspection import Inspection
from odin.model.errors import Conflict, NotFound, OdinError
from odin.settings import Settings
from odin.store import census, copying, holder
from odin.store.database import Database
from odin.store.facts import store_id
from odin.store.migrate import version
from odin.store.migrations import HEAD

PAUSE_S = 3.0
YOUNG_S = 60.0
# In the order that they are mended: what stands for others before these.
CHECKS: Sequence[Callable[[Scene], Differences]] = (
    rows.adrift,
    rows.histories,
    rows.unfinished,
    commits.repository,
    commits.checkouts,
    commits.strangers,
    living.processes,
    living.objects,
    files.runs,
    files.log_folders,
    files.logs,
    remains.drafts,
    remains.trashes,
)


def fsck(flags: Mapping[str, object], *, config: str | None = None, repair: bool = False, json: bool = False) -> int:
    """Compare, print what differs, with ``repair`` mend it; the exit code: 0 where nothing differs any more, else 1."""
    try:
        settings = configuration.load(flags, os.environ, Path(config) if config else None).settings
        with ExitStack() as stack:
            server = _held(settings, stack, repair=repair)
            findings = _found(settings, stack, beside=server is not None, repair=repair)
    except (OdinError, OSError) as error:
        return told("odin-fsck", error)
    print(
        as_json(findings, server)
        if json
        else "\n".join(as_lines(findings, repair=repair, has_cluster=_has_cluster(settings)))
    )
    return DONE if all(each.is_mended for each in findings) else DIFFERENCES


def _held(settings: Settings, stack: ExitStack, *, repair: bool) -> str | None:
    """Who has the data folder; None if nobody, or we ourselves to repair."""
    if not settings.data.is_dir():
        raise NotFound(f"there is no data folder {settings.data}; name it with --data")
    refuse_half_done(settings.data)
    lock = settings.data / "server.lock"
    if not repair:
        return holder.holder_of(lock)
    holder.check_owner(settings.data)
    os.umask(0o077)
    remedy = "look without --repair"
    stack.callback(holder.Holder(lock, f"the data folder {settings.data}", remedy).release)
    if settings.database_url.startswith("sqlite"):
        file = copying.file_of(settings.database_url)
        stack.callback(holder.Holder(Path(f"{file}.lock"), f"the database {file}", remedy).release)
    return None


def _found(settings: Settings, stack: ExitStack, *, beside: bool, repair: bool) -> list[Finding]:
    if damage := _damage(settings):
        return [Finding(each) for each in damage]
    database = Database(settings.database_url)
    stack.callback(database.close)
    _check_schema(database)
    if repair and (others := census.sessions(database)):
        raise Conflict(f"{others} sessions of other servers are open in the database; stop those servers first")
    look = Look(settings, stack, database, beside=beside)
    found = look.differences()
    if found and beside:
        time.sleep(PAUSE_S)
        before, found = found, look.differences()
        found = [each for each in found if each in before]
    return _mended(found, look) if repair else [Finding(each) for each in found]


def _mended(found: Sequence[Difference], look: Look) -> list[Finding]:
    failures = {each: _mend(each) for each in found}
    left = set(look.differences())
    told = [Finding(each, is_mended=each not in left and not failures[each], failure=failures[each]) for each in found]
    return told + [Finding(each) for each in sorted(left - set(found), key=lambda each: each.place)]


def _mend(one: Difference) -> str:
    """Why it cannot be mended; empty if it can, or need not."""
    try:
        if one.mend is not None:
            one.mend()
    except OdinError as error:
        return str(error)
    except OSError as error:
        return error.strerror or str(error)
    return ""


def _has_cluster(settings: Settings) -> bool:
    return settings.executor == "kubernetes"


def _damage(settings: Settings) -> list[Difference]:
    """What SQLite's own check says: nothing else is worth a look then."""
    if not settings.database_url.startswith("sqlite"):
        return []
    file = copying.file_of(settings.database_url)
    remedy = "odin-serve restore FILE"
    return [Difference("database-damaged", str(file), line, remedy) for line in copying.wrong(file)]


def _check_schema(database: Database) -> None:
    found = version(database)
    if found != HEAD:
        raise Conflict(
            f"the database has schema {found}, this program compares schema {HEAD};"
            " run odin-serve migrate, or the odin-fsck of the server's version"
        )


class Look:
    """One settings' worth of places, looked at as often as asked. ``beside``: a server works there."""

    def __init__(self, settings: Settings, stack: ExitStack, database: Database, *, beside: bool) -> None:
        self._data = settings.data
        self._database = database
        self._beside = beside
        self._layout = Layout(settings.shared, wiring.task_user(settings))
        cluster = wiring.cluster_census(settings, store_id(database)) if _has_cluster(settings) else None
        self._tools = Tools(stack, settings.data, self._layout, database, cluster)

    def differences(self) -> list[Difference]:
        """What differs now, each once, in the order to mend it in."""
        scene = self._scene()
        found = dict.fromkeys(each for check in CHECKS for each in check(scene))
        young = time.time() - YOUNG_S if self._beside else float("inf")
        return [each for each in found if each.changed_at < young]

    def _scene(self) -> Scene:
        """What runs is looked at before the rows, which are older than what they speak of, and files after them."""
        objects = tuple(self._tools.cluster.standing()) if self._tools.cluster is not None else ()
        processes = tuple(records.running(self._data))
        rows_ = census.take(self._database)
        inspection = Inspection(self._data / JOBS, self._layout.checkouts)
        return Scene(self._data, self._layout, rows_, inspection, objects, processes, self._tools, self._beside)
