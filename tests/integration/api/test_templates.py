"""Launching a job with templates over HTTP: its context, its files, and the server while a template burns."""

import re
import threading
import time
from functools import partial

import pytest

from odin.jobs.values import Author
from odin.model.errors import Conflict, ValidationFailed

MAIN = b"""\
tasks:
{% for lr in rates %}
  - name: train-{{ loop.index }}
    command: [train, "--lr", "{{ lr }}", "--conf", "${WORK_PATH}/conf/train.yml"]
{% endfor %}
"""
FILES = {"main.yml.jinja2": MAIN, "conf/train.yml.jinja2": b"epochs: {{ epochs }}\nmodel: {{ model | tojson }}\n"}
CONTEXT = {"rates": [0.1, 0.2], "epochs": "5", "model": {"name": "<b>", "deep": True}}


@pytest.fixture
def launched():
    """What the place was given to launch."""
    return []


@pytest.fixture
def house(make_house, launched):
    return make_house(plan=lambda launch: launched.append(launch) or 0)


@pytest.fixture
def client(house):
    house.repository.write("sweep", FILES, Author("edda"), create=True)
    with house.client("edda") as client:
        yield client


def launch(client, job="sweep", context=CONTEXT, **headers):
    return client.post("/v1/pipelines", json={"pipeline": {"job": job}, "context": context}, headers=headers)


def test_a_job_is_rendered_with_the_context_of_its_launch(client, house, launched):
    identity = launch(client).json()["pipeline"]["id"]
    found = client.finished(identity)
    assert (found["outcome"], found["context"], found["warnings"]) == ("succeeded", CONTEXT, [])
    work = house.shared / "runs" / identity / ".odin" / "work"
    assert [task["name"] for task in found["tasks"]] == ["train-1", "train-2"]
    argv = {("train", "--lr", lr, "--conf", f"{work}/conf/train.yml") for lr in ("0.1", "0.2")}
    assert {launch.argv for launch in launched} == argv
    assert launched[0].env["ODIN_WORK_PATH"] == str(work)
    assert launched[0].env["ODIN_ROOT_PATH"] == str(house.shared / "checkouts" / found["version"])
    assert (work / "conf" / "train.yml").read_text() == 'epochs: 5\nmodel: {"name": "<b>", "deep": true}\n'
    assert (work / "main.yml").is_file()
    assert not (work / "main.yml.jinja2").exists()


def test_the_rendered_files_are_shown_with_the_pipeline_whatever_tasks_do_to_theirs(client, house):
    identity = launch(client).json()["pipeline"]["id"]
    client.finished(identity)
    work = house.shared / "runs" / identity / ".odin" / "work"
    (work / "conf").chmod(0o700)
    (work / "conf" / "train.yml").unlink()
    (work / "conf" / "train.yml").symlink_to("/etc/passwd")
    files = client.get(f"/v1/pipelines/{identity}/files").json()["files"]
    assert [file["name"] for file in files] == ["conf/train.yml", "main.yml"]
    shown = client.get(f"/v1/pipelines/{identity}/files/conf/train.yml")
    assert shown.text == 'epochs: 5\nmodel: {"name": "<b>", "deep": true}\n'
    assert files[0]["bytes"] == len(shown.content)
    assert (shown.headers["content-type"], shown.headers["content-security-policy"][:7]) == (
        "text/plain; charset=utf-8",
        "sandbox",
    )
    missing = client.get(f"/v1/pipelines/{identity}/files/conf/trian.yml")
    assert missing.status_code == 404
    assert "conf/train.yml" in missing.json()["detail"]
    assert client.get("/v1/pipelines/nope-00000000/files").status_code == 404


def test_a_pipeline_without_templates_has_no_rendered_files(client, house):
    house.push("one", "a")
    identity = client.run_job("one")
    assert client.get(f"/v1/pipelines/{identity}/files").json() == {"files": []}
    client.finished(identity)


def test_a_rerun_has_the_same_context_at_the_same_commit(client, house):
    first = client.finished(launch(client).json()["pipeline"]["id"])
    client.post("/v1/jobs/sweep/files/conf/train.yml.jinja2", content=b"other: {{ other }}\n")
    answer = client.post(f"/v1/pipelines/{first['id']}/rerun", json={"from": "start"})
    again = client.finished(answer.json()["pipeline"]["id"])
    assert (again["context"], again["version"], again["rerunOf"]) == (CONTEXT, first["version"], first["id"])
    texts = [client.get(f"/v1/pipelines/{one['id']}/files/conf/train.yml").text for one in (first, again)]
    assert texts[0] == texts[1]


def test_a_launch_that_cannot_be_rendered_is_refused_with_every_place(client, house):
    answer = launch(client, context={"rate": [1], "epoch": 5, "model": 1})
    assert answer.status_code == 422
    told = {error["file"]: (error["line"], error["message"]) for error in answer.json()["errors"]}
    assert told == {
        "sweep/conf/train.yml.jinja2": (
            1,
            "epochs is not in the context; add --x:epochs VALUE, or did you mean epoch?",
        ),
        "sweep/main.yml.jinja2": (2, "rates is not in the context; add --x:rates VALUE, or did you mean rate?"),
    }
    assert client.get("/v1/pipelines").json()["pipelines"] == []


def test_a_name_that_no_template_uses_is_a_warning(client, house):
    house.push("one", "a")
    answer = launch(client, context=CONTEXT | {"epoch": 1}).json()
    told = client.finished(answer["pipeline"]["id"])["warnings"]
    assert answer["warnings"] == told == ["no template uses epoch of the context; did you mean epochs?"]
    told = client.finished(launch(client, job="one").json()["pipeline"]["id"])["warnings"]
    assert told == ["the job has no templates, so its context is not used: rates, epochs, model"]


def test_a_repeated_launch_with_another_context_is_refused(client):
    first = launch(client, **{"Idempotency-Key": "k"})
    assert launch(client, **{"Idempotency-Key": "k"}).content == first.content
    assert launch(client, context=CONTEXT | {"epochs": 6}, **{"Idempotency-Key": "k"}).status_code == 422
    client.finished(first.json()["pipeline"]["id"])


def test_a_job_whose_main_yml_is_a_template_is_shown_without_tasks(client):
    job = client.get("/v1/jobs/sweep").json()["job"]
    assert job["tasks"] == []
    assert "problems" not in job
    assert {config["name"]: config["content"] for config in job["configs"]} == {"main.yml.jinja2": MAIN.decode()}
    assert client.put("/v1/jobs/sweep", json={"job": job}).status_code == 200


def test_cleaning_up_removes_rendered_rows_and_the_work_folder(client, house):
    identity = client.finished(launch(client).json()["pipeline"]["id"])["id"]
    assert client.delete(f"/v1/pipelines/{identity}?db=true&fs=true").status_code == 200
    assert house.queries.rendered(identity) == {}
    assert not (house.shared / "runs" / identity).exists()


def test_a25_a_context_value_that_looks_like_a_variable_stays_literal_in_a_file(client, house):
    values = ["${PIPE_ID}", "$RUN_PATH", "{^a.b}", "^a.outputs.b", "$$"]
    context = {"rates": [1], "epochs": " ".join(values), "model": values}
    identity = launch(client, context=context).json()["pipeline"]["id"]
    client.finished(identity)
    text = client.get(f"/v1/pipelines/{identity}/files/conf/train.yml").text
    assert text.splitlines()[0] == f"epochs: {' '.join(values)}"
    assert (house.shared / "runs" / identity / ".odin" / "work" / "conf" / "train.yml").read_text() == text


def test_a25_a_rendered_reference_to_what_is_no_task_is_refused_at_submit(client):
    client.post(
        "/v1/jobs/refers/files/main.yml.jinja2?create=true",
        content=b"tasks: [{name: a, command: x}, {name: b, command: x, args: ['{{ ref }}']}]",
    )
    refused = launch(client, job="refers", context={"ref": "^nobody.outputs.x"})
    assert (refused.status_code, "nobody" in refused.json()["detail"]) == (422, True)


def generate(client, *args, **kwargs):
    house = client.house
    return client.portal.call(partial(house.services.commands.generate, *args, house.users.get("edda"), **kwargs))


def test_a_job_is_made_of_a_template_and_runs(client, house):
    context = {"rates": [1], "epochs": 2, "model": None}
    made = generate(client, "sweep", context, name="made__one")
    assert made == "made/one"
    other = generate(client, "sweep", context)
    assert re.fullmatch(r"sweep-[0-9a-z]{8}", other)
    with pytest.raises(Conflict, match="exists already"):
        generate(client, "sweep", context, name="made/one")
    with pytest.raises(ValidationFailed, match="not in the context"):
        generate(client, "sweep", {}, name="made/two")
    assert {config["name"] for config in client.get("/v1/jobs/made__one").json()["job"]["configs"]} == set()
    assert client.get("/v1/jobs/made__one/files/conf/train.yml").text == "epochs: 2\nmodel: null\n"
    found = client.finished(client.run_job("made/one"))
    assert (found["outcome"], [task["name"] for task in found["tasks"]]) == ("succeeded", ["train-1"])
    assert client.get(f"/v1/pipelines/{found['id']}/files").json() == {"files": []}


BURNING = {
    "memory": "{{ 'a' * 10**9 }}",
    "time": "{% for i in range(99999) %}{% for j in range(99999) %}{% endfor %}{% endfor %}",
    "output": "{% for i in range(99999) %}{{ 'a' * 1000 }}{% endfor %}",
}


def test_a24_burning_templates_are_refused_while_the_server_answers_others(make_house):
    """Twelve of them at once, which render two at a time; the others' answers come meanwhile."""
    house = make_house()
    with house.client("edda") as client:
        for name, text in BURNING.items():
            draft = client.post(
                f"/v1/jobs/{name}/files?create=true&draft=true",
                files=[
                    ("file", ("main.yml", b"tasks: [{name: a, command: x}]")),
                    ("file", ("a.jinja2", text.encode())),
                ],
            )
            assert draft.status_code == 200, draft.text
        answers = []
        threads = [
            threading.Thread(target=lambda name=name: answers.append(launch(client, job=name, context={})))
            for name in [*BURNING] * 4
        ]
        for thread in threads:
            thread.start()
        slowest = asked = 0
        while any(thread.is_alive() for thread in threads):
            begun = time.monotonic()
            assert client.get("/v1/pipelines").status_code == 200
            slowest, asked = max(slowest, time.monotonic() - begun), asked + 1
        for thread in threads:
            thread.join()
    assert [answer.status_code for answer in answers] == [422] * 12
    assert {
        next(word for word in ("256 MiB", "2 s of CPU", "1 MiB together") if word in answer.text) for answer in answers
    }
    assert asked > 20
    assert slowest < 2.0, "the server waited for a template"
