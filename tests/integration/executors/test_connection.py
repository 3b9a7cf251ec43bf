"""Reaching the runner when that is not easy."""

from __future__ import annotations

import os
import select
import signal
import time

from odin.executors.protocol import Away, Back, Ended


def test_a_runner_that_cannot_start_is_reported_with_where_to_look(new_machine):
    new_machine.data.mkdir()
    (new_machine.data / "runner").mkdir(mode=0o700)
    (new_machine.data / "runner" / "journal").mkdir()
    new_machine.options = (*new_machine.options,)
    place = _opened(new_machine)
    away = _wait(place, Away)
    assert "the runner did not start" in away.message
    assert "messages.log" in away.message
    (new_machine.data / "runner" / "journal").rmdir()
    assert _wait(place, Back)
    new_machine.runners.add(place.runner["pid"])
    place.close()


def _opened(machine):
    from odin.executors.local import LocalExecutor

    place = LocalExecutor(data=machine.data, shared=machine.root / "shared", cpu_m=1000, runner_options=machine.options)
    place.open()
    return place


def _wait(place, kind):
    limit = time.monotonic() + 30
    while time.monotonic() < limit:
        select.select([place.fileno()], [], [], 0.1)
        for report in place.reports():
            if isinstance(report, kind):
                return report
    raise AssertionError(f"no {kind.__name__}")


def test_a_runner_that_stands_still_never_blocks_the_engine(machine):
    machine.run("first", "/bin/true")
    os.kill(machine.pid, signal.SIGSTOP)
    env = {"FILLER": "x" * 10_000}
    names = [f"t{number}" for number in range(500)]  # 5 MB: more than the socket takes
    machine.executor.launch([machine.task(name, "/bin/true", env=env) for name in names])
    machine.executor.reports()
    os.kill(machine.pid, signal.SIGCONT)
    assert {machine.end(name).code for name in names} == {0}


def test_closing_twice_connecting_is_harmless(new_machine):
    place = _opened(new_machine)
    place.close()


def test_what_is_handed_over_without_a_connection_is_dropped_and_recalled(new_machine):
    machine = new_machine.open()
    machine.kill_runner()
    machine.crash()
    machine.place = None
    machine.seen.clear()
    machine.open()
    machine.recall("a")
    machine.absent("a")
    assert machine.run("a", "/bin/true", fence=2).code == 0


def test_nonsense_on_the_socket_does_not_end_the_runner(machine):
    pid = machine.pid
    machine.executor._send(
        {"op": "launch", "id": "../../etc"}, {"op": "dance"}, {"op": "launch", "id": machine.id("x")}, {"id": 3}
    )
    assert machine.run("a", "/bin/true").code == 0
    assert machine.pid == pid
    assert machine.last(Ended, "a").code == 0
    assert "bad request" in machine.messages()
