"""Pipelines through the real server, runner and commands: how they run, fail, are stopped and removed."""

from __future__ import annotations

import re
import sys
from datetime import datetime
from importlib.util import find_spec
from itertools import pairwise
from pathlib import Path

import pytest

from e2e.jobs import SLEEPER, job, task
from e2e.serving import USER

EXAMPLES = Path(__file__).parents[2] / "examples"
NEEDS = {"digits": ("sklearn", "matplotlib")}


def statuses(pipeline):
    return {name: one["status"] for name, one in pipeline["tasks"].items()}


def run(odin, name, content):
    """Push a job, run it to its end: the pipeline, with its tasks by name."""
    api = odin.api()
    api.push(name, content)
    return api.finished(api.launch(name))


def moment(text):
    return datetime.fromisoformat(text)


# ---- examples ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", sorted(path.name for path in EXAMPLES.iterdir() if (path / "main.yml").exists()))
def test_an_example_runs_to_its_end(odin, name):
    missing = [module for module in NEEDS.get(name, ()) if find_spec(module) is None]
    if missing:
        pytest.skip(f"{' and '.join(missing)} not installed: requirements/demo.txt brings it")
    odin.command("odin-push", "-c", name, str(EXAMPLES / name))
    done = odin.command("odin-run", name, "--follow", "--json").json["pipeline"]
    assert done["outcome"] == "succeeded"
    assert {one["status"] for one in done["tasks"]} == {"executed"}
    for one in done["tasks"]:
        parents = [each for each in done["tasks"] if each["name"] in one["depends"]]
        assert all(moment(each["completionTime"]) <= moment(one["startTime"]) for each in parents)


def test_the_hello_example_says_hello(odin):
    odin.command("odin-push", "-c", "greeting", str(EXAMPLES / "hello"))
    handle = odin.command("odin-run", "greeting").line
    odin.api().finished(handle)
    assert "Hello" in odin.command("odin-logs", f"{handle}--hello").out


# ---- failures ------------------------------------------------------------------------------------------------------


def test_after_a_failure_nothing_more_starts_and_what_runs_goes_on(odin):
    gate = odin.folder / "fail-fast"
    done = run(
        odin,
        "failfast",
        job(
            task("bad", f"until [ -e {gate} ]; do sleep 0.05; done; exit 3"),
            task("running", f"touch {gate}; sleep 0.3"),
            task("child", "true", "running"),
        ),
    )
    assert done["outcome"] == "failed"
    assert done["errorMessage"] == 'task "bad" failed: exit code 3'
    assert statuses(done) == {"bad": "failed", "running": "executed", "child": "skipped"}
    assert done["tasks"]["bad"]["exitCode"] == 3


def test_on_failure_continue_runs_the_branches_that_can(odin):
    tasks = (task("bad", "exit 4"), task("after", "true", "bad"), task("good", "true"), task("last", "true", "good"))
    done = run(odin, "continue", job(*tasks, on_failure="continue"))
    assert done["outcome"] == "failed"
    assert statuses(done) == {"bad": "failed", "after": "skipped", "good": "executed", "last": "executed"}


def test_a_failing_task_is_tried_again_until_it_succeeds(odin):
    flaky = task("flaky", "echo try $ODIN_ATTEMPT; [ $ODIN_ATTEMPT = 3 ] || exit 5", retries=3, retry_delay=0.01)
    done = run(odin, "flaky", job(flaky))
    data = odin.command("odin-data", done["tasks"]["flaky"]["id"]).json
    assert done["outcome"] == "succeeded"
    assert [attempt["exit_code"] for attempt in data["attempts"]] == [5, 5, 0]
    assert [odin.api().log(data["label"], attempt=number) for number in (1, 2, 3)] == [
        b"try 1\n",
        b"try 2\n",
        b"try 3\n",
    ]


def test_a_task_fails_when_its_retries_are_used_up(odin):
    done = run(odin, "hopeless", job(task("hopeless", "exit 5", retries=2, retry_delay=0.01)))
    assert (done["outcome"], done["tasks"]["hopeless"]["attempt"]) == ("failed", 3)


@pytest.mark.parametrize(
    ("fields", "limits"), [({}, {"timeout": 0.3}), ({"timeout": 0.5}, {})], ids=["of the task", "of the pipeline"]
)
def test_a_timeout_ends_a_task(odin, fields, limits):
    done = run(odin, "late", job({**SLEEPER, **limits}, **fields))
    assert (done["outcome"], statuses(done)) == ("failed", {"slow": "failed"})
    assert "timeout" in done["tasks"]["slow"]["reason"]
    assert dict(odin.bodies()) == {}


NOT_STARTED = {
    "no-such-program": (127, "no program 'no-such-program' in PATH"),
    "/no/such/program": (127, "/no/such/program"),
    "/etc/hostname": (126, "/etc/hostname"),
    "/etc": (126, "is a folder"),
    "${WORK_PATH}/plain.txt": (126, "not executable"),
    "${WORK_PATH}/main.yml/x": (127, "main.yml/x"),
}


@pytest.mark.parametrize("program", NOT_STARTED)
def test_f88_a_command_that_cannot_be_started_fails_its_task_and_says_why(odin, program):
    code, words = NOT_STARTED[program]
    api = odin.api()
    api.push("unstartable", job({"name": "x", "command": program}), **{"plain.txt": "text"})
    failed = api.finished(api.launch("unstartable"))["tasks"]["x"]
    assert (failed["status"], failed["exitCode"], failed["attempt"]) == ("failed", code, 1)
    assert words in failed["reason"]


@pytest.mark.parametrize(("number", "name"), [(11, "SIGSEGV"), (9, "SIGKILL"), (15, "SIGTERM"), (6, "SIGABRT")])
def test_a_task_killed_by_a_signal_says_which(odin, number, name):
    failed = run(odin, "killed", job(task("x", f"kill -{number} $$")))["tasks"]["x"]
    assert (failed["status"], failed["exitCode"]) == ("failed", 128 + number)
    assert failed["reason"].startswith(f"killed by {name}")


# ---- processes -----------------------------------------------------------------------------------------------------


def test_f80_a_task_that_ignores_sigterm_is_killed_and_says_so(odin):
    api = odin.api()
    api.push("stubborn", job(task("x", "trap '' TERM INT HUP; while :; do sleep 1000; done", grace_period=0.2)))
    handle = api.launch("stubborn")
    api.executing(f"{handle}--x")
    odin.command("odin-cancel", handle)
    stopped = api.finished(handle)["tasks"]["x"]
    assert (stopped["status"], stopped["exitCode"]) == ("terminated", 137)
    assert "killed" in stopped["reason"]
    assert dict(odin.bodies()) == {}


def test_f81_what_a_task_leaves_behind_is_ended_with_it(odin):
    python = (
        "import os, sys, time\nif os.fork(): sys.exit(7)\nos.setsid()\nif os.fork(): os._exit(0)\n"
        "os.execve('/bin/sleep', ['sleep', '1000'], {} if sys.argv[1] == 'bare' else os.environ)\n"
    )
    api = odin.api()
    tasks = [
        {"name": name, "command": sys.executable, "args": ["${WORK_PATH}/daemon.py", name]}
        for name in ("bare", "named")
    ]
    shells = [task("nohup", "nohup sleep 1000 & exit 7"), task("setsid", "setsid sleep 1000 & exit 7")]
    api.push("daemons", job(*tasks, *shells, on_failure="continue"), **{"daemon.py": python})
    before = sleepers()
    done = api.finished(api.launch("daemons"))
    assert {one["exitCode"] for one in done["tasks"].values()} == {7}
    assert sleepers() - before == set()


def sleepers():
    found = set()
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            if path.read_bytes() == b"sleep\x001000\x00":
                found.add(path.parent.name)
        except OSError:
            continue
    return found


def test_f85_a_task_ends_with_its_main_process_not_with_its_output(odin):
    done = run(odin, "open", job(task("x", "sleep 1000 & echo begun"), task("closed", "exec >&- 2>&-; exit 0")))
    assert statuses(done) == {"x": "executed", "closed": "executed"}
    assert odin.api().log(done["tasks"]["x"]["id"]) == b"begun\n"


def test_f92_none_of_many_tasks_that_end_at_once_is_lost(odin):
    layers = [[{"name": f"t{layer}x{n}", "command": "true"} for n in range(100)] for layer in range(3)]
    for before, after in pairwise(layers):
        for one in after:
            one["depends"] = [before[0]["name"]]
    done = run(odin, "many", job(*(one for layer in layers for one in layer)))
    assert done["outcome"] == "succeeded"
    assert {(one["status"], one["attempt"], one["exitCode"]) for one in done["tasks"].values()} == {("executed", 1, 0)}
    assert all(one["submitTime"] <= one["startTime"] <= one["completionTime"] for one in done["tasks"].values())


# ---- cancelling and cleaning up ------------------------------------------------------------------------------------


def running(odin, name, *tasks):
    """A pipeline whose task ``slow`` runs."""
    api = odin.api()
    api.push(name, job(SLEEPER, *tasks))
    handle = api.launch(name)
    api.executing(f"{handle}--slow")
    return handle


def test_a_cancelled_pipeline_stops_and_keeps_everything(odin):
    handle = running(odin, "cancelled", task("next", "true", "slow"))
    assert odin.command("odin-cancel", handle).out.startswith(f"{handle} ")
    done = odin.api().finished(handle)
    assert (done["status"], done["outcome"]) == ("TERMINATED", "cancelled")
    assert statuses(done) == {"slow": "terminated", "next": "terminated"}
    assert f"cancelled by {USER}" in done["tasks"]["slow"]["reason"]
    assert (odin.shared / "runs" / handle).is_dir()


def test_a_dry_run_removes_nothing(odin):
    handle = run(odin, "dry", job(task("x", "echo kept > kept")))["id"]
    told = odin.command("odin-cleanup", "--fs", "--db", "--dry-run", handle, "--json").json["cleanups"]
    assert [(one["taskId"], one["removedFromFs"], one["purgedFromDb"]) for one in told] == [
        (handle, "Yes", "Yes"),
        (f"{handle}--x", "Yes", "Yes"),
    ]
    assert (odin.shared / "runs" / handle / "x" / "kept").exists()
    assert odin.api().pipeline(handle)["id"] == handle


def test_cleanup_removes_files_rows_and_logs_when_asked(odin):
    handle = run(odin, "gone", job(task("x", "echo some > file")))["id"]
    odin.command("odin-cleanup", "--fs", handle)
    assert not (odin.shared / "runs" / handle).exists()
    assert odin.command("odin-logs", f"{handle}--x").code == 0
    odin.command("odin-cleanup", "--db", handle)
    for words in (
        ("odin-status", handle),
        ("odin-logs", f"{handle}--x"),
        ("odin-data", handle),
        ("odin-cleanup", handle),
    ):
        assert "there is no" in odin.command(*words, code=3).err
    assert not (odin.data / "logs" / handle).exists()


def test_cleanup_of_a_running_pipeline_stops_it_first(odin):
    handle = running(odin, "busy")
    odin.command("odin-cleanup", "-f", "-d", handle)
    odin.command("odin-status", handle, code=3)
    assert dict(odin.bodies()) == {}
    assert not (odin.shared / "runs" / handle).exists()


def test_a06_cleanup_touches_nothing_but_its_own_pipeline(odin):
    api = odin.api()
    kept = run(odin, "sibling", job(task("x", "mkdir deep; ln -s / deep/link; echo kept > kept")))["id"]
    outside = odin.folder / "outside"
    outside.mkdir()
    (outside / "canary").write_text("alive")
    doomed = run(
        odin,
        "sibling",
        job(task("x", f"ln -s {outside} out; ln -s {odin.shared}/runs/{kept} other; mkdir d; chmod 0 d")),
    )["id"]
    names = [
        "",
        ".",
        "..",
        "/",
        "%2e%2e",
        "%2e",
        "..%2f",
        kept[:-1],
        kept + "x",
        f"{kept}%2f..",
        f"{doomed}--x",
        "%00",
        "*",
        "~",
    ]
    for name in names:
        assert api.ask("DELETE", f"/v1/pipelines/{name}?fs=true&db=true").status in (400, 404, 405), name
    odin.command("odin-cleanup", "-f", "-d", doomed)
    assert not (odin.shared / "runs" / doomed).exists()
    assert (outside / "canary").read_text() == "alive"
    assert (odin.shared / "runs" / kept / "x" / "kept").read_text() == "kept\n"
    assert api.ask("DELETE", f"/v1/pipelines/{doomed}?fs=true&db=true").status == 404


# ---- refusals ------------------------------------------------------------------------------------------------------


BROKEN = """\
tasks:
 - name: a
   command: true
   depends: [b]
   retries: many
 - nam: c
"""
PLACES = [
    'main.yml:4:14: task "a" depends on "b"; no task has that name',
    'main.yml:5:13: this must be a whole number, not "many"',
    'main.yml:6:4: unknown field "nam"; did you mean name?',
]


def test_a_job_with_errors_is_refused_with_every_place_and_again_at_launch(odin, tmp_path):
    path = tmp_path / "main.yml"
    path.write_text(BROKEN)
    refused = odin.command("odin-push", "-c", "broken", str(path), code=8)
    assert all(f"broken/{place}" in refused.err for place in PLACES)
    odin.command("odin-show", "broken", code=3)

    odin.command("odin-push", "-c", "--draft", "broken", str(path))
    refused = odin.command("odin-run", "broken", code=8)
    assert all(f"broken/{place}" in refused.err for place in PLACES)


def test_a_push_with_git_is_refused_with_every_place_unless_it_is_a_draft(odin):
    person = odin.person()
    clone = person.home / "clone"
    person.git("clone", "-q", f"{odin.url}/git/jobs.git", str(clone))
    (clone / "pushed").mkdir()
    (clone / "pushed" / "main.yml").write_text(BROKEN)
    person.git("add", ".", cwd=clone)
    person.git("commit", "-qm", "broken", cwd=clone)
    refused = person.git("push", cwd=clone, code=1)
    assert all(f"pushed/{place}" in refused.err for place in PLACES)
    odin.command("odin-show", "pushed", code=3)
    person.git("push", "-o", "draft", cwd=clone)
    assert odin.command("odin-show", "pushed", "main.yml").out == BROKEN


UNSUPPORTED = {
    "references (^a.outputs.loss)": ({"args": ["^a.outputs.loss"], "depends": "a"}, {}),
    "outputs": ({"outputs": {"model": "m"}}, {}),
}


@pytest.mark.parametrize("feature", UNSUPPORTED)
def test_what_odin_cannot_do_yet_is_refused_at_launch_by_its_name(odin, feature):
    fields, files = UNSUPPORTED[feature]
    api = odin.api()
    api.push("early", job({"name": "a", "command": "true"}, {"name": "b", "command": "true", **fields}), **files)
    refused = api.ask("POST", "/v1/pipelines", {"pipeline": {"job": "early"}})
    assert (refused.status, refused.headers["content-type"]) == (422, "application/problem+json")
    assert feature in odin.command("odin-run", "early", code=8).err


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"cpu": 64}, "64 CPUs and this machine has 16"),
        ({"num_gpus": 64}, "64 GPUs"),
        ({"mount": {"name": "d", "path": "/nowhere", "claim": "c"}}, "/nowhere"),
    ],
)
def test_what_this_machine_does_not_have_is_refused_at_launch(odin, fields, words):
    odin.api().push("greedy", job({"name": "a", "command": "true", **fields}))
    assert words in odin.command("odin-run", "greedy", code=8).err


def test_a_job_without_tasks_is_refused_at_launch(odin):
    odin.command("odin-create", "hollow")
    assert "has no tasks" in odin.command("odin-run", "hollow", code=8).err


def test_an_unknown_name_is_answered_with_the_nearest(odin):
    handle = run(odin, "nearest", job(task("train", "true")))["id"]
    misspelt = handle[:-1] + ("a" if handle[-1] != "a" else "b")
    for words, near in [
        (("odin-run", "neerest"), "nearest"),
        (("odin-show", "nearest", "man.yml"), "main.yml"),
        (("odin-status", misspelt), handle),
        (("odin-data", misspelt), handle),
        (("odin-status", f"{handle}--trai"), "train"),
        (("odin-logs", f"{handle}--trai"), f"{handle}--train"),
        (("odin-events", f"{handle}--trai"), f"{handle}--train"),
    ]:
        shown = odin.command(*words, code=3).err
        assert re.search(rf"did you mean .*{re.escape(near)}", shown), shown
        assert len(shown.splitlines()) == 1
