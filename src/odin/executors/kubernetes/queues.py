"""What Kueue's Workloads say of the attempts whose objects it holds back. Source: kubernetes.md, "Kueue"."""

from __future__ import annotations

from collections.abc import Callable, Collection

from odin.executors.kubernetes import kueue
from odin.executors.kubernetes.body import Body
from odin.executors.kubernetes.kind import Api, Object


class Queues:
    """The listener of their watch. ``told`` is told of each attempt, by its object's uid, of which there is news."""

    def __init__(self, told: Callable[[str], None]) -> None:
        self._told = told
        self._why: dict[str, str] = {}

    def listed(self, api: Api, objects: Collection[Object], version_: int, *, restored: bool = False) -> None:
        del api, version_, restored
        found = {owner: kueue.read(each) for each in objects if (owner := kueue.owner(each))}
        for uid in [uid for uid in {*found, *self._why} if found.get(uid, "") != self._why.get(uid, "")]:
            self._say(uid, found.get(uid, ""))

    def seen(self, api: Api, change: str, seen: Object) -> None:
        del api
        if owner := kueue.owner(seen):
            self._say(owner, "" if change == "DELETED" else kueue.read(seen))

    def mind(self, body: Body) -> bool:
        """Note what its queue says; whether that is new."""
        before, body.queue = body.queue, self._why.get(body.uid, "")
        return body.queue != before

    def _say(self, uid: str, why: str) -> None:
        self._why[uid] = why
        if not why:
            del self._why[uid]
        self._told(uid)
