"""What there is on the disk, in git, in the cluster and among the processes, and the tools to change it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from odin.engine.builds import Builds
from odin.engine.cleanup import Cleaner
from odin.engine.keepsakes import Keepsakes
from odin.engine.layout import Layout
from odin.executors.protocol import NoObjects
from odin.executors.records import Process
from odin.jobs.checkouts import Checkouts
from odin.jobs.inspection import Inspection
from odin.jobs.repository import Repository
from odin.jobs.workfolders import WorkFolders
from odin.model.errors import Unavailable
from odin.model.ids import PipelineId, Sha, split_resource
from odin.store import loading
from odin.store.census import Census
from odin.store.database import Database
from odin.store.deletion import Deletions
from odin.store.queries import Queries

if TYPE_CHECKING:
    from odin.executors.kubernetes.census import ClusterCensus, Standing

JOBS = "jobs.git"
LOGS = "logs"


@dataclass(frozen=True, slots=True)
class Difference:
    """One thing that is not as it should be; ``kind`` is a word of docs/operations.md, ``place`` a path or an id.

    ``remedy`` says what ``mend`` does, or where that is None what a person can do. ``changed_at`` is when the thing
    last changed: what is young may be in the making.
    """

    kind: str
    place: str
    what: str
    remedy: str
    mend: Callable[[], object] | None = field(default=None, compare=False, repr=False)
    changed_at: float = field(default=0.0, compare=False)


Differences = Iterator[Difference]


class Tools:
    """What mends. Each is made when it is first needed: some tidy up as they begin, which is for repairs alone."""

    def __init__(
        self, stack: ExitStack, data: Path, layout: Layout, database: Database, cluster: ClusterCensus | None
    ) -> None:
        self._stack = stack
        self._data = data
        self.layout = layout
        self.database = database
        self.cluster = cluster

    @cached_property
    def repository(self) -> Repository:
        opened = Repository.open(self._data / JOBS)
        self._stack.callback(opened.close)
        return opened

    @cached_property
    def checkouts(self) -> Checkouts:
        return Checkouts(self.repository, self.layout.checkouts)

    @cached_property
    def queries(self) -> Queries:
        return Queries(self.database)

    @cached_property
    def cleaner(self) -> Cleaner:
        deletions, objects = Deletions(self.database), self.cluster or NoObjects()
        return Cleaner(self.layout, self._data / LOGS, deletions, self.checkouts, self.queries, objects)

    def finish_cleanup(self, pipeline: PipelineId) -> None:
        begun = [each for each in Deletions(self.database).begun() if each.pipeline == pipeline]
        if self.cleaner.go_on(begun):
            raise Unavailable("a part of it stays in the cluster")

    def collect(self, version: Sha) -> None:
        """Remove a checkout and a pin that no pipeline has."""
        self.checkouts.collect(version, lambda: self.queries.uses(version) > 0)

    def build(self, pipeline: PipelineId) -> None:
        """Make again what a pipeline that runs stands on."""
        keepsakes = Keepsakes(self.layout, self._data / LOGS)
        builds = Builds(self.layout, self.checkouts, WorkFolders(self.repository), self.queries, keepsakes)
        with self.database.reader() as connection:
            found = loading.load(connection, pipeline)
        if found is not None:
            self.layout.run(pipeline).mkdir(exist_ok=True)
            builds.build(found)


@dataclass(frozen=True)
class Scene:
    """One look at everything. ``beside``: a server works here at the same time.

    ``objects`` and ``processes`` are what runs, or stands, for attempts.
    """

    data: Path
    layout: Layout
    census: Census
    inspection: Inspection
    objects: tuple[Standing, ...]
    processes: tuple[Process, ...]
    tools: Tools
    beside: bool

    @property
    def logs(self) -> Path:
        return self.data / LOGS

    def lives(self, pipeline: str) -> str:
        """What still runs of a pipeline, in words; empty if nothing does."""
        for process in self.processes:
            if process.attempt.startswith(f"{pipeline}--"):
                return f"process {process.pid} of {process.attempt} still runs"
        if any(each.pipeline == pipeline for each in self.objects):
            return f"objects of {pipeline} are in the cluster"
        return ""

    @cached_property
    def strays(self) -> str:
        """What runs of pipelines that no row knows, in words: nobody can say what files it needs."""
        running = [split_resource(each.attempt)[0] for each in self.processes]
        unknown = {*running, *(each.pipeline for each in self.objects)} - self.census.pipelines.keys()
        return self.lives(min(unknown)) if unknown else ""


def changed_at(path: Path) -> float:
    """When something last changed there; 0 where nothing is."""
    try:
        found = path.lstat()
    except OSError:
        return 0.0
    return max(found.st_mtime, found.st_ctime)
