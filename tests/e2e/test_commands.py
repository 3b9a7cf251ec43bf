"""The commands against a real server: their exit codes and their JSON. Source: cli.md."""

from __future__ import annotations

import http.server
import signal
import subprocess
import threading

import pytest

from e2e.jobs import SLEEPER, job, task
from e2e.serving import BIN, DEADLINE_S, PASSWORD, Person, until

GOOD = job(task("a", "echo hello"), task("b", "true", "a"))


@pytest.fixture(scope="module")
def handle(odin):
    """A pipeline that has succeeded."""
    odin.api().push("good", GOOD)
    made = odin.api().launch("good")
    odin.api().finished(made)
    return made


# ---- exit codes ----------------------------------------------------------------------------------------------------


def test_0_also_for_looking_at_a_failed_pipeline(odin):
    odin.api().push("bad", job(task("x", "exit 9")))
    failed = odin.api().launch("bad")
    odin.api().finished(failed)
    for word in ("status", "data", "events", "logs"):
        odin.command(f"odin-{word}", failed)


def test_1_when_the_followed_pipeline_failed(odin):
    odin.api().push("bad", job(task("x", "exit 9")))
    done = odin.command("odin-run", "bad", "--follow", code=1)
    assert done.line.startswith("bad-")
    assert "exit code 9" in done.err


@pytest.mark.parametrize(
    "words",
    [
        ("odin-run",),
        ("odin-status", "--colums", "id"),
        ("odin-push", "good"),
        ("odin-push", "good", "/no/such/file"),
        ("odin-logs", "x--y", "--lines", "many"),
        ("odin-ping", "--port", "ninety"),
        ("odin", "stauts"),
        ("odin-serve", "--prt", "1"),
    ],
    ids=" ".join,
)
def test_2_for_a_command_line_that_makes_no_sense(odin, words):
    done = odin.command(*words, code=2)
    assert done.out == ""
    assert len(done.err.splitlines()) == 1


@pytest.mark.parametrize("word", ["run", "show", "status", "data", "events", "logs", "cancel", "cleanup"])
def test_3_for_what_is_not_there(odin, word):
    assert len(odin.command(f"odin-{word}", "nothing-here", code=3).err.splitlines()) == 1


def test_4_without_a_token_or_without_the_role(odin, handle):
    nobody = odin.person()
    nobody.run("odin-run", "good", code=4)
    nobody.run("odin-run", "good", code=4, env={"ODIN_TOKEN": "no.real.token"})
    user = {"username": "vera", "password": PASSWORD, "role": "viewer"}
    odin.api().post("/v1/users", {"user": user})
    for words in (("odin-run", "good"), ("odin-cancel", handle), ("odin-cleanup", handle), ("odin-create", "new")):
        done = nobody.run(*words, code=4, env={"ODIN_USERNAME": "vera", "ODIN_PASSWORD": PASSWORD})
        assert len(done.err.splitlines()) == 1


def test_5_when_no_server_answers(odin):
    for word in ("status", "ping", "gpus"):
        done = odin.command(f"odin-{word}", "--port", "1", code=5)
        assert len(done.err.splitlines()) == 1


def test_6_for_a_conflict(odin, handle):
    odin.command("odin-create", "twice")
    odin.command("odin-create", "twice", code=6)
    odin.command("odin-cancel", handle, code=6)


def test_7_when_the_followed_pipeline_was_cancelled(odin):
    odin.api().push("stopped", job(SLEEPER))
    follower = following(odin, "stopped")
    try:
        odin.command("odin-cancel", follower.stdout.readline().strip())
        assert follower.wait(DEADLINE_S) == 7
    finally:
        end(follower)


def test_8_for_input_that_is_refused(odin, tmp_path):
    (tmp_path / "main.yml").write_text("tasks: 5\n")
    assert "bad8/main.yml:1:" in odin.command("odin-push", "-c", "bad8", str(tmp_path / "main.yml"), code=8).err
    odin.command("odin-create", "../outside", code=8)


def test_9_when_the_server_fails(odin):
    class Failing(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            self.send_error(500)

        def log_message(self, *args):
            pass

    with http.server.HTTPServer(("127.0.0.1", 0), Failing) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            odin.command("odin-status", "--port", str(server.server_port), code=9)
        finally:
            server.shutdown()
            thread.join()


def test_130_when_interrupted_and_the_pipeline_goes_on(odin):
    odin.api().push("watched", job(SLEEPER))
    follower = following(odin, "watched")
    try:
        made = follower.stdout.readline().strip()
        odin.api().executing(f"{made}--slow")
        follower.send_signal(signal.SIGINT)
        assert follower.wait(DEADLINE_S) == 130
        said = follower.stderr.read()
    finally:
        end(follower)
    assert f"odin-status {made}" in said
    assert "Traceback" not in said
    assert odin.api().pipeline(made)["status"] == "RUNNING"
    odin.command("odin-cleanup", made)


def following(odin, name):
    person = Person(odin.home, odin.url, odin.tools, odin.api().token)
    return subprocess.Popen(
        [BIN / "odin-run", name, "--follow"],
        env=person.environment(),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def end(process):
    process.kill()
    process.communicate()


# ---- JSON ----------------------------------------------------------------------------------------------------------


def test_reading_commands_answer_in_json(odin, handle):
    read = {
        ("odin-status",): lambda found: handle in [one["id"] for one in found["pipelines"]],
        ("odin-status", handle): lambda found: found["pipeline"]["outcome"] == "succeeded",
        ("odin-status", f"{handle}--a"): lambda found: found["task"]["exitCode"] == 0,
        ("odin-show",): lambda found: "good" in [one["id"] for one in found["jobs"]],
        ("odin-show", "good"): lambda found: [one["name"] for one in found["job"]["tasks"]] == ["a", "b"],
        ("odin-show", "good", "main.yml"): lambda found: found["name"] == "main.yml",
        ("odin-data", handle): lambda found: found["success"] is True,
        ("odin-data", f"{handle}--a"): lambda found: found["jobs"]["label"] == f"{handle}--a",
        ("odin-events", handle): lambda found: len(found["events"]) > 4,
        ("odin-logs", f"{handle}--a"): lambda found: found["logs"] == "hello\n",
        ("odin-logs", handle): lambda found: found["logs"][f"{handle}--a"] == "hello\n",
        ("odin-gpus",): lambda found: isinstance(found["nodes"][0]["gpus"], list),
        ("odin-ping",): lambda found: found["url"] == odin.url,
        ("odin-user",): lambda found: "ada" in [one["username"] for one in found["users"]],
        ("odin-auth",): lambda found: found["message"] == odin.api().token,
    }
    for words, holds in read.items():
        assert holds(odin.command(*words, "--json").json), words


def test_writing_commands_answer_in_json(odin, tmp_path):
    (tmp_path / "main.yml").write_bytes(b"tasks: [{name: a, command: [sleep, '1000']}]")
    assert odin.command("odin-create", "made", "--json").json["job"]["id"] == "made"
    pushed = odin.command("odin-push", "made", str(tmp_path / "main.yml"), "--json").json
    assert pushed["files"][0]["location"].startswith("made/main.yml@")
    launched = odin.command("odin-run", "made", "--json").json["pipeline"]
    assert odin.command("odin-cancel", launched["id"], "--json").json["pipeline"]["id"] == launched["id"]
    until(lambda: odin.api().pipeline(launched["id"])["outcome"])
    cleaned = odin.command("odin-cleanup", launched["id"], "--json").json["cleanups"]
    assert [one["taskId"] for one in cleaned] == [launched["id"], f"{launched['id']}--a"]
    made = odin.command("odin-user", "eve", "--role", "editor", "-p", PASSWORD, "--json").json
    assert made["user"]["role"] == "editor"
    assert odin.command("odin-user", "eve", "--delete", "--json").json["user"]["username"] == "eve"


def test_a_followed_run_answers_in_json_with_the_pipeline_at_its_end(odin):
    odin.api().push("json", GOOD)
    done = odin.command("odin-run", "json", "--follow", "--json")
    assert done.json["pipeline"]["outcome"] == "succeeded"
    assert "executed" in done.err


# ---- following -----------------------------------------------------------------------------------------------------


def test_a_followed_log_ends_with_its_task(odin):
    gate = odin.folder / "follow"
    odin.api().push("told", job(task("x", f"echo one; until [ -e {gate} ]; do sleep 0.05; done; echo two")))
    made = odin.api().launch("told")
    person = Person(odin.home, odin.url, odin.tools, odin.api().token)
    with subprocess.Popen(
        [BIN / "odin-logs", "-f", f"{made}--x"], env=person.environment(), stdout=subprocess.PIPE, text=True
    ) as follower:
        assert follower.stdout.readline() == "one\n"
        gate.touch()
        assert follower.stdout.read() == "two\n"
    assert follower.returncode == 0


def test_a_command_whose_reader_left_ends_quietly(odin):
    odin.api().push("long", job(task("x", "seq 1 200000")))
    made = odin.api().launch("long")
    odin.api().finished(made)
    person = Person(odin.home, odin.url, odin.tools, odin.api().token)
    script = f"odin-logs {made}--x | head -n 1; odin-logs -f {made}--x | head -n 1"
    done = person.run("sh", "-c", script)
    assert (done.out, done.err) == ("1\n1\n", "")
