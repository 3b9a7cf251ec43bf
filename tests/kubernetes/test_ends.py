"""How pods end, or never begin, and what a person reads of it: nothing is guessed, nothing silently done again."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from clusters import Place, shell
from e2e.serving import until
from kubernetes.ledgers import Ledger

NEVER = {"num_gpus": 99}  # no node of a test has so many


def one(script: str = "true", **fields: Any) -> list[dict[str, Any]]:
    return [{"name": "a", "script": script, **fields}]


def let_go(odin: Place, name: str) -> None:
    """Wait until nothing holds the pod any more."""
    until(lambda: odin.kubectl("get", "pod", name, "--ignore-not-found", "-o", "name") == "", pause_s=0.1)


def set_status(odin: Place, name: str, **status: Any) -> None:
    """What a kubelet or a controller would write."""
    pod = odin.json("get", "pod", name)
    pod["status"] |= status
    path = f"/api/v1/namespaces/{odin.namespace}/pods/{name}/status"
    odin.cluster.kubectl("replace", "--raw", path, "-f", "-", given=json.dumps(pod))


def test_f21_a_running_pod_that_somebody_deletes_says_so(odin: Place) -> None:
    pipeline = odin.begin(one("sleep 600"), job="deleted")
    odin.api.executing(f"{pipeline}--a")
    odin.kubectl("delete", "pod", f"{pipeline}--a", "--grace-period=1")
    task = odin.api.finished(pipeline)["tasks"]["a"]
    assert (task["status"], task["attempt"]) == ("failed", 1)
    assert "somebody deleted its pod" in task["reason"]
    let_go(odin, f"{pipeline}--a")


def test_f21_a_waiting_pod_that_somebody_deletes_says_so(odin: Place) -> None:
    pipeline = odin.begin(one(**NEVER), job="deletedwaiting")
    odin.reason(f"{pipeline}--a", lambda said: "no node" in said)
    odin.kubectl("delete", "pod", f"{pipeline}--a", "--wait=false")
    task = odin.api.finished(pipeline)["tasks"]["a"]
    assert (task["status"], task.get("startTime")) == ("failed", None)
    assert "somebody deleted its pod" in task["reason"]
    let_go(odin, f"{pipeline}--a")


def test_f21_a_job_that_somebody_deletes_leaves_no_pod_that_runs(odin: Place) -> None:
    """Its finalizer keeps it, so the garbage collector leaves its pod, and its controller does as well."""
    pipeline = odin.begin(one("sleep 600", resource_type="Job"), job="deletedjob")
    task = f"{pipeline}--a"
    odin.api.executing(task)
    odin.kubectl("delete", "job", task, "--wait=false")
    done = odin.api.finished(pipeline)
    assert (done["outcome"], done["tasks"]["a"]["attempt"]) == ("failed", 1)
    assert "somebody deleted it" in done["tasks"]["a"]["reason"]
    until(lambda: not odin.objects("jobs", pipeline), pause_s=0.2)
    assert {pod["status"]["phase"] for pod in odin.objects("pods", pipeline)} <= {"Succeeded", "Failed"}


def test_f21_a_pod_deleted_while_the_server_is_down_has_its_end_and_its_log(restarted: Place) -> None:
    odin = restarted
    done = odin.begin(one("echo done"), job="done")
    until(lambda: odin.api.pipeline(done)["status"] == "DONE" or odin.objects("pods", done), pause_s=0)
    long = odin.begin(one("echo long; sleep 600"), job="long")
    odin.api.executing(f"{long}--a")
    odin.serving.kill()
    for pipeline in (long, done):
        odin.kubectl("delete", "pod", f"{pipeline}--a", "--grace-period=1", "--wait=false")
    odin.serving.start()
    assert odin.api.finished(done)["tasks"]["a"]["status"] == "executed"
    assert odin.api.log(f"{done}--a") == b"done\n"
    task = odin.api.finished(long)["tasks"]["a"]
    assert (task["status"], task["attempt"]) == ("failed", 1)
    assert "somebody deleted its pod" in task["reason"]
    until(lambda: odin.api.log(f"{long}--a") == b"long\n")
    let_go(odin, f"{long}--a")


def test_p3_a_pod_that_is_taken_away_from_a_job_ends_the_attempt_though_its_controller_makes_another(
    odin: Place, ledger: Ledger
) -> None:
    task = {**ledger.task("a", seconds=600), "resource_type": "Job", "grace_period": 1}
    pipeline = odin.begin([task], job="taken")
    name = f"{pipeline}--a"
    odin.api.executing(name)
    (pod,) = odin.objects("pods", pipeline)
    odin.kubectl("delete", "pod", pod["metadata"]["name"], "--wait=false")
    ended = odin.api.finished(pipeline)["tasks"]["a"]
    assert (ended["status"], ended["attempt"]) == ("failed", 1)
    assert "somebody deleted its pod" in ended["reason"]
    assert "no other may run in its place" in ended["reason"]
    until(lambda: odin.objects("pods,jobs.batch", pipeline) == [], pause_s=0.1)
    assert "end" not in {word for word, _, _ in ledger.lines()}


def test_f22_an_image_that_does_not_exist_is_shown_then_given_up(odin: Place) -> None:
    tasks = [
        {"name": "a", "script": "true", "image": "example/does-not-exist:1", "image_timeout": 3},
        {"name": "b", "script": "echo meanwhile"},
    ]
    odin.api.push("image", {"on_failure": "continue", "tasks": [shell(task) for task in tasks]})
    pipeline = odin.api.launch("image")
    said = odin.reason(f"{pipeline}--a", lambda reason: "cannot be pulled" in reason)
    assert "example/does-not-exist:1" in said
    assert odin.api.task(f"{pipeline}--a")["status"] in ("queued", "failed")
    done = odin.api.finished(pipeline)["tasks"]
    assert [done[name]["status"] for name in "ab"] == ["failed", "executed"]
    assert "cannot be pulled" in done["a"]["reason"]
    assert "3 s" in done["a"]["reason"]
    let_go(odin, f"{pipeline}--a")


def test_f22_an_image_that_comes_in_time_is_no_failure(odin: Place) -> None:
    pipeline = odin.begin(one(image="example/does-not-exist:2"), job="imagelater")
    name = f"{pipeline}--a"
    odin.reason(name, lambda reason: "cannot be pulled" in reason)
    odin.kubectl("set", "image", f"pod/{name}", "task=example/there:1")
    set_status(odin, name, containerStatuses=[_ended(0)], phase="Succeeded")
    task = odin.api.finished(pipeline)["tasks"]["a"]
    assert (task["status"], task["attempt"]) == ("executed", 1)


def test_f23_what_no_node_can_hold_is_queued_and_says_why(odin: Place) -> None:
    pipeline = odin.begin(one(**NEVER), job="toolarge")
    said = odin.reason(f"{pipeline}--a", lambda reason: "no node can take it now" in reason)
    assert "Insufficient nvidia.com/gpu" in said
    assert odin.api.task(f"{pipeline}--a")["status"] == "queued"
    odin.command("odin-cancel", pipeline)
    task = odin.api.finished(pipeline)["tasks"]["a"]
    assert (task["status"], task.get("startTime")) == ("terminated", None)


def test_f23_pending_timeout_ends_what_waits_for_a_node(odin: Place) -> None:
    task = odin.run(one(**NEVER, pending_timeout=2), job="pending")["tasks"]["a"]
    assert task["status"] == "failed"
    assert "pending_timeout of 2 s" in task["reason"]


@pytest.mark.parametrize(
    ("script", "code", "says"),
    [
        ("exit 1", 1, "exit code 1"),
        ("exit 126", 126, "could not be executed"),
        ("exit 127", 127, "could not be executed"),
        ("kill -SEGV $$", 139, "SIGSEGV"),
        ("kill -KILL $$", 137, "SIGKILL"),
    ],
)
def test_f24_each_end_has_its_code_and_its_sentence(odin: Place, script: str, code: int, says: str) -> None:
    task = odin.run(one(script), job=f"code{code}")["tasks"]["a"]
    assert (task["status"], task["exitCode"]) == ("failed", code)
    assert says in task["reason"]


def test_f24_a_program_that_is_not_there_never_began(odin: Place) -> None:
    odin.api.push("noprogram", {"tasks": [{"name": "a", "image": "example/any:1", "command": "/no/such"}]})
    task = odin.api.finished(odin.api.launch("noprogram"))["tasks"]["a"]
    assert task["status"] == "failed"
    assert "/no/such could not be executed" in task["reason"]


@pytest.mark.parametrize("reason", ["Evicted", "Preempting", "NodeShutdown"])
def test_f20_what_the_cluster_takes_away_is_tried_again_at_no_cost_to_the_user(odin: Place, reason: str) -> None:
    pipeline = odin.begin(one(**NEVER, retry_delay=0.1), job=reason.lower())
    name = f"{pipeline}--a"
    odin.reason(name, lambda said: "no node" in said)
    set_status(odin, name, phase="Failed", reason=reason, message="no room")
    until(lambda: odin.api.task(name)["attempt"] == 2)
    second = f"{name}--2"
    until(lambda: second in {pod["metadata"]["name"] for pod in odin.objects("pods", pipeline)})
    set_status(odin, second, phase="Succeeded", containerStatuses=[_ended(0)])
    task = odin.api.finished(pipeline)["tasks"]["a"]
    assert (task["status"], task["attempt"]) == ("executed", 2)
    assert len(odin.objects("pods", pipeline)) == 2


def test_f20_out_of_memory_names_the_limit(odin: Place) -> None:
    pipeline = odin.begin(one(**NEVER, memory={"limits": "1Gi"}), job="memory")
    name = f"{pipeline}--a"
    odin.reason(name, lambda said: "no node" in said)
    set_status(odin, name, phase="Failed", containerStatuses=[_ended(137, "OOMKilled")])
    task = odin.api.finished(pipeline)["tasks"]["a"]
    assert (task["status"], task["exitCode"]) == ("failed", 137)
    assert "more memory than its limit" in task["reason"]


@contextmanager
def limited(odin: Place, kind: str, name: str, **spec: Any) -> Iterator[None]:
    """While an object of this kind limits the namespace."""
    limit = {"apiVersion": "v1", "kind": kind, "metadata": {"name": name}, "spec": spec}
    odin.kubectl("create", "-f", "-", given=json.dumps(limit))
    try:
        yield
    finally:
        odin.kubectl("delete", kind, name, "--ignore-not-found")


def test_f26_a_quota_holds_tasks_back_and_fails_none(restarted: Place, ledger: Ledger) -> None:
    odin, tasks = restarted, ledger.tasks(12, seconds=0.3)
    with limited(odin, "ResourceQuota", "few", hard={"pods": 3}):
        pipeline = odin.begin(tasks, job="few")
        until(lambda: any("exceeded quota" in (t["reason"] or "") for t in odin.api.pipeline(pipeline)["tasks"]))
        ledger.judge(odin, pipeline, [task["name"] for task in tasks])
    assert ledger.most_at_once() <= 3


def test_f26_a_held_task_is_not_lost_by_a_restart_and_runs_once_there_is_room(restarted: Place) -> None:
    odin = restarted
    with limited(odin, "ResourceQuota", "none", hard={"pods": 0}):
        pipeline = odin.begin(one(), job="none")
        odin.reason(f"{pipeline}--a", lambda said: "exceeded quota" in said)
        odin.serving.kill()
        odin.serving.start()
        odin.reason(f"{pipeline}--a", lambda said: "exceeded quota" in said)
        assert odin.api.task(f"{pipeline}--a")["status"] == "queued"
    assert odin.api.finished(pipeline)["tasks"]["a"]["status"] == "executed"


def test_f26_what_admission_refuses_fails_once_in_its_words(restarted: Place) -> None:
    with limited(restarted, "LimitRange", "small", limits=[{"type": "Container", "min": {"cpu": "1"}}]):
        task = restarted.run(one(cpu="100m", retries=3), job="refused")["tasks"]["a"]
    assert (task["status"], task["attempt"]) == ("failed", 1)
    assert "minimum cpu usage per Container is 1" in task["reason"]


def test_f26_a_missing_secret_is_named(fresh: Callable[..., Place]) -> None:
    odin = fresh(KUBERNETES_SECRETS="absent")
    odin.serving.start()
    pipeline = odin.begin(one(secrets=[{"name": "absent", "path": "/key"}]))
    # "not found", or that the node may not look for it: its authorizer says so while it has not heard of the pod.
    odin.reason(f"{pipeline}--a", lambda said: '"absent"' in said)
    assert odin.api.task(f"{pipeline}--a")["status"] == "queued"
    odin.kubectl("create", "secret", "generic", "absent", "--from-literal=a=b")
    assert odin.api.finished(pipeline)["tasks"]["a"]["status"] == "executed"


def test_f36_a_stop_is_over_when_the_container_is_and_foreign_finalizers_stay(odin: Place) -> None:
    pipeline = odin.begin(one("sleep 600", grace_period=1), job="finalizer")
    name = f"{pipeline}--a"
    odin.api.executing(name)
    patch = '[{"op": "add", "path": "/metadata/finalizers/-", "value": "example.com/theirs"}]'
    odin.kubectl("patch", "pod", name, "--type=json", "-p", patch)
    odin.command("odin-cancel", pipeline)
    assert odin.api.finished(pipeline)["tasks"]["a"]["status"] == "terminated"
    theirs = until(
        lambda: (found := odin.json("get", "pod", name)["metadata"]["finalizers"]) == ["example.com/theirs"] and found,
        pause_s=0.1,
    )
    assert theirs == ["example.com/theirs"]
    odin.kubectl("patch", "pod", name, "--type=merge", "-p", '{"metadata":{"finalizers":null}}')


def test_f36_a_namespace_that_is_deleted_ends_all_that_ran_in_it(fresh: Callable[..., Place]) -> None:
    odin = fresh()
    odin.serving.start()
    tasks = [
        {"name": f"t{n}", "script": "sleep 600", "grace_period": 1, "retries": 2, "retry_delay": 0.1} for n in range(3)
    ]
    pipeline = odin.begin(tasks)
    for task in tasks:
        odin.api.executing(f"{pipeline}--{task['name']}")
    odin.cluster.kubectl("delete", "namespace", odin.namespace, "--wait=false")
    done = odin.api.finished(pipeline)
    assert done["outcome"] == "failed"
    assert all(task["status"] == "failed" for task in done["tasks"].values()), done["tasks"]


def test_f37_a_kind_that_is_not_served_is_refused_with_what_brings_it(odin: Place) -> None:
    if "rayjobs.ray.io" in odin.cluster.served():
        pytest.skip("not run here: this cluster serves RayJobs")
    odin.api.push("ray", {"tasks": [shell({"name": "a", "script": "true", "resource_type": "RayJob"})]})
    answer = odin.api.ask("POST", "/v1/pipelines", {"pipeline": {"job": "ray"}})
    assert answer.status == 422
    assert "RayJob" in answer.json["detail"]


def test_a_task_that_ends_as_it_is_stopped_ends_once(odin: Place) -> None:
    for number in range(5):
        pipeline = odin.begin(one(f"sleep 0.{number}"), job=f"race{number}")
        odin.command("odin-cancel", pipeline, code=None)
        task = odin.api.finished(pipeline)["tasks"]["a"]
        assert task["status"] in ("executed", "terminated")
        assert task["attempt"] <= 1


def _ended(code: int, reason: str = "") -> dict[str, Any]:
    ended = {"exitCode": code, "reason": reason or ("Error" if code else "Completed")}
    ended |= {"startedAt": "2026-01-01T00:00:00Z", "finishedAt": "2026-01-01T00:00:01Z"}
    status = {"name": "task", "image": "example/any:1", "imageID": "", "ready": False, "restartCount": 0}
    return {**status, "state": {"terminated": ended}}
