"""Fifty clients that follow while the server is killed and started again, ten times: each has everything, once.

Half of them follow the pipeline, half the log of its counting task; all through ``odin.Client``, as people would.
``ODIN_KILLS=10`` is the number of kills. Source: reliability.md, F-75.
"""

from __future__ import annotations

import os
import random
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor

import pytest

from e2e.jobs import job, task
from e2e.serving import until
from odin import Client

KILLS = int(os.environ.get("ODIN_KILLS", "3"))
FOLLOWERS = 50
FINAL = {"executed", "failed", "terminated", "skipped"}


class Tally:
    """What each follower has been told; the killer waits until each has been told something new."""

    def __init__(self):
        self.seen = Counter()
        self.notices = Counter()


def follow_pipeline(client, handle, tally, who):
    told = []
    for change in client.follow(handle, notice=lambda _: tally.notices.update([who])):
        tally.seen[who] += 1
        told.append(change)
    return told


def follow_log(client, task_id, tally, who):
    pieces = []
    for piece in client.follow_log(task_id, notice=lambda _: tally.notices.update([who])):
        tally.seen[who] += 1
        pieces.append(piece)
    return b"".join(pieces)


@pytest.mark.timeout(900)
def test_f75_fifty_followers_have_everything_once_although_the_server_is_killed_again_and_again(odin):
    odin.start()
    api = odin.api()
    over = odin.folder / "over"
    count = f"i=0; until [ -e {over} ]; do i=$((i+1)); echo line $i; [ $((i % 20)) -eq 0 ] && sleep 0.02; done; echo last $i"
    steps = [task(f"t{n}", f"until [ -e {odin.folder}/gate{n} ]; do sleep 0.02; done") for n in range(2 * KILLS)]
    api.push("followed", job(task("counter", count, cpu="10m"), *(dict(step, cpu="10m") for step in steps)))
    handle = api.launch("followed")
    tally = Tally()
    with ThreadPoolExecutor(FOLLOWERS) as pool:
        clients = [Client(odin.url, token=api.token) for _ in range(FOLLOWERS)]
        pipelines = [pool.submit(follow_pipeline, one, handle, tally, n) for n, one in enumerate(clients[::2])]
        logs = [
            pool.submit(follow_log, one, f"{handle}--counter", tally, -1 - n) for n, one in enumerate(clients[1::2])
        ]
        until(lambda: len(tally.seen) == FOLLOWERS)
        for n in range(KILLS):
            before = dict(tally.seen)
            (odin.folder / f"gate{2 * n}").touch()
            time.sleep(random.Random(n).random() * 0.1)
            odin.kill()
            (odin.folder / f"gate{2 * n + 1}").touch()
            odin.start()
            until(lambda before=before: all(tally.seen[who] > before[who] for who in before), told=lambda: tally.seen)
        over.touch()
        told = [one.result() for one in pipelines]
        texts = [one.result() for one in logs]
    check_logs(texts)
    for changes in told:
        check_changes(changes, api.pipeline(handle))
    assert set(tally.notices.values()) <= set(range(1, KILLS + 1)), "a lost connection is told once"
    assert sum(tally.notices.values()) >= FOLLOWERS


def check_logs(texts):
    whole = texts[0]
    lines = whole.decode().splitlines()
    assert lines == [*(f"line {n}" for n in range(1, len(lines))), f"last {len(lines) - 1}"], "lost or doubled"
    assert [text == whole for text in texts] == [True] * len(texts)


def check_changes(changes, final):
    """In order, none twice, one end, each task's own end once, and what they make together is the truth."""
    positions = [int(change.position) for change in changes]
    events = [change.event for change in changes]
    assert events[0] == "pipeline"
    assert positions[:-1] == sorted(set(positions[:-1])), "told twice, or out of order"
    assert (events.count("end"), events[-1]) == (1, "end")
    ends = Counter(
        change.data["name"] for change in changes if change.event == "task" and change.data["status"] in FINAL
    )
    assert ends == {one["name"]: 1 for one in final["tasks"]}
    view = dict(changes[0].data)
    for change in changes[1:-1]:
        change.enter(view)
    assert view == final
    assert changes[-1].data == final
