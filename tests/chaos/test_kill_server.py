"""The server, or the runner, is killed at a random moment or at a named point, and started again.

Every seed replays: ``ODIN_CHAOS=50`` runs fifty of each random test, ``ODIN_CHAOS_SEED=7 ODIN_CHAOS=1`` the seventh.
"""

from __future__ import annotations

import http.client
import os
import random
import signal
import subprocess
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, suppress
from datetime import datetime

import pytest

from chaos.oracle import Plan, storm
from chaos.streams import Stream
from e2e.jobs import job, task
from e2e.serving import USER, until

TASKS = 200


@pytest.mark.parametrize("failing", [False, True], ids=["all succeed", "some fail"])
def test_f01_every_task_runs_exactly_once_although_the_server_is_killed(odin, oracle, seed, failing):
    rng = random.Random(f"{seed} {failing}")
    plan = storm(rng, TASKS, failing=failing)
    odin.start()
    assert odin.api().write("storm", plan.files(oracle)).status == 200
    handle = odin.api().launch("storm")
    moment = rng.randrange(2 * plan.starts)
    until(lambda: oracle.count() >= moment, told=lambda: (moment, oracle.count(), odin.said()))
    time.sleep(rng.random() * 0.03)
    odin.kill()
    if rng.random() < 0.5:
        killed_as_it_starts(odin, rng)
    odin.start()
    oracle.judge(handle, plan.fates)
    assert odin.api().pipeline(handle)["outcome"] == plan.outcome


def killed_as_it_starts(odin, rng):
    process = odin.popen()
    time.sleep(rng.random() * 1.5)
    process.kill()
    process.wait()


def test_f03_what_was_committed_and_not_launched_is_launched_once(odin, oracle):
    plan = Plan()
    plan.add("only")
    for passes in (2, 1):  # a cold checkout is a commit of its own, the next pipeline begins with its first task
        odin.start(fault=f"engine:after-commit:{passes}:kill")
        odin.api().write("one", plan.files(oracle))
        with pytest.raises((OSError, http.client.HTTPException)):
            odin.api().finished(odin.api().launch("one"))
        odin.gone()
        assert not oracle.lines()
        odin.start()
        (known,) = odin.api().get("/v1/pipelines")["pipelines"]
        oracle.judge(known["id"], plan.fates)
        odin.api().delete(f"/v1/pipelines/{known['id']}?db=true")
        oracle.path.unlink()
        odin.terminate()


def gated(odin, script, gate):
    """A script that first says that it is there, then waits until the file ``gate`` is there."""
    said = odin.folder / "there"
    return f"echo $ODIN_TASK_NAME >> {said}; until [ -e {gate} ]; do sleep 0.02; done; {script}"


def there(odin):
    path = odin.folder / "there"
    return path.read_text().split() if path.exists() else []


ENDS = {"ok": ("exit 0", 0, "executed"), "three": ("exit 3", 3, "failed"), "segv": ("kill -SEGV $$", 139, "failed")}


def test_f04_tasks_that_end_while_the_server_is_down_have_their_true_end(odin):
    odin.start()
    gate = odin.folder / "gate"
    tasks = [task(name, gated(odin, script, gate)) for name, (script, _, _) in ENDS.items()]
    odin.api().push("down", job(*tasks, on_failure="continue"))
    handle = odin.api().launch("down")
    until(lambda: len(there(odin)) == len(tasks))
    began = time.time()
    odin.kill()
    killed = time.time()
    gate.touch()
    until(lambda: not dict(odin.bodies()))
    ended = time.time()
    odin.start()
    done = odin.api().finished(handle)
    for name, (_, code, status) in ENDS.items():
        one = done["tasks"][name]
        assert (one["exitCode"], one["status"], one["attempt"]) == (code, status, 1)
        assert posix(one["startTime"]) <= began
        assert killed - 1 <= posix(one["completionTime"]) <= ended + 1
    assert sorted(there(odin)) == sorted(ENDS)
    assert "SIGSEGV" in done["tasks"]["segv"]["reason"]


def posix(text):
    return datetime.fromisoformat(text).timestamp()


@pytest.mark.parametrize("together", [False, True], ids=["alone", "with its server"])
def test_f08_a_killed_runner_stops_nothing_and_nothing_is_called_a_success_that_is_not_known(odin, oracle, together):
    odin.start()
    gate = odin.folder / "gate"
    tasks = [task(f"t{n}", gated(odin, f"echo t{n} >> {odin.folder}/over", gate)) for n in range(12)]
    silent = task("silent", f"exec >&- 2>&-; {gated(odin, f'echo silent >> {odin.folder}/over', gate)}")
    retried = task("retried", gated(odin, "exit $((2 - ODIN_ATTEMPT))", gate), retries=1, retry_delay=0.01)
    odin.api().push("orphans", job(*tasks, silent, retried, task("child", "true", "t0"), on_failure="continue"))
    handle = odin.api().launch("orphans")
    until(lambda: len(there(odin)) == len(tasks) + 2)
    victim = odin.runner
    odin.kill_runner()
    if together:
        odin.kill()
        odin.start()
    until(lambda: odin.runner not in (0, victim))
    assert len(dict(odin.bodies())) >= len(tasks) + 2
    gate.touch()
    done = odin.api().finished(handle)["tasks"]
    names = [one["name"] for one in (*tasks, silent)]
    assert sorted((odin.folder / "over").read_text().split()) == sorted(names), "every body ended by itself"
    assert sorted(there(odin)) == sorted([*names, "retried", "retried"]), "only a retry began anew"
    for name in names:
        one = done[name]
        assert one["attempt"] == 1
        assert (one["status"], one["exitCode"]) in [("executed", 0), ("failed", None)], one
    assert (done["retried"]["status"], done["retried"]["attempt"]) == ("executed", 2)
    assert done["child"]["status"] == ("executed" if done["t0"]["status"] == "executed" else "skipped")


# ---- an orderly stop -----------------------------------------------------------------------------------------------


def test_f07_sigterm_under_streams_and_submits_loses_nothing(odin):
    odin.start()
    api = odin.api()
    gate = odin.folder / "gate"
    api.push("quick", job({"name": "x", "command": "true"}))
    api.push("long", job(task("x", gated(odin, "echo done", gate))))
    running = api.launch("long")
    until(lambda: there(odin))
    paths = [f"/v1/pipelines/{running}/stream", f"/v1/resources/{running}--x/logs?follow=true"] * 10
    with ExitStack() as stack, ThreadPoolExecutor(4) as pool:
        streams = [stack.enter_context(Stream(odin.port, path, token=api.token)) for path in paths]
        for stream in streams[::2]:
            stream.read_until(b"event: pipeline")
        over = threading.Event()
        stack.callback(over.set)
        submits = [pool.submit(submit_until, api, over) for _ in range(4)]
        until(lambda: len(api.get("/v1/pipelines")["pipelines"]) > 8)
        assert odin.terminate() == 0
        over.set()
        told = [stream.rest() for stream in streams]
        acknowledged = {handle for submitted in submits for handle in submitted.result()}
    assert all(b"retry: " in rest for rest in told[::2]), "an event stream ends with a hint to come back"
    odin.start()
    present = {one["id"] for one in api.get("/v1/pipelines?limit=500&job=quick")["pipelines"]}
    assert present == acknowledged
    assert api.pipeline(running)["status"] == "RUNNING"
    gate.touch()
    assert {api.finished(handle)["outcome"] for handle in (*acknowledged, running)} == {"succeeded"}


def submit_until(api, over):
    """Launch again and again: the pipelines that were acknowledged. Anything but that or a refusal is an error."""
    acknowledged = []
    while not over.is_set():
        try:
            answer = api.ask("POST", "/v1/pipelines", {"pipeline": {"job": "quick"}})
        except OSError:
            continue  # nobody listens any more
        if answer.status == 200:
            acknowledged.append(answer.json["pipeline"]["id"])
        else:
            assert (answer.status, "retry-after" in answer.headers) == (503, True), answer
    return acknowledged


def test_f07_a_second_signal_ends_the_server_at_once(odin):
    odin.start()
    api = odin.api()
    api.push("long", job(task("x", "trap '' TERM; sleep 1000", grace_period=1000)))
    running = api.launch("long")
    api.executing(f"{running}--x")
    with ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(unfinished, api, running)
        until(lambda: any(one["reason"] == "stopping" for one in api.get(f"/v1/resources/{running}/events")["events"]))
        odin.process.send_signal(signal.SIGTERM)
        until(lambda: refused(api))
        odin.process.send_signal(signal.SIGTERM)
        odin.gone()
        waiting.result()
    for pid in dict(odin.bodies()):
        os.kill(pid, signal.SIGKILL)
    odin.start()
    assert api.finished(running)["outcome"] == "cancelled"


def unfinished(api, pipeline):
    """A cleanup that cannot be done while the server is there."""
    with suppress(OSError, http.client.HTTPException):
        answer = api.ask("DELETE", f"/v1/pipelines/{pipeline}")
        assert answer.status == 503, answer


def refused(api):
    try:
        return api.ask("GET", "/v1/ping").status == 503
    except OSError:
        return True


# ---- what a killed server leaves in the repository -----------------------------------------------------------------


STALE = (
    "refs/heads/main.lock",
    "HEAD.lock",
    "config.lock",
    "packed-refs.lock",
    "objects/pack/tmp_pack_x1",
    "objects/00/tmp_obj_x1",
)


def test_f64_locks_of_a_dead_server_are_removed_at_the_start(odin):
    odin.start()
    odin.api().push("before", job({"name": "x", "command": "true"}))
    odin.kill()
    repository = odin.data / "jobs.git"
    for name in STALE:
        (repository / name).parent.mkdir(exist_ok=True)
        (repository / name).write_bytes(b"stale")
    odin.start()
    odin.api().push("after", job({"name": "x", "command": "true"}))
    clone = odin.person().home / "clone"
    odin.person().git("clone", "-q", f"{odin.url}/git/jobs.git", str(clone))
    assert {path.name for path in clone.iterdir()} >= {"before", "after"}
    assert [name for name in STALE if (repository / name).exists()] == []


def test_f64_a_server_killed_under_pushes_has_whole_commits_only(odin):
    rng = random.Random(64)
    odin.start()
    person, clone = odin.person(), odin.folder / "clone"
    person.git("clone", "-q", f"{odin.url}/git/jobs.git", str(clone))
    url = f"http://{USER}:{odin.api().token}@127.0.0.1:{odin.port}/git/jobs.git"
    for name in ("one", "two", "three"):
        commit_much(person, clone, name, rng)
        with subprocess.Popen(["git", "push", "-q", url, "HEAD:main"], cwd=clone, stderr=subprocess.DEVNULL) as push:
            time.sleep(rng.random() * 0.8)
            odin.kill()
        odin.start()
        if push.returncode == 0:
            assert odin.api().get(f"/v1/jobs/{name}")["job"]["id"] == name
        person.git("push", "-q", url, "HEAD:main", cwd=clone)
    assert {one["id"] for one in odin.api().get("/v1/jobs")["jobs"]} == {"one", "two", "three"}


def commit_much(person, clone, name, rng):
    (clone / name).mkdir()
    (clone / name / "main.yml").write_text("tasks: []\n")
    for number in range(40):
        (clone / name / f"file{number}").write_bytes(rng.randbytes(50_000))
    person.git("add", ".", cwd=clone)
    person.git("commit", "-qm", name, cwd=clone)
