"""All attempts that the executor knows, and what is told of them as their objects change.

State derives from the newest object by uid, whatever order, duplication or replay it is seen in; an end once seen
stays. Source: reliability.md, F-30 to F-34.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Collection
from dataclasses import replace

from odin.executors.kubernetes import labels as marks
from odin.executors.kubernetes.body import Body, is_deleted, is_void, labels, name, uid, version
from odin.executors.kubernetes.facts import nodes
from odin.executors.kubernetes.kind import Api, Object
from odin.executors.kubernetes.kinds import table
from odin.executors.kubernetes.kinds.pod import API as PODS
from odin.executors.kubernetes.sights import Over
from odin.executors.kubernetes.telling import ended, reports
from odin.model.ids import AttemptId, PipelineId, split_resource
from odin.model.reports import Ended, Held, Reason, Report, Started


class Register:
    """``tell`` takes reports. ``changed`` is told of each attempt of which something new is known, and ``ending`` of
    each that is over, before anybody else is: who hears of the end finds what came of it.

    ``found_void`` is told of objects that fill a name, ``reappeared`` of those that were let go of before, which
    only a cluster put back to an older state shows.
    """

    def __init__(self, tell: Callable[[Report], None]) -> None:
        self.bodies: dict[AttemptId, Body] = {}
        self.changed: Callable[[Body], None] = lambda _: None
        self.ending: Callable[[Body], None] = lambda _: None
        self.found_void: Callable[[Api, Object], None] = lambda _api, _object: None
        self.reappeared: Callable[[Api, Object], None] = lambda _api, _object: None
        self._tell = tell
        self._kept: dict[AttemptId, str] = {}  # uids of what was let go of, until its pipeline is forgotten
        self._voids: set[AttemptId] = set()

    @property
    def pipelines(self) -> set[PipelineId]:
        """Those that something is known of."""
        return {split_resource(attempt)[0] for attempt in (*self.bodies, *self._kept)}

    def body(self, attempt: AttemptId) -> Body:
        return self.bodies.setdefault(attempt, Body(attempt))

    # What the watches tell

    def listed(self, api: Api, objects: Collection[Object], version_: int, *, restored: bool = False) -> None:
        """All that there was at a version; what was known then and is not among them is gone.

        ``restored``: the cluster was put back to an older state, so that no number of before counts.
        """
        there = {uid(each) for each in objects}
        for seen in objects:
            self.seen(api, "ADDED", seen, restored=restored)
        newest = float("inf") if restored else version_
        for body in list(self.bodies.values()):
            if body.api == api and body.uid and body.uid not in there and version(body.object) <= newest:
                self.gone(body)
            elif api == PODS:
                self._miss_pods(body, there, newest)

    def seen(self, api: Api, change: str, seen: Object, *, restored: bool = False) -> None:
        attempt = marks.attempt(labels(seen))
        if attempt is None:
            return
        if is_void(seen):
            self._void(api, attempt, change, seen)
        elif self._kept.get(attempt) == uid(seen):
            if restored:
                self.reappeared(api, seen)
        elif change != "DELETED" or attempt in self.bodies:
            self._take(self.body(attempt), api, change, seen, restored)

    def _take(self, body: Body, api: Api, change: str, seen: Object, restored: bool) -> None:
        is_gone = change == "DELETED"
        if name(seen) == body.attempt and body.api in (None, api):
            if body.api is None:
                body.api, body.kind = api, table.known(seen)
            if not body.take(seen, restored=restored):
                return
            if is_gone:
                self.gone(body)
                return
        elif api == PODS:
            body.take_pod(seen, is_gone=is_gone, restored=restored)
        self.report(body)

    def _miss_pods(self, body: Body, there: Collection[str], newest: float) -> None:
        missed = [pod for key, pod in body.pods.items() if key not in there and version(pod) <= newest]
        for pod in missed:
            body.take_pod(pod, is_gone=True)
        if missed:
            self.report(body)

    def _void(self, api: Api, attempt: AttemptId, change: str, seen: Object) -> None:
        if change == "DELETED":
            self._voids.discard(attempt)
            return
        self._voids.add(attempt)
        body = self.bodies.get(attempt)
        if body is not None and not body.uid:
            message = body.doom.message if body.doom is not None else ""
            self.end(body, Reason.VOID, message)
        if not is_deleted(seen):
            self.found_void(api, seen)

    # What is told

    def report(self, body: Body) -> None:
        """Tell what is new. A removal by others is told once it is known whose it was."""
        sight = body.sight()
        if sight is None:
            return
        if isinstance(sight, Over):
            if sight.reason is Reason.DELETED and not body.is_examined:
                self.changed(body)
                return
            body.over = sight
            self.ending(body)
        before, body.told = body.told, sight
        for report in reports(body.attempt, before, sight, body.held):
            self._tell(_placed(body, report))
        body.held = ""
        self.changed(body)

    def repeat(self, attempt: AttemptId) -> bool:
        """Tell again how it is; False where nothing is known of it."""
        if attempt in self._voids:
            self._tell(Ended(attempt, None, Reason.VOID, time.time()))
            return True
        body = self.bodies.get(attempt)
        if body is None or not (body.uid or body.is_over):
            return False
        body.told = None
        self.report(body)
        return True

    def repeat_ends(self) -> None:
        """Tell again of each end that nobody has acknowledged."""
        for body in list(self.bodies.values()):
            if body.is_over and not body.is_acknowledged:
                self.repeat(body.attempt)

    def hold(self, body: Body, why: str) -> None:
        """It cannot even be made yet."""
        if not body.uid and not body.is_over and body.held != why:
            body.held = why
            self._tell(Held(body.attempt, why))

    def end(self, body: Body, reason: Reason, message: str) -> None:
        """It is over, and that is all that will ever be known; told once."""
        if body.over is not None:
            return
        started = getattr(body.told, "at", None)
        body.over = body.told = Over(None, reason, message, started, time.time())
        self._tell(_placed(body, ended(body.attempt, body.over)))
        self.changed(body)

    def gone(self, body: Body) -> None:
        """The object is no more. What is left of its log is still to be kept."""
        if not body.is_over:
            body.over = body.told = body.last_words()
            self.ending(body)
            self._tell(_placed(body, ended(body.attempt, body.over)))
        self.changed(body)
        self.drop_if_done(body)

    # The end

    def drop_if_done(self, body: Body) -> None:
        """Its end is recorded and all of it kept: nothing is heard of it any more but what is old."""
        if body.is_over and body.is_acknowledged and (body.is_kept or not body.uid):
            self.bodies.pop(body.attempt, None)
            if body.uid:
                self._kept[body.attempt] = body.uid

    def forget(self, pipelines: Collection[PipelineId]) -> list[Body]:
        """Nothing is asked about these any more. What of them is not over all the same."""
        gone = set(pipelines)
        for attempt in [each for each in self._kept if split_resource(each)[0] in gone]:
            del self._kept[attempt]
        left = [body for attempt, body in self.bodies.items() if split_resource(attempt)[0] in gone]
        for body in left:
            if not body.uid:
                self.bodies.pop(body.attempt, None)
        return [body for body in left if body.uid and not body.is_over]


def _placed(body: Body, report: Report) -> Report:
    """With the nodes that it runs on, where it does."""
    if not isinstance(report, Started | Ended):
        return report
    return replace(report, node=", ".join(nodes(body)) or None)
