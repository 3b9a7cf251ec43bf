"""``odin-resume`` on a real server: what ran stays as it was, what must runs again. Runs are counted by files."""

from __future__ import annotations

import os

import pytest

from e2e.jobs import job, task
from e2e.serving import BIN, Serving, until


def counted(odin: Serving, name: str, script: str, *depends: str, **fields):
    """A task that leaves a file for each time that it runs, outside of its pipeline."""
    place = odin.folder / "counts"
    place.mkdir(exist_ok=True)
    return task(name, f"mktemp {place}/$ODIN_PIPE_ID--{name}.XXXXXX >&2; {script}", *depends, **fields)


def runs(odin: Serving, *pipelines: str) -> list[str]:
    """The tasks that ran in these pipelines, each as often as it did."""
    found = (path.name.split(".")[0].split("--") for path in (odin.folder / "counts").iterdir())
    return sorted(name for pipeline, name in found if pipeline in pipelines)


BROKEN = "test -s $ODIN_RUN_PATH/fetch/data || exit 9; exit 3"
FIXED = "cat $ODIN_RUN_PATH/fetch/data $ODIN_RUN_PATH/fetch/deep/more > model; echo trained"
FETCH = """echo some > data; mkdir deep; echo more > deep/more; ln -s data link; chmod 555 deep; echo '{"n": 1}' > $ODIN_OUTPUTS; echo fetched"""


def study(odin: Serving, train: str):
    return job(
        counted(odin, "fetch", FETCH),
        counted(odin, "train", train, "fetch"),
        counted(odin, "report", "cat $ODIN_RUN_PATH/train/model", "train"),
        on_failure="stop",
    )


@pytest.fixture
def failed(odin: Serving) -> str:
    odin.api().push("study", study(odin, BROKEN))
    done = odin.api().finished(odin.api().launch("study"))
    assert {name: one["status"] for name, one in done["tasks"].items()} == {
        "fetch": "executed",
        "train": "failed",
        "report": "skipped",
    }
    return done["id"]


def resume(odin: Serving, *words: str) -> dict:
    handle = odin.command("odin-resume", *words).line
    return odin.api().finished(handle)


def test_a_failed_pipeline_goes_on_after_the_fix_was_pushed(odin: Serving, failed: str) -> None:
    odin.api().push("study", study(odin, FIXED))
    told = odin.command("odin-resume", failed, "--at", "HEAD", "--dry-run").out
    assert "1 of 3 tasks are kept, 2 run again" in told
    assert [line.split()[:2] for line in told.splitlines()[3:6]] == [
        ["fetch", "keep"],
        ["train", "run"],
        ["report", "run"],
    ]
    done = odin.command("odin-resume", failed, "--at", "HEAD")
    assert "1 of 3 tasks are kept" in done.err
    now = odin.api().finished(done.line)
    assert (now["outcome"], now["rerunOf"]) == ("succeeded", failed)
    assert runs(odin, failed, now["id"]) == ["fetch", "report", "train", "train"]
    assert odin.api().log(f"{now['id']}--report").endswith(b"some\nmore\n")


def test_what_is_kept_shows_what_happened_then(odin: Serving, failed: str) -> None:
    before = odin.api().pipeline(failed)["tasks"][0]
    odin.api().push("study", study(odin, FIXED))
    now = resume(odin, failed, "--at", "HEAD")
    kept = now["tasks"]["fetch"]
    assert kept["keptFrom"] == failed and kept["reason"] == f"kept from {failed}"
    for fact in ("status", "attempt", "exitCode", "submitTime", "startTime", "completionTime"):
        assert kept[fact] == before[fact]
    assert odin.api().log(f"{now['id']}--fetch") == odin.api().log(f"{failed}--fetch")
    (attempt,) = odin.command("odin-data", f"{now['id']}--fetch").json["attempts"]
    assert (attempt["number"], attempt["exit_code"], attempt["reason"]) == (1, 0, "exit")
    assert "kept from" in odin.command("odin-events", f"{now['id']}--fetch").out
    folder = odin.shared / "runs" / now["id"]
    assert (folder / "fetch/link").readlink().name == "data"
    assert (folder / ".odin/outputs" / f"{now['id']}--fetch.json").read_text() == '{"n": 1}\n'


def test_what_is_kept_is_no_news_to_who_follows(odin: Serving, failed: str) -> None:
    odin.api().push("study", study(odin, FIXED))
    done = odin.command("odin-resume", failed, "--at", "HEAD", "--follow")
    states = [line.split()[1:3] for line in done.err.splitlines() if line[:2].isdigit()]
    assert [name for name, status in states if status == "executed"] == ["train", "report"]
    assert "fetch" not in [name for name, _ in states]


def test_both_pipelines_name_each_other(odin: Serving, failed: str) -> None:
    odin.api().push("study", study(odin, FIXED))
    now = resume(odin, failed, "--at", "HEAD")["id"]
    assert f"run again by {now}" in odin.command("odin-status", failed).out
    assert f"again after {failed}" in odin.command("odin-status", now).out


def test_what_is_kept_outlives_the_cleanup_of_where_it_came_from(odin: Serving, failed: str) -> None:
    odin.api().push("study", study(odin, FIXED))
    second = resume(odin, failed, "--at", "HEAD")["id"]
    odin.command("odin-cleanup", "-f", "-d", failed)
    assert odin.api().log(f"{second}--fetch").endswith(b"fetched\n")
    third = resume(odin, second, "--from", "report")
    assert third["outcome"] == "succeeded"
    assert third["tasks"]["fetch"]["keptFrom"] == failed
    assert third["tasks"]["train"]["keptFrom"] == second
    assert runs(odin, failed, second, third["id"]) == ["fetch", "report", "report", "train", "train"]
    odin.command("odin-cleanup", "-f", "-d", second)
    assert odin.api().log(f"{third['id']}--fetch").endswith(b"fetched\n")


def test_a_cancelled_pipeline_goes_on_where_it_was_stopped(odin: Serving) -> None:
    gate = odin.folder / "gate"
    slow = counted(odin, "slow", f"until [ -e {gate} ]; do sleep 0.05; done", "quick")
    odin.api().push("stopped", job(counted(odin, "quick", "true"), slow))
    first = odin.api().launch("stopped")
    odin.api().executing(f"{first}--slow")
    refused = odin.command("odin-resume", first, code=6)
    assert "still runs" in refused.err and "cancel" in refused.err
    odin.command("odin-cancel", first)
    odin.api().finished(first)
    gate.touch()
    assert resume(odin, first)["outcome"] == "succeeded"


def test_a_succeeded_pipeline_runs_one_task_again_with_or_without_what_follows(odin: Serving) -> None:
    odin.api().push("good", study(odin, FIXED))
    first = odin.api().finished(odin.api().launch("good"))["id"]
    assert "every task ended well" in odin.command("odin-resume", first, code=6).err
    only = resume(odin, first, "--only", "train")
    assert (only["outcome"], runs(odin, only["id"])) == ("succeeded", ["train"])
    onwards = resume(odin, first, "--from", "train")
    assert (onwards["outcome"], runs(odin, onwards["id"])) == ("succeeded", ["report", "train"])
    whole = resume(odin, first, "--all")
    assert (whole["outcome"], runs(odin, whole["id"])) == ("succeeded", ["fetch", "report", "train"])


def test_tasks_whose_files_were_removed_run_again(odin: Serving, failed: str) -> None:
    odin.api().push("study", study(odin, FIXED))
    odin.command("odin-cleanup", "-f", failed)
    told = odin.command("odin-resume", failed, "--at", "HEAD", "--dry-run", "--json").json["plan"]
    assert told["tasks"][0] == {"name": "fetch", "action": "run", "why": "its files were removed"}
    now = resume(odin, failed, "--at", "HEAD")
    assert runs(odin, now["id"]) == ["fetch", "report", "train"]


def test_a_resumption_is_found_again_after_a_crash_while_it_is_built(fresh: Serving) -> None:
    fresh.start()
    fresh.api().push("study", study(fresh, BROKEN))
    failed = fresh.api().finished(fresh.api().launch("study"))["id"]
    fresh.api().push("study", study(fresh, FIXED))
    fresh.terminate()
    fresh.start(fault="resume:half-kept:kill")
    process = fresh.command("odin-resume", failed, "--at", "HEAD", code=None)
    until(lambda: not fresh.alive)
    fresh.process = None
    fresh.start()
    (now,) = fresh.api().get(f"/v1/pipelines/{failed}")["reruns"]
    assert fresh.api().finished(now)["outcome"] == "succeeded"
    assert runs(fresh, failed, now) == ["fetch", "report", "train", "train"], process.err


def test_at_a_terminal_the_plan_is_agreed_to_first(odin: Serving, failed: str) -> None:
    import pty

    person_env = odin.person().environment() | {"ODIN_TOKEN": odin.api().token or ""}
    pid, terminal = pty.fork()
    if pid == 0:
        os.execve(BIN / "odin-resume", ["odin-resume", failed], person_env)
    said = b""
    while b"[Y/n]" not in said:
        said += os.read(terminal, 4096)
    os.write(terminal, b"n\n")
    with_rest = said
    try:
        while piece := os.read(terminal, 4096):
            with_rest += piece
    except OSError:
        pass  # the other end is closed
    os.close(terminal)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
    assert b"nothing was begun" in with_rest
    assert "reruns" not in odin.api().get(f"/v1/pipelines/{failed}")
