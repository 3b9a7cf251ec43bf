"""The loop of the agent: parties say what they wait for, and are told when it has come."""

from __future__ import annotations

import math
import select
import time

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from typing import Protocol

    class Party(Protocol):
        """One concern of the loop. Moments are of ``time.monotonic``."""

        def watched(self) -> Mapping[int, int]:
            """Descriptors and the events of ``poll`` that it waits for."""

        def ready(self, descriptor: int) -> None:
            """Something happened on a descriptor that it watches."""

        def due(self) -> float:
            """When it wants its turn whatever happens; infinity for never."""

        def turn(self, now: float) -> None:
            """Do what is due. Must not block."""


def attend(parties: Sequence[Party], done: Callable[[], bool] = lambda: False) -> None:
    """Serve the parties until ``done``."""
    while not done():
        now = time.monotonic()
        for party in parties:
            if party.due() <= now:
                party.turn(now)
        owners = {descriptor: party for party in parties for descriptor in party.watched()}
        poll = select.poll()
        for party in parties:
            for descriptor, events in party.watched().items():
                poll.register(descriptor, events)
        for descriptor, _ in poll.poll(_pause_ms(min(party.due() for party in parties))):
            if descriptor in owners[descriptor].watched():  # an earlier one of this round may have closed it
                owners[descriptor].ready(descriptor)


def _pause_ms(until: float) -> int | None:
    if until == math.inf:
        return None
    return max(0, math.ceil((until - time.monotonic()) * 1000))
