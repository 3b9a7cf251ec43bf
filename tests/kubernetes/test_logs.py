"""Logs of pods: as the pods wrote them, while they run and after they are gone."""

from __future__ import annotations

import subprocess
from typing import Any

import pytest

from clusters import Place
from e2e.serving import BIN, until

BIG = "i=0; while [ $i -lt 20000 ]; do echo line $i of many; i=$((i+1)); done"


def one(odin: Place, script: str, job: str, **fields: Any) -> str:
    """The id of a task that has run to its end."""
    return str(odin.run([{"name": "a", "script": script, **fields}], job=job)["tasks"]["a"]["id"])


def by_kubectl(odin: Place, task: str) -> bytes:
    command = [odin.cluster.program, "--kubeconfig", str(odin.cluster.kubeconfig), "-n", odin.namespace, "logs", task]
    return subprocess.run(command, check=True, capture_output=True).stdout


def odin_logs(odin: Place, task: str) -> bytes:
    person = odin.serving.person()
    environment = person.environment() | {"ODIN_TOKEN": odin.api.token or ""}
    command = [str(BIN / "odin-logs"), task, "--raw"]
    return subprocess.run(command, check=True, capture_output=True, env=environment).stdout


def now(odin: Place, task: str) -> str:
    """What it has written so far."""
    return str(odin.api.get(f"/v1/resources/{task}/logs")["logs"])


def is_kept(odin: Place, task: str) -> bool:
    return odin.json("get", "pod", task)["metadata"]["labels"].get("odin/kept") == "true"


@pytest.mark.parametrize(
    ("job", "script"),
    [("plain", "echo a; printf 'no end'"), ("mute", "true"), ("big", BIG), ("bytes", "printf 'a\\rb\\377\\n\\n'")],
)
def test_kubectl_and_odin_print_the_same_bytes_and_odin_still_does_when_the_pod_is_deleted(
    odin: Place, job: str, script: str
) -> None:
    task = one(odin, script, job)
    printed = by_kubectl(odin, task)
    assert (odin.api.log(task), odin_logs(odin, task)) == (printed, printed)
    until(lambda: is_kept(odin, task))
    odin.kubectl("delete", "pod", task)
    assert (odin.api.log(task), odin_logs(odin, task)) == (printed, printed)


def test_a_running_pod_is_read_at_once_and_followed(odin: Place) -> None:
    pipeline = odin.begin([{"name": "a", "script": "echo begun; sleep 2; echo done"}], job="reading")
    odin.api.executing(f"{pipeline}--a")
    until(lambda: odin.kubectl("logs", f"{pipeline}--a", code=None) == "begun\n")
    assert now(odin, f"{pipeline}--a") == "begun\n"
    assert odin.command("odin-logs", f"{pipeline}--a", "-f").out == "begun\ndone\n"


def test_the_previous_attempt_and_each_by_its_number(odin: Place) -> None:
    script = "echo attempt $ODIN_ATTEMPT; test $ODIN_ATTEMPT = 2"
    task = one(odin, script, "again", retries=1, retry_delay="0s")
    shown = [odin.command("odin-logs", task, *words).out for words in ((), ("--previous",), ("--attempt", "1"))]
    assert shown == ["attempt 2\n", "attempt 1\n", "attempt 1\n"]
    assert "no previous attempt" in odin.command("odin-logs", task, "--attempt", "1", "--previous", code=3).err
    answer = odin.api.ask("GET", f"/v1/resources/{task}/logs?previous=true")
    assert answer.json["logs"] == "attempt 1\n"


def test_a_container_that_there_is_not_is_answered_with_those_that_there_are(odin: Place) -> None:
    task = one(odin, "echo mine", "named")
    assert odin.command("odin-logs", task, "--container", "task").out == "mine\n"
    for words in (("--container", "tsk"), ("--container", "tsk", "--follow")):
        said = odin.command("odin-logs", task, *words, code=3).err
        assert 'no container "tsk"; it has task' in said


def test_f38_a_log_is_whole_when_the_server_was_away_at_its_end(restarted: Place) -> None:
    odin = restarted
    pipeline = odin.begin([{"name": "a", "script": "echo begun; sleep 3; echo ended"}], job="away")
    odin.api.executing(f"{pipeline}--a")
    until(lambda: now(odin, f"{pipeline}--a") == "begun\n")
    odin.serving.kill()
    until(lambda: odin.json("get", "pod", f"{pipeline}--a")["status"]["phase"] == "Succeeded")
    odin.serving.start()
    odin.api.finished(pipeline)
    assert odin.api.log(f"{pipeline}--a") == b"begun\nended\n"


def test_f38_a_pod_that_is_deleted_while_it_writes_leaves_all_that_it_wrote(odin: Place) -> None:
    script = "i=0; trap 'echo last $i; exit 0' TERM; while :; do echo line $i; i=$((i+1)); sleep 0.01; done"
    pipeline = odin.begin([{"name": "a", "script": script}], job="deleted")
    task = f"{pipeline}--a"
    odin.api.executing(task)
    odin.kubectl("delete", "pod", task, "--wait=false", "--grace-period=5")
    odin.api.finished(pipeline)
    lines = odin.api.log(task).decode().splitlines()
    assert lines[:-1] == [f"line {number}" for number in range(len(lines) - 1)]
    said = len(lines) - 1
    assert lines[-1] in (f"last {said}", f"last {said - 1}"), "it may end before it counts on"


GONE = b"\n[odin: the pod was gone before the end of this log was read]\n"


def by_force(odin: Place, task: str) -> None:
    """Remove a pod whatever holds it, as somebody in despair does."""
    odin.kubectl("patch", "pod", task, "--type=merge", "-p", '{"metadata":{"finalizers":null}}')
    odin.kubectl("delete", "pod", task, "--force", "--grace-period=0", "--wait=false")


def test_f38_a_pod_that_is_removed_by_force_leaves_a_log_that_says_so(odin: Place) -> None:
    pipeline = odin.begin([{"name": "a", "script": "echo begun; sleep 600"}], job="forced")
    task = f"{pipeline}--a"
    odin.api.executing(task)
    by_force(odin, task)
    done = odin.api.finished(pipeline)["tasks"]["a"]
    assert (done["status"], "removed from the cluster by force" in done["reason"]) == ("failed", True)
    assert until(lambda: odin.api.log(task)) == GONE


def test_f38_a_copy_whose_pod_was_removed_while_the_server_was_down_says_so(restarted: Place) -> None:
    odin = restarted
    pipeline = odin.begin([{"name": "a", "script": "echo begun; sleep 600"}], job="forced")
    task = f"{pipeline}--a"
    odin.api.executing(task)
    until(lambda: now(odin, task) == "begun\n")
    odin.serving.kill()
    by_force(odin, task)
    until(lambda: odin.objects("pods", pipeline) == [], pause_s=0.1)
    odin.serving.start()
    assert odin.api.finished(pipeline)["tasks"]["a"]["status"] == "failed"
    assert until(lambda: (log := odin.api.log(task)) != b"begun\n" and log) == b"begun\n" + GONE


def test_a_task_that_never_began_has_an_empty_log_and_odin_logs_says_why(odin: Place) -> None:
    refused = [
        {"name": "a", "image": "example/does-not-exist:1", "image_timeout": 1, "script": "true"},
        {"name": "b", "command": "/no/such"},
    ]
    for number, task in enumerate(refused):
        done = odin.run([task], job=f"never{number}")["tasks"][str(task["name"])]
        assert odin.api.log(done["id"]) == b""
        said = odin.command("odin-logs", done["id"])
        assert (said.out, said.err.strip()) == ("", f"{done['id']} never began, so it wrote nothing: {done['reason']}")
