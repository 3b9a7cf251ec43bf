"""Data, events and logs of pipelines and tasks; the server's own facts."""

import pytest

PIPELINE = {
    "label",
    "job",
    "version",
    "status",
    "submit_time",
    "completion_time",
    "executed",
    "executing",
    "waiting",
    "jobs",
    "parent",
    "error_message",
}
TASK = {"label", "parent", "name", "command", "args", "image", "resource_type", "resource_id", "num_gpus", "node_selector", "pull_policy", "inputs", "outputs", "submit_time", "completion_time", "attempts"}  # fmt: skip


@pytest.fixture
def client(house):
    house.push("one", "fetch", "train")
    with house.client("vera") as client:
        yield client


@pytest.fixture
def pipeline(client, house):
    found = client.run_job("one", **house.headers("edda"))
    client.finished(found)
    return found


def test_the_data_of_a_pipeline(client, pipeline):
    body = client.get(f"/v1/resources/{pipeline}/data").json()
    assert body["success"] is True
    assert body["jobs"].keys() >= PIPELINE
    assert body["jobs"]["executed"] == body["jobs"]["jobs"] == [f"{pipeline}--fetch", f"{pipeline}--train"]


def test_the_data_of_a_task_by_its_name_or_that_of_an_attempt(client, pipeline):
    for resource in (f"{pipeline}--fetch", f"{pipeline}--fetch--1"):
        found = client.get(f"/v1/resources/{resource}/data").json()["jobs"]
        assert found.keys() >= TASK
        assert (found["label"], found["parent"]) == (f"{pipeline}--fetch", pipeline)
        assert [one["exit_code"] for one in found["attempts"]] == [0]


def test_events_are_oldest_first_and_those_of_a_task_its_own(client, pipeline):
    whole = client.get(f"/v1/resources/{pipeline}/events").json()["events"]
    assert [one["reason"] for one in whole][::-1][0] == "succeeded"
    assert whole[0].keys() == {"id", "eventType", "reason", "source", "message", "timestamp"}
    assert [one["timestamp"] for one in whole] == sorted(one["timestamp"] for one in whole)
    own = client.get(f"/v1/resources/{pipeline}--train/events").json()["events"]
    assert own == [one for one in whole if one["message"].startswith("train: ")]
    assert own


def test_an_unknown_task_is_answered_with_the_nearest_names(client, pipeline):
    for route in ("data", "events", "logs"):
        answer = client.get(f"/v1/resources/{pipeline}--fetsh/{route}")
        assert answer.status_code == 404
        assert f"{pipeline}--fetch" in answer.json()["detail"]


@pytest.mark.parametrize(
    "name",
    [
        "..",
        "etc",
        "a%2Fb",
        "a%00",
        "a--b--c--d",
        "kube-system",
        "--",
        "one--",
        "x" * 3000,
        "%F0%9F%90%8E",
        "a--b--" + "9" * 400,
    ],
)
def test_a58_what_is_not_odins_is_not_there(client, house, pipeline, name):
    house.write_log("stranger", b"a secret")
    for route in ("data", "events", "logs", "logs?follow=true"):
        assert client.get(f"/v1/resources/{name}/{route}").status_code in (400, 404)
    assert client.get("/v1/resources/stranger/logs").status_code == 404


def test_a_log_whole_and_in_part(client, house, pipeline):
    house.write_log(f"{pipeline}--fetch", b"one\ntwo\nthree\n")
    route = f"/v1/resources/{pipeline}--fetch/logs"
    assert client.get(route).json()["logs"] == "one\ntwo\nthree\n"
    assert client.get(route, params={"lines": 1}).json()["logs"] == "three\n"
    assert client.get(route, params={"lines": 0}).json()["logs"] == ""
    assert client.get(route, params={"lines": 10**9}).json()["logs"] == "one\ntwo\nthree\n"
    assert client.get(route, params={"offset": 4}).json()["logs"].endswith("two\nthree\n")
    assert client.get(route, params={"attempt": 1, "container": "main"}).json()["logs"] == "one\ntwo\nthree\n"
    assert client.get(route, params={"follow": "true", "lines": 2}).text == "two\nthree\n"
    assert client.get(route, headers={"Accept": "text/plain"}).text == "one\ntwo\nthree\n"
    assert client.get(route, params={"follow": "True", "offset": 4}).text == "two\nthree\n"


@pytest.mark.parametrize(
    "params", [{"lines": -1}, {"offset": -1}, {"attempt": 0}, {"lines": "x"}, {"offset": 10**30}, {"lines": 10**10}]
)
def test_a83_parts_of_logs_that_cannot_be_are_refused(client, pipeline, params):
    assert client.get(f"/v1/resources/{pipeline}--fetch/logs", params=params).status_code == 422


def test_a_log_beyond_its_end_is_empty_and_an_attempt_that_never_was_is_unknown(client, house, pipeline):
    house.write_log(f"{pipeline}--fetch", b"one\n")
    route = f"/v1/resources/{pipeline}--fetch/logs"
    assert client.get(route, params={"offset": 10**9}).json()["size"] == 4
    assert client.get(route, params={"attempt": 2}).status_code == 404
    assert client.get(f"/v1/resources/{pipeline}--fetch--7/logs").status_code == 404


def test_a_task_that_wrote_nothing_has_an_empty_log(client, pipeline):
    assert client.get(f"/v1/resources/{pipeline}--fetch/logs").json()["logs"] == ""
    assert client.get(f"/v1/resources/{pipeline}--fetch/logs?follow=true").text == ""


def test_the_logs_of_a_pipeline_are_those_of_its_tasks_each_under_its_id(client, house, pipeline):
    house.write_log(f"{pipeline}--fetch", b"one\ntwo")
    house.write_log(f"{pipeline}--train", b"three\nfour\n")
    route = f"/v1/resources/{pipeline}/logs"
    heads = [f"==> {pipeline}--{name} <==\n" for name in ("fetch", "train")]
    assert client.get(route).json() == {"logs": f"{heads[0]}one\ntwo\n\n{heads[1]}three\nfour\n"}
    assert client.get(route, params={"lines": 1}).json() == {"logs": f"{heads[0]}two\n\n{heads[1]}four\n"}


def test_a83_the_logs_of_a_pipeline_have_ten_mebibytes_together(client, house, pipeline):
    for name in ("fetch", "train"):
        house.write_log(f"{pipeline}--{name}", b"x" * 1023 + b"\n" + b"y" * 1023 + b"\n" * (10 << 20))
    text = client.get(f"/v1/resources/{pipeline}/logs").json()["logs"]
    assert 10 << 20 <= len(text) < (10 << 20) + 1000
    assert text.count("bytes before this are left out]") == 2


@pytest.mark.parametrize("params", [{"follow": "true"}, {"offset": 1}, {"attempt": 1}])
def test_a_pipeline_has_no_log_of_its_own_but_its_tasks_are_named(client, pipeline, params):
    answer = client.get(f"/v1/resources/{pipeline}/logs", params=params)
    assert answer.status_code == 404
    assert f"{pipeline}--fetch" in answer.json()["detail"]


def test_the_server_says_what_it_is(client):
    facts = client.get("/v1/app").json()
    assert {
        "pipelines_root",
        "pipelines_version",
        "pipelines_repo_dirty",
        "version",
        "executor",
        "database",
    } <= facts.keys()
    assert (facts["executor"], facts["database"]) == ("local", "sqlite")
    assert client.get("/v1/ping").json() == "pong"
    assert client.get("/v1/nodes").json()["nodes"][0]["host"] == "here"


def test_readiness_follows_the_engine(client, house):
    assert client.get("/readyz").status_code == 200
    house.engine._turns.failure = "it broke"
    answer = client.get("/readyz")
    assert answer.status_code == 503
    assert "retry-after" in answer.headers
    assert client.get("/healthz").status_code == 200
    house.engine._turns.failure = None


def test_metrics_count_what_was_answered(client, pipeline):
    client.get("/v1/jobs/nothing")
    text = client.get("/metrics").text
    assert 'odin_http_requests_total{method="GET",route="/v1/jobs/{job}",status="404"} 1\n' in text
    assert 'odin_pipelines{status="DONE"} 1\n' in text


def test_every_route_is_described(client, house):
    document = client.get("/v1/openapi.json").json()
    described = {(method.upper(), path) for path, routes in document["paths"].items() for method in routes}
    assert len(described) == len([r for r in house.app.routes if r.path not in ("/git/jobs.git", "/v1/ws")])
    assert ("POST", "/v1/jobs/{job}/files/{file}") in described
