"""Events of the cluster beside Odin's own, and what the cluster says of a task."""

from __future__ import annotations

from typing import Any

from clusters import Place
from e2e.serving import until


def events(odin: Place, resource: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = odin.api.get(f"/v1/resources/{resource}/events")["events"]
    return found


def reasons(odin: Place, resource: str) -> list[str]:
    return [each["reason"] for each in events(odin, resource)]


def test_the_clusters_events_of_a_task_stand_among_odins_in_order_of_time(odin: Place) -> None:
    task = odin.run([{"name": "a", "script": "true"}], job="told")["tasks"]["a"]["id"]
    until(lambda: {"Scheduled", "Started"} <= set(reasons(odin, task)))
    found = events(odin, task)
    assert "odin" in {each["source"] for each in found}
    assert [each["timestamp"] for each in found] == sorted(each["timestamp"] for each in found)
    assert len({each["id"] for each in found}) == len(found)
    started = next(each for each in found if each["reason"] == "Started")
    assert set(started) == {"id", "eventType", "reason", "source", "message", "timestamp"}
    assert (started["eventType"], started["source"].split()[0]) == ("Normal", "kubelet")
    assert started["message"].startswith("a: ")
    assert "Scheduled" in odin.command("odin-events", task).out


def test_events_are_kept_after_the_cluster_forgot_them_and_over_a_restart(restarted: Place) -> None:
    odin = restarted
    task = odin.run([{"name": "a", "script": "true"}], job="forgotten")["tasks"]["a"]["id"]
    until(lambda: "Started" in reasons(odin, task))
    before = events(odin, task)
    odin.kubectl("delete", "events", "--all")
    odin.kubectl("delete", "pod", task)
    odin.serving.kill()
    odin.serving.start()
    assert {each["id"] for each in before} <= {each["id"] for each in events(odin, task)}


def test_what_a_server_that_was_away_has_missed_is_heard_when_it_is_back(restarted: Place) -> None:
    odin = restarted
    task = f"{odin.begin([{'name': 'a', 'script': 'sleep 2'}], job='missed')}--a"
    odin.api.executing(task)
    odin.serving.kill()
    events_of = ["get", "events", f"--field-selector=involvedObject.name={task}", "-o", "name"]
    until(lambda: odin.kubectl(*events_of).count("event/") >= 3)
    odin.serving.start()
    until(lambda: {"Scheduled", "Started"} <= set(reasons(odin, task)))


def test_events_of_all_tasks_of_a_pipeline_and_of_nobody_elses(odin: Place) -> None:
    done = odin.run([{"name": "a", "script": "true"}, {"name": "b", "script": "true"}], job="two")
    until(lambda: reasons(odin, done["id"]).count("Started") == 2)
    assert {each["message"].partition(":")[0] for each in events(odin, done["id"]) if each["reason"] == "Started"} == {
        "a",
        "b",
    }
    assert reasons(odin, f"{done['id']}--a").count("Started") == 1


def test_odin_data_says_what_the_cluster_says_also_when_the_pod_is_gone(odin: Place) -> None:
    task = odin.run([{"name": "a", "script": "true"}], job="facts")["tasks"]["a"]["id"]
    pod = odin.json("get", "pod", task)
    (attempt,) = odin.api.get(f"/v1/resources/{task}/data")["jobs"]["attempts"]
    said = attempt["cluster"]
    assert (said["kind"], said["name"], said["uid"]) == ("Pod", task, pod["metadata"]["uid"])
    assert (said["nodes"], said["containers"]) == ([pod["spec"]["nodeName"]], ["task"])
    (container,) = said["pods"][0]["containers"]
    assert (container["image"], container["exit_code"]) == ("example/any:1", 0)
    until(lambda: odin.json("get", "pod", task)["metadata"]["labels"].get("odin/kept"))
    odin.kubectl("delete", "pod", task)
    (attempt,) = odin.api.get(f"/v1/resources/{task}/data")["jobs"]["attempts"]
    assert attempt["cluster"]["uid"] == said["uid"]
