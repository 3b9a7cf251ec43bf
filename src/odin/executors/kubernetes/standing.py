"""Whether the cluster is reached: while a watch of it does not stand, nothing new is decided.

Source: reliability.md, F-33 and F-35.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable

from odin.executors.kubernetes.kind import Api
from odin.executors.kubernetes.kinds.pod import API as PODS
from odin.executors.kubernetes.replies import ApiFault, Forbidden

AWAY_AFTER_S = 3.0
log = logging.getLogger("odin.kubernetes")


class Standing:
    """``away`` is told why the cluster cannot be reached, ``back`` that it is (again)."""

    def __init__(self, server: str, away: Callable[[str], None], back: Callable[[], None]) -> None:
        self._server = server
        self._tell_away = away
        self._tell_back = back
        self._cut: dict[Api, float] = {}  # since when a watch does not stand
        self._stood: set[Api] = set()
        self._barred: set[Api] = set()
        self._is_away = True
        self._told = ""

    def expect(self, api: Api) -> None:
        """A watch of it begins now."""
        self._cut[api] = time.monotonic()

    def reached(self, api: Api, fault: ApiFault | None) -> None:
        if fault is None:
            self._stood.add(api)
            self._barred.discard(api)
            self._cut.pop(api, None)
        elif isinstance(fault, Forbidden) and api != PODS and api not in self._stood:
            self._bar(api, fault)
        else:
            self._miss(api, fault)
            return
        if self._is_away and not self._cut:
            self._is_away = False
            self._told = ""
            self._tell_back()

    def is_barred(self, api: Api) -> bool:
        """Whether there are no rights to it, and never were."""
        return api in self._barred

    def _bar(self, api: Api, fault: ApiFault) -> None:
        """Odin was never given the rights to a kind, so there is nothing of it to be seen."""
        self._cut.pop(api, None)
        if api not in self._barred:
            self._barred.add(api)
            log.warning("%s cannot be used: %s", api.plural, fault)

    def _miss(self, api: Api, fault: ApiFault) -> None:
        since = self._cut.setdefault(api, time.monotonic())
        message = f"the cluster at {self._server} cannot be reached: {fault}"
        if isinstance(fault, Forbidden):
            message = f"the cluster at {self._server} does not let Odin see what runs: {fault}"
        is_news = time.monotonic() - since >= AWAY_AFTER_S if not self._is_away else message != self._told
        if is_news:
            self._is_away = True
            self._told = message
            self._tell_away(message)
