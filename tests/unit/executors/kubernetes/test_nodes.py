"""Nodes of a cluster from objects as API servers give them (recorded, shortened)."""

from __future__ import annotations

import asyncio
from fractions import Fraction

import pytest

from odin.executors.kubernetes import nodes as subject
from odin.executors.kubernetes.nodes import NODES, ClusterNodes, amounts, numbers, requests, requests_by_node
from odin.executors.kubernetes.replies import Forbidden, Unreachable


def node(name="n1", **spec):
    return {
        "metadata": {"name": name},
        "spec": spec,
        "status": {
            "addresses": [
                {"type": "ExternalIP", "address": "203.0.113.9"},
                {"type": "InternalIP", "address": "10.0.0.7"},
                {"type": "Hostname", "address": name},
            ],
            "capacity": {
                "cpu": "16",
                "memory": "65789012Ki",
                "pods": "110",
                "nvidia.com/gpu": "4",
                "ephemeral-storage": "1k",
            },
            "allocatable": {"cpu": "15890m", "memory": "64Gi", "pods": "110", "nvidia.com/gpu": "3"},
            "conditions": [
                {"type": "MemoryPressure", "status": "False", "lastHeartbeatTime": "2026-01-01T00:00:00Z"},
                {"type": "Ready", "status": "True", "reason": "KubeletReady", "message": "kubelet is posting"},
            ],
        },
    }


def container(**requested):
    return {"name": "c", "resources": {"requests": {name.replace("gpu", "nvidia.com/gpu"): requested[name] for name in requested}}}  # fmt: skip


def pod(on="n1", phase="Running", **spec):
    return {"spec": {"nodeName": on, "containers": [container(cpu="500m", memory="1Gi")]} | spec, "status": {"phase": phase}}  # fmt: skip


class ApiServer:
    """Answers lists with what stands in ``kinds``; a fault there is raised. A key ``("pods", False)``: one namespace."""

    def __init__(self, **kinds):
        self.kinds = {"nodes": [node()], "pods": [], "own": []} | kinds
        self.asked = []
        self.held = asyncio.Event()
        self.held.set()

    async def listed(self, api, *, fields="", everywhere=False):
        self.asked.append((api.plural, fields, everywhere))
        await self.held.wait()
        found = self.kinds["own" if api.plural == "pods" and not everywhere else api.plural]
        if isinstance(found, Exception):
            raise found
        return found


class Clock:
    now = 50.0

    def __call__(self):
        return self.now


# ---- quantities --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("written", "meant"),
    [
        ("16", 16),
        ("15890m", 15.89),
        ("0.1", 0.1),
        ("64Gi", 64 << 30),
        ("65789012Ki", 65789012 * 1024),
        ("128974848", 128974848),
        ("129e6", 129_000_000),
        ("129M", 129_000_000),
        ("123456789000m", 123456789),  # as the API server writes what was given in fractions
        ("1500m", 1.5),
        ("100n", 1e-7),
        ("0", 0),
        ("what?", 0),
    ],
)
def test_a_quantity_is_told_as_a_number(written, meant):
    assert numbers(amounts({"x": written})) == {"x": meant}


def test_a_whole_number_stays_whole():
    assert repr(numbers(amounts({"cpu": "2000m", "nvidia.com/gpu": "8"}))) == "{'cpu': 2, 'nvidia.com/gpu': 8}"


# ---- what a pod asks for -------------------------------------------------------------------------------------------------


def test_containers_add_up():
    assert numbers(
        requests({"containers": [container(cpu="1", gpu="1"), container(cpu="500m"), {"name": "bare"}]})
    ) == {
        "cpu": 1.5,
        "nvidia.com/gpu": 1,
    }


def test_an_init_container_counts_where_it_asks_for_more():
    spec = {
        "initContainers": [container(cpu="3", memory="1Mi"), container(cpu="1")],
        "containers": [container(cpu="1", memory="2Mi"), container(cpu="1")],
    }
    assert numbers(requests(spec)) == {"cpu": 3, "memory": 2 << 20}


def test_a_sidecar_counts_with_all_that_comes_after_it():
    sidecar = container(cpu="1") | {"restartPolicy": "Always"}
    before, after = {"initContainers": [container(cpu="3"), sidecar]}, {"initContainers": [sidecar, container(cpu="3")]}
    rest = {"containers": [container(cpu="1")]}
    assert numbers(requests(before | rest)) == {"cpu": 3}
    assert numbers(requests(after | rest)) == {"cpu": 4}


def test_what_the_pod_asks_for_as_a_whole_and_its_overhead():
    spec = {
        "containers": [container(cpu="1", gpu="1")],
        "resources": {"requests": {"cpu": "5"}},
        "overhead": {"cpu": "250m", "memory": "120Mi"},
    }
    assert numbers(requests(spec)) == {"cpu": 5.25, "nvidia.com/gpu": 1, "memory": 120 << 20}


def test_pods_count_on_their_node_until_they_are_over():
    pods = [pod(), pod(), pod(phase="Succeeded"), pod(phase="Failed"), pod(on="n2"), pod(on=None), pod(phase="Pending")]
    found = requests_by_node(pods)
    assert {name: numbers(each) for name, each in found.items()} == {
        "n1": {"cpu": 1.5, "memory": 3 << 30, "pods": 3},
        "n2": {"cpu": 0.5, "memory": 1 << 30, "pods": 1},
    }
    assert found["n1"]["cpu"] == Fraction(3, 2)


# ---- a node ----------------------------------------------------------------------------------------------------------------


async def test_a_node_has_its_fixed_fields_and_what_the_api_server_knows():
    taint = {"key": "nvidia.com/gpu", "effect": "NoSchedule"}
    server = ApiServer(nodes=[node(taints=[taint], unschedulable=True)], pods=[pod()])
    [told] = (await ClusterNodes(server).nodes()).nodes
    assert told == {
        "host": "n1",
        "internalIP": "10.0.0.7",
        "cpu": 16,
        "memory": "65789012Ki",
        "pods": 110,
        "nvidia.com/gpu": 4,
        "gpus": [],
        "capacity": {
            "cpu": 16,
            "ephemeral-storage": 1000,
            "memory": 65789012 * 1024,
            "nvidia.com/gpu": 4,
            "pods": 110,
        },
        "allocatable": {"cpu": 15.89, "memory": 64 << 30, "nvidia.com/gpu": 3, "pods": 110},
        "requested": {"cpu": 0.5, "memory": 1 << 30, "pods": 1},
        "ready": True,
        "schedulable": False,
        "conditions": [
            {"type": "MemoryPressure", "status": "False", "reason": "", "message": "", "lastTransitionTime": ""},
            {
                "type": "Ready",
                "status": "True",
                "reason": "KubeletReady",
                "message": "kubelet is posting",
                "lastTransitionTime": "",
            },
        ],
        "taints": [{"key": "nvidia.com/gpu", "value": "", "effect": "NoSchedule"}],
        "report": None,
    }


async def test_a_node_that_has_told_nothing_yet_is_not_ready():
    [told] = (await ClusterNodes(ApiServer(nodes=[{"metadata": {"name": "new"}}])).nodes()).nodes
    assert (told["host"], told["ready"], told["cpu"], told["memory"], told["nvidia.com/gpu"]) == (
        "new",
        False,
        0,
        "0",
        0,
    )
    assert told["requested"] == {}


async def test_nodes_come_sorted_and_finished_pods_are_not_asked_for():
    server = ApiServer(nodes=[node("b"), node("a")])
    assert [one["host"] for one in (await ClusterNodes(server).nodes()).nodes] == ["a", "b"]
    assert server.asked == [("nodes", "", True), ("pods", subject.UNFINISHED, True)]


# ---- rights and faults -------------------------------------------------------------------------------------------------------


async def test_a96_without_the_right_to_list_nodes_the_answer_says_so():
    told = await ClusterNodes(ApiServer(nodes=Forbidden("no"))).nodes()
    assert told.nodes == ()
    assert told.notice == "the server may not list the cluster's nodes: only those that report are shown"


async def test_a96_without_the_right_to_list_all_pods_those_of_its_own_namespace_count():
    told = await ClusterNodes(ApiServer(pods=Forbidden("no"), own=[pod()])).nodes()
    assert told.nodes[0]["requested"]["pods"] == 1
    assert "others requested is not counted" in told.notice


async def test_a96_without_the_right_to_list_pods_nothing_is_said_of_what_is_requested():
    told = await ClusterNodes(ApiServer(pods=Forbidden("no"), own=Forbidden("no"))).nodes()
    assert told.nodes[0]["requested"] is None
    assert "may not list pods" in told.notice


async def test_many_who_ask_at_once_and_soon_after_cost_one_question():
    server, clock = ApiServer(), Clock()
    cluster = ClusterNodes(server, clock)
    answers = await asyncio.gather(*(cluster.nodes() for _ in range(20)))
    assert len({id(one) for one in answers}) == 1
    clock.now += 4
    await cluster.nodes()
    assert len(server.asked) == 2
    clock.now += 2
    await cluster.nodes()
    assert len(server.asked) == 4


async def test_while_the_api_server_is_away_nodes_are_shown_as_they_were():
    server, clock = ApiServer(), Clock()
    cluster = ClusterNodes(server, clock)
    before = await cluster.nodes()
    server.kinds["nodes"] = Unreachable("connection refused")
    clock.now += 40
    told = await cluster.nodes()
    assert told.nodes == before.nodes
    assert told.notice == "the cluster does not answer: connection refused; its nodes are shown as they were 40 s ago"
    server.kinds["nodes"] = [node("n9")]
    assert (await cluster.nodes()).nodes == before.nodes  # asked again after a while, not at once
    clock.now += 5
    assert (await cluster.nodes()).nodes[0]["host"] == "n9"
    assert (await cluster.nodes()).notice == ""


async def test_f95_an_api_server_that_hangs_keeps_nobody_waiting(monkeypatch):
    monkeypatch.setattr(subject, "PATIENCE_S", 0.01)
    server = ApiServer()
    server.held.clear()
    cluster = ClusterNodes(server)
    assert (await cluster.nodes()).notice == "the cluster does not answer; only nodes that report are shown"
    await cluster.nodes()
    assert server.asked == [(NODES.plural, "", True)]
    server.held.set()
    monkeypatch.setattr(subject, "PATIENCE_S", 30.0)
    assert len((await cluster.nodes()).nodes) == 1


async def test_an_answer_that_makes_no_sense_is_asked_for_anew():
    server, clock = ApiServer(nodes=[{}]), Clock()
    cluster = ClusterNodes(server, clock)
    with pytest.raises(KeyError):
        await cluster.nodes()
    server.kinds["nodes"] = [node()]
    clock.now += 5
    assert len((await cluster.nodes()).nodes) == 1
