"""The process that may hang in the agent's place."""

from __future__ import annotations

import os

from odin.midgard.child import Child


def test_where_there_may_be_no_other_process_it_says_so_and_leaves_nothing_open(monkeypatch) -> None:
    def refused() -> int:
        raise BlockingIOError("no more processes")

    monkeypatch.setattr(os, "fork", refused)
    child = Child(lambda question: question)
    before = set(os.listdir("/proc/self/fd"))
    assert not child.ask(b"x", patience_s=1)
    assert (set(os.listdir("/proc/self/fd")), dict(child.watched())) == (before, {})
