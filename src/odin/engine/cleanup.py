"""Removing a pipeline: its own folder, its rows, its kept logs, the pin of its commit, and nothing else.

``deleting`` is committed first; each step after it can be repeated, and a start resumes where it was. The folder is
found by the id that the store gave, opened below its parent, and renamed into a trash before anything is unlinked.
Source: architecture.md, "Folders"; reliability.md, P10 and A-06.
"""

from __future__ import annotations

import logging
from collections.abc import Collection
from dataclasses import dataclass, field, replace
from pathlib import Path

from odin.engine import trash
from odin.engine.layout import Layout, take_back_run
from odin.executors.protocol import NoObjects, Objects
from odin.faults import reach
from odin.jobs.checkouts import Checkouts
from odin.model.errors import Conflict, Unavailable
from odin.model.ids import PipelineId, Sha
from odin.store.deletion import Deletion, Deletions
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

    def carry_on(self, pipeline: PipelineId, version: Sha) -> None:
        """Remove all of a pipeline whose removal is committed; may be repeated.

        Raises Conflict while a part of it stays in the cluster, Unavailable, NoSpace, OSError.
        """
        self.objects.remove(pipeline)
        self._carry_out(pipeline, version, db=True, fs=True)

    def resume(self, *, is_alone: bool = True) -> list[Deletion]:
        """Finish what a crash interrupted; before anything is launched.

        Cleanups that were begun, checkouts and pins that no pipeline has, folders of pipelines that were never
        accepted (unless another server may be about to), and the trash. What is given to ``go_on`` must wait: its
        cluster is not connected yet, say.
        """
        waiting = [each for each in self.deletions.begun() if not self._resumed(each)]
        for version in self.checkouts.kept():
            if not self.queries.uses(version):
                self._collect(version)
        if is_alone:
            self._take_back_runs()
        self._empty_trash()
        return waiting

    def _take_back_runs(self) -> None:
        known = self.queries.known_ids()
        for run in self.layout.runs.iterdir():
            if run.name not in known and run.is_dir() and not run.is_symlink():
                take_back_run(self.layout, PipelineId(run.name))

    def go_on(self, waiting: Collection[Deletion]) -> list[Deletion]:
        """Try again to finish these; those that must still wait. Raises NoSpace, OSError."""
        begun = {each.pipeline for each in self.deletions.begun()}
        return [each for each in waiting if each.pipeline in begun and not self._resumed(each)]

    def _resumed(self, each: Deletion) -> bool:
        try:
            self.objects.remove(each.pipeline)
        except (Conflict, Unavailable) as error:
            log.info("the cleanup of %s waits: %s", each.pipeline, error)
            return False
        self._carry_out(each.pipeline, each.version, db=each.db, fs=each.fs)
        log.info("the cleanup of %s, which was interrupted, is finished", each.pipeline)
        return True

    def _collect(self, version: Sha) -> None:
        self.checkouts.collect(version, lambda: self.queries.uses(version) > 0)

    def _carry_out(self, pipeline: PipelineId, version: Sha, *, db: bool, fs: bool) -> None:
        if fs:
            trash.discard(self.layout.runs, pipeline)
        reach("cleanup:renamed")
        if db:
            trash.discard(self.logs, pipeline)
            reach("cleanup:logs-renamed")
        self.deletions.finish(pipeline, db=db)
        reach("cleanup:rows-removed")
        if db:
            self._collect(version)
        reach("cleanup:collected")
        self._empty_trash()

    def _empty_trash(self) -> None:
        for place in (self.layout.trash, trash.trash_of(self.logs)):
            trash.empty(place)
