"""One of several servers on a database: it keeps its lease, takes over from the dead, and learns what others did.

A thread does all of it every two seconds, or at once when another server says that something happened: what is said is
a hint, what is read is the truth. Source: architecture.md, "Store"; reliability.md, F-50 to F-53.
"""

from __future__ import annotations

import logging
import threading
import time
from concurrent.futures import Future
from typing import Protocol

from odin.engine.feed import GONE, Feed
from odin.model.commands import Event, Halt
from odin.model.errors import NoSpace, OdinError, Unavailable
from odin.model.ids import PipelineId
from odin.model.states import Stop
from odin.store.hearsay import LEAVING, Hearsay
from odin.store.leases import Leases, Order
from odin.store.others import Others

BEAT_S = 2.0
SAID = 5  # pipelines that are named
HURRY_S = 0.05  # between two looks, however much is said

log = logging.getLogger("odin.engine")


class Driving(Protocol):
    """What it needs of the engine; from any thread."""

    def take_over(self, pipelines: list[PipelineId]) -> None: ...

    def post(self, event: Event) -> Future[None]: ...

    @property
    def is_stuck(self) -> bool: ...


class Crew:
    """``tell`` and ``ask`` are for any thread."""

    def __init__(self, leases: Leases, hearsay: Hearsay, others: Others, engine: Driving, feed: Feed) -> None:
        self._leases, self._hearsay, self._others = leases, hearsay, others
        self._engine, self._feed = engine, feed
        self._given: dict[int, tuple[Order, Future[None]]] = {}
        self._is_unsaid = False
        self._is_alone = False
        self._is_left = False
        self._is_away = False
        self._stopping = threading.Event()
        self._woken = threading.Event()
        self._beating = threading.Thread(target=self._beat, name="odin-lease", daemon=True)
        self._listening = threading.Thread(target=self._listen, name="odin-listener", daemon=True)

    def start(self) -> None:
        self._leases.take()
        self._others.look()
        self._beating.start()
        self._listening.start()

    def stop(self) -> None:
        """Others may take over at once; what waits to be done by order stays for them."""
        self._stopping.set()
        self._woken.set()
        self._hearsay.close()
        for thread in (self._beating, self._listening):
            if thread.ident is not None:
                thread.join()
        try:
            self._leases.release()
            self._hearsay.say(LEAVING)
        except OdinError as error:
            log.warning("the lease is left to end by itself: %s", error)

    def tell(self) -> None:
        """Something moved here that others may want to know."""
        if not self._is_alone:
            self._is_unsaid = True
            self._woken.set()

    def ask(self, pipeline: PipelineId, stop: Stop, message: str) -> None:
        """Have a pipeline stopped by whoever drives it. Durable when it returns; raises Unavailable."""
        self._leases.ask(pipeline, stop, message)
        self._is_unsaid = True
        self._woken.set()

    def _beat(self) -> None:
        due = 0.0
        while not self._stopping.is_set():
            try:
                if time.monotonic() >= due and not self._engine.is_stuck:
                    due = time.monotonic() + BEAT_S
                    self._renew()
                self._attend()
                self._is_away = False
            except (Unavailable, NoSpace) as error:
                self._put_off(error)
            except Exception:  # border: chore
                log.exception("what other servers did could not be looked at")
            self._stopping.wait(HURRY_S)
            self._woken.wait(max(due - time.monotonic(), HURRY_S))
            self._woken.clear()

    def _renew(self) -> None:
        self._leases.renew()
        self._take_over()
        self._is_alone = not self._leases.others()

    def _attend(self) -> None:
        """To what was said since: a server left, something is asked of us or moved, or moved here."""
        if self._is_left:
            self._is_left = False
            self._take_over()
        self._carry_orders()
        if self._is_alone:
            return
        self._look()
        if self._is_unsaid:
            self._is_unsaid = False
            self._hearsay.say()

    def _put_off(self, error: OdinError) -> None:
        if not self._is_away:
            log.warning("the lease is not renewed now: %s", error)
        self._is_away = True

    def _take_over(self) -> None:
        while taken := self._leases.take_over():  # so many at a time that others may take their share
            more = f" and {len(taken) - SAID} more" if len(taken) > SAID else ""
            log.warning("taken over, for nobody drove them: %s%s", ", ".join(taken[:SAID]), more)
            self._engine.take_over(taken)

    def _carry_orders(self) -> None:
        for order, done in list(self._given.values()):
            if done.done():
                if done.exception() is None:
                    self._leases.done(order)
                del self._given[order.number]
        for order in self._leases.asked():
            if order.number not in self._given:
                done = self._engine.post(Halt(order.pipeline, order.stop, order.message))
                done.add_done_callback(lambda _: self._woken.set())
                self._given[order.number] = order, done

    def _look(self) -> None:
        moved, removed = self._others.look()
        self._feed.publish(moved | dict.fromkeys(removed, GONE))

    def _listen(self) -> None:
        while not self._stopping.is_set():
            try:
                for word in self._hearsay.listen():
                    self._is_left |= word == LEAVING
                    self._woken.set()
            except (Unavailable, NoSpace):
                self._stopping.wait(BEAT_S)
