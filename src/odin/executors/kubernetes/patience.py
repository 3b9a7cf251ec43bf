"""How long a trouble is borne that may pass: an image, something missing, a node that does not answer.

A pod that waits without saying why is asked about by its events, and so is who took a pod away.
Source: reliability.md, F-20, F-22, F-25 and F-26.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Coroutine
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from odin.executors.kubernetes import labels as marks
from odin.executors.kubernetes import podstatus, troubles
from odin.executors.kubernetes.body import Body, Doom, is_removed, name, uid
from odin.executors.kubernetes.cluster import Cluster
from odin.executors.kubernetes.kind import Api, Object
from odin.executors.kubernetes.kinds import whole
from odin.executors.kubernetes.replies import ApiFault, Missing
from odin.executors.kubernetes.sights import Over, Runs, Sight, Waits
from odin.executors.kubernetes.strands import is_alone
from odin.model.reports import Reason

IMAGE_TIMEOUT_S = 600.0
CONFIG_TIMEOUT_S = 120.0
SILENT_S = 5.0  # before events are asked why, then twice as long each time
LONGEST_SILENCE_S = 60.0
NODE_S = 20.0
EXAMINED_S = 3.0
EVENTS = Api("", "v1", "Event", "events")
NODES = Api("", "v1", "Node", "nodes")
log = logging.getLogger("odin.kubernetes")


@dataclass(frozen=True, slots=True)
class Trouble:
    """What an attempt is in; the same one goes on for as long as this is the same."""

    what: str
    node: str = ""


class Patience:
    """``doom`` ends an attempt, ``report`` tells what is new of one."""

    def __init__(
        self,
        cluster: Cluster,
        spawn: Callable[[Coroutine[Any, Any, None]], asyncio.Task[None]],
        *,
        doom: Callable[[Body, Doom], None],
        report: Callable[[Body], None],
    ) -> None:
        self._cluster = cluster
        self._spawn = spawn
        self._doom = doom
        self._report = report
        self._minded: dict[str, tuple[Trouble, asyncio.Task[None]]] = {}

    def mind(self, body: Body) -> None:
        """Bear what it is in now, and no longer what it is out of. ``body`` has just changed."""
        trouble = None if body.is_over else trouble_of(body, body.sight())
        known, task = self._minded.get(body.attempt, (None, None))
        if trouble == known:
            return
        if task is not None:
            del self._minded[body.attempt]
            task.cancel()
        if trouble is not None:
            self._minded[body.attempt] = trouble, self._spawn(self._bear(body, trouble))

    async def _bear(self, body: Body, trouble: Trouble) -> None:
        if trouble.what == "image":
            await self._give_up(body, _seconds(body.object, marks.IMAGE_TIMEOUT, IMAGE_TIMEOUT_S), Reason.IMAGE)
        elif trouble.what == "config":
            await self._give_up(body, CONFIG_TIMEOUT_S, Reason.UNPLACED)
        elif trouble.what == "node":
            await self._watch_node(body, trouble.node)
        elif trouble.what == "deleted":
            await self._examine(body)
        elif trouble.what == "taken":
            await self._mourn(body)
        else:
            await self._ask_why(body)

    async def _give_up(self, body: Body, after_s: float, reason: Reason) -> None:
        await asyncio.sleep(after_s)
        why = getattr(body.sight(), "why", "")
        self._doom(body, Doom(reason, f"{why} (for {after_s:g} s)", 0, time.time()))

    # A node that does not answer

    async def _watch_node(self, body: Body, node: str) -> None:
        """Wait until the node is known to be gone, or was waited for long enough."""
        lost_after_s = _seconds(body.object, marks.LOST_AFTER, float("inf"))
        began = time.monotonic()
        why = ""
        while not why:
            left_s = began + lost_after_s - time.monotonic()
            if left_s <= 0:
                why = f"node {node} did not answer for {lost_after_s:g} s (lost_after)"
            elif is_removed(body.main_pod() or {}):
                why = f"node {node} did not answer, and its pod was removed from it by force"
            elif await self._is_gone(node):
                why = f"node {node} is gone"
            else:
                await asyncio.sleep(min(NODE_S, left_s))
        self._doom(body, Doom(Reason.NODE_LOST, why, 0, time.time(), is_lost=True))

    async def _is_gone(self, node: str) -> bool:
        try:
            await self._cluster.get(NODES, node, everywhere=True)
        except Missing:
            return True
        except ApiFault as fault:  # it may well be that nodes must not be read
            log.debug("node %s: %s", node, fault)
        return False

    # What only events tell

    async def _ask_why(self, body: Body) -> None:
        pause_s, missing_since = SILENT_S, float("inf")
        while True:
            await asyncio.sleep(pause_s)
            pause_s = min(2 * pause_s, LONGEST_SILENCE_S)
            told = troubles.waiting(await self._events(body)) or Waits()
            if isinstance(told, Over):
                self._doom(body, Doom(told.reason, told.message, 0, time.time()))
                return
            missing_since = min(missing_since, time.monotonic()) if told.config else float("inf")
            if time.monotonic() - missing_since >= CONFIG_TIMEOUT_S:
                self._doom(body, Doom(Reason.UNPLACED, f"{told.why} (for {CONFIG_TIMEOUT_S:g} s)", 0, time.time()))
                return
            if told != body.hint:
                body.hint = told
                self._report(body)

    async def _examine(self, body: Body) -> None:
        """Who took it away? A controller says so in an event, which comes at about the same time."""
        until = time.monotonic() + EXAMINED_S
        while body.verdict is None and time.monotonic() < until:
            body.verdict = troubles.removal(await self._events(body))
            if body.verdict is None:
                await asyncio.sleep(EXAMINED_S / 3)
        body.is_examined = True
        self._report(body)

    async def _mourn(self, body: Body) -> None:
        """A pod of it was taken away, and its controller may start another: end the attempt before that.

        Unless the whole takes its pods away itself: it is over or suspended, and says so a moment later.
        """
        assert body.api is not None
        assert body.kind is not None
        until = time.monotonic() + (0.0 if is_alone(body.kind) else EXAMINED_S)
        while True:
            with suppress(ApiFault):
                body.take(await self._cluster.get(body.api, body.attempt))
            if (lost := taken(body)) is None:
                self._report(body)
                return
            if time.monotonic() >= until:
                break
            await asyncio.sleep(EXAMINED_S / 3)
        pod, end = lost
        reason, message = troubles.removal(await self._events(body)) or (end.reason, end.message)
        said = f"{message} ({name(pod)}), and no other may run in its place"
        body.is_examined = True
        self._doom(body, Doom(reason, said, 0, podstatus.deleted_at(pod) or time.time()))

    async def _events(self, body: Body) -> list[Object]:
        found: list[Object] = []
        for each in {body.uid, *map(uid, body.pods.values())}:
            try:
                found += (await self._cluster.listed(EVENTS, fields=f"involvedObject.uid={each}"))[0]
            except ApiFault as fault:
                log.debug("events of %s: %s", body.attempt, fault)
        return found


def trouble_of(body: Body, sight: Sight | None) -> Trouble | None:
    """What it is in, None if it is well or its end is on its way."""
    if isinstance(sight, Over):
        unknown = sight.reason is Reason.DELETED and not body.is_examined
        return Trouble("deleted") if unknown else None
    if sight is None:
        return None
    pod = body.main_pod()
    if pod is not None and (node := podstatus.silent_node(pod)):
        return Trouble("node", node)
    if body.doom is not None:
        return None
    if taken(body) is not None:
        return Trouble("taken")
    if isinstance(sight, Runs):
        return None
    return _of_wait(body, sight)


def taken(body: Body) -> tuple[Object, Over] | None:
    return whole.taken(body.kind, body.object, body.pods.values()) if body.kind is not None else None


def _of_wait(body: Body, sight: Waits) -> Trouble | None:
    if sight in (Waits(), body.hint):
        return Trouble("silent")
    if sight.image or sight.config:
        return Trouble("image" if sight.image else "config")
    return None


def _seconds(seen: Object, annotation: str, otherwise: float) -> float:
    """An annotation that Odin made, kept with the object for servers that did not make it."""
    told = (seen["metadata"].get("annotations") or {}).get(annotation, "")
    try:
        return float(told)
    except ValueError:
        return otherwise
