"""One watch for each resource: list, then watch from there; again from the last version, or from a list where that
is too old. What is told is states of objects, the newest last, and whether the cluster can be reached.

Source: reliability.md, F-30 to F-34.
"""

from __future__ import annotations

import asyncio
import logging
import random
import time
from collections.abc import Callable, Collection
from contextlib import aclosing
from typing import Protocol

from odin.executors.kubernetes.body import name, version
from odin.executors.kubernetes.cluster import Cluster
from odin.executors.kubernetes.kind import Api, Object
from odin.executors.kubernetes.replies import ApiFault, Expired, Missing

FIRST_PAUSE_S = 0.1
LONGEST_PAUSE_S = 5.0
RELIST_S = 600.0
UNSERVED_S = 60.0
log = logging.getLogger("odin.kubernetes")


class Listener(Protocol):
    """Who is told, in the event loop, one thing at a time."""

    def listed(self, api: Api, objects: Collection[Object], version_: int, *, restored: bool = False) -> None:
        """All that there was at a version; what was known then and is not among them is gone.

        ``restored``: the version is older than one that was seen, so the cluster was put back.
        """

    def seen(self, api: Api, change: str, seen: Object) -> None:
        """ADDED, MODIFIED or DELETED."""


class Watch:
    """Follows one resource for as long as ``run`` runs. ``reached`` is told whether it stands, else why not."""

    def __init__(
        self,
        cluster: Cluster,
        api: Api,
        selector: str,
        listener: Listener,
        reached: Callable[[Api, ApiFault | None], None],
    ) -> None:
        self.api = api
        self._cluster = cluster
        self._selector = selector
        self._listener = listener
        self._reached = reached
        self._version = 0  # 0: to be listed
        self._newest = 0
        self._listed_at = 0.0
        self._pause_s = FIRST_PAUSE_S

    async def run(self) -> None:
        """Never returns but by being cancelled."""
        while True:
            try:
                await self._follow()
            except Expired:
                self._version = 0
            except ApiFault as fault:
                log.debug("the watch of %s is cut: %s", self.api.plural, fault)
                self._reached(self.api, fault)
            except Exception:  # border: chore
                log.exception("the watch of %s failed; listing anew", self.api.plural)
                self._version = 0
            await asyncio.sleep(self._pause_s * random.uniform(0.5, 1.0))  # noqa: S311 - spreads the load
            self._pause_s = min(2 * self._pause_s, LONGEST_PAUSE_S)

    async def relist(self) -> None:
        """Tell what there is now, by a quorum read that begins after this call. Raises ApiFault."""
        before = self._newest
        try:
            objects, told = await self._cluster.listed(self.api, selector=self._selector)
        except Missing:  # its kind is not served any more, so there is nothing of it
            objects, told = [], str(before)
            self._pause_s = UNSERVED_S
        listed = int(told)
        if listed < before:
            log.warning("the cluster was put back to an older state (%s: %d, was %d)", self.api.plural, listed, before)
            self._version = self._newest = 0
        self._listener.listed(self.api, objects, listed, restored=listed < before)
        self._version, self._newest = max(self._version, listed), max(self._newest, listed)
        self._listed_at = time.monotonic()

    async def _follow(self) -> None:
        if not self._version or time.monotonic() - self._listed_at > RELIST_S:
            await self.relist()
        events = self._cluster.watch(self.api, str(self._version), selector=self._selector, begun=self._begun)
        async with aclosing(events):
            async for change, seen in events:
                self._pause_s = FIRST_PAUSE_S
                self._version = max(self._version, version(seen))
                self._newest = max(self._newest, self._version)
                if change != "BOOKMARK":
                    self._take(change, seen)

    def _begun(self) -> None:
        self._reached(self.api, None)

    def _take(self, change: str, seen: Object) -> None:
        try:
            self._listener.seen(self.api, change, seen)
        except Exception:  # border: chore
            log.exception("%s %s cannot be read", self.api.kind, name(seen))
