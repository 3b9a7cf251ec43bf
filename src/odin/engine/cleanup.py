"""Removing a pipeline: its own folder, its rows, its kept logs, the pin of its commit, and nothing else.

``deleting`` is committed first; each step after it can be repeated, and a start resumes where it was. The folder is
found by the id that the store gave, opened below its parent, and renamed into a trash before anything is unlinked.
Source: architecture.md, "Folders"; reliability.md, P10 and A-06.
"""

from __future__ import annotations

import logging
import os
import shutil
import time
from collections.abc import Collection
from dataclasses import dataclass, field, replace
from pathlib import Path

from odin.engine.layout import Layout, take_back_run
from odin.executors.protocol import NoObjects, Objects
from odin.faults import reach
from odin.jobs.checkouts import Checkouts
from odin.model.errors import Conflict, Unavailable
from odin.model.ids import PipelineId, Sha
from odin.store.deletion import Deletions
from odin.store.queries import PipelineView, Queries

log = logging.getLogger("odin.cleanup")


@dataclass(frozen=True, slots=True)
class Cleanup:
    """What was (or would be) done for the pipeline or a task: cluster objects, rows, files."""

    task_id: str
    cleaned: bool
    purged: bool
    removed: bool


@dataclass(frozen=True, slots=True)
class Cleaner:
    """Cleans up final pipelines. ``logs`` holds a folder for each pipeline with kept logs."""

    layout: Layout
    logs: Path
    deletions: Deletions
    checkouts: Checkouts
    queries: Queries
    objects: Objects = field(default_factory=NoObjects)

    def plan(self, view: PipelineView, db: bool, fs: bool) -> list[Cleanup]:
        """What ``clean`` would do now."""
        return self._told(view, self.objects.present(PipelineId(view.id)), db=db, fs=fs)

    def _told(self, view: PipelineView, cleaned: Collection[str], *, db: bool, fs: bool) -> list[Cleanup]:
        run = self.layout.run(PipelineId(view.id))
        here = fs and run.is_dir() and not run.is_symlink()
        whole = Cleanup(view.id, cleaned=bool(cleaned), purged=db, removed=here)
        tasks = (
            Cleanup(task.id, cleaned=task.id in cleaned, purged=db, removed=here and (run / task.name).is_dir())
            for task in view.tasks
        )
        return [whole, *tasks]

    def clean(self, view: PipelineView, db: bool, fs: bool) -> list[Cleanup]:
        """Remove what was asked and what the pipeline has in a cluster.

        Raises Conflict if the pipeline is not final or a part of it stays, NoSpace, Unavailable, OSError.
        """
        planned = self._told(view, (), db=db, fs=fs)
        if not self.deletions.begin(PipelineId(view.id), db=db, fs=fs):
            raise Conflict(f"the pipeline {view.id} is not over yet; nothing was removed")
        reach("cleanup:marked")
        gone = self.objects.remove(PipelineId(view.id))
        reach("cleanup:objects-removed")
        done = [
            replace(each, cleaned=each.task_id in gone or (each.task_id == view.id and bool(gone))) for each in planned
        ]
        self._carry_out(PipelineId(view.id), Sha(view.version), db=db, fs=fs)
        return done

    def resume(self) -> None:
        """Finish what a crash interrupted; before anything is launched.

        Cleanups that were begun, checkouts and pins that no pipeline has, folders of pipelines that were never
        accepted, and the trash.
        """
        for each in self.deletions.begun():
            log.info("resuming the cleanup of %s", each.pipeline)
            try:
                self.objects.remove(each.pipeline)
            except (Conflict, Unavailable) as error:  # asked for again by whoever cleans up, or at the next start
                log.warning("the cleanup of %s waits: %s", each.pipeline, error)
                continue
            self._carry_out(each.pipeline, each.version, db=each.db, fs=each.fs)
        for version in self.checkouts.kept():
            if not self.queries.uses(version):
                self._collect(version)
        known = self.queries.known_ids()
        for run in self.layout.runs.iterdir():
            if run.name not in known and run.is_dir() and not run.is_symlink():
                take_back_run(self.layout, PipelineId(run.name))
        self._empty_trash()

    def _collect(self, version: Sha) -> None:
        self.checkouts.collect(version, lambda: self.queries.uses(version) > 0)

    def _carry_out(self, pipeline: PipelineId, version: Sha, *, db: bool, fs: bool) -> None:
        if fs:
            self._remove(self.layout.runs, pipeline)
        reach("cleanup:renamed")
        if db:
            self._remove(self.logs, pipeline)
        self.deletions.finish(pipeline, db=db)
        reach("cleanup:rows-removed")
        if db:
            self._collect(version)
        self._empty_trash()

    def _remove(self, parent: Path, name: str) -> None:
        """Rename ``parent/name`` into the trash, by descriptor and only if it is a real folder there."""
        if not parent.is_dir():
            return
        self.layout.trash.mkdir(mode=0o700, parents=True, exist_ok=True)
        above = os.open(parent, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
        try:
            if _is_folder(above, name):
                os.rename(name, self.layout.trash / f"{parent.name}-{name}-{time.time_ns()}", src_dir_fd=above)
        finally:
            os.close(above)

    def _empty_trash(self) -> None:
        if not self.layout.trash.is_dir():
            return
        for entry in self.layout.trash.iterdir():
            try:
                _unlink_all(entry)
            except FileNotFoundError:
                continue  # another cleanup empties the same trash
            except OSError as error:
                log.warning("%s in the trash could not be removed yet: %s", entry.name, error.strerror)


def _is_folder(above: int, name: str) -> bool:
    try:
        inner = os.open(name, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW, dir_fd=above)
    except OSError:
        return False
    os.close(inner)
    return True


def _unlink_all(path: Path) -> None:
    """Unlink a tree by descriptors, never through a link; folders that forbid writing are opened up first."""
    if path.is_symlink() or not path.is_dir():
        path.unlink()
        return
    for _, _, _, folder in os.fwalk(path, follow_symlinks=False):
        os.fchmod(folder, 0o700)
    shutil.rmtree(path)
