"""Tasks as pods of a real cluster: what a user of one machine knows works as it is."""

from __future__ import annotations

import json

from clusters import Place


def test_a_task_runs_as_a_pod_that_is_called_as_the_task(odin: Place) -> None:
    done = odin.run([{"name": "a", "script": "echo hello; echo $ODIN_TASK_ID"}])
    task = done["tasks"]["a"]
    assert (done["outcome"], task["status"], task["exitCode"]) == ("succeeded", "executed", 0)
    pod = odin.json("get", "pod", task["id"])
    labels = pod["metadata"]["labels"]
    assert (labels["odin/pipeline"], labels["odin/attempt"], labels["odin/user"]) == (done["id"], "1", "ada")
    assert odin.kubectl("logs", task["id"]) == f"hello\n{task['id']}\n"
    assert odin.api.log(task["id"]).decode() == f"hello\n{task['id']}\n"


def test_children_wait_for_their_parents_and_a_failure_says_its_code(odin: Place) -> None:
    tasks = [
        {"name": "a", "script": "exit 0"},
        {"name": "b", "script": "exit 3", "depends": "a"},
        {"name": "c", "script": "echo never", "depends": "b"},
    ]
    done = odin.run(tasks, job="chain")["tasks"]
    assert [done[name]["status"] for name in "abc"] == ["executed", "failed", "skipped"]
    assert (done["b"]["exitCode"], done["b"]["reason"]) == (3, "exit code 3")


def test_a_log_stays_readable_after_its_pod_was_deleted(odin: Place) -> None:
    task = odin.run([{"name": "a", "script": "echo kept"}], job="kept")["tasks"]["a"]["id"]
    odin.kubectl("wait", "--for=jsonpath={.metadata.labels.odin/kept}=true", f"pod/{task}", code=None)
    odin.kubectl("delete", "pod", task)
    assert odin.api.log(task) == b"kept\n"


def test_a_cleanup_removes_every_object_of_the_pipeline_and_says_so(odin: Place) -> None:
    tasks = [{"name": "a", "script": "echo kept"}, {"name": "b", "script": "false", "depends": "a"}]
    done = odin.run(tasks, job="gone")
    told = odin.api.ask("DELETE", f"/v1/pipelines/{done['id']}").json["cleanups"]
    assert {each["taskId"]: each["cleanedFromK8s"] for each in told}[f"{done['id']}--a"] == "Yes"
    assert odin.objects("pods,configmaps", done["id"]) == []
    assert odin.api.log(f"{done['id']}--a") == b"kept\n", "it was read before its pod went"


def test_a_cancelled_task_is_over_when_its_container_is(odin: Place) -> None:
    pipeline = odin.begin([{"name": "a", "script": "sleep 600"}], job="stopped")
    odin.api.executing(f"{pipeline}--a")
    odin.command("odin-cancel", pipeline)
    done = odin.api.finished(pipeline)
    assert (done["outcome"], done["tasks"]["a"]["status"]) == ("cancelled", "terminated")
    phase = odin.json("get", "pods", "-l", f"odin/pipeline={pipeline}")["items"]
    assert all(pod["status"]["phase"] in ("Succeeded", "Failed") for pod in phase), json.dumps(phase)


def test_a_log_is_followed_while_its_pod_runs(odin: Place) -> None:
    pipeline = odin.begin([{"name": "a", "script": "for i in 1 2 3; do echo line $i; sleep 0.3; done"}], job="talk")
    followed = odin.command("odin-logs", f"{pipeline}--a", "-f")
    assert followed.out == "line 1\nline 2\nline 3\n"


def test_an_image_that_is_missing_from_the_job_is_refused_with_the_remedy(odin: Place) -> None:
    odin.api.push("imageless", {"tasks": [{"name": "a", "command": "true"}]})
    answer = odin.api.ask("POST", "/v1/pipelines", {"pipeline": {"job": "imageless"}})
    assert answer.status == 422
    assert "image" in answer.json["detail"]
    assert "ODIN_KUBERNETES_IMAGE" in answer.json["detail"]
