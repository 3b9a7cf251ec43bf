"""What may start: all that runs takes no more CPUs than there are, and no GPU is given twice, whoever asked for it.

A server hands out what it takes for free and knows nothing of the tasks of others. What does not fit waits here, in the
order of arrival; of a GPU that is taken another takes the place. A lone server asks for nothing that does not fit.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

from .bodies import Bodies
from .servers import Greeting


class Entry(NamedTuple):
    request: dict[str, Any]
    greeting: Greeting


class Room:
    def __init__(self, bodies: Bodies) -> None:
        self._bodies = bodies
        self._waiting: dict[str, Entry] = {}

    def ask(self, request: dict[str, Any], greeting: Greeting) -> None:
        """Stand in line; whoever asks again for the same attempt keeps its place."""
        self._waiting[request["id"]] = Entry(request, greeting)

    def holds(self, attempt: str) -> bool:
        return attempt in self._waiting

    def withdraw(self, attempt: str) -> bool:
        """It waits no more; whether it did."""
        return self._waiting.pop(attempt, None) is not None

    def close(self) -> None:
        """Nothing more starts of what waits."""
        self._waiting.clear()

    def admit(self) -> Iterator[tuple[Entry, list[str]]]:
        """Each launch whose turn it is, with the GPUs that it is given. What is yielded is started at once, if at all.

        Nobody takes what somebody before waits for.
        """
        cpu_m, taken = 0, set[str]()  # kept for those that stay in line
        for attempt, entry in list(self._waiting.items()):
            wanted = entry.request.get("cpu", 0)
            if not _fits(wanted, self._bodies.cpu_m + cpu_m, entry.greeting.cpu_m):
                return
            asked = entry.request.get("cards", [])
            taken_now = taken | self._bodies.cards
            cards = [] if self._bodies.uncounted else _choose(asked, entry.greeting.cards, taken_now)
            if len(cards) == len(asked):
                del self._waiting[attempt]
                yield entry, cards  # it is among the bodies now, or never began
            else:
                cpu_m += wanted
                taken.update(cards)


def _fits(wanted: int, cpu_m: int, most: int | None) -> bool:
    """Alone anything may run: who asked may have been told of fewer CPUs since."""
    return not wanted or not cpu_m or most is None or cpu_m + wanted <= most


def _choose(asked: list[str], there: tuple[str, ...], taken: set[str]) -> list[str]:
    """Those asked for as far as they are free, others in place of the rest; fewer where there are not enough."""
    free = [card for card in asked if card not in taken]
    others = [card for card in there if card not in taken and card not in asked]
    return (free + others)[: len(asked)]
