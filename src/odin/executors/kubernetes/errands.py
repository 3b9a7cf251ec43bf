"""What must be done in the cluster for attempts: their objects made, removed, or their names filled.

Everything is done by name, so whatever was sent twice exists once. What is to be done next is derived from what is
known of an attempt, and done again until it is: one errand at a time for each attempt.
Source: reliability.md, F-05, F-06, F-26 to F-29.
"""

from __future__ import annotations

import asyncio
import logging
import random
import time
from collections.abc import Awaitable, Callable, Coroutine
from contextlib import suppress
from typing import Any

from odin.executors.kubernetes import labels as marks
from odin.executors.kubernetes.body import Body, labels, name, uid
from odin.executors.kubernetes.cluster import Cluster
from odin.executors.kubernetes.keeper import released
from odin.executors.kubernetes.kind import Api, Object
from odin.executors.kubernetes.kinds.pod import API as PODS
from odin.executors.kubernetes.manifests import Manifests
from odin.executors.kubernetes.pacing import Turns
from odin.executors.kubernetes.register import Register
from odin.executors.kubernetes.replies import (
    ApiFault,
    Changed,
    Exists,
    Forbidden,
    Missing,
    OverQuota,
    Refused,
    Unreachable,
)
from odin.model.errors import OdinError, Unavailable
from odin.model.ids import PipelineId, split_resource
from odin.model.reports import Reason

FIRST_PAUSE_S = 0.2
LONGEST_PAUSE_S = 30.0
QUOTA_SHARE_S = 0.2  # of all that wait for a quota one asks so often
PATIENCE_S = 5.0  # with an API server that takes nothing, until that is told as what keeps a task
IN_FLIGHT_S = 60.0  # the API server gives a request up after a minute
UNHEARD = (0, 502, 504)  # nobody says that it is not carried out after all
AT_ONCE = 24  # of the calls in flight, so that creates never take all
log = logging.getLogger("odin.kubernetes")


class Errands:
    """Belongs to the event loop of the cluster. ``spawn`` runs a coroutine until the driver ends."""

    def __init__(
        self,
        cluster: Cluster,
        manifests: Manifests,
        register: Register,
        spawn: Callable[[Coroutine[Any, Any, None]], asyncio.Task[None]],
    ) -> None:
        self._cluster = cluster
        self._manifests = manifests
        self._register = register
        self._spawn = spawn
        self._turns = Turns(AT_ONCE)
        self._made: dict[PipelineId, dict[str, asyncio.Future[Object]]] = {}
        self._over_quota: dict[str, Body] = {}
        self._sweeping: set[str] = set()
        self._began = time.monotonic()

    def attend(self, body: Body) -> None:
        """Do what there is to do; what waits to try again does so at once."""
        if body.errand is not None:
            body.wake.set()
        elif self._next(body) is not None:
            body.errand = self._spawn(self._run(body))

    def freed(self) -> None:
        """Something ended, so a quota may have room: whoever has waited longest tries."""
        if self._over_quota:
            self._over_quota.pop(next(iter(self._over_quota))).wake.set()

    def forget(self, pipeline: PipelineId) -> None:
        self._made.pop(pipeline, None)

    def sweep(self, api: Api, seen: Object, after_s: float) -> None:
        """Remove what only fills a name, or is left of what is over."""
        if uid(seen) not in self._sweeping:
            self._sweeping.add(uid(seen))
            self._spawn(self._sweep(api, seen, after_s))

    def _next(self, body: Body) -> Callable[[Body], Awaitable[None]] | None:
        if body.is_over:
            return None
        if body.doom is not None:
            if not body.uid:
                return self._void
            if body.asked != body.doom:
                return self._delete
        if body.left_behind():
            return self._collect
        return self._create if body.launch is not None and not body.uid else None

    async def _run(self, body: Body) -> None:
        pause_s, began = FIRST_PAUSE_S, time.monotonic()
        try:
            while (step := self._next(body)) is not None:
                body.wake.clear()
                try:
                    await step(body)
                    continue
                except (OverQuota, Forbidden) as fault:
                    rest_s = self._hold(body, fault, pause_s)
                except ApiFault as fault:
                    log.debug("%s: %s", body.attempt, fault)
                    rest_s = max(pause_s, getattr(fault, "retry_after_s", 0.0))
                    if time.monotonic() - began > PATIENCE_S and not body.held:
                        self._register.hold(body, f"the cluster does not take it: {fault}")
                except Exception:  # border: chore
                    log.exception("%s could not be brought to the cluster", body.attempt)
                    rest_s = LONGEST_PAUSE_S
                woken = await self._rest(body, rest_s)
                pause_s = FIRST_PAUSE_S if woken else min(2 * pause_s, LONGEST_PAUSE_S)
        finally:
            body.errand = None
            self._over_quota.pop(body.attempt, None)

    def _hold(self, body: Body, fault: ApiFault, pause_s: float) -> float:
        """It stays queued, and people see why; how long until it is tried again."""
        self._register.hold(body, str(fault))
        if isinstance(fault, OverQuota):
            self._over_quota[body.attempt] = body
            return max(pause_s, QUOTA_SHARE_S * len(self._over_quota))
        return pause_s

    async def _rest(self, body: Body, seconds: float) -> bool:
        """Whether it was woken before its time."""
        try:
            async with asyncio.timeout(seconds * random.uniform(0.8, 1.2)):  # noqa: S311 - spreads the load
                await body.wake.wait()
        except TimeoutError:
            return False
        return True

    # Making

    async def _create(self, body: Body) -> None:
        assert body.launch is not None
        pipeline = split_resource(body.attempt)[0]
        try:
            async with self._turns.turn(pipeline):
                made = await self._manifests.make(body.launch)
                if body.doom is not None or body.uid:
                    return
                for api, beside in made.objects[:-1]:
                    await self._ensure_beside(pipeline, api, beside)
                await self._ensure(body, *made.objects[-1])
        except Missing as fault:
            self._refused(body, f"its kind or its namespace is not there: {fault}", fault)
        except Refused as fault:
            self._refused(body, str(fault), fault)

    def _refused(self, body: Body, message: str, fault: ApiFault) -> None:
        """Over, unless what was sent before may have been taken all the same."""
        if body.is_unsure and fault.status:
            raise Unreachable(str(fault)) from fault
        self._register.end(body, Reason.REFUSED, message)

    async def _ensure_beside(self, pipeline: PipelineId, api: Api, wanted: Object) -> None:
        """What pods need beside them: made once for a pipeline, and all that need it wait for that."""
        made = self._made.setdefault(pipeline, {})
        key = f"{api.plural}/{name(wanted)}"
        if (work := made.get(key)) is None:
            work = made[key] = asyncio.ensure_future(self._create_or_adopt(api, wanted))
        try:
            await asyncio.shield(work)
        except ApiFault:
            if made.get(key) is work:
                del made[key]
            raise

    async def _ensure(self, body: Body, api: Api, wanted: Object) -> None:
        try:
            there = await self._create_or_adopt(api, wanted)
        except Unreachable as fault:
            if fault.status in UNHEARD:
                body.unsure_until = time.monotonic() + IN_FLIGHT_S
            raise
        self._register.seen(api, "ADDED", there)

    async def _create_or_adopt(self, api: Api, wanted: Object) -> Object:
        try:
            return await self._send(api, wanted)
        except Changed as fault:  # a quota that others use at the same moment
            raise Unreachable(str(fault), fault.status) from fault
        except Exists:
            return await self._adopted(api, wanted)

    async def _send(self, api: Api, made: Object) -> Object:
        """The only call that creates objects: what ``Manifests`` composed and judged (A-95)."""
        return await self._cluster.create(api, made)

    async def _adopted(self, api: Api, wanted: Object) -> Object:
        """The object that has the name, if it is ours. Raises Refused, Unreachable."""
        try:
            there = await self._cluster.get(api, name(wanted))
        except Missing as fault:  # it has gone just now
            raise Unreachable(str(fault)) from fault
        same = (marks.STORE, marks.PIPELINE, marks.TASK, marks.ATTEMPT)
        other = any(there.get(key) != wanted.get(key) for key in ("data", "binaryData"))
        if other or any(labels(there).get(key) != labels(wanted).get(key) for key in same):
            raise Refused(
                f"an object named {name(wanted)} that is not Odin's exists in the namespace "
                f"{self._cluster.namespace}; remove or rename it, then run the job again"
            )
        return there

    # Ending

    async def _delete(self, body: Body) -> None:
        """Ask for the object's removal until that is heard; the end is seen by its watch."""
        doom, api = body.doom, body.api
        assert doom is not None
        assert api is not None
        try:
            await self._cluster.delete(api, body.attempt, uid=body.uid, grace_s=doom.grace_s)
        except (Missing, Changed):  # it is gone, whatever has its name now
            self._register.gone(body)
        if doom.is_lost:
            for pod in [each for each in body.pods.values() if name(each) != body.attempt]:
                with suppress(Missing, Changed):
                    await self._cluster.delete(PODS, name(pod), uid=uid(pod), grace_s=0)
            self._register.end(body, doom.reason, doom.message)
        body.asked = doom

    async def _collect(self, body: Body) -> None:
        """Remove what is left of a deleted whole, within the grace of its pods, or that of its stop."""
        grace_s = body.doom.grace_s if body.doom is not None else None
        for pod in body.left_behind():
            with suppress(Missing, Changed):
                await self._cluster.delete(PODS, name(pod), uid=uid(pod), grace_s=grace_s)
            body.bereft.add(uid(pod))

    async def _void(self, body: Body) -> None:
        """Prove that what was never seen cannot start any more.

        A create may still be on its way, also one of a server before this: it finds the name filled, or the API
        server gives it up in time.
        """
        assert body.doom is not None
        try:
            api, filler = self._manifests.filler(body.attempt, body.resource_type)
        except Unavailable as error:
            raise Unreachable(str(error)) from error
        except OdinError as error:
            log.warning("the name %s cannot be filled: %s", body.attempt, error)
            self._register.end(body, Reason.VOID, body.doom.message)
            return
        if await self._look(body, api):
            return
        if body.is_unsure or time.monotonic() < self._began + IN_FLIGHT_S:
            try:
                self._register.seen(api, "ADDED", await self._send(api, filler))
            except (Refused, OverQuota) as fault:
                raise Unreachable(f"its name cannot be filled: {fault}") from fault
        self._register.end(body, Reason.VOID, body.doom.message)

    async def _look(self, body: Body, api: Api) -> bool:
        """Whether its object is there after all, read from a quorum."""
        try:
            there = await self._cluster.get(api, body.attempt)
        except Missing:
            return False
        if labels(there).get(marks.STORE) != self._manifests.store:
            self._register.end(body, Reason.VOID, "its name is taken by an object that is not Odin's")
        else:
            self._register.seen(api, "ADDED", there)
        return True

    async def _sweep(self, api: Api, seen: Object, after_s: float) -> None:
        await asyncio.sleep(after_s)
        try:
            if marks.FINALIZER in (seen["metadata"].get("finalizers") or ()):
                await self._cluster.patch(api, name(seen), released(seen))
            await self._cluster.delete(api, name(seen), uid=uid(seen), grace_s=0)
        except ApiFault as fault:
            log.debug("%s is not swept: %s", name(seen), fault)
        self._sweeping.discard(uid(seen))
