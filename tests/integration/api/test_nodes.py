"""Reports of node agents: who may send them, what they may hold, and how they are shown."""

from __future__ import annotations

import copy
import json
import logging

import pytest

from odin.api.access import is_agents

AGENTS = "the node agents' own token, long enough"
GPU = {
    "id": "0000:01:00.0",
    "uuid": "GPU-1",
    "productName": "NVIDIA H100",
    "productBrand": "Nvidia",
    "minorNumber": 0,
    "performanceState": "P0",
    "serial": "N/A",
    "pci": {"pciBusId": "00000000:01:00.0"},
    "fbMemoryUsage": {"total": 81920, "used": 1024, "free": 80896, "unit": "MiB"},
    "utilization": {"gpuUtil": 93, "memoryUtil": "N/A", "unit": "%"},
    "temperature": {"gpuTemp": 55, "unit": "C"},
    "powerReadings": {"powerDraw": 312.5, "powerLimit": 0, "unit": "W"},
    "clocks": {"graphicsClock": 1, "smClock": 2, "memClock": 3, "videoClock": "N/A", "unit": "MHz"},
    "processes": [{"pid": 7, "process_name": "python", "used_memory": 2048}],
}
REPORT = {
    "agent": "0.1.0",
    "intervalS": 5.0,
    "valuesAgeS": 0.1,
    "internalIP": "10.0.0.7",
    "cpu": 16,
    "memory": "65789012Ki",
    "trouble": "",
    "gpus": [GPU],
}


@pytest.fixture
def house(make_house):
    return make_house(flags={"midgard_token": AGENTS})


@pytest.fixture
def agent(house):
    client = house.client()
    client.headers["Authorization"] = f"Bearer {AGENTS}"
    return client


def changed(place, value):
    """The report with one value changed: ``gpus.0.cpu``; a value of None removes it."""
    found = copy.deepcopy(REPORT)
    *steps, last = (int(step) if step.isdigit() else step for step in place.split("."))
    inner = found
    for step in steps:
        inner = inner[step]
    if value is None:
        del inner[last]
    else:
        inner[last] = value
    return found


def shown(house, name="vera"):
    return {node["host"]: node for node in house.client(name).get("/v1/nodes").json()["nodes"]}


def test_what_an_agent_reports_is_shown_with_the_nodes(house, agent):
    assert agent.post("/v1/nodes/n1/report", json=REPORT).json() == {"node": {"host": "n1"}}
    found = shown(house)
    assert found["here"] == {"host": "here", "gpus": []}
    told = found["n1"].pop("report")
    assert (told["fresh"], told["intervalS"], told["agent"]) == (True, 5.0, "0.1.0")
    assert found["n1"] == {
        "host": "n1",
        "internalIP": "10.0.0.7",
        "cpu": 16,
        "memory": "65789012Ki",
        "pods": 0,
        "nvidia.com/gpu": 1,
        "gpus": [GPU],
    }


def test_a_newer_agent_may_say_more_than_this_server_knows(house, agent):
    extra = changed("gpus.0.mig", [1]) | {"future": True}
    assert agent.post("/v1/nodes/n1/report", json=extra).status_code == 200
    assert shown(house)["n1"]["gpus"] == [GPU]


def test_a104_the_agents_token_opens_nothing_else(house, agent):
    for method, path in [("GET", "/v1/nodes"), ("GET", "/v1/users"), ("POST", "/v1/jobs"), ("GET", "/metrics")]:
        answer = agent.request(method, path, json={})
        assert (answer.status_code, answer.headers["www-authenticate"]) == (401, "Bearer")
    assert agent.get("/git/jobs.git/info/refs?service=git-upload-pack").status_code == 401


@pytest.mark.parametrize("token", ["", "x", AGENTS[:-1], AGENTS + "x", AGENTS.upper(), "🗝" * 40])
def test_a104_another_token_reports_nothing(house, token):
    headers = {"Authorization": f"Bearer {token}".encode()}
    assert house.client().post("/v1/nodes/n1/report", json=REPORT, headers=headers).status_code == 401
    assert "n1" not in shown(house)


def test_a104_an_admin_is_no_agent(house):
    answer = house.client("ada").post("/v1/nodes/n1/report", json=REPORT)
    assert answer.status_code == 403
    assert "ODIN_MIDGARD_TOKEN" in answer.json()["detail"]


def test_a104_a_server_without_such_a_token_takes_no_reports(make_house):
    house = make_house()
    for token in ("", "None", AGENTS):
        answer = house.client().post("/v1/nodes/n1/report", json=REPORT, headers={"Authorization": f"Bearer {token}"})
        assert answer.status_code == 401
    assert not is_agents("", None)


def test_a104_a_process_is_told_by_the_base_name_of_its_program_whatever_an_agent_says(house, agent):
    told = "/opt/bin/train --api-key=hunter2"
    agent.post("/v1/nodes/n1/report", json=changed("gpus.0.processes.0.process_name", told))
    [process] = shown(house)["n1"]["gpus"][0]["processes"]
    assert process["process_name"] == "train"
    assert "hunter2" not in house.client("vera").get("/v1/nodes").text


@pytest.mark.parametrize(
    ("place", "value"),
    [
        ("agent", None),
        ("agent", 7),
        ("agent", "x" * 129),
        ("intervalS", 0),
        ("intervalS", 3601.0),
        ("valuesAgeS", -1.0),
        ("cpu", 0),
        ("cpu", True),
        ("cpu", "16"),
        ("memory", "64Gi"),
        ("memory", "1Ki\n"),
        ("trouble", "x" * 501),
        ("gpus", {}),
        ("gpus", [GPU] * 65),
        ("gpus.0", 7),
        ("gpus.0.uuid", None),
        ("gpus.0.minorNumber", "0"),
        ("gpus.0.minorNumber", -1),
        ("gpus.0.minorNumber", False),
        ("gpus.0.utilization.gpuUtil", "high"),
        ("gpus.0.fbMemoryUsage.total", 2**60),
        ("gpus.0.powerReadings.powerDraw", "N/A"),
        ("gpus.0.clocks.smClock", []),
        ("gpus.0.processes.0.pid", -1),
        ("gpus.0.processes.0.used_memory", "N/A"),
    ],
)
def test_what_is_wrong_in_a_report_is_named_with_its_place(house, agent, place, value):
    answer = agent.post("/v1/nodes/n1/report", json=changed(place, value))
    assert answer.status_code == 422
    assert place in [error["path"] for error in answer.json()["errors"]]
    assert "n1" not in shown(house)


@pytest.mark.parametrize("name", ["-n1", "n1.", "n 1", "n1%2Freport", "é", "a" * 254, "%00"])
def test_a_node_has_a_name_as_machines_have(house, agent, name):
    assert agent.post(f"/v1/nodes/{name}/report", json=REPORT).status_code in (400, 404, 405)
    assert list(shown(house)) == ["here"]


@pytest.mark.parametrize("name", ["n1", "ip-10-0-0-7.eu-west-1.compute.internal", "Box_1", "a" * 253])
def test_names_that_machines_have(house, agent, name):
    assert agent.post(f"/v1/nodes/{name}/report", json=REPORT).status_code == 200
    assert name in shown(house)


def test_a_report_that_is_too_large_is_refused_before_it_is_read(house, agent):
    body = json.dumps(REPORT | {"padding": "x" * 65_536})
    answer = agent.post("/v1/nodes/n1/report", content=body, headers={"Content-Type": "application/json"})
    assert answer.status_code == 413
    assert list(shown(house)) == ["here"]


def test_reports_that_are_taken_do_not_fill_the_servers_log(house, agent, caplog):
    with caplog.at_level(logging.INFO, "odin.access"):
        agent.post("/v1/nodes/n1/report", json=REPORT)
        assert caplog.messages == []
        agent.post("/v1/nodes/n1/report", json={})
        assert len(caplog.messages) == 1
    assert AGENTS not in caplog.text
