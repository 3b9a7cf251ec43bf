"""The Python client against a real server: the notebook of the examples, and following over restarts."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

from e2e.jobs import job, task
from e2e.serving import DEADLINE_S, Serving
from odin import Client

NOTEBOOK = Path(__file__).parents[2] / "examples/notebook/first_pipeline.py"


@pytest.fixture
def client(odin: Serving) -> Client:
    return Client(odin.url, token=odin.api().token)


def test_the_notebook_runs_from_end_to_end(odin: Serving) -> None:
    env = {**odin.person().environment(), "ODIN_TOKEN": str(odin.api().token)}
    done = subprocess.run([sys.executable, NOTEBOOK], env=env, capture_output=True, text=True, timeout=DEADLINE_S)
    assert (done.returncode, done.stderr) == (0, "")
    lines = done.stdout.splitlines()
    assert lines[0].startswith("<Change pipeline notebook-")
    assert any(line.startswith("<Change task ") and line.endswith("--count executed>") for line in lines)
    assert sum(line.startswith("<Change end ") for line in lines) == 1
    assert "words: 2" in lines
    assert "log: huginn muninn" in lines
    assert lines[-1] == "outcome: cancelled"


def test_the_notebook_has_about_twenty_lines() -> None:
    text = NOTEBOOK.read_text()
    assert text.count("# %%") == 6  # one of them is prose, and says what the mark is
    assert sum(statement.end_lineno - statement.lineno + 1 for statement in ast.parse(text).body) <= 25


def test_a_job_is_written_read_and_deleted(client: Client) -> None:
    main = "tasks:\n- name: a\n  command: cat\n  args: ['${WORK_PATH}/in/words']\n"
    pushed = client.push("nlp/client", {"main.yml": main, "in/words": b"\xff\n"}, create=True)
    shown = client.job("nlp/client")
    assert (shown.version, shown.files) == (pushed.version, {"in/words": 2, "main.yml": len(main)})
    assert client.file("nlp/client", "in/words") == b"\xff\n"
    saved = client.save_job("nlp/client", configs={"notes.txt": "x"}, if_version=shown.version)
    assert saved.configs == {"notes.txt": "x"}
    client.delete_file("nlp/client", "notes.txt")
    assert client.file("nlp/client", "notes.txt", at=saved.version) == b"x"
    pipeline = client.run("nlp/client").wait()
    assert list(client.follow_lines(pipeline.tasks[0].id)) == ["\\xff"]
    assert b"".join(client.log_bytes(pipeline.tasks[0].id)) == b"\xff\n"
    assert [one.id for one in client.pipelines(job="nlp/client")] == [pipeline.id]
    assert pipeline.cleanup(db=True, fs=True)[0].purged
    client.delete_job("nlp/client")
    assert [one.id for one in client.jobs("nlp/client")] == []


def test_users_and_the_server(client: Client) -> None:
    bea = client.create_user("bea", "a cow in the sun", firstname="Bea", role="editor")
    assert (bea.firstname, bea.role) == ("Bea", "editor")
    assert client.update_user("bea", role="viewer").role == "viewer"
    hers = Client(client.url, username="bea", password="a cow in the sun")
    assert hers.sign_in().username == "bea"
    client.delete_user("bea")
    assert "bea" not in [one.username for one in client.users()]
    assert client.ping().version == client.app()["version"]
    assert (client.healthy(), client.ready(), len(client.nodes())) == (True, True, 1)
    assert "odin_pipelines" in client.metrics()
    assert "/v1/pipelines" in client.openapi()["paths"]


def test_f75_following_survives_a_server_that_is_killed(fresh: Serving) -> None:
    fresh.start()
    client = Client(fresh.url, token=fresh.api().token)
    fresh.api().push("chain", job(*(task(f"t{n}", "sleep 0.3", *([f"t{n - 1}"] if n else [])) for n in range(8))))
    pipeline = client.run("chain")
    seen: list[tuple[str, str]] = []
    kills = [("t5", "executed"), ("t2", "executed")]
    for change in client.follow(pipeline.id):
        if change.task is not None:
            seen.append((change.task.name, change.task.status))
        if kills and kills[-1] in seen:
            kills.pop()
            fresh.kill()
            fresh.start()
    assert len(seen) == len(set(seen))
    assert {name for name, status in seen if status == "executed"} == {f"t{n}" for n in range(8)}
    assert change.event == "end"
    assert change.data["outcome"] == "succeeded"


def test_f75_all_pipelines_are_watched_over_a_kill(fresh: Serving) -> None:
    fresh.start()
    client = Client(fresh.url, token=fresh.api().token)
    fresh.api().push("one", job(task("a", "sleep 0.2")))
    before = client.run("one").wait().id
    seen: list[tuple[str, str | None, int | None]] = []
    others: list[str] = []
    for change in client.watch(job="one"):
        if change.event == "ready":
            others.append(client.run("one").id)
        elif change.event == "pipeline":
            seen.append((change.data["id"], change.data["outcome"], change.data["position"]))
        if seen[-1:] and seen[-1][1] and len(others) == 1 and seen[-1][0] == others[0]:
            fresh.kill()
            fresh.start()
            others.append(client.run("one").id)
        elif len(others) == 2 and (others[1], "succeeded") in [one[:2] for one in seen]:
            break
    assert len(seen) == len(set(seen))
    assert {name for name, outcome, _ in seen if outcome == "succeeded"} == {before, *others}


def test_what_was_rendered_for_a_pipeline_is_shown_with_it(client: Client) -> None:
    main = "tasks:\n- {name: a, command: echo, args: ['{{ word }}']}\n"
    client.push("rendered", {"main.yml.jinja2": main}, create=True)
    pipeline = client.run("rendered", {"word": "muninn"}).wait()
    assert pipeline.task("a").log() == "muninn\n"
    assert pipeline.context == {"word": "muninn"}
    assert client.pipeline_files(pipeline.id)["main.yml"] == len(pipeline.files()["main.yml"])
    assert "muninn" in pipeline.files()["main.yml"]
