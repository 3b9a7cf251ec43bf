"""What each command asks the server for and what it prints. Source: cli.md; the seed's odin-commands.md."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any

import pytest

from integration.cli.scripted import Scripted, Shell, body, pipeline, problem, stream, task, token

ID = "hello-ab12cd34"


@pytest.fixture
def signed_in(server: Scripted, shell: Shell) -> Shell:
    shell.keep(server.url, token("ana"))
    return shell


def done(outcome: subprocess.CompletedProcess[str]) -> str:
    assert outcome.returncode == 0, outcome.stderr
    return outcome.stdout


def test_run_prints_the_handle_and_nothing_else(server: Scripted, signed_in: Shell) -> None:
    server.on("POST /v1/pipelines", body({"pipeline": {"id": ID, "name": "hello", "job": "hello"}}))
    outcome = signed_in.run("odin-run", "hello")
    assert (outcome.stdout, outcome.stderr) == (f"{ID}\n", "")
    assert server.requests[0].json == {"pipeline": {"job": "hello"}}


def test_run_takes_a_context_wherever_it_stands(server: Scripted, signed_in: Shell) -> None:
    server.on("POST /v1/pipelines", body({"pipeline": {"id": ID, "name": "hello", "job": "hello"}}))
    done(signed_in.run("odin-run", "--x:epochs", "5", "nlp/sst2", "--x:lr=0.1"))
    assert server.requests[0].json == {"pipeline": {"job": "nlp/sst2"}, "context": {"epochs": "5", "lr": "0.1"}}


def test_status_of_a_pipeline_shows_its_tasks(server: Scripted, shell: Shell) -> None:
    server.on(f"GET /v1/pipelines/{ID}", body({"pipeline": pipeline("failed", errorMessage="train failed")}))
    lines = done(shell.run("odin-status", ID)).splitlines()
    assert lines[0].startswith(f"{ID}  failed  job hello @ 3f2a9c1e  by ana  submitted ")
    assert lines[0].endswith("took 12s")
    assert lines[1] == "  train failed"
    assert lines[3].split() == ["task", "status", "attempt", "exit", "duration", "reason"]
    assert lines[4].split() == [f"{ID}--fetch", "executed", "1", "0", "3.5s"]
    assert lines[5].split() == [f"{ID}--train", "failed", "1", "2", "3.5s", "exit", "code", "2"]


def test_status_of_a_task_shows_where_and_how_each_attempt_ran(server: Scripted, shell: Shell) -> None:
    server.on(f"GET /v1/pipelines/{ID}", body({"pipeline": pipeline("failed")}))
    tried = {"number": 1, "state": "ended", "exit_code": 137, "reason": "oom", "message": None, "node": "gpu-7"}
    tried["resources"] = {"cpu_m": None, "memory_bytes": 3 << 30, "gpus": 0}
    data = {"success": True, "jobs": {"attempts": [tried]}}
    server.on(f"GET /v1/resources/{ID}--train/data", body(data))
    shown = done(shell.run("odin-status", f"{ID}--train"))
    assert f"{ID}--train\n" in shown
    assert "exit code  2" in shown
    assert shown.splitlines()[-1].split() == ["1", "ended", "137", "gpu-7", "3Gi", "oom"]
    as_json = json.loads(done(shell.run("odin-status", f"{ID}--train", "--json")))
    assert as_json["task"]["attempts"] == [tried]


def test_status_of_a_task_takes_an_id_with_dashes(server: Scripted, shell: Shell) -> None:
    server.on(f"GET /v1/pipelines/{ID}", body({"pipeline": pipeline("failed")}))
    missing = shell.run("odin-status", f"{ID}--trian")
    assert missing.returncode == 3
    assert 'has no task "trian"; did you mean train?' in missing.stderr


def test_status_without_an_id_lists_the_recent_ones(server: Scripted, shell: Shell) -> None:
    server.on("GET /v1/pipelines?limit=20", body({"pipelines": [pipeline()]}))
    lines = done(shell.run("odin-status")).splitlines()
    assert lines[0].split() == ["id", "job", "state", "user", "submitted", "duration", "tasks"]
    assert lines[1].split()[:4] == [ID, "hello", "succeeded", "ana"]
    assert lines[1].endswith("2/2")


def test_status_pages_through_all(server: Scripted, shell: Shell) -> None:
    server.on("GET /v1/pipelines?limit=500&job=hello", body({"pipelines": [pipeline()] * 3, "nextCursor": "c"}))
    server.on("GET /v1/pipelines?limit=500&cursor=c&job=hello", body({"pipelines": [pipeline()]}))
    shown = done(shell.run("odin-status", "--all", "--job", "hello", "--columns", "id,outcome"))
    assert shown.splitlines() == [f"{'id':<14}  outcome", *[f"{ID}  succeeded"] * 4]


def test_status_names_the_columns_there_are(shell: Shell) -> None:
    outcome = shell.run("odin-status", "--columns", "id,outcom")
    assert outcome.returncode == 2
    assert "did you mean outcome?" in outcome.stderr


def test_json_is_the_servers_own_answer(server: Scripted, shell: Shell) -> None:
    answer = {"pipeline": pipeline("failed", somethingNew=[1])}
    server.on(f"GET /v1/pipelines/{ID}", body(answer))
    assert json.loads(done(shell.run("odin-status", ID, "--json"))) == answer


def test_push_sends_files_and_folders_as_one_commit(server: Scripted, signed_in: Shell, tmp_path: Path) -> None:
    folder = tmp_path / "work"
    (folder / "sub").mkdir(parents=True)
    (folder / "main.yml").write_bytes(b"tasks: []\r\n")
    (folder / "sub" / "data.bin").write_bytes(bytes(range(256)))
    (folder / ".git").mkdir()
    (folder / "__pycache__").mkdir()
    (folder / "link").symlink_to("/etc/passwd")
    (tmp_path / "extra.txt").write_text("more")
    pushed = [{"location": f"hello/{name}@3f2a", "bytes": 1} for name in ("main.yml", "sub/data.bin", "extra.txt")]
    server.on("POST /v1/jobs/hello/files?create=true", body({"location": "hello@3f2a", "files": pushed}))

    outcome = signed_in.run("odin-push", "-c", "hello", str(folder), str(tmp_path / "extra.txt"))
    assert done(outcome).splitlines() == [one["location"] for one in pushed]
    assert sorted(outcome.stderr.split()) == sorted(
        word for name in (".git", "__pycache__", "link") for word in ("left", "out:", str(folder / name))
    )
    assert parts_of(server.requests[0]) == {
        "main.yml": b"tasks: []\r\n",
        "sub/data.bin": bytes(range(256)),
        "extra.txt": b"more",
    }


def parts_of(request: Any) -> dict[str, bytes]:
    boundary = request.headers["content-type"].partition("boundary=")[2].encode()
    parts = request.body.split(b"--" + boundary)[1:-1]
    return {
        part.partition(b'filename="')[2].partition(b'"')[0].decode(): part.partition(b"\r\n\r\n")[2][:-2]
        for part in parts
    }


def test_push_may_name_its_one_file(server: Scripted, signed_in: Shell, tmp_path: Path) -> None:
    (tmp_path / "new.yml").write_text("tasks: []\n")
    server.on(
        "POST /v1/jobs/nlp__sst2/files?draft=true",
        body({"location": "nlp/sst2@3f", "files": [{"location": "nlp/sst2/main.yml@3f"}]}),
    )
    done(signed_in.run("odin-push", "nlp/sst2", str(tmp_path / "new.yml"), "--file_name", "main.yml", "--draft"))
    assert list(parts_of(server.requests[0])) == ["main.yml"]
    two = signed_in.run("odin-push", "hello", "a", "b", "--file_name", "c")
    assert two.returncode == 2


def test_push_to_no_job_says_how_to_make_one(server: Scripted, signed_in: Shell, tmp_path: Path) -> None:
    (tmp_path / "a").write_text("x")
    for flags, query in ((), ""), (("-c",), "?create=true"):
        server.on(f"POST /v1/jobs/nope/files{query}", problem(404, "no job nope; did you mean hope?"))
        outcome = signed_in.run("odin-push", *flags, "nope", str(tmp_path / "a"))
        hint = "" if flags else " (-c makes a new job)"
        assert (outcome.returncode, outcome.stderr) == (3, f"odin-push: no job nope; did you mean hope?{hint}\n")


def test_push_of_what_is_not_there_is_a_usage_error(signed_in: Shell) -> None:
    outcome = signed_in.run("odin-push", "hello", "nowhere.yml")
    assert outcome.returncode == 2
    assert outcome.stderr == "odin-push: nowhere.yml: no such file or directory\n"


def test_create_prints_where_the_job_lies(server: Scripted, signed_in: Shell) -> None:
    server.on("POST /v1/jobs", body({"job": {"id": "nlp/sst2", "name": "nlp/sst2", "location": "nlp/sst2@3f2a"}}))
    assert done(signed_in.run("odin-create", "nlp/sst2")) == "nlp/sst2@3f2a\n"
    assert server.requests[0].json == {"job": {"name": "nlp__sst2"}}


def test_show_lists_jobs_files_and_one_file(server: Scripted, shell: Shell) -> None:
    job = {
        "id": "hello",
        "name": "hello",
        "configs": [{"id": "hello--run.sh", "name": "run.sh", "content": "echo\n"}],
        "files": [
            {"name": "main.yml", "bytes": 10},
            {"name": "run.sh", "bytes": 5},
            {"name": "sub/a b.bin", "bytes": 3},
        ],
    }
    server.on("GET /v1/jobs", body({"jobs": [job]}))
    server.on("GET /v1/jobs/hello", body({"job": job}))
    server.on("GET /v1/jobs/hello/files/main.yml", body(b"tasks: []\n", kind="text/plain; charset=utf-8"))
    server.on("GET /v1/jobs/hello/files/sub/a%20b.bin", body(b"\0\xff\x1b", kind="application/octet-stream"))
    assert done(shell.run("odin-show")) == "hello\n"
    assert done(shell.run("odin-show", "hello")) == (
        "==> main.yml <==\ntasks: []\n\n==> run.sh <==\necho\n\n==> sub/a b.bin <==\n(binary, 3 bytes)\n"
    )
    assert [line.split() for line in done(shell.run("odin-show", "hello", "--tree")).splitlines()] == [
        ["file", "bytes"],
        ["main.yml", "10"],
        ["run.sh", "5"],
        ["sub/a", "b.bin", "3"],
    ]
    server.on("GET /v1/jobs/hello/files/main.yml?at=" + "a" * 40, body(b"before\n", kind="text/plain"))
    assert done(shell.run("odin-show", "hello", "main.yml", "--at", "a" * 40)) == "before\n"
    raw = subprocess.run(
        shell.argv("odin-show", "hello", "sub/a b.bin"), env=shell.environ(), capture_output=True, check=True
    )
    assert raw.stdout == b"\0\xff\x1b"


@pytest.fixture
def rendered(server: Scripted, shell: Shell) -> Shell:
    files = [{"name": "conf/a b.ini", "bytes": 7}, {"name": "main.yml", "bytes": 10}]
    server.on(f"GET /v1/pipelines/{ID}/files", body({"files": files}))
    server.on(f"GET /v1/pipelines/{ID}/files/main.yml", body(b"tasks: []\n", kind="text/plain; charset=utf-8"))
    server.on(f"GET /v1/pipelines/{ID}/files/conf/a%20b.ini", body("lr = ü".encode(), kind="text/plain; charset=utf-8"))
    server.on(f"GET /v1/pipelines/{ID}", body({"pipeline": pipeline()}))
    server.on("GET /v1/jobs/hello", body({"job": {"id": "hello", "files": []}}))
    return shell


def test_show_of_a_pipeline_is_what_was_rendered_for_it(rendered: Shell) -> None:
    assert done(rendered.run("odin-show", ID)) == "==> conf/a b.ini <==\nlr = ü\n\n==> main.yml <==\ntasks: []\n"
    assert done(rendered.run("odin-show", ID, "conf/a b.ini")) == "lr = ü"
    tree = done(rendered.run("odin-show", ID, "--tree")).splitlines()
    assert [line.split() for line in tree] == [["file", "bytes"], ["conf/a", "b.ini", "7"], ["main.yml", "10"]]


def test_show_of_a_pipeline_as_json(rendered: Shell) -> None:
    found = json.loads(done(rendered.run("odin-show", ID, "--json")))
    assert found["files"][1] == {"name": "main.yml", "bytes": 10, "content": "tasks: []\n"}
    assert json.loads(done(rendered.run("odin-show", ID, "--json", "--tree")))["files"][0] == {
        "name": "conf/a b.ini",
        "bytes": 7,
    }
    one = json.loads(done(rendered.run("odin-show", ID, "main.yml", "--json")))
    assert one == {"name": "main.yml", "content": "tasks: []\n"}


def test_show_says_where_the_files_are_that_were_not_rendered(server: Scripted, rendered: Shell) -> None:
    there = f"its other files: odin-show hello --at {'3f2a9c1e' * 5}"
    server.on(f"GET /v1/pipelines/{ID}/files/train.py", problem(404, "the pipeline has no rendered file train.py"))
    missing = rendered.run("odin-show", ID, "train.py")
    assert (missing.returncode, missing.stdout) == (3, "")
    assert missing.stderr == f"odin-show: the pipeline has no rendered file train.py ({there})\n"
    server.on(f"GET /v1/pipelines/{ID}/files", body({"files": []}))
    nothing = rendered.run("odin-show", ID)
    assert (nothing.returncode, nothing.stdout) == (0, "")
    assert nothing.stderr == f"nothing was rendered for {ID}: {there}\n"


def test_show_of_a_name_that_is_nothing_speaks_of_what_it_looks_like(server: Scripted, shell: Shell) -> None:
    for name in ("hello-ab12cd35", "helo", "nlp/sst2"):
        there = name.replace("/", "__")
        server.on(f"GET /v1/jobs/{there}", problem(404, f"no job {name}"))
        server.on(f"GET /v1/jobs/{there}/files/main.yml", problem(404, f"no job {name}"))
        server.on(f"GET /v1/pipelines/{name.replace('/', '%2F')}/files", problem(404, f"there is no pipeline {name}"))
        said = "there is no pipeline" if name == "hello-ab12cd35" else "no job"
        for more in ([], ["main.yml"]):
            missing = shell.run("odin-show", name, *more)
            assert (missing.returncode, missing.stderr) == (3, f"odin-show: {said} {name}\n")
    server.on("GET /v1/jobs/model-2026beta/files/man.yml", problem(404, "the job has no file man.yml"))
    server.on("GET /v1/jobs/model-2026beta", body({"job": {"id": "model-2026beta"}}))
    assert "the job has no file" in shell.run("odin-show", "model-2026beta", "man.yml").stderr


def test_show_at_a_commit_is_of_a_job(server: Scripted, rendered: Shell) -> None:
    assert rendered.run("odin-show", ID, "--at", "a" * 40).returncode == 3
    assert not server.asked(f"GET /v1/pipelines/{ID}/files")


def test_data_prints_what_the_database_holds(server: Scripted, shell: Shell) -> None:
    held = {"label": ID, "job": "hello", "executed": []}
    server.on(f"GET /v1/resources/{ID}/data", body({"success": True, "jobs": held}))
    assert json.loads(done(shell.run("odin-data", ID))) == held
    assert json.loads(done(shell.run("odin-data", ID, "--json"))) == {"success": True, "jobs": held}


def test_events_are_a_table(server: Scripted, shell: Shell) -> None:
    happened = {
        "id": "1",
        "eventType": "Normal",
        "reason": "started",
        "source": "odin",
        "message": "train: started",
        "timestamp": "2026-11-22T18:20:01Z",
    }
    server.on(f"GET /v1/resources/{ID}--train/events", body({"events": [happened]}), body({"events": []}))
    lines = done(shell.run("odin-events", f"{ID}--train")).splitlines()
    assert lines[0].split() == ["time", "type", "reason", "source", "message"]
    assert lines[1].endswith("Normal  started  odin    train: started")
    assert shell.run("odin-events", f"{ID}--train").stderr == f"nothing has happened to {ID}--train yet\n"


def test_cancel_says_what_becomes_of_it(server: Scripted, signed_in: Shell) -> None:
    server.on(
        f"POST /v1/pipelines/{ID}/cancel", body({"pipeline": pipeline(None)}), body({"pipeline": pipeline("cancelled")})
    )
    assert done(signed_in.run("odin-cancel", ID)) == f"{ID} is stopping\n"
    assert done(signed_in.run("odin-cancel", ID)) == f"{ID} cancelled\n"


def test_cleanup_shows_what_was_done(server: Scripted, signed_in: Shell) -> None:
    row = {"taskId": ID, "cleanedFromK8s": "No", "purgedFromDb": "No", "removedFromFs": "Yes"}
    server.on(f"DELETE /v1/pipelines/{ID}?fs=true", body({"cleanups": [row]}))
    server.on(f"DELETE /v1/pipelines/{ID}?db=true&fs=true&dryRun=true", body({"cleanups": [row]}))
    lines = done(signed_in.run("odin-cleanup", "-f", ID)).splitlines()
    assert [line.split() for line in lines] == [["task", "cluster", "files", "database"], [ID, "No", "Yes", "No"]]
    assert signed_in.run("odin-cleanup", "--fs", "--db", ID, "--dry-run").stderr == "nothing was removed: --dry-run\n"
    server.on(f"DELETE /v1/pipelines/{ID}", body({"cleanups": [row]}))
    assert signed_in.run("odin-cleanup", ID).stderr == "files and rows are kept; --fs and --db remove them\n"


def test_cleanup_that_still_waits_is_a_conflict(server: Scripted, signed_in: Shell) -> None:
    server.on(f"DELETE /v1/pipelines/{ID}", problem(409, "still stopping: train"))
    outcome = signed_in.run("odin-cleanup", ID)
    assert (outcome.returncode, outcome.stderr) == (6, "odin-cleanup: still stopping: train\n")


def test_gpus_are_a_table_or_a_sentence(server: Scripted, shell: Shell) -> None:
    card = {
        "id": "0000:01:00.0",
        "productName": "H100",
        "fbMemoryUsage": {"total": 81559, "used": 1024, "free": 80535, "unit": "MiB"},
        "utilization": {"gpuUtil": 37, "memoryUtil": "N/A", "unit": "%"},
        "temperature": {"gpuTemp": "N/A", "unit": "C"},
        "powerReadings": {"powerDraw": 104.4, "powerLimit": 700, "unit": "W"},
        "processes": [{"pid": 7, "process_name": "python3", "used_memory": 1000}],
    }
    server.on(
        "GET /v1/nodes",
        body({"nodes": [{"host": "box", "gpus": [card]}]}),
        body({"nodes": [{"host": "box", "gpus": []}]}),
    )
    row = done(shell.run("odin-gpus")).splitlines()[1]
    assert row == "box   0000:01:00.0  H100  1024 MiB  81559 MiB  37 %   N/A  104/700 W  python3 (7)"
    assert done(shell.run("odin-gpus")) == "there are no GPUs on box\n"


def node(host: str, **more: object) -> dict[str, object]:
    return {"host": host, "gpus": [], "nvidia.com/gpu": 0, "requested": {}, "report": None} | more


def test_gpus_of_a_cluster_tell_what_is_requested_and_which_agent_is_silent(server: Scripted, shell: Shell) -> None:
    card = {"id": "0000:01:00.0", "productName": "H100"}
    asked = {"nvidia.com/gpu": 2}
    nodes = [
        node("n1", gpus=[card], requested=asked, report={"fresh": True, "ageS": 2}, **{"nvidia.com/gpu": 4}),
        node("n2", gpus=[card], requested={}, report={"fresh": False, "ageS": 600}, **{"nvidia.com/gpu": 1}),
        node("n3", **{"nvidia.com/gpu": 8}),
        node("n4"),
    ]
    answer = {"nodes": nodes, "notice": "the server may not list pods"}
    server.on("GET /v1/nodes", body(answer))
    shown = shell.run("odin-gpus")
    head, *rows = shown.stdout.splitlines()
    assert head.split()[-3:] == ["processes", "requested", "age"]
    assert [(row.split()[0], row.split()[-3:]) for row in rows] == [
        ("n1", ["2/4", "2", "s"]),
        ("n2", ["0/1", "10", "min"]),
        ("n3", ["0/8", "no", "report"]),
    ]
    assert rows[2].split()[1:3] == ["8", "GPUs"]
    assert shown.stderr == "the server may not list pods\n"
    assert json.loads(done(shell.run("odin-gpus", "--json"))) == answer


def test_ping_tells_version_and_time_and_never_signs_in(server: Scripted, shell: Shell) -> None:
    server.on("GET /v1/ping", body("pong", Odin_Version="0.1.0"))
    assert done(shell.run("odin-ping")).startswith(f"{server.url} answers: Odin 0.1.0, ")
    answer = json.loads(done(shell.run("odin-ping", "--json")))
    assert (answer["url"], answer["version"]) == (server.url, "0.1.0")


def test_user_lists_makes_changes_and_deletes(server: Scripted, signed_in: Shell) -> None:
    bob = {"username": "bob", "firstname": "Bob", "lastname": "Lee", "role": "editor"}
    server.on("GET /v1/users", body({"users": [bob]}))
    server.on("GET /v1/users/bob", problem(404, "no such user"), body({"user": bob}))
    server.on("POST /v1/users", body({"user": bob}))
    server.on("PUT /v1/users/bob", body({"user": bob}))
    server.on("DELETE /v1/users/bob", body({"user": {"username": "bob"}}))
    assert done(signed_in.run("odin-user")).splitlines()[1].split() == ["bob", "Bob", "Lee", "editor"]
    assert (
        done(signed_in.run("odin-user", "bob", "-p", "long-enough-1", "-f", "Bob", "--role", "editor"))
        == "made bob (editor)\n"
    )
    assert server.asked("POST /v1/users")[0].json == {
        "user": {"username": "bob", "firstname": "Bob", "role": "editor", "password": "long-enough-1"}
    }
    assert done(signed_in.run("odin-user", "--username", "bob", "-l", "Lee")) == "changed bob (editor)\n"
    assert server.asked("PUT /v1/users/bob")[0].json == {"user": {"lastname": "Lee"}}
    assert done(signed_in.run("odin-user", "bob", "--delete")) == "deleted bob\n"


def test_a_new_user_needs_a_password_from_somewhere(server: Scripted, signed_in: Shell) -> None:
    server.on("GET /v1/users/bob", problem(404, "no such user"))
    outcome = signed_in.run("odin-user", "bob")
    assert outcome.returncode == 4
    assert "no terminal to ask for the new password" in outcome.stderr


def test_logs_of_a_task_are_printed_and_made_safe(server: Scripted, shell: Shell) -> None:
    server.on(f"GET /v1/resources/{ID}--train/logs?lines=2", body({"logs": "one\n\x1b]0;title\x07two"}))
    assert done(shell.run("odin-logs", f"{ID}--train", "-l", "2")) == "one\n\\x1b]0;title\\x07two\n"


def test_raw_logs_are_the_tasks_own_bytes(server: Scripted, shell: Shell) -> None:
    log = b"\x1b[31mred\x1b[0m\r\n\xff\x00 end"
    server.on(f"GET /v1/resources/{ID}--train/logs?lines=1", body({"logs": "end", "offset": 15, "size": len(log)}))
    server.on(f"GET /v1/resources/{ID}--train/logs?follow=true&offset=0", stream(log + b"later"))
    raw = subprocess.run(
        shell.argv("odin-logs", f"{ID}--train", "--raw"), env=shell.environ(), capture_output=True, check=True
    )
    assert raw.stdout == log


def test_logs_of_a_pipeline_have_a_heading_for_each_task(server: Scripted, shell: Shell) -> None:
    tasks = [task("fetch", "executed"), task("train", "executing"), task("report", "waiting")]
    server.on(f"GET /v1/pipelines/{ID}", body({"pipeline": pipeline(None, tasks=tasks)}))
    server.on(f"GET /v1/resources/{ID}--fetch/logs", body({"logs": "fetched\n"}))
    server.on(f"GET /v1/resources/{ID}--train/logs", body({"logs": "epoch 1"}))
    assert done(shell.run("odin-logs", ID)) == f"==> {ID}--fetch <==\nfetched\n\n==> {ID}--train <==\nepoch 1\n"


def test_both_forms_of_a_command_are_one(server: Scripted, shell: Shell) -> None:
    server.on("GET /v1/nodes", body({"nodes": []}))
    assert shell.run("odin", "gpus").stdout == shell.run("odin-gpus").stdout == "there are no GPUs\n"


def test_odin_lists_its_commands(shell: Shell) -> None:
    assert "\n  status      " in done(shell.run("odin", "--help"))
    assert done(shell.run("odin")) == done(shell.run("odin", "help"))
    assert done(shell.run("odin", "--version")).startswith("odin ")


def test_a_password_on_an_open_network_is_warned_about(server: Scripted, shell: Shell) -> None:
    outcome = shell.run("odin-auth", "-p", "x", "--host", "http://0.0.0.0", "--port", str(server.server_port))
    assert "is not encrypted" in outcome.stderr
