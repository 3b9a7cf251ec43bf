"""The queue before the engine: nothing is lost between threads, and its descriptor tells when to look."""

import select
import sys
import threading

import pytest

from odin.engine.inbox import Inbox, Item
from odin.model.commands import Tick

EACH, THREADS = 3000, 4


@pytest.fixture
def restless():
    """Threads change places after nearly every instruction."""
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    yield
    sys.setswitchinterval(before)


def readable(inbox):
    return bool(select.select([inbox], [], [], 0)[0])


def test_every_event_of_many_threads_is_taken_once(restless):
    inbox = Inbox()
    items = [[Item(Tick()) for _ in range(EACH)] for _ in range(THREADS)]
    threads = [threading.Thread(target=lambda mine=mine: [inbox.put(item) for item in mine]) for mine in items]
    for thread in threads:
        thread.start()
    taken = []
    while len(taken) < EACH * THREADS:
        taken += inbox.take(7)
    for thread in threads:
        thread.join()
    assert {id(item) for item in taken} == {id(item) for mine in items for item in mine}
    assert len(taken) == EACH * THREADS
    inbox.close()


def test_the_descriptor_is_readable_while_something_is_left():
    inbox = Inbox()
    assert not readable(inbox)
    inbox.put(Item(Tick()))
    inbox.put(Item(Tick()))
    inbox.take(1)
    assert readable(inbox)
    inbox.take(1)
    assert not readable(inbox)
    inbox.close()


def test_a_ring_wakes_without_an_event():
    inbox = Inbox()
    inbox.ring()
    inbox.ring()
    assert readable(inbox)
    assert inbox.take(10) == []
    assert not readable(inbox)
    inbox.close()
