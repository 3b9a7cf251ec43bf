"""What a pipeline and its tasks can do themselves, and listings that come by the page."""

from __future__ import annotations

from typing import Any

import pytest

from integration.cli.scripted import Scripted, body, events, frame, pipeline, task
from odin import Client, NotFound, Pipeline, Usage

ID, TASK = "hello-ab12cd34", "hello-ab12cd34--train"


@pytest.fixture
def one(server: Scripted, client: Client) -> Pipeline:
    server.on(f"GET /v1/pipelines/{ID}", body({"pipeline": pipeline(None)}), body({"pipeline": pipeline("failed")}))
    return client.pipeline(ID)


def test_it_is_as_it_was_until_it_is_asked_again(one: Pipeline) -> None:
    assert (one.over, one.task_counts) == (False, {"executed": 1, "executing": 1})
    assert one.refresh() is one
    assert (one.over, one.outcome, one.task_counts) == (True, "failed", {"executed": 1, "failed": 1})


def test_what_is_over_is_not_waited_for(server: Scripted, one: Pipeline) -> None:
    assert one.refresh().wait() is one
    assert not server.asked(f"GET /v1/pipelines/{ID}/stream")


def test_it_is_cancelled_run_again_and_cleaned_up(server: Scripted, one: Pipeline) -> None:
    server.on(f"POST /v1/pipelines/{ID}/cancel", body({"pipeline": pipeline("cancelled")}))
    server.on(f"POST /v1/pipelines/{ID}/rerun", body({"pipeline": {"id": "hello-2", "name": "hello", "job": "hello"}}))
    words = {"taskId": ID, "cleanedFromK8s": "No", "purgedFromDb": "No", "removedFromFs": "Yes"}
    server.on(f"DELETE /v1/pipelines/{ID}?fs=true", body({"cleanups": [words]}))
    assert one.cancel().outcome == "cancelled"
    assert one.rerun().id == "hello-2"
    (cleanup,) = one.cleanup(fs=True)
    assert (cleanup.task_id, cleanup.cleaned, cleanup.removed, cleanup.purged) == (ID, False, True, False)
    assert repr(cleanup) == f"<Cleanup {ID} removed>"


def test_it_is_resumed_and_the_plan_of_that_is_shown(server: Scripted, one: Pipeline) -> None:
    steps = [
        {"name": "fetch", "action": "keep", "why": f"kept from {ID}"},
        {"name": "train", "action": "run", "why": "asked for"},
    ]
    told = {"pipeline": ID, "job": "hello", "version": "3f2a9c1e", "tasks": steps, "gone": ["old"]}
    made = {"pipeline": {"id": "hello-2", "name": "hello", "job": "hello"}}
    route = f"POST /v1/pipelines/{ID}/rerun"
    server.on(route, body({"plan": told, "warnings": ["train.py changed"]}), body(made))
    plan = one.plan(from_task="train", at="HEAD")
    assert (plan.names("run"), plan.names("keep"), plan.gone) == (["train"], ["fetch"], ["old"])
    assert plan.warnings == ["train.py changed"]
    assert repr(plan) == f"<Plan {ID}: keeps 1, runs 1>"
    assert one.resume(from_task="train", at="HEAD", context={"lr": 0.1}).id == "hello-2"
    chosen = {"fromTask": "train", "at": "HEAD"}
    assert [each.json for each in server.asked(route)] == [chosen | {"plan": True}, chosen | {"context": {"lr": 0.1}}]


def test_more_than_one_choice_of_what_to_resume_is_refused(one: Pipeline) -> None:
    with pytest.raises(Usage, match="choose one"):
        one.resume(from_task="train", only="train")


def test_its_logs_data_and_events(server: Scripted, client: Client, one: Pipeline) -> None:
    for name in ("fetch", "train"):
        server.on(f"GET /v1/resources/{ID}--{name}/logs", body({"logs": name, "offset": 0, "size": 5}))
    for thing in (ID, TASK):
        server.on(f"GET /v1/resources/{thing}/data", body({"success": True, "jobs": {"label": thing}}))
        event = {"id": f"{thing}.1", "eventType": "Warning", "reason": "failed"}
        server.on(f"GET /v1/resources/{thing}/events", body({"events": [event]}))
    assert one.logs() == {"fetch": "fetch", "train": "train"}
    assert (one.log("train"), one.task(TASK).log()) == ("train", "train")
    assert client.log_part(TASK).size == 5
    for thing in (one, client.task(f"{TASK}--2")):
        assert thing.data()["label"] == thing.id
        assert [(event.id, event.event_type) for event in thing.events()] == [(f"{thing.id}.1", "Warning")]


def test_a_task_that_it_has_not_is_named(one: Pipeline) -> None:
    with pytest.raises(NotFound, match=rf'pipeline "{ID}" has no task "trian"; did you mean train\?'):
        one.task("trian")


def test_what_a_launch_warns_of_is_told_at_once(server: Scripted, client: Client, said: list[str]) -> None:
    made = {"id": ID, "name": "hello", "job": "hello"}
    warnings = (["no template uses epoch of the context"], [f"place {number}" for number in range(7)])
    server.on("POST /v1/pipelines", *(body({"pipeline": made, "warnings": told}) for told in warnings))
    assert client.run("hello", {"epoch": 5}).id == ID
    assert said == ["note: no template uses epoch of the context"]
    client.run("hello")
    assert said[-2:] == ["note: place 4", "note: and 2 more; they are kept with the pipeline"]


@pytest.mark.parametrize(
    ("context", "told"), [({"lr": {1}}, "lr of the context cannot be sent"), ("lr=1", "is a dict")]
)
def test_a_context_that_is_no_json_is_refused_by_its_name(client: Client, context: Any, told: str) -> None:
    with pytest.raises(Usage, match=told):
        client.run("hello", context)


def test_the_files_that_were_rendered_for_it(server: Scripted, one: Pipeline) -> None:
    files = [{"name": "main.yml", "bytes": 3}, {"name": "conf/a b.ini", "bytes": 4}]
    server.on(f"GET /v1/pipelines/{ID}/files", body({"files": files}))
    server.on(f"GET /v1/pipelines/{ID}/files/main.yml", body(b"a: 1", kind="text/plain"))
    server.on(f"GET /v1/pipelines/{ID}/files/conf/a%20b.ini", body("ü=1".encode(), kind="text/plain"))
    assert one.files() == {"main.yml": "a: 1", "conf/a b.ini": "ü=1"}


def test_a_listing_is_fetched_by_the_page_as_it_is_read(server: Scripted, client: Client) -> None:
    def page(*names: str) -> list[dict[str, object]]:
        return [pipeline(id=name) for name in names]

    server.on("GET /v1/pipelines?limit=100", body({"pipelines": page("a", "b"), "nextCursor": "x y"}))
    server.on("GET /v1/pipelines?limit=100&cursor=x%20y", body({"pipelines": [], "nextCursor": "z"}))
    server.on("GET /v1/pipelines?limit=100&cursor=z", body({"pipelines": page("c")}))
    found = client.pipelines()
    assert (found[0].id, repr(found), len(server.requests)) == ("a", "<Pipelines 2 and more>", 1)
    assert [one.id for one in found] == ["a", "b", "c"] == [one.id for one in found]
    assert (found[2].id, len(server.requests)) == ("c", 3)
    for index in (3, -1):
        with pytest.raises(IndexError):
            found[index]


def test_a_limited_listing_asks_for_no_more(server: Scripted, client: Client) -> None:
    rows = [pipeline(id=str(number)) for number in range(3)]
    server.on("GET /v1/pipelines?limit=3", body({"pipelines": rows, "nextCursor": "x"}))
    assert [one.id for one in client.pipelines(limit=3)] == ["0", "1", "2"]
    assert (list(client.pipelines(limit=0)), len(server.requests)) == ([], 1)


def test_a_listing_as_one_answer_of_the_api(server: Scripted, client: Client) -> None:
    rows = [pipeline(id=str(number)) for number in range(3)]
    server.on("GET /v1/pipelines?limit=500", body({"pipelines": rows[:2], "nextCursor": "x"}))
    server.on("GET /v1/pipelines?limit=500&cursor=x", body({"pipelines": rows[2:]}))
    server.on("GET /v1/pipelines?limit=2", body({"pipelines": rows[:2], "nextCursor": "x"}))
    assert client.pipelines().raw == {"pipelines": rows}
    assert client.pipelines(limit=2).raw == {"pipelines": rows[:2], "nextCursor": "x"}


def test_a_change_says_what_it_is(server: Scripted, client: Client) -> None:
    done = pipeline("failed")
    ended = frame("end", done, 5)
    server.on(f"GET /v1/pipelines/{ID}/stream", events(frame("task", task("train", "failed"), 4), ended))
    first, last = client.follow(ID)
    assert (repr(first), repr(last)) == (f"<Change task {TASK} failed>", f"<Change end {ID} failed>")
    assert first.pipeline is None
    assert first.task is not None
    assert last.task is None
    assert last.pipeline is not None
    assert (first.task.exit_code, last.pipeline.outcome) == (2, "failed")
