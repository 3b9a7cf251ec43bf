"""From a launch to the objects that are created for it. The only place that composes them, so the only one judged.

Source: architecture.md, "Kubernetes"; reliability.md, A-95.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from odin.executors.kubernetes import delivery, kueue, policy
from odin.executors.kubernetes import labels as marks
from odin.executors.kubernetes.delivery import CONFIG_MAP, Files
from odin.executors.kubernetes.kind import Api, Object, Order
from odin.executors.kubernetes.kinds import table
from odin.executors.kubernetes.kinds.pod import API as PODS
from odin.executors.kubernetes.kinds.table import ROWS, Chosen, Served
from odin.executors.kubernetes.podspec import idle, template
from odin.executors.kubernetes.replies import Refused, Unreachable
from odin.executors.kubernetes.site import Site
from odin.executors.protocol import Origin, TaskLaunch
from odin.model.errors import NotSupported, OdinError, Unavailable
from odin.model.ids import AttemptId, JobPath, Sha, split_resource
from odin.model.job import Job, TaskSpec

SERVICES = Api("", "v1", "Service", "services")
MOST_KEPT = 64  # pipelines whose files are kept, ready to be sent
Delivered = tuple[Collection[Object], Object | None]


@dataclass(frozen=True, slots=True)
class Made:
    """What an attempt needs, in the order in which it is created; the one that is called as the attempt is last."""

    objects: tuple[tuple[Api, Object], ...]


class Manifests:
    """Composes objects for one site.

    ``files_of`` reads what a pod is given of its job where there is no data claim, ``make_folder`` makes the task's
    folder on one. Both may block, and raise OSError or OdinError.
    """

    def __init__(
        self,
        site: Site,
        files_of: Callable[[TaskLaunch], tuple[Files, str]],
        make_folder: Callable[[TaskLaunch], None],
    ) -> None:
        self.site = site
        self._files_of = files_of
        self._make_folder = make_folder
        self._served: Served | None = None
        self._delivered: dict[str, asyncio.Future[Delivered]] = {}

    @property
    def store(self) -> str:
        return self.site.store

    def serve(self, served: Served) -> None:
        """What the cluster serves, as it told just now; of what is silent now, as it told before."""
        before = self._served.resources if self._served is not None else frozenset()
        kept = {each for each in before if each[0] in served.silent}
        self._served = replace(served, resources=served.resources | kept)

    @property
    def is_told(self) -> bool:
        """Whether the cluster has said what it serves."""
        return self._served is not None

    @property
    def served(self) -> Served:
        assert self._served is not None, "nothing is made before the cluster told what it serves"
        return self._served

    @property
    def apis(self) -> list[Api]:
        """Each resource that an attempt's top object may be, and pods."""
        served = (api for row in ROWS for api in row.apis if self.served.has(api))
        return list(dict.fromkeys((PODS, *served)))

    @property
    def queues(self) -> list[Api]:
        """The newest resource in which a queue says why it holds something back, if there is one."""
        return [api for api in kueue.APIS if self.served.has(api)][:1]

    @property
    def removable(self) -> list[Api]:
        """All resources that a pipeline may have objects of; what makes others comes first."""
        needs = (api for row in ROWS for api in row.needs if self.served.has(api))
        others = (api for api in self.apis if api != PODS)
        return list(dict.fromkeys((*others, PODS, *needs, SERVICES, CONFIG_MAP)))

    async def make(self, launch: TaskLaunch) -> Made:
        """The objects of an attempt. Raises Refused for what no pod can be, or may be here, and Unreachable."""
        try:
            files, volume = await self._files(launch)
            api, built = self.compose(launch, volume)
        except (Unavailable, OSError) as error:
            raise Unreachable(str(error)) from error
        except OdinError as error:
            raise Refused(str(error)) from error
        return Made((*((CONFIG_MAP, each) for each in files), *((self._api(api, each), each) for each in built)))

    def compose(self, launch: TaskLaunch, volume: Object | None) -> tuple[Api, Sequence[Object]]:
        """The objects of an attempt but for its files, judged. Raises ValidationFailed."""
        chosen = self._chosen(launch.spec)
        marks_ = marks.of(launch, self.site.store)
        pod = template(launch, self.site, marks_, files=volume)
        built = chosen.kind.build(Order(launch, self._metadata(launch, marks_), pod, chosen.api))
        self._judge(built, marks_, launch.spec.name)
        return chosen.api, built

    def said(self, job: Job) -> list[str]:
        """What people should know of the kinds that the tasks become here, each sentence once."""
        return list(dict.fromkeys(filter(None, (self._chosen(task).said for task in job.tasks))))

    def filler(self, attempt: AttemptId, kind: str) -> tuple[Api, Object]:
        """An object that takes the attempt's name and never runs: pods without a scheduler, others suspended."""
        chosen = table.choose(kind, self.served, translate=True)
        pipeline, task, number = split_resource(attempt)
        origin = Origin(pipeline, task or "", number or 1, JobPath("void"), Sha(""), "odin")
        spec = TaskSpec(task or "", ("true",), resource_type=kind)
        launch = TaskLaunch(attempt, 0, spec.command, {}, "/", (), None, 0, spec, origin)
        marks_ = {**marks.of(launch, self.site.store), marks.VOID: "true"}
        metadata = {"name": attempt, "labels": marks_}
        made = chosen.kind.build(Order(launch, metadata, idle(marks_), chosen.api))[-1]
        inner = made
        for step in chosen.kind.suspend[:-1]:
            inner = inner.setdefault(step, {})
        inner |= {chosen.kind.suspend[-1]: True} if chosen.kind.suspend else {}
        self._judge([made], marks_)
        return chosen.api, made

    def _judge(self, objects: Iterable[Object], marks_: Mapping[str, str], task: str = "") -> None:
        """Raises ValidationFailed unless all of them may be sent."""
        policy.refuse([wrong for each in objects for wrong in policy.judge(each, self.site, marks_)], task)

    def _chosen(self, spec: TaskSpec) -> Chosen:
        chosen = table.choose(spec.resource_type, self.served, translate=bool(spec.cluster.get("translate")))
        if lack := chosen.kind.lacks(spec):
            raise NotSupported(f'task "{spec.name}" cannot run in this cluster: {lack}')
        return chosen

    def _api(self, top: Api, made: Object) -> Api:
        if made["kind"] == top.kind:
            return top
        known = (PODS, SERVICES, CONFIG_MAP, *(need for row in ROWS for need in row.needs))
        return next(api for api in known if api.kind == made["kind"] and api.api_version == made["apiVersion"])

    def _metadata(self, launch: TaskLaunch, marks_: Mapping[str, str]) -> dict[str, Any]:
        lost_after_s = launch.spec.lost_after_s
        lost_after = {marks.LOST_AFTER: f"{lost_after_s:g}"} if lost_after_s is not None else {}
        return {
            "name": launch.attempt,
            "labels": dict(marks_),
            "annotations": {
                marks.FENCE: str(launch.fence),
                marks.IMAGE_TIMEOUT: f"{launch.spec.image_timeout_s:g}",
                **lost_after,
            },
            "finalizers": [marks.FINALIZER],
        }

    async def _files(self, launch: TaskLaunch) -> Delivered:
        """What delivers the job's files, made once for a pipeline; nothing where they are on the data claim."""
        if self.site.data_claim is not None:
            await asyncio.to_thread(self._make_folder, launch)
            return (), None
        pipeline = launch.origin.pipeline
        if (work := self._delivered.get(pipeline)) is None:
            work = self._delivered[pipeline] = asyncio.ensure_future(self._deliver(launch))
            while len(self._delivered) > MOST_KEPT:
                del self._delivered[next(iter(self._delivered))]
        try:
            return await asyncio.shield(work)
        except (OdinError, OSError):
            self._delivered.pop(pipeline, None)
            raise

    async def _deliver(self, launch: TaskLaunch) -> Delivered:
        pipeline = launch.origin.pipeline
        files, task_ids = await asyncio.to_thread(self._files_of, launch)
        owner = {marks.STORE: self.site.store, marks.PIPELINE: pipeline}
        limit = self.site.delivered_bytes
        maps, volume = delivery.config_maps(pipeline, files, owner, task_ids=task_ids, limit=limit)
        self._judge(maps, owner)
        return maps, volume
