"""A gang: workers that know one another, without an operator."""

from __future__ import annotations

import pytest

from clusters import Cluster, Place, shell

INDEXED = (1, 22)
SCRIPT = "echo $RANK of $WORLD_SIZE at $MASTER_ADDR:$MASTER_PORT"
GANG = {"name": "a", "script": SCRIPT, "resource_type": "gang", "num_workers": 2}


def test_the_workers_of_a_gang_know_one_another(cluster: Cluster, odin: Place) -> None:
    if cluster.version < INDEXED:
        pytest.skip("not run here: a gang is an Indexed Job, this API server is too old for those")
    done = odin.run([GANG], job="gang")
    task = done["tasks"]["a"]["id"]
    assert done["outcome"] == "succeeded"
    log = odin.api.log(task).decode()
    assert all(f"{rank} of 2 at {task}-0.{task}:29500" in log for rank in range(2))
    assert odin.json("get", "service", task)["spec"]["clusterIP"] == "None"


def test_f37_a_gang_is_refused_where_it_cannot_be(cluster: Cluster, odin: Place) -> None:
    if cluster.version >= INDEXED:
        pytest.skip("not run here: an API server without Indexed Jobs, this one has them")
    odin.run([{"name": "a", "script": "true"}], job="first")  # from now on it knows what is served
    odin.api.push("gangless", {"tasks": [shell(GANG)]})
    answer = odin.api.ask("POST", "/v1/pipelines", {"pipeline": {"job": "gangless"}})
    assert answer.status == 422
    assert "resource_type gang" in answer.json["detail"]
    assert "Kubernetes 1.22 or newer" in answer.json["detail"]
