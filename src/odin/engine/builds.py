"""What a pipeline needs before its first task: the checkout, its run folder, its own work folder where it has one.

One that resumes another also needs what that one left.

An obligation derived from committed rows: done again after a crash, and harmless when it was done before.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

from odin.engine.keepsakes import Keepsakes
from odin.engine.layout import Layout, begin_run
from odin.faults import reach
from odin.jobs.checkouts import Checkouts
from odin.jobs.workfolders import WorkFolders
from odin.model.errors import OdinError
from odin.model.world import Pipeline
from odin.store import loading
from odin.store.database import Database
from odin.store.queries import Queries

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Builds:
    layout: Layout
    checkouts: Checkouts
    works: WorkFolders
    queries: Queries
    keepsakes: Keepsakes

    def build(self, pipeline: Pipeline) -> None:
        """Blocks; may be repeated. Raises OdinError, OSError."""
        self.checkouts.ensure(pipeline.version)
        self._furnish(pipeline)
        if pipeline.rerun_of is not None and any(task.origin for task in pipeline.tasks):
            before = self.queries.pipeline(pipeline.rerun_of)
            self.keepsakes.bring(pipeline, [task.name for task in before.tasks] if before is not None else ())

    def mend(self, database: Database, owner: str | None = None) -> None:
        """Look at what pipelines that run stand on, if the machine was started anew since it was made.

        Nothing of it is synced, so it may be lost or torn then, while the rows say that it stands. It is made again
        where it is not as it should be; where that fails it is not there at all, and no task runs on half of it.
        For the time before the engine starts.
        """
        with database.reader() as connection:
            unseen = {
                identity: version
                for identity, version in loading.running(connection, owner).items()
                if self.checkouts.ready(version) is None
            }
            pipelines = list(loading.load_all(connection, list(unseen)))
        for pipeline in pipelines:
            _tried(pipeline.id, partial(self._furnish, pipeline))
        # Last: their seals say that all which stands on them has been looked at.
        for version in sorted(set(unseen.values())):
            _tried(version, partial(self.checkouts.ensure, version))

    def _furnish(self, pipeline: Pipeline) -> None:
        begin_run(self.layout, pipeline.id, [task.spec.name for task in pipeline.tasks])
        reach("build:folders-made")
        if pipeline.own_work:
            rendered = self.queries.rendered(pipeline.id)
            path = self.layout.work(pipeline.id)
            self.works.ensure(pipeline.version, pipeline.job, rendered, path, below=self.layout.runs)


def _tried(what: str, act: Callable[[], object]) -> None:
    try:
        act()
    except (OdinError, OSError) as error:
        log.error("after the restart of the machine the files of %s cannot be made again: %s", what, error)
