"""Going on from a pipeline that is over: what the route takes, tells and refuses."""

import pytest

from odin.jobs.values import Author

SHA = "0" * 40


@pytest.fixture
def house(make_house):
    """``train`` fails until ``works`` is set."""
    works = []
    house = make_house(plan=lambda launch: 0 if works or launch.origin.task != "train" else 3)
    house.works = works
    house.push("one", "fetch", "train", "report")
    return house


@pytest.fixture
def client(house):
    with house.client("edda") as client:
        yield client


@pytest.fixture
def failed(client):
    return client.finished(client.run_job("one"))["id"]


def again(client, pipeline, **body):
    key = {"Idempotency-Key": body.pop("key")} if "key" in body else {}
    return client.post(f"/v1/pipelines/{pipeline}/rerun", json=body, headers=key)


def resumed(client, pipeline, **body):
    answer = again(client, pipeline, **body)
    assert answer.status_code == 200, answer.text
    return client.finished(answer.json()["pipeline"]["id"])


def launches(house, pipeline):
    return [attempt.split("--")[1] for attempt in house.place.starts if attempt.startswith(f"{pipeline}--")]


@pytest.mark.parametrize("body", [{}, {"from": "failed"}, {"fromTask": "train"}])
def test_what_failed_runs_again_and_what_succeeded_is_kept(client, house, failed, body):
    house.works.append(True)
    found = resumed(client, failed, **body)
    assert (found["outcome"], found["rerunOf"]) == ("succeeded", failed)
    assert [task["keptFrom"] for task in found["tasks"]] == [failed, None, None]
    assert launches(house, found["id"]) == ["train", "report"]


def test_the_older_pipeline_names_those_that_go_on_from_it(client, house, failed):
    assert "reruns" not in client.get(f"/v1/pipelines/{failed}").json()
    house.works.append(True)
    ids = [resumed(client, failed)["id"] for _ in range(2)]
    assert client.get(f"/v1/pipelines/{failed}").json()["reruns"] == ids


def test_one_task_alone(client, house, failed):
    house.works.append(True)
    found = resumed(client, failed, only="train")
    assert [task["status"] for task in found["tasks"]] == ["executed", "executed", "skipped"]
    assert (found["outcome"], launches(house, found["id"])) == ("succeeded", ["train"])
    assert again(client, failed, only="report").status_code == 409


def test_the_plan_is_told_and_nothing_begins(client, house, failed):
    answer = again(client, failed, plan=True)
    assert answer.status_code == 200
    told = answer.json()["plan"]
    assert told == {
        "pipeline": failed,
        "job": "one",
        "version": house.repository.head(),
        "tasks": [
            {"name": "fetch", "action": "keep", "why": f"kept from {failed}"},
            {"name": "train", "action": "run", "why": "it failed"},
            {"name": "report", "action": "run", "why": "it did not run"},
        ],
        "gone": [],
    }
    assert len(client.get("/v1/pipelines").json()["pipelines"]) == 1


def test_the_newest_commit_or_any_other(client, house, failed):
    old, new = house.repository.head(), house.push("one", "fetch", "train", "report", note=b"x").version
    house.works.append(True)
    assert resumed(client, failed, at="HEAD")["version"] == new
    assert resumed(client, failed, at=old)["version"] == resumed(client, failed)["version"] == old
    assert again(client, failed, at="HEAD~1").status_code == 400
    assert again(client, failed, at=SHA).status_code == 404


def test_files_that_have_changed_are_told(client, house, failed):
    house.push("one", "fetch", "train", "report", **{"train.py": b"x"})
    kept_with = again(client, failed, plan=True, at="HEAD").json()["warnings"]
    assert kept_with == ["the tasks that are kept ran with other versions of train.py"]
    assert "since then train.py changed" in again(client, failed, plan=True).json()["warnings"][0]


def test_a_task_that_the_job_has_no_more_is_named(client, house, failed):
    house.push("one", "fetch", "train")
    told = again(client, failed, plan=True, at="HEAD").json()["plan"]
    assert told["gone"] == ["report"]
    assert again(client, failed, at="HEAD", fromTask="report").status_code == 404


def test_a_context_is_put_over_the_earlier_one(client, house):
    main = '{"tasks": [{"name": "a", "command": "true"}, {"name": "b", "command": "true", "args": ["{{ lr }}"]}]}'
    house.repository.write("sweep", {"main.yml.jinja2": main.encode()}, Author("edda"), create=True)
    body = {"pipeline": {"job": "sweep"}, "context": {"lr": 1, "seed": 7}}
    first = client.finished(client.post("/v1/pipelines", json=body).json()["pipeline"]["id"])
    assert again(client, first["id"]).status_code == 409
    found = resumed(client, first["id"], context={"lr": 2})
    assert found["context"] == {"lr": 2, "seed": 7}
    assert launches(house, found["id"]) == ["b"]


@pytest.mark.parametrize(
    ("body", "status"),
    [
        ({"from": "middle"}, 422),
        ({"from": "start", "x": 1}, 422),
        ({"from": "start", "only": "train"}, 422),
        ({"fromTask": "train", "only": "train"}, 422),
        ({"context": {"a-b": 1}}, 422),
        ({"fromTask": "trian"}, 404),
        ({"only": 1}, 422),
        ({"plan": "yes"}, 422),
    ],
)
def test_what_cannot_be_is_refused(client, failed, body, status):
    answer = again(client, failed, **body)
    assert answer.status_code == status, answer.text
    if status == 404:
        assert "did you mean train" in answer.json()["detail"]


def test_a_pipeline_of_which_nothing_needs_to_run_is_refused(client, house):
    house.works.append(True)
    done = client.finished(client.run_job("one"))["id"]
    answer = again(client, done)
    assert answer.status_code == 409
    assert "every task ended well" in answer.json()["detail"]


def test_a_running_pipeline_is_refused_with_the_remedy(make_house):
    house = make_house(plan=lambda launch: None)
    house.push("one", "fetch")
    with house.client("edda") as client:
        pipeline = client.run_job("one")
        answer = again(client, pipeline)
        assert answer.status_code == 409
        assert "cancel it first" in answer.json()["detail"]


def test_f70_a_repeated_resumption_is_one(client, house, failed):
    house.works.append(True)
    answers = [again(client, failed, key="k1") for _ in range(3)]
    assert len({answer.content for answer in answers}) == 1
    assert again(client, failed, key="k1", only="train").status_code == 422
    assert len(client.get(f"/v1/pipelines/{failed}").json()["reruns"]) == 1
