"""What is told of attempts, from whatever order, duplication and replay their objects are seen in.

``ODIN_REPLAYS=50000`` is how many orders are tried.
"""

from __future__ import annotations

import os
import random
from typing import Any

import pytest

from clusterobjects import LABELS, NAME, pod, running, terminated
from odin.executors.kubernetes.body import Doom
from odin.executors.kubernetes.kind import Object
from odin.executors.kubernetes.kinds.job import API as JOBS
from odin.executors.kubernetes.kinds.pod import API as PODS
from odin.executors.kubernetes.register import Register
from odin.model.ids import AttemptId, PipelineId
from odin.model.reports import Ended, Held, Placed, Reason, Report, Started

REPLAYS = int(os.environ.get("ODIN_REPLAYS", "2000"))
A = AttemptId(NAME)
PIPELINE = PipelineId(NAME.partition("--")[0])
Change = tuple[str, Object]


def register() -> tuple[Register, list[Report]]:
    """One whose removals by others are not looked into."""
    told: list[Report] = []
    made = Register(told.append)

    def examined(body: Any) -> None:
        if not body.is_examined:
            body.is_examined = True
            made.report(body)

    made.changed = examined
    return made, told


def at(version: int, phase: str, state: Object | None = None, *, name: str = NAME, uid: str = "u1", **metadata: Any):
    known = {"uid": uid, "resourceVersion": str(version), **metadata}
    labels = {"odin/task": name}
    return pod(phase, state, name=name, metadata={**known, "labels": {**LABELS, **labels}})


def life(name: str, uid: str, code: int, base: int, *, deleted: bool = False) -> list[Change]:
    """As an API server told it of one pod."""
    phase = "Failed" if code else "Succeeded"
    states = [("Pending", None), ("Pending", None), ("Running", running()), (phase, terminated(code))]
    log: list[Change] = [("ADDED", at(base, "Pending", name=name, uid=uid))]
    log += [("MODIFIED", at(base + n, p, s, name=name, uid=uid)) for n, (p, s) in enumerate(states, 1)]
    if deleted:
        log.append(("DELETED", at(base + 9, phase, terminated(code), name=name, uid=uid)))
    return log


def ends(told: list[Report]) -> dict[str, tuple[int | None, Reason]]:
    """The end of each attempt, of which there is one; nothing is told after it."""
    found: dict[str, tuple[int | None, Reason]] = {}
    for report in told:
        assert not isinstance(report, (Started, Placed, Held)) or report.attempt not in found, told
        if isinstance(report, Ended):
            assert report.attempt not in found, told
            found[report.attempt] = report.code, report.reason
    return found


def test_f32_any_order_duplication_and_replay_of_events_gives_the_same_history() -> None:
    first, second = life(NAME, "u1", 0, 10), life(f"{PIPELINE}--other", "u2", 3, 12, deleted=True)
    lists = [(PODS, [seen for _, seen in (first[n], second[n])], 13 + n) for n in range(4)]
    rng = random.Random(32)
    for _ in range(REPLAYS):
        made, told = register()
        script: list[Any] = [*first, *second, *rng.choices(first + second, k=rng.randrange(12))]
        script += rng.choices(lists, k=rng.randrange(3))
        rng.shuffle(script)
        for step in script:
            if len(step) == 3:
                made.listed(*step)
            else:
                made.seen(PODS, *step)
        found = ends(told)
        assert found[NAME] == (0, Reason.EXIT)
        # One that was only ever seen in its deletion is not known at all: it is asked about by its name.
        assert found.get(f"{PIPELINE}--other", (3, Reason.EXIT)) == (3, Reason.EXIT)


def test_f32_a_pod_seen_terminal_never_becomes_running() -> None:
    made, told = register()
    made.seen(PODS, "MODIFIED", at(9, "Succeeded", terminated(0)))
    made.seen(PODS, "MODIFIED", at(5, "Running", running()))
    made.seen(PODS, "MODIFIED", at(11, "Running", running()))
    assert ends(told) == {NAME: (0, Reason.EXIT)}


def test_where_it_runs_is_told_with_its_start_and_its_end() -> None:
    made, told = register()
    for version, phase, state in ((3, "Running", running()), (4, "Succeeded", terminated(0))):
        seen = at(version, phase, state)
        seen["spec"] = {**seen.get("spec", {}), "nodeName": "gpu-7"}
        made.seen(PODS, "MODIFIED", seen)
    assert [report.node for report in told if isinstance(report, Started | Ended)] == ["gpu-7", "gpu-7"]


def test_f32_a_list_older_than_what_was_made_since_says_nothing_of_it() -> None:
    """A step was started twice because a stale list did not have its pod."""
    made, told = register()
    made.seen(PODS, "ADDED", at(20, "Pending"))
    made.listed(PODS, [], 19)
    assert ends(told) == {}
    assert made.repeat(A)


def test_f32_another_object_of_the_name_is_not_the_attempt() -> None:
    """A pod that was removed and made again by others under its name took its place."""
    made, told = register()
    made.seen(PODS, "ADDED", at(20, "Running", running()))
    made.seen(PODS, "ADDED", at(30, "Succeeded", terminated(0), uid="u2"))
    assert ends(told) == {}
    made.listed(PODS, [at(30, "Succeeded", terminated(0), uid="u2")], 31)
    assert ends(told) == {NAME: (None, Reason.LOST)}


def test_f32_what_was_let_go_of_does_not_come_back_by_an_old_event() -> None:
    """A step that was done was started again because its finished pod was seen anew."""
    made, told = register()
    made.seen(PODS, "MODIFIED", at(9, "Succeeded", terminated(0)))
    body = made.bodies[A]
    body.is_acknowledged = body.is_kept = True
    made.drop_if_done(body)
    assert not made.bodies
    made.seen(PODS, "MODIFIED", at(8, "Running", running()))
    made.seen(PODS, "DELETED", at(10, "Succeeded", terminated(0)))
    assert not made.bodies
    assert len(told) == 1
    made.forget([PIPELINE])
    assert made.pipelines == set()


def test_f34_in_a_cluster_put_back_what_is_not_there_is_lost_and_what_was_over_is_removed() -> None:
    made, told = register()
    again: list[Object] = []
    made.reappeared = lambda _, seen: again.append(seen)
    made.seen(PODS, "MODIFIED", at(90, "Succeeded", terminated(0)))
    body = made.bodies[A]
    body.is_acknowledged = body.is_kept = True
    made.drop_if_done(body)
    forgotten = at(95, "Running", running(), name=f"{PIPELINE}--b", uid="u2")
    made.seen(PODS, "MODIFIED", forgotten)
    made.listed(PODS, [at(40, "Running", running())], 50, restored=True)
    assert ends(told) == {NAME: (0, Reason.EXIT), f"{PIPELINE}--b": (None, Reason.LOST)}
    assert [seen["metadata"]["uid"] for seen in again] == ["u1"]


def test_f21_an_object_that_is_gone_without_a_word_is_lost_unless_its_end_was_asked_for() -> None:
    made, told = register()
    made.seen(PODS, "ADDED", at(5, "Running", running()))
    made.bodies[A].doom = Doom(Reason.STOPPED, "cancelled by ada", 30, 0.0)
    made.listed(PODS, [], 9)
    assert [(each.reason, each.message) for each in told if isinstance(each, Ended)] == [
        (Reason.STOPPED, "cancelled by ada")
    ]


def test_what_held_an_attempt_is_taken_back_once_its_object_is_there() -> None:
    made, told = register()
    made.hold(made.body(A), "exceeded quota: few")
    made.hold(made.body(A), "exceeded quota: few")
    made.seen(PODS, "ADDED", at(5, "Pending"))
    assert told == [Held(A, "exceeded quota: few"), Placed(A), Held(A, "")]


def test_an_end_is_told_again_until_it_is_acknowledged() -> None:
    made, told = register()
    made.seen(PODS, "MODIFIED", at(9, "Failed", terminated(3)))
    made.repeat_ends()
    assert [each.code for each in told if isinstance(each, Ended)] == [3, 3]
    made.bodies[A].is_acknowledged = True
    made.repeat_ends()
    assert len(told) == 2


def test_pods_that_went_away_while_nobody_looked_are_over() -> None:
    made, _ = register()
    job = {"apiVersion": "batch/v1", "kind": "Job", "metadata": {"name": NAME, "uid": "j", "resourceVersion": "3"}}
    job["metadata"] |= {"labels": dict(LABELS)}
    made.seen(JOBS, "ADDED", {**job, "spec": {}, "status": {}})
    worker = at(5, "Running", running(), uid="p")
    worker["metadata"] |= {"name": "worker", "labels": dict(LABELS)}
    made.seen(PODS, "ADDED", worker)
    assert made.bodies[A].pods["p"]["status"]["phase"] == "Running"
    made.listed(PODS, [], 9)
    assert made.bodies[A].pods["p"]["status"]["phase"] == "Failed"


@pytest.mark.parametrize("known", [True, False])
def test_a_name_that_is_filled_is_void(known: bool) -> None:
    made, told = register()
    swept: list[Object] = []
    made.found_void = lambda _, seen: swept.append(seen)
    if known:
        made.body(A).doom = Doom(Reason.STOPPED, "cancelled by ada", 30, 0.0)
    filler = at(5, "Pending")
    filler["metadata"]["labels"] |= {"odin/void": "true"}
    made.seen(PODS, "ADDED", filler)
    assert swept == [filler]
    assert made.repeat(A)
    assert {each.reason for each in told if isinstance(each, Ended)} == {Reason.VOID}
