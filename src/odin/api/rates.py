"""How often signing in may fail: slowed for guessers, never a lock-out for the one who knows the password.

Failures fill a bucket for each user and each address; ten a minute are free, then waiting doubles up to 15 minutes.
Each pair of user and address has its own, slower way past the user's bucket, so that an attack from elsewhere
does not keep the user out. Source: reliability.md, A-50.
"""

from __future__ import annotations

import math
import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

from odin.api.addresses import block
from odin.model.errors import TooManyRequests

FREE = 10
PER_S = FREE / 60
FRESH = 3  # tries for one user from one address that are free whatever happens elsewhere
FIRST_WAIT_S = 60.0
LONGEST_WAIT_S = 900.0
FORGET_S = 3600.0
KEPT = 20_000


def _backoff(times: int) -> float:
    return min(LONGEST_WAIT_S, FIRST_WAIT_S * float(1 << min(times, 10)))


@dataclass(slots=True)
class Bucket:
    """``level`` failures, leaking ten a minute; a full bucket is closed until ``until``, longer each time."""

    level: float = 0.0
    at: float = 0.0
    until: float = 0.0
    closed: int = 0

    def wait(self, now: float) -> float:
        """Seconds until another try is allowed."""
        return max(0.0, self.until - now)

    def fail(self, now: float) -> None:
        if now - self.at > FORGET_S:
            self.closed = 0
        self.level = max(0.0, self.level - (now - self.at) * PER_S) + 1
        self.at = now
        if self.level >= FREE:
            self.until = now + _backoff(self.closed)
            self.closed += 1
            self.level = FREE - 1


@dataclass(slots=True)
class Pair:
    """Failures of one user from one address, which has its own, slower way past the user's bucket."""

    misses: int = 0
    at: float = 0.0

    def wait(self, now: float) -> float:
        if self.misses < FRESH:
            return 0.0
        return max(0.0, self.at + _backoff(self.misses - FRESH) - now)

    def fail(self, now: float) -> None:
        self.misses = 1 if now - self.at > FORGET_S else self.misses + 1
        self.at = now


K = TypeVar("K")
V = TypeVar("V", Bucket, Pair)


def _kept(table: OrderedDict[K, V], key: K, new: V) -> V:
    """The entry of ``key``, made if needed; the table forgets what was not touched for longest."""
    found = table.setdefault(key, new)
    table.move_to_end(key)
    if len(table) > KEPT:
        table.popitem(last=False)
    return found


class Rates:
    """Failures by user, by address and by both. One for a server; used from the event loop only."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._users: OrderedDict[str, Bucket] = OrderedDict()
        self._places: OrderedDict[str, Bucket] = OrderedDict()
        self._pairs: OrderedDict[tuple[str, str], Pair] = OrderedDict()

    def check(self, username: str, address: str) -> None:
        """Raise TooManyRequests, with the seconds to wait, unless a try is allowed now."""
        now = self._clock()
        place = block(address)
        user = self._users.get(username, Bucket()).wait(now)
        pair = self._pairs.get((username, place), Pair()).wait(now)
        wait = max(self._places.get(place, Bucket()).wait(now), min(user, pair))
        if wait > 0:
            raise TooManyRequests("too many failed sign-ins; wait before the next try", retry_after_s=math.ceil(wait))

    def failed(self, username: str, address: str) -> None:
        now = self._clock()
        place = block(address)
        _kept(self._users, username, Bucket(at=now)).fail(now)
        _kept(self._pairs, (username, place), Pair(at=now)).fail(now)
        if place:
            _kept(self._places, place, Bucket(at=now)).fail(now)

    def succeeded(self, username: str, address: str) -> None:
        """The right password from here: earlier mistakes of this user at this address are forgiven."""
        self._pairs.pop((username, block(address)), None)
