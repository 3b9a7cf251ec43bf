"""Small and broken disks below a real server: what is said, what goes on, and that it recovers by itself."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

from e2e.jobs import job, task
from e2e.serving import Serving

BOB = {"username": "bob", "password": "bob's long password"}
WAITS = "touch $ODIN_TASK_PATH/began; while [ ! -e {go} ]; do sleep 0.05; done"


@pytest.fixture
def disk(fresh: Serving) -> Iterator[Path]:
    """A disk of 4 MiB in the server's folder; it is there for as long as the server."""
    place = fresh.folder / "disk"
    place.mkdir(mode=0o711)
    command = ["mount", "-t", "tmpfs", "-o", "size=4m,mode=711", "tmpfs", str(place)]
    if os.getuid() != 0 or subprocess.run(command, check=False).returncode:
        pytest.skip("needs the right to mount")
    yield place
    if fresh.alive:
        fresh.terminate()
    subprocess.run(["umount", "-l", str(place)], check=True)


def fill(disk: Path) -> Path:
    filler = disk / "filler"
    with filler.open("wb", buffering=0) as file, suppress(OSError):
        while file.write(bytes(4096)):
            pass
    return filler


def test_f46_a_full_database_refuses_what_is_new_and_forgets_nothing(fresh: Serving, disk: Path) -> None:
    go = fresh.folder / "go"
    fresh.settings["DATABASE_URL"] = f"sqlite:///{disk}/odin.db"
    api = fresh.start().api()
    api.push("wait", job(task("first", WAITS.replace("{go}", str(go))), task("second", "echo done", "first")))
    api.push("many", job(*(task(f"t{number}", f": {'x' * 1000}") for number in range(100))))
    begun = api.launch("wait")
    api.executing(f"{begun}--first")
    filler = fill(disk)
    answers = [api.ask("POST", "/v1/pipelines", {"pipeline": {"job": "many"}}) for _ in range(3)]
    assert {answer.status for answer in answers} == {507}
    assert "disk is full; free some space" in answers[0].json["detail"]
    assert api.ask("GET", "/healthz").status == 200
    go.touch()
    assert api.pipeline(begun)["status"] == "RUNNING"
    filler.unlink()
    assert api.finished(begun)["outcome"] == "succeeded"
    after = api.launch("many")
    assert api.finished(after)["outcome"] == "succeeded"
    assert {one["id"] for one in api.get("/v1/pipelines")["pipelines"]} == {begun, after}


def test_f82_a_task_that_fills_the_disk_of_results_fails_alone(fresh: Serving, disk: Path) -> None:
    go = fresh.folder / "go"
    fresh.settings["SHARED"] = f"{disk}/shared"
    api = fresh.start().api()
    api.push("quiet", job(task("one", WAITS.replace("{go}", str(go)) + "; echo done")))
    api.push("greedy", job(task("one", "dd if=/dev/zero of=results bs=64k")))
    quiet = api.launch("quiet")
    api.executing(f"{quiet}--one")
    greedy = api.finished(api.launch("greedy"))
    assert (greedy["errorMessage"], greedy["tasks"]["one"]["exitCode"]) == ('task "one" failed: exit code 1', 1)
    assert b"No space left on device" in api.log(f"{greedy['id']}--one")

    filler = fill(disk)
    refused = api.ask("POST", "/v1/pipelines", {"pipeline": {"job": "quiet"}})
    assert (refused.status, refused.json["detail"]) == (
        507,
        "the folder of runs cannot be written: No space left on device",
    )
    go.touch()
    assert api.finished(quiet)["outcome"] == "succeeded"
    filler.unlink()
    fresh.command("odin-cleanup", greedy["id"], "--fs")
    assert api.finished(api.launch("quiet"))["outcome"] == "succeeded"


@contextmanager
def broken_sync(pid: int) -> Iterator[None]:
    """No fsync of a process succeeds meanwhile."""
    calls = "fsync,fdatasync"
    command = ["strace", "-f", "-p", str(pid), "-e", f"trace={calls}", "-e", f"inject={calls}:error=EIO"]
    tracer = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
    assert tracer.stderr is not None
    first = tracer.stderr.readline()
    if "attached" not in first:
        tracer.wait()
        pytest.skip(f"may not trace: {first}")
    drain = threading.Thread(target=tracer.stderr.read)
    drain.start()
    try:
        yield
    finally:
        tracer.send_signal(signal.SIGINT)
        tracer.wait()
        drain.join()
        tracer.stderr.close()


@pytest.mark.skipif(shutil.which("strace") is None, reason="needs strace, which makes the calls fail")
def test_f14_what_could_not_be_synced_is_not_acknowledged(fresh: Serving) -> None:
    go = fresh.folder / "go"
    api = fresh.start().api()
    api.push("wait", job(task("first", WAITS.replace("{go}", str(go))), task("second", "echo done", "first")))
    begun = api.launch("wait")
    api.executing(f"{begun}--first")
    head = api.get("/v1/jobs/wait")["job"]
    with broken_sync(fresh.process.pid):
        answers = [api.ask("POST", "/v1/pipelines", {"pipeline": {"job": "wait"}}) for _ in range(3)]
        answers.append(api.write("wait", {"more.txt": b"x"}, query=""))
        answers.append(api.ask("POST", "/v1/users", {"user": BOB}))
        assert {answer.status for answer in answers} == {503}
        assert "the database's disk failed" in answers[0].json["detail"]
        go.touch()
    assert api.finished(begun)["outcome"] == "succeeded"
    fresh.kill()
    fresh.start()
    assert "SQLITE_IOERR_FSYNC" in fresh.said()
    assert [one["id"] for one in api.get("/v1/pipelines")["pipelines"]] == [begun]
    assert [one["username"] for one in api.get("/v1/users")["users"]] == ["ada"]
    assert api.get("/v1/jobs/wait")["job"] == head
    assert fresh.operate("odin-fsck", "--json").json["clean"]
