"""Pipelines over HTTP: launch, list, show, cancel, rerun, clean up, and requests that are repeated."""

import re
import threading

import pytest

RUNNING = {"plan": lambda launch: None}
TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z")
PIPELINE = {
    "id",
    "name",
    "job",
    "version",
    "user",
    "context",
    "status",
    "outcome",
    "errorMessage",
    "submitTime",
    "completionTime",
    "tasks",
}
TASK = {"id", "task", "name", "command", "image", "resourceType", "resourceId", "status", "reason", "attempt", "exitCode", "depends", "submitTime", "startTime", "completionTime"}  # fmt: skip


@pytest.fixture
def client(house):
    house.push("one", "fetch", "train")
    with house.client("edda") as client:
        yield client


@pytest.fixture
def running(make_house):
    house = make_house(**RUNNING)
    house.push("one", "fetch", "train")
    with house.client("edda") as client:
        yield client


def test_a_job_is_launched_and_runs_to_its_end(client):
    answer = client.post("/v1/pipelines", json={"pipeline": {"job": "one"}, "context": {}})
    assert answer.status_code == 200
    assert answer.json()["pipeline"].keys() == {"id", "name", "job"}
    found = client.finished(answer.json()["pipeline"]["id"])
    assert found.keys() >= PIPELINE
    assert (found["status"], found["outcome"], found["user"]) == ("DONE", "succeeded", "edda")
    assert TIME.fullmatch(found["submitTime"])
    assert TIME.fullmatch(found["completionTime"])
    train = found["tasks"][1]
    assert train.keys() >= TASK
    assert train["id"] == train["task"] == f"{found['id']}--train"
    assert (train["status"], train["exitCode"], train["depends"], train["attempt"]) == ("executed", 0, ["fetch"], 1)


def test_no_success_has_a_status_that_old_clients_take_for_a_failure(client):
    pipeline = client.run_job("one")
    client.finished(pipeline)
    for path in ("", f"/{pipeline}"):
        assert "status" not in client.get(f"/v1/pipelines{path}").json()
    for route in ("data", "events"):
        assert "status" not in client.get(f"/v1/resources/{pipeline}/{route}").json()
    for path in ("/healthz", "/readyz", "/v1/app", "/v1/jobs", "/v1/nodes"):
        assert "status" not in client.get(path).json()


@pytest.mark.parametrize(
    ("body", "status"),
    [
        ({"pipeline": {"job": "oen"}}, 404),
        ({"pipeline": {}}, 422),
        ({}, 422),
        ({"pipeline": {"job": 1}}, 422),
        ({"pipeline": {"job": "one"}, "context": []}, 422),
        ({"pipeline": {"job": "one"}, "context": {"a-b": 1}}, 422),
        ({"pipeline": {"job": "one"}, "context": {"a": [[[[[[[[]]]]]]]]}}, 422),
        ({"pipeline": {"job": "one"}, "context": {"a": "x" * 65536}}, 413),
        ({"pipeline": {"job": "broken"}}, 422),
        ({"pipeline": {"job": "empty"}}, 422),
    ],
)
def test_a_launch_that_cannot_be_is_refused_with_the_reason(client, body, status):
    client.post("/v1/jobs", json={"job": {"name": "empty"}})
    client.post("/v1/jobs/broken/files/main.yml?create=1&draft=1", content=b"tasks:\n - nam: x\n")
    answer = client.post("/v1/pipelines", json=body)
    assert answer.status_code == status, answer.text
    if status == 404:
        assert "one" in answer.json()["detail"]
    if "broken" in str(body):
        assert answer.json()["errors"][0]["line"] == 2


def test_pipelines_come_newest_first_in_pages(client):
    ids = [client.run_job("one") for _ in range(5)]
    for pipeline in ids:
        client.finished(pipeline)
    seen, cursor = [], None
    while True:
        page = client.get("/v1/pipelines", params={"limit": 2} | ({"cursor": cursor} if cursor else {})).json()
        seen += [one["id"] for one in page["pipelines"]]
        cursor = page.get("nextCursor")
        if cursor is None:
            break
    assert seen == ids[::-1]


def test_pipelines_are_found_by_what_they_are(client, house):
    house.push("two", "a")
    one, two = client.run_job("one"), client.run_job("two")
    client.finished(one)
    client.finished(two)

    def ids(**params):
        return {found["id"] for found in client.get("/v1/pipelines", params=params).json()["pipelines"]}

    assert ids(q="one-") == ids(job="one") == {one}
    assert ids(status="DONE", outcome="succeeded", user="EDDA") == {one, two}
    assert ids(status="RUNNING") == ids(outcome="failed") == ids(user="ada") == ids(job="three") == set()


@pytest.mark.parametrize("query", ["%", "_", "'", "one%", "one_", "' OR 1=1 --", "\\", "[a-z]", "%00", "é", "x" * 5000])
def test_a27_a_query_is_a_text_and_nothing_else(client, query):
    client.run_job("one")
    for name in ("q", "job", "user"):
        found = client.get("/v1/pipelines", params={name: query}).json()["pipelines"]
        assert [one for one in found if name != "q" or query not in one["id"]] == []


@pytest.mark.parametrize(
    "params",
    [{"status": "x' OR '1"}, {"outcome": "%"}, {"cursor": "0 OR 1=1"}, {"limit": "1; DROP"}, {"cursor": "A" * 200}],
)
def test_a27_other_values_than_the_known_are_refused(client, params):
    assert client.get("/v1/pipelines", params=params).status_code in (400, 422)


@pytest.mark.parametrize("limit", ["0", "-1", "501", "1000000000", "9" * 100, "x", "1.5", "NaN"])
def test_a83_a_page_has_at_most_five_hundred(client, limit):
    assert client.get("/v1/pipelines", params={"limit": limit}).status_code == 422


def test_where_no_id_looks_like_it_the_newest_of_the_same_name_are_named(client, house):
    house.push("two", "a")
    ids = [client.run_job("one") for _ in range(2)]
    client.run_job("two")
    detail = client.get("/v1/pipelines/one-________").json()["detail"]
    assert f"did you mean {ids[1]} or {ids[0]}?" in detail


def test_an_unknown_pipeline_is_answered_with_the_nearest_ids(client):
    pipeline = client.run_job("one")
    near = pipeline[:-1] + ("x" if pipeline[-1] != "x" else "y")
    for method, path in (("GET", ""), ("GET", "/stream"), ("DELETE", ""), ("POST", "/cancel")):
        answer = client.request(method, f"/v1/pipelines/{near}{path}")
        assert answer.status_code == 404
        assert pipeline in answer.json()["detail"]


def test_a_cancelled_pipeline_stops_and_stays(running):
    pipeline = running.run_job("one")
    answer = running.post(f"/v1/pipelines/{pipeline}/cancel")
    assert answer.status_code == 200
    assert answer.json()["pipeline"]["id"] == pipeline
    found = running.finished(pipeline)
    assert found["outcome"] == "cancelled"
    assert running.post(f"/v1/pipelines/{pipeline}/cancel").status_code == 409


def test_only_the_owner_and_admins_stop_a_pipeline(running):
    pipeline = running.run_job("one")
    house = running.house
    house.client("ada").post(
        "/v1/users", json={"user": {"username": "eve", "password": "eve's long password", "role": "editor"}}
    )
    other = house.headers("eve")
    for method, path in (("POST", "/cancel"), ("DELETE", "?fs=true&db=true"), ("DELETE", "?dryRun=true")):
        assert running.request(method, f"/v1/pipelines/{pipeline}{path}", headers=other).status_code == 403
    assert running.post(f"/v1/pipelines/{pipeline}/cancel", headers=house.headers("ada")).status_code == 200


def test_a_pipeline_is_run_again_at_its_own_commit(client, house):
    first = client.finished(client.run_job("one"))
    house.push("one", "fetch", "train", **{"new.txt": b"x"})
    answer = client.post(f"/v1/pipelines/{first['id']}/rerun", json={"from": "start"})
    assert answer.status_code == 200
    second = client.finished(answer.json()["pipeline"]["id"])
    assert second["version"] == first["version"]
    assert second["rerunOf"] == first["id"]


@pytest.mark.parametrize("truth", ["True", "true", "1"])
def test_a_cleanup_says_what_it_did_the_pipeline_first(client, truth):
    pipeline = client.run_job("one")
    client.finished(pipeline)
    plan = client.delete(f"/v1/pipelines/{pipeline}?db={truth}&fs={truth}&dryRun={truth}").json()["cleanups"]
    assert [one["taskId"] for one in plan] == [pipeline, f"{pipeline}--fetch", f"{pipeline}--train"]
    done = client.delete(f"/v1/pipelines/{pipeline}?db={truth}&fs={truth}").json()["cleanups"]
    assert done[0] == {"taskId": pipeline, "cleanedFromK8s": "No", "purgedFromDb": "Yes", "removedFromFs": "Yes"}
    assert client.get(f"/v1/pipelines/{pipeline}").status_code == 404


def test_a_cleanup_without_flags_keeps_files_and_rows(client):
    pipeline = client.run_job("one")
    client.finished(pipeline)
    done = client.delete(f"/v1/pipelines/{pipeline}?db=False&fs=False").json()["cleanups"]
    assert {one["purgedFromDb"] for one in done} == {one["removedFromFs"] for one in done} == {"No"}
    assert client.get(f"/v1/pipelines/{pipeline}").status_code == 200


def test_a_cleanup_of_a_running_pipeline_stops_it_first(running):
    pipeline = running.run_job("one")
    assert running.delete(f"/v1/pipelines/{pipeline}?db=true").status_code == 200
    assert running.house.place.running == {}


def launch(client, key, job="one"):
    return client.post("/v1/pipelines", json={"pipeline": {"job": job}}, headers={"Idempotency-Key": key})


def count(client):
    return len(client.get("/v1/pipelines").json()["pipelines"])


def test_f70_a_repeated_launch_is_one_pipeline(client):
    answers = [launch(client, "k1") for _ in range(100)]
    assert {answer.status_code for answer in answers} == {200}
    assert len({answer.json()["pipeline"]["id"] for answer in answers}) == 1
    assert count(client) == 1


def test_f70_twins_in_flight_are_one_pipeline(client):
    answers = []
    threads = [threading.Thread(target=lambda: answers.append(launch(client, "k1"))) for _ in range(10)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len({answer.json()["pipeline"]["id"] for answer in answers}) == 1
    assert count(client) == 1


def test_f70_the_same_key_for_something_else_is_refused(client, house):
    house.push("two", "a")
    assert launch(client, "k1").status_code == 200
    refused = launch(client, "k1", job="two")
    assert refused.status_code == 422
    assert "Idempotency-Key" in refused.json()["detail"]
    assert count(client) == 1


def test_f70_keys_of_different_users_have_nothing_to_do_with_each_other(client, house):
    first = launch(client, "k1")
    client.headers.update(house.headers("ada"))
    assert launch(client, "k1").json() != first.json()


def test_f70_a_repeated_rerun_and_cancel_answer_as_the_first(running):
    pipeline = running.run_job("one")
    headers = {"Idempotency-Key": "k1"}
    first, second = (running.post(f"/v1/pipelines/{pipeline}/cancel", headers=headers) for _ in range(2))
    assert first.status_code == second.status_code == 200
    assert first.content == second.content
    running.finished(pipeline)
    again = [running.post(f"/v1/pipelines/{pipeline}/rerun", json={"from": "start"}, headers=headers) for _ in range(3)]
    assert len({answer.content for answer in again}) == 1
    assert count(running) == 2


def test_f70_a_failed_request_may_be_tried_again_with_its_key(client, house):
    assert launch(client, "k1", job="later").status_code == 404
    house.push("later", "a")
    assert launch(client, "k1", job="later").status_code == 200


@pytest.mark.parametrize("key", ["", "x" * 256, "ä", "a\tb"])
def test_f70_a_key_is_short_plain_text(client, key):
    answer = client.post("/v1/pipelines", json={"pipeline": {"job": "one"}}, headers={"Idempotency-Key": key.encode()})
    assert answer.status_code == 400
