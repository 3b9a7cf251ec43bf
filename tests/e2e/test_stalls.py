"""A request that blocks the event loop: it is named, and harms none but those who ask meanwhile."""

from __future__ import annotations

from e2e.jobs import job, task
from e2e.serving import Serving, until


def test_f11_what_blocks_the_event_loop_stands_in_the_log_with_its_stack(fresh: Serving) -> None:
    api = fresh.start(fault="submit:committed-not-answered:1:delay").api()
    api.push("chain", job(task("a", "true"), task("b", "true", "a"), task("c", "true", "b")))
    done = api.finished(api.launch("chain"))
    assert done["outcome"] == "succeeded"
    until(lambda: "the event loop goes on after" in fresh.said())
    stack = fresh.said().partition("the event loop stands still:")[2]
    assert "commands.py" in stack and 'reach("submit:committed-not-answered")' in stack
