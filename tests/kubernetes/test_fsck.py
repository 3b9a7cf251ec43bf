"""``odin-fsck`` in a cluster: what no row knows is named and removed, what runs for a row is left alone. F-41's orphans."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Callable
from contextlib import closing
from typing import Any

from clusters import Place
from e2e.serving import until


def look(odin: Place, *flags: str, code: int = 0) -> list[dict[str, Any]]:
    told = odin.serving.operate("odin-fsck", "--json", *flags, code=code).json
    found: list[dict[str, Any]] = told["differences"]
    return found


def forget(odin: Place, pipeline: str) -> None:
    """Take the pipeline out of the rows, as an older backup does."""
    with closing(sqlite3.connect(odin.serving.data / "odin.db", isolation_level=None)) as database:
        for table in ("tasks", "attempts", "events", "cluster_events", "rendered"):
            database.execute(f"DELETE FROM {table} WHERE pipeline = ?", (pipeline,))
        database.execute("DELETE FROM pipelines WHERE id = ?", (pipeline,))


def one(script: str) -> list[dict[str, Any]]:
    return [{"name": "a", "script": script}]


def uids(odin: Place, pipeline: str) -> set[str]:
    return {each["metadata"]["uid"] for each in odin.objects("pods,configmaps", pipeline)}


def test_f41_objects_that_no_row_knows_are_named_and_removed_and_no_others(fresh: Callable[..., Place]) -> None:
    odin = fresh()
    odin.serving.start()
    done, running, lost = (
        odin.begin(one(script), job=name)
        for name, script in (("done", "true"), ("kept", "sleep 600"), ("lost", "sleep 600"))
    )
    odin.api.finished(done)
    for pipeline in (running, lost):
        odin.api.executing(f"{pipeline}--a")
    foreign = odin.json("get", "pod", f"{lost}--a")
    labels = foreign["metadata"]["labels"] | {"odin/store": "another"}
    metadata = {"name": "foreign", "labels": labels}
    odin.kubectl("apply", "-f", "-", given=json.dumps({"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata}))
    assert look(odin) == []
    assert odin.serving.operate("odin-fsck").out == "clean: database, files, git, processes and cluster agree\n"

    odin.serving.terminate()
    forget(odin, lost)
    there = {pipeline: uids(odin, pipeline) for pipeline in (done, running)}
    found = {one["place"]: one for one in look(odin, code=1) if one["kind"] == "object-unknown"}
    assert f"Pod {lost}--a" in found
    assert all(lost in place for place in found)
    assert found[f"Pod {lost}--a"]["remedy"] == "remove it, also if it runs"
    look(odin, "--repair", code=1)  # its folders stay while its objects may still use them
    until(lambda: uids(odin, lost) - {"foreign"} == set() or not odin.objects("pods", lost), pause_s=0.2)
    look(odin, "--repair")
    assert look(odin) == []
    assert {pipeline: uids(odin, pipeline) for pipeline in (done, running)} == there
    assert odin.kubectl("get", "configmap", "foreign", "-o", "name") == "configmap/foreign\n"

    odin.serving.start()
    assert odin.api.executing(f"{running}--a")["attempt"] == 1
    odin.api.post(f"/v1/pipelines/{running}/cancel")
    odin.api.finished(running)


def test_a_finalizer_that_nothing_is_owed_to_is_taken_off(fresh: Callable[..., Place]) -> None:
    odin = fresh()
    odin.serving.start()
    pipeline = odin.begin(one("echo done"), job="ended")
    odin.api.finished(pipeline)
    pod = f"{pipeline}--a"
    until(lambda: not odin.json("get", "pod", pod)["metadata"].get("finalizers"), pause_s=0.2)
    odin.serving.terminate()
    odin.kubectl("patch", "pod", pod, "--type=merge", "-p", '{"metadata":{"finalizers":["odin/attempt"]}}')
    odin.kubectl("delete", "pod", pod, "--wait=false")
    (found,) = look(odin, code=1)
    assert (found["kind"], found["place"]) == ("finalizer-left", f"Pod {pod}")
    look(odin, "--repair")
    until(lambda: odin.kubectl("get", "pod", pod, "--ignore-not-found", "-o", "name") == "", pause_s=0.2)
    assert look(odin) == []


def test_a_running_server_and_its_cluster_are_clean(fresh: Callable[..., Place]) -> None:
    odin = fresh()
    odin.serving.start()
    for number in range(3):
        odin.begin([{"name": f"t{task}", "script": f"echo {task}"} for task in range(3)], job=f"busy{number}")
        assert look(odin) == []
    for found in odin.api.get("/v1/pipelines")["pipelines"]:
        odin.api.finished(found["id"])
    assert look(odin) == []
