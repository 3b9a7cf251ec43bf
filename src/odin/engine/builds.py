"""What a pipeline needs before its first task: the checkout, its run folder, and its own work folder where it has one.

An obligation derived from committed rows: done again after a crash, and harmless when it was done before.
"""

from __future__ import annotations

from dataclasses import dataclass

from odin.engine.layout import Layout, begin_run
from odin.jobs.checkouts import Checkouts
from odin.jobs.workfolders import WorkFolders
from odin.model.world import Pipeline
from odin.store.queries import Queries


@dataclass(frozen=True, slots=True)
class Builds:
    layout: Layout
    checkouts: Checkouts
    works: WorkFolders
    queries: Queries

    def build(self, pipeline: Pipeline) -> None:
        """Blocks; may be repeated. Raises OdinError, OSError."""
        self.checkouts.ensure(pipeline.version)
        begin_run(self.layout, pipeline.id, [task.spec.name for task in pipeline.tasks])
        if pipeline.own_work:
            rendered = self.queries.rendered(pipeline.id)
            path = self.layout.work(pipeline.id)
            self.works.ensure(pipeline.version, pipeline.job, rendered, path, below=self.layout.runs)
