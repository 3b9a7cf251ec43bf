"""A server of root whose tasks run as another user: they get what is theirs, and nothing that is the server's."""

from __future__ import annotations

import os
import pwd
import re
import stat
from collections.abc import Iterator
from pathlib import Path

import pytest

from e2e.jobs import job, task
from e2e.serving import Serving

TASK_USER = "nobody"
OWN, WRITES, READS = 0o711, 0o700, 0o755


@pytest.fixture(scope="module")
def served() -> Iterator[Serving]:
    """A running server; the folder above its own may be passed."""
    serving = placed()
    try:
        yield serving.start()
    finally:
        serving.close()


@pytest.fixture
def alone() -> Iterator[Serving]:
    serving = placed()
    try:
        yield serving
    finally:
        serving.close()


def placed() -> Serving:
    if os.getuid() != 0:
        pytest.skip("only root can run tasks as somebody else")
    serving = Serving({"TASK_USER": TASK_USER})
    serving.folder.chmod(0o711)
    return serving


def ran(served: Serving, name: str, *tasks: dict, **files: str) -> str:
    """The id of a pipeline that succeeded."""
    api = served.api()
    api.push(name, job(*tasks), **files)
    handle = api.launch(name)
    assert api.finished(handle)["outcome"] == "succeeded", logs(served, handle)
    return handle


def logs(served: Serving, handle: str) -> dict[str, bytes]:
    return {each.name: each.read_bytes() for each in (served.data / "logs" / handle).iterdir()}


def denied(served: Serving, name: str, *scripts: str) -> None:
    """Run each line as a task would: what it may do first, and then not one of ``scripts`` may succeed."""
    lines = ('cat "$ODIN_WORK_PATH/file" ../other/kept', *scripts)
    asked = "\n".join(f"if ( {line} ); then echo DONE {number}; fi" for number, line in enumerate(lines))
    handle = ran(served, name, task("other", "echo mine > kept"), task("x", f"{asked}\ntrue", "other"), file="kept\n")
    allowed, *said = served.api().log(f"{handle}--x").decode().removeprefix("kept\nmine\n").split("\n")
    assert allowed == "DONE 0"
    said = [line for line in said if line]
    assert len(said) >= len(scripts), said
    assert [line for line in said if not re.search("Permission denied|not permitted", line)] == []


def mode(path: Path) -> tuple[str, int]:
    found = path.lstat()
    return pwd.getpwuid(found.st_uid).pw_name, stat.S_IMODE(found.st_mode)


def test_a_pipeline_works_as_it_does_without_another_user(served):
    first = task("fetch", 'id -un; cat "$ODIN_WORK_PATH/data.txt" > "$ODIN_TASK_PATH/data"; echo {} > "$ODIN_OUTPUTS"')
    second = task(
        "train", 'cat "$ODIN_RUN_PATH/fetch/data"; ls "$ODIN_RUN_PATH"; cat "$ODIN_TASK_IDS_FILE"; pwd', "fetch"
    )
    handle = ran(served, "real", first, second, **{"data.txt": "numbers\n"})
    run = served.shared / "runs" / handle
    assert served.api().log(f"{handle}--fetch") == f"{TASK_USER}\n".encode()
    told = served.api().log(f"{handle}--train").decode().split()
    assert told == ["numbers", "fetch", "train", f"{handle}--fetch", f"{handle}--train", f"{run}/train"]
    assert (run / "fetch" / "data").owner() == TASK_USER
    assert [each.read_text() for each in (run / ".odin" / "outputs").iterdir()] == ["{}\n"]


def test_a_program_of_the_job_is_run(served):
    program = {"name": "own", "command": ["sh", "${WORK_PATH}/run.sh"]}
    handle = ran(served, "program", program, **{"run.sh": "cp $0 copy && cat copy"})
    assert b"cat copy" in served.api().log(f"{handle}--own")


def test_the_work_folder_of_a_templated_job_is_read_and_not_written(served):
    api = served.api()
    script = (
        'cat "$ODIN_WORK_PATH/conf" plain 2>&1; (echo x > "$ODIN_WORK_PATH/conf"); (mv "$ODIN_WORK_PATH" here); true'
    )
    api.push("templated", job(task("a", script)), **{"conf.jinja2": "lr is {{ lr }}\n", "plain": "as it is\n"})
    asked = {"pipeline": {"job": "templated"}, "context": {"lr": 0.1}}
    handle = api.post("/v1/pipelines", asked)["pipeline"]["id"]
    assert api.finished(handle)["outcome"] == "succeeded", logs(served, handle)
    assert api.log(f"{handle}--a").startswith(b"lr is 0.1\n")
    work = served.shared / "runs" / handle / ".odin" / "work"
    assert (work / "conf").read_text() == "lr is 0.1\n"
    assert [mode(path) for path in (work, work / "conf", work / "plain")] == [
        ("root", 0o555),
        ("root", 0o444),
        ("root", 0o444),
    ]


def test_a08_a_task_cannot_change_the_checkout(served):
    denied(
        served,
        "checkout",
        'echo x > "$ODIN_WORK_PATH/file"',
        'chmod u+w "$ODIN_WORK_PATH/file"',
        'rm -f "$ODIN_WORK_PATH/file"',
        'touch "$ODIN_WORK_PATH/new"',
        'mv "$ODIN_ROOT_PATH" "$ODIN_TASK_PATH/root"',
        'mv "$ODIN_ROOT_PATH" "$ODIN_ROOT_PATH.old"',
        'cd "$ODIN_ROOT_PATH/.." && ls',
    )


def test_a105_a_task_cannot_reach_what_is_the_servers(served):
    data = served.data
    denied(
        served,
        "secrets",
        f"ls {data}",
        *(f"cat {path}" for path in (f"{data}/odin.db", f"{data}/server.lock", f"{data}/jobs.git/HEAD")),
        *(f"cat {path}" for path in (data / "secrets").iterdir()),
        f"ls {data}/logs",
        f"ls {data}/runner",
        f"touch {data}/new",
        f"mv {data} {data}.old",
        f"cat /proc/{served.runner}/environ",
        f"kill {served.runner}",
    )


def test_a105_a_task_cannot_replace_what_stands_beside_its_folder(served):
    denied(
        served,
        "beside",
        'cd "$ODIN_RUN_PATH" && mv .odin old',
        'cd "$ODIN_RUN_PATH" && rm -r .odin',
        'cd "$ODIN_RUN_PATH" && mv other old',
        'cd "$ODIN_RUN_PATH" && ln -s /etc link',
        'echo x >> "$ODIN_TASK_IDS_FILE"',
        'rm -f "$ODIN_TASK_IDS_FILE"',
        'cd "$ODIN_RUN_PATH/.odin" && mv outputs old',
        'cd "$ODIN_RUN_PATH/.odin" && touch new',
        'cd "$ODIN_DATA_PATH" && ls',
        'cd "$ODIN_DATA_PATH" && touch new',
        'mv "$ODIN_RUN_PATH" "$ODIN_RUN_PATH.old"',
    )


def test_a102_who_owns_each_folder_and_who_may_enter_it(served):
    handle = ran(served, "modes", task("x", "true"))
    run = served.shared / "runs" / handle
    found = {path: mode(path) for path in (served.shared, *served.shared.iterdir(), run, *run.rglob("*"))}
    assert {str(path.relative_to(served.shared)): seen for path, seen in found.items() if path.name != ".trash"} == {
        ".": ("root", OWN),
        "checkouts": ("root", OWN),
        "runs": ("root", OWN),
        f"runs/{handle}": ("root", READS),
        f"runs/{handle}/.odin": ("root", OWN),
        f"runs/{handle}/.odin/outputs": (TASK_USER, WRITES),
        f"runs/{handle}/.odin/task_ids": ("root", 0o644),
        f"runs/{handle}/x": (TASK_USER, WRITES),
    }
    assert mode(served.data) == ("root", 0o700)


def test_a102_without_another_user_all_is_private(fresh):
    fresh.start()
    handle = ran(fresh, "modes", task("x", "true"))
    shared = fresh.shared
    run = shared / "runs" / handle
    folders = (fresh.data, shared, shared / "checkouts", shared / "runs", run, run / ".odin", run / "x")
    assert {oct(mode(folder)[1]) for folder in (*folders, run / ".odin" / "outputs")} == {"0o700"}
    assert mode(run / ".odin" / "task_ids")[1] == 0o600


def test_cleanup_removes_what_tasks_left_whatever_they_did_to_it(served):
    left = 'mkdir -p a/b; echo x > a/b/c; ln -s / link; chmod 0 a/b a; echo {} > "$ODIN_OUTPUTS"'
    handle = ran(served, "swept", task("x", left))
    served.command("odin-cleanup", "--fs", "--db", handle)
    assert not (served.shared / "runs" / handle).exists()
    assert list((served.shared / ".trash").iterdir()) == []
    assert not (served.data / "logs" / handle).exists()


def test_a_restart_goes_on_with_the_folders_as_they_are(alone):
    alone.start()
    handle = ran(alone, "first", task("x", "echo some > file"))
    alone.terminate()
    alone.start()
    again = alone.api().post(f"/v1/pipelines/{handle}/rerun", {"from": "start"})["pipeline"]["id"]
    assert alone.api().finished(again)["outcome"] == "succeeded"


def test_what_a_resumed_pipeline_keeps_still_belongs_to_whom_its_tasks_run_as(served):
    wrote = "mkdir -p deep; echo some > deep/file; chmod 700 deep"
    wants = "[ -e $ODIN_RUN_PATH/x/again ] || { touch $ODIN_RUN_PATH/x/again; exit 1; }; cat $ODIN_RUN_PATH/x/deep/file"
    served.api().push("kept", job(task("x", wrote), task("y", wants, "x")))
    first = served.api().finished(served.api().launch("kept"))
    assert first["outcome"] == "failed"
    second = served.api().finished(served.command("odin-resume", first["id"]).line)
    assert second["outcome"] == "succeeded"
    kept = served.shared / "runs" / second["id"] / "x"
    for path in (kept, kept / "deep", kept / "deep" / "file"):
        assert path.owner() == TASK_USER
    assert mode(kept / "deep")[1] == 0o700


def test_folders_above_the_shared_one_are_made_so_that_tasks_can_pass(alone):
    alone.settings["SHARED"] = str(alone.folder / "deep" / "down" / "shared")
    alone.start()
    ran(alone, "deep", task("x", 'ls "$ODIN_WORK_PATH"; echo some > file'))


def refused(alone: Serving) -> str:
    code = alone.popen().wait()
    assert code in (8, 9), alone.said()
    return alone.said()


@pytest.mark.parametrize(("user", "why"), [("no-such-user", "has no user"), ("root", "is the server's own user")])
def test_a105_a_user_that_tasks_cannot_run_as_is_refused_at_start(alone, user, why):
    alone.settings["TASK_USER"] = user
    assert f"ODIN_TASK_USER: {why}" in refused(alone).replace(f"{user} ", "").replace("this machine ", "")


def test_a_shared_folder_that_tasks_cannot_reach_is_refused_with_the_remedy(alone):
    alone.folder.chmod(0o700)
    assert f"chmod o+x {alone.folder}" in refused(alone)


def test_a105_folders_that_tasks_could_replace_are_refused(alone):
    nobody = pwd.getpwnam(TASK_USER)
    alone.folder.chmod(0o777)
    assert "could put another folder in the place of" in refused(alone)
    alone.folder.chmod(0o1777)
    alone.data.mkdir(exist_ok=True)
    os.chown(alone.data, nobody.pw_uid, nobody.pw_gid)
    assert f"chown -R root {alone.data}" in refused(alone)


def test_a102_a_database_elsewhere_that_tasks_can_read_is_refused(alone):
    database = alone.folder / "odin.db"
    database.touch(mode=0o644)
    alone.settings["DATABASE_URL"] = f"sqlite:///{database}"
    assert f"chmod 600 {database}" in refused(alone)
    database.chmod(0o600)
    alone.start()
