"""One watch for each resource: list, then watch from there; again from the last version, or from a list where that
is too old. What is told is states of objects, the newest last, and whether the cluster can be reached.

Source: reliability.md, F-30 to F-34.
"""

from __future__ import annotations

import asyncio
import logging
import random
import time
from contextlib import aclosing
from typing import Protocol

from odin.executors.kubernetes.body import version
from odin.executors.kubernetes.cluster import Cluster
from odin.executors.kubernetes.kind import Api, Object
from odin.executors.kubernetes.replies import ApiFault, Expired

FIRST_PAUSE_S = 0.1
LONGEST_PAUSE_S = 5.0
RELIST_S = 600.0
AWAY_AFTER_S = 3.0
log = logging.getLogger("odin.kubernetes")


class Listener(Protocol):
    """Who is told, in the event loop, one thing at a time."""

    def listed(self, api: Api, objects: list[Object], version: int) -> None:
        """All that there was at a version; what was known then and is not among them is gone."""

    def seen(self, api: Api, change: str, seen: Object) -> None:
        """ADDED, MODIFIED or DELETED."""

    def reached(self, api: Api, fault: ApiFault | None) -> None:
        """Whether this watch stands, else why not."""


class Watch:
    """Follows one resource for as long as ``run`` runs."""

    def __init__(self, cluster: Cluster, api: Api, selector: str, listener: Listener) -> None:
        self.api = api
        self._cluster = cluster
        self._selector = selector
        self._listener = listener
        self._version = 0
        self._listed_at = 0.0
        self._pause_s = FIRST_PAUSE_S

    async def run(self) -> None:
        """Never returns but by being cancelled."""
        while True:
            try:
                await self._follow()
                self._pause_s = FIRST_PAUSE_S
            except Expired:
                self._version = 0
            except ApiFault as fault:
                self._listener.reached(self.api, fault)
                await self._rest(fault)

    async def relist(self) -> None:
        """Tell what there is now, by a quorum read that begins after this call. Raises ApiFault."""
        objects, told = await self._cluster.listed(self.api, selector=self._selector)
        newest = int(told)
        self._listener.listed(self.api, objects, newest)
        self._version, self._listed_at = max(self._version, newest), time.monotonic()

    async def _follow(self) -> None:
        if not self._version or time.monotonic() - self._listed_at > RELIST_S:
            await self.relist()
        self._listener.reached(self.api, None)
        events = self._cluster.watch(self.api, str(self._version), selector=self._selector)
        async with aclosing(events):
            async for change, seen in events:
                self._version = max(self._version, version(seen))
                self._pause_s = FIRST_PAUSE_S
                if change != "BOOKMARK":
                    self._listener.seen(self.api, change, seen)

    async def _rest(self, fault: ApiFault) -> None:
        log.debug("the watch of %s is cut: %s", self.api.plural, fault)
        await asyncio.sleep(self._pause_s * random.uniform(0.5, 1.0))  # noqa: S311 - spreads the load
        self._pause_s = min(2 * self._pause_s, LONGEST_PAUSE_S)
