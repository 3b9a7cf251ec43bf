"""Answers to recalls: what became of attempts, from what was read after it was asked for.

That an attempt is absent is told only where a list shows everything that it may be of, or its object is not found by
its name: a kind that is not served now, or that Odin has no rights to any more, says nothing.
Source: reliability.md, F-32 and F-35.
"""

from __future__ import annotations

import asyncio
import logging
import random
import time
from collections.abc import Callable, Collection, Coroutine, Mapping, Sequence
from typing import Any

from odin.executors.kubernetes.cluster import Cluster
from odin.executors.kubernetes.kind import Api
from odin.executors.kubernetes.kinds import table
from odin.executors.kubernetes.register import Register
from odin.executors.kubernetes.replies import ApiFault, Missing, Unserved
from odin.executors.kubernetes.watches import Watch
from odin.model.ids import AttemptId
from odin.model.reports import Absent, Held, Recall, Report

FIRST_PAUSE_S = 0.2
LONGEST_PAUSE_S = 5.0
UNSERVED_S = 15.0  # an API server that has just begun has not read yet what else it serves
log = logging.getLogger("odin.kubernetes")


class Answers:
    """``listing`` gives the watches that can list what there is now; ``follow`` watches a resource too."""

    def __init__(
        self,
        cluster: Cluster,
        register: Register,
        listing: Callable[[], Sequence[Watch]],
        spawn: Callable[[Coroutine[Any, Any, None]], object],
        *,
        follow: Callable[[Collection[Api]], None],
        tell: Callable[[Report], None],
    ) -> None:
        self._cluster = cluster
        self._register = register
        self._listing = listing
        self._spawn = spawn
        self._follow = follow
        self._tell = tell
        self._asked: dict[AttemptId, Recall] = {}
        self._answering = False
        self._sought: dict[AttemptId, Recall] = {}

    def ask(self, attempts: Mapping[AttemptId, Recall]) -> None:
        """Tell what became of each."""
        self._asked.update(attempts)
        if self._asked and not self._answering:
            self._answering = True
            self._spawn(self._answer())

    async def _answer(self) -> None:
        pause_s = FIRST_PAUSE_S
        try:
            while self._asked:
                asked, self._asked = self._asked, {}
                watches = self._listing()
                if await _relist(watches):
                    listed = {watch.api for watch in watches}
                    for attempt, recall in sorted(asked.items()):
                        hidden = [api for api in table.candidates(recall.kind) if api not in listed]
                        self._answer_one(attempt, recall, hidden)
                    continue
                self._asked = asked | self._asked
                pause_s = await _pause(pause_s)
        finally:
            self._answering = False

    def _answer_one(self, attempt: AttemptId, recall: Recall, hidden: Sequence[Api]) -> None:
        """``hidden`` are resources that it may be of and that no list shows."""
        body = self._register.bodies.get(attempt)
        if self._register.repeat(attempt) or (body is not None and body.errand is not None):
            return
        if attempt in self._sought:
            self._sought[attempt] = recall  # who drives it now is answered
        elif hidden:
            self._sought[attempt] = recall
            self._spawn(self._seek(attempt, hidden))
        else:
            self._tell(Absent(attempt, recall.fence))

    async def _seek(self, attempt: AttemptId, hidden: Sequence[Api]) -> None:
        """Ask for it by its name until it is known, or known not to be there."""
        told, pause_s, began = "", FIRST_PAUSE_S, time.monotonic()
        while why := await self._unproven(attempt, hidden, time.monotonic() - began):
            if why != told:
                told = why
                self._tell(Held(attempt, f"what became of it cannot be seen now: {why}", runs=True))
            pause_s = await _pause(pause_s)
        recall = self._sought.pop(attempt)
        if told:
            self._tell(Held(attempt, "", runs=True))
        if not self._register.repeat(attempt):
            self._tell(Absent(attempt, recall.fence))

    async def _unproven(self, attempt: AttemptId, hidden: Sequence[Api], waited_s: float) -> str:
        """Why it may be there unseen; empty once it is seen, or cannot be there."""
        for api in hidden:
            if self._is_known(attempt):
                return ""
            try:
                self._register.seen(api, "ADDED", await self._cluster.get(api, attempt))
                self._follow([api])
            except Missing as fault:
                if isinstance(fault, Unserved) and waited_s < UNSERVED_S:
                    return f"{api.plural} of {api.api_version}: {fault}"
            except ApiFault as fault:
                return f"{api.plural} of {api.api_version}: {fault}"
        return ""

    def _is_known(self, attempt: AttemptId) -> bool:
        body = self._register.bodies.get(attempt)
        return body is not None and (bool(body.uid) or body.is_over)


async def _relist(watches: Sequence[Watch]) -> bool:
    """Whether all of them told what there is."""
    done = await asyncio.gather(*(watch.relist() for watch in watches), return_exceptions=True)
    for error in [each for each in done if isinstance(each, BaseException)]:
        if not isinstance(error, ApiFault):
            raise error
        log.debug("recall: %s", error)
    return not any(isinstance(each, BaseException) for each in done)


async def _pause(seconds: float) -> float:
    """How long the next one is."""
    await asyncio.sleep(seconds * random.uniform(0.8, 1.2))  # noqa: S311 - spreads the load
    return min(2 * seconds, LONGEST_PAUSE_S)
