"""``odin-fsck``: every difference is named with its place and its remedy, mended, and gone at the next look."""

from __future__ import annotations

import os
import shutil
import signal
import sqlite3
import subprocess
import threading
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from chaos.oracle import Oracle
from e2e.jobs import SLEEPER, job, task
from e2e.serving import Serving, until
from postgres import Postgres

Break = Callable[[Serving, str], str]


def look(odin: Serving, *flags: str, code: int = 0) -> list[dict[str, Any]]:
    """The differences that ``odin-fsck --json`` tells."""
    told = odin.operate("odin-fsck", "--json", *flags, code=code).json
    assert told["clean"] == (code == 0)
    found: list[dict[str, Any]] = told["differences"]
    return found


def sql(odin: Serving, statement: str, *values: object) -> list[tuple[Any, ...]]:
    with closing(sqlite3.connect(odin.data / "odin.db", isolation_level=None)) as database:
        return database.execute(statement, values).fetchall()


def ran(odin: Serving, name: str = "short", **fields: Any) -> str:
    odin.api().push(name, job(task("one", "echo something; echo result >$ODIN_TASK_PATH/result", **fields)))
    pipeline = odin.api().launch(name)
    odin.api().finished(pipeline)
    return pipeline


def begun(odin: Serving) -> str:
    """One that runs."""
    odin.api().push("long", job(SLEEPER))
    pipeline = odin.api().launch("long")
    odin.api().executing(f"{pipeline}--slow")
    return pipeline


def git(odin: Serving, *words: str) -> str:
    command = ["git", "--git-dir", str(odin.data / "jobs.git"), *words]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()


def a_file(path: Path, text: str = "mine") -> str:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    return str(path)


# Each breaks something while the server is stopped, some with a pipeline of its own, and gives the place to be named.


def run_of_nobody(odin: Serving, _: str) -> str:
    a_file(odin.shared / "runs" / "lost-00000001" / "one" / "result")
    return str(odin.shared / "runs" / "lost-00000001")


def run_of_a_cleaned_one(odin: Serving, _: str) -> str:
    sql(odin, "INSERT INTO tombstones VALUES ('gone-00000001', 0)")
    a_file(odin.shared / "runs" / "gone-00000001" / "one" / "result")
    return str(odin.shared / "runs" / "gone-00000001")


def run_that_is_a_link(odin: Serving, _: str) -> str:
    link = odin.shared / "runs" / "lost-00000002"
    link.symlink_to(odin.folder / "outside")
    return str(link)


def logs_of_nobody(odin: Serving, _: str) -> str:
    a_file(odin.data / "logs" / "lost-00000001" / "lost-00000001--one.log")
    return str(odin.data / "logs" / "lost-00000001")


def log_of_no_attempt(odin: Serving, pipeline: str) -> str:
    return a_file(odin.data / "logs" / pipeline / f"{pipeline}--one--7.log")


def log_lost(odin: Serving, pipeline: str) -> str:
    path = odin.data / "logs" / pipeline / f"{pipeline}--one.log"
    path.unlink()
    return str(path)


def log_cut(odin: Serving, pipeline: str) -> str:
    return a_file(odin.data / "logs" / pipeline / f"{pipeline}--one.log", "some")


def checkout_of_nobody(odin: Serving, _: str) -> str:
    version = git(odin, "rev-parse", "HEAD~2")
    a_file(odin.shared / "checkouts" / version / "file")
    return str(odin.shared / "checkouts" / version)


def pin_of_nobody(odin: Serving, _: str) -> str:
    version = git(odin, "rev-parse", "HEAD~1")
    git(odin, "update-ref", f"refs/odin/pins/{version}", version)
    return str(odin.shared / "checkouts" / version)


def pin_lost(odin: Serving, pipeline: str) -> str:
    ((version,),) = sql(odin, "SELECT version FROM pipelines WHERE id = ?", pipeline)
    git(odin, "update-ref", "-d", f"refs/odin/pins/{version}")
    return f"{odin.data}/jobs.git refs/odin/pins/{version}"


def checkout_changed(odin: Serving, pipeline: str) -> str:
    ((version,),) = sql(odin, "SELECT version FROM pipelines WHERE id = ?", pipeline)
    folder = odin.shared / "checkouts" / version
    file = folder / pipeline.partition("-")[0] / "main.yml"
    file.chmod(0o600)
    file.write_text("other")
    return str(folder)


def checkout_unlike_any(odin: Serving, _: str) -> str:
    return a_file(odin.shared / "checkouts" / "mine")


def checkout_half_made(odin: Serving, _: str) -> str:
    folder = odin.shared / "checkouts" / f"tmp-{'a' * 40}-00000000"
    a_file(folder / "file")
    folder.chmod(0o500)
    return str(folder)


def lock_of_a_dead_git(odin: Serving, _: str) -> str:
    return a_file(odin.data / "jobs.git" / "refs" / "heads" / "main.lock")


def draft_of_a_journal(odin: Serving, _: str) -> str:
    return a_file(odin.data / "runner" / "journal.new")


def trash_left(odin: Serving, _: str) -> str:
    folder = odin.shared / ".trash" / "runs-x-1"
    a_file(folder / "file")
    (folder / "link").symlink_to(odin.folder / "outside")
    return str(folder)


def rows_of_nobody(odin: Serving, _: str) -> str:
    sql(odin, "INSERT INTO events (pipeline, seq, at, type) VALUES ('lost-00000001', 1, 0, 'submitted')")
    return "events of lost-00000001"


def cleanup_begun(odin: Serving, pipeline: str) -> str:
    sql(odin, """UPDATE pipelines SET deleting = '{"db": true, "fs": true}' WHERE id = ?""", pipeline)
    return pipeline


ALONE: list[tuple[str, Break]] = [
    ("run-unknown", run_of_nobody),
    ("run-unknown", run_of_a_cleaned_one),
    ("run-unknown", run_that_is_a_link),
    ("log-unknown", logs_of_nobody),
    ("checkout-unused", checkout_of_nobody),
    ("checkout-unused", pin_of_nobody),
    ("checkout-unknown", checkout_unlike_any),
    ("draft-left", checkout_half_made),
    ("draft-left", lock_of_a_dead_git),
    ("draft-left", draft_of_a_journal),
    ("trash-left", trash_left),
    ("rows-adrift", rows_of_nobody),
]
OF_A_PIPELINE: list[tuple[str, Break]] = [
    ("log-unknown", log_of_no_attempt),
    ("log-missing", log_lost),
    ("log-short", log_cut),
    ("pin-missing", pin_lost),
    ("checkout-changed", checkout_changed),
    ("cleanup-unfinished", cleanup_begun),
]


@pytest.fixture
def outside(fresh: Serving) -> Path:
    """What nothing may touch, whatever leads to it."""
    return Path(a_file(fresh.folder / "outside" / "precious", "still here"))


def test_a_server_and_what_it_did_are_clean_while_it_runs_and_after(fresh: Serving) -> None:
    fresh.start()
    ran(fresh)
    cancelled = begun(fresh)
    fresh.api().post(f"/v1/pipelines/{cancelled}/cancel")
    fresh.api().finished(cancelled)
    ran(fresh, "failed", retries=1, args=["exit 3"])
    cleaned = ran(fresh, "cleaned")
    fresh.api().delete(f"/v1/pipelines/{cleaned}?db=true&fs=true")
    half = ran(fresh, "half")
    fresh.api().delete(f"/v1/pipelines/{half}?fs=true")
    running = begun(fresh)
    assert fresh.operate("odin-fsck").out == "clean: database, files, git and processes agree\n"
    told = fresh.operate("odin-fsck", "--json").json
    assert told["server"].startswith(f"process {fresh.process.pid} on ")
    fresh.kill()
    assert look(fresh) == []
    assert look(fresh, "--repair") == []
    fresh.start()
    fresh.api().post(f"/v1/pipelines/{running}/cancel")
    fresh.api().finished(running)


def test_everything_that_differs_is_named_and_mended(fresh: Serving, outside: Path) -> None:
    fresh.start()
    pipelines = [ran(fresh, f"p{number}") for number in range(len(OF_A_PIPELINE))]
    for number in range(3):  # commits that nothing ran at
        fresh.api().push(f"idle{number}", job(task("one", "true")))
    fresh.terminate()
    expected = {(kind, damage(fresh, "")) for kind, damage in ALONE}
    for (kind, damage), pipeline in zip(OF_A_PIPELINE, pipelines, strict=True):
        expected.add((kind, damage(fresh, pipeline)))

    found = look(fresh, code=1)
    assert {(one["kind"], one["place"]) for one in found} == expected
    assert len(found) == len(expected)
    assert all(one["repairable"] and not one["repaired"] and one["remedy"] and one["what"] for one in found)
    assert look(fresh, code=1) == found  # nothing was touched
    mended = look(fresh, "--repair")
    assert {(one["kind"], one["place"]) for one in mended if one["repaired"]} == expected
    assert look(fresh) == []
    assert look(fresh, "--repair") == []

    assert outside.read_text() == "still here"
    fresh.start()
    ran(fresh, "again")
    for pipeline in pipelines[:-1]:
        assert fresh.api().pipeline(pipeline)["outcome"] == "succeeded"
    assert fresh.api().ask("GET", f"/v1/pipelines/{pipelines[-1]}").status == 404
    fresh.terminate()
    Oracle(fresh).stores_are_sound()


def test_what_nobody_knows_is_kept_aside_and_what_was_cleaned_up_goes(fresh: Serving) -> None:
    fresh.start()
    pipeline = ran(fresh)
    fresh.terminate()
    run_of_nobody(fresh, pipeline)
    run_of_a_cleaned_one(fresh, pipeline)
    logs_of_nobody(fresh, pipeline)
    look(fresh, "--repair")
    (folder,) = (fresh.shared / "lost+found").iterdir()
    assert folder.name.startswith("runs-lost-00000001-")
    assert (folder / "one" / "result").read_text() == "mine"
    (logs,) = (fresh.data / "lost+found").iterdir()
    assert (logs / "lost-00000001--one.log").read_text() == "mine"
    assert (fresh.shared / "lost+found").stat().st_mode & 0o777 == 0o700


def test_a_lost_log_is_told_by_its_row_from_then_on(fresh: Serving) -> None:
    fresh.start()
    pipeline = ran(fresh)
    fresh.terminate()
    log_lost(fresh, pipeline)
    look(fresh, "--repair")
    fresh.start()
    (attempt,) = fresh.command("odin-data", f"{pipeline}--one").json["attempts"]
    assert attempt["message"] == "0 of the 10 bytes of its log are left (odin-fsck)"


def test_what_a_running_pipeline_stands_on_is_made_again(fresh: Serving) -> None:
    fresh.start()
    gate = fresh.folder / "gate"
    wait = f"until [ -e {gate} ]; do sleep 0.02; done"
    fresh.api().push("gated", job(task("one", wait), task("two", "cat $ODIN_WORK_PATH/main.yml", "one")))
    pipeline = fresh.api().launch("gated")
    version = fresh.api().executing(f"{pipeline}--one") and fresh.api().pipeline(pipeline)["version"]
    fresh.terminate()
    run, checkout = fresh.shared / "runs" / pipeline, fresh.shared / "checkouts" / version
    shutil.rmtree(run)
    subprocess.run(["rm", "-rf", str(checkout)], check=True)
    assert {(one["kind"], one["place"]) for one in look(fresh, code=1)} == {
        ("run-missing", str(run)),
        ("checkout-missing", str(checkout)),
    }
    look(fresh, "--repair")
    gate.touch()
    fresh.start()
    assert fresh.api().finished(pipeline)["outcome"] == "succeeded"
    assert b"until" in fresh.api().log(f"{pipeline}--two")


def test_a_process_that_no_row_knows_is_named_and_left_alone(fresh: Serving) -> None:
    """As after an older backup was put back: its files stay too."""
    fresh.start()
    ran(fresh)
    fresh.operate("odin-serve", "backup", fresh.folder / "odin.tar.gz")
    pipeline = begun(fresh)
    fresh.terminate()
    fresh.operate("odin-serve", "restore", fresh.folder / "odin.tar.gz")
    bodies = dict(fresh.bodies())
    found = {one["kind"]: one for one in look(fresh, "--repair", code=1)}
    assert set(found) == {"process-unknown", "run-unknown", "log-unknown", "checkout-unused"}
    assert not any(one["repaired"] for one in found.values())
    pid = int(found["process-unknown"]["place"].removeprefix("process "))
    assert os.getsid(pid) == pid
    assert found["process-unknown"]["remedy"] == f"leave it; to stop it: kill -TERM -- -{pid}"
    assert f"process {pid} of {pipeline}--slow still runs" in found["run-unknown"]["remedy"]
    assert dict(fresh.bodies()) == bodies
    os.killpg(pid, signal.SIGTERM)
    until(lambda: dict(fresh.bodies()) == {})
    assert {one["kind"] for one in look(fresh, "--repair")} == {"run-unknown", "log-unknown", "checkout-unused"}


def test_f47_damage_of_database_and_repository_is_named_and_nothing_pretended(fresh: Serving) -> None:
    fresh.start()
    ran(fresh)
    fresh.terminate()
    blob = git(fresh, "rev-parse", "HEAD:short/main.yml")
    (fresh.data / "jobs.git" / "objects" / blob[:2] / blob[2:]).unlink()
    found = look(fresh, "--repair", code=1)
    assert {one["kind"] for one in found if blob in one["place"]} == {"repository-damaged"}
    assert {one["repairable"] for one in found} <= {False, True}
    assert not any(one["repaired"] for one in found if one["kind"] == "repository-damaged")
    database = fresh.data / "odin.db"
    content = bytearray(database.read_bytes())
    for page in range(2, len(content) // 4096):
        content[page * 4096] ^= 0xFF
    database.write_bytes(content)
    found = look(fresh, "--repair", code=1)
    assert {one["kind"] for one in found} == {"database-damaged"}
    assert {one["remedy"] for one in found} == {"odin-serve restore FILE"}
    assert database.read_bytes() == content


def test_repair_needs_the_server_stopped_and_a_look_does_not(fresh: Serving) -> None:
    fresh.start()
    pipeline = ran(fresh)
    place = log_lost(fresh, pipeline)
    assert [one["place"] for one in look(fresh, code=1)] == [place]
    refused = fresh.operate("odin-fsck", "--repair", code=6)
    assert f"in use by process {fresh.process.pid}" in refused.err
    text = fresh.operate("odin-fsck", code=1).out.splitlines()
    assert text[0].startswith(
        f"log-missing: {place}: the attempt wrote 10 bytes, 0 are there; --repair: say so in its row"
    )
    assert text[-1] == "1 differences; odin-fsck --repair, with the server stopped, mends 1 of them"


def test_no_alarm_is_raised_by_a_server_that_works(fresh: Serving) -> None:
    fresh.start()
    fresh.api().push("busy", job(*(task(f"t{number}", "echo x", cpu="10m") for number in range(5))))
    stop = threading.Event()

    def work() -> None:
        while not stop.is_set():
            pipeline = fresh.api().launch("busy")
            fresh.api().push("busy", job(*(task(f"t{number}", f"echo {pipeline}", cpu="10m") for number in range(5))))
            fresh.api().finished(pipeline)
            fresh.api().delete(f"/v1/pipelines/{pipeline}?db=true&fs=true")

    workers = [threading.Thread(target=work) for _ in range(2)]
    for worker in workers:
        worker.start()
    try:
        for _ in range(3):
            assert look(fresh) == []
    finally:
        stop.set()
        for worker in workers:
            worker.join()


@pytest.mark.skipif(os.geteuid() != 0, reason="not run here: only root can be another user")
def test_nobody_but_the_servers_user_changes_anything(fresh: Serving) -> None:
    """Root could, and would leave files that the server cannot open."""
    fresh.operate("odin-serve", "migrate")
    os.chown(fresh.data, 65534, 65534)
    file = a_file(fresh.folder / "odin.tar.gz")
    for words in (("odin-fsck", "--repair"), ("odin-serve", "restore", file)):
        assert f"{fresh.data} belongs to the user with the id 65534" in fresh.operate(*words, code=4).err
    assert not (fresh.data / "server.lock").exists()


def test_what_cannot_be_looked_at_is_said_in_a_line(fresh: Serving) -> None:
    assert "there is no data folder" in fresh.operate("odin-fsck", code=3).err
    fresh.operate("odin-serve", "migrate")
    sql(fresh, "UPDATE alembic_version SET version_num = '9999'")
    assert "has schema 9999" in fresh.operate("odin-fsck", code=6).err


def test_a_server_on_postgresql_is_compared_and_mended_too(fresh: Serving, postgres: Postgres) -> None:
    fresh.settings["DATABASE_URL"] = postgres.empty()
    fresh.start()
    pipeline = ran(fresh)
    assert look(fresh) == []
    other = Serving(fresh.settings)  # with a data folder that no server holds, as on another machine
    other.data.mkdir()
    assert "sessions of other servers are open" in other.operate("odin-fsck", "--repair", code=6).err
    other.close()
    fresh.terminate()
    expected = {run_of_nobody(fresh, pipeline), log_lost(fresh, pipeline), trash_left(fresh, pipeline)}
    assert {one["place"] for one in look(fresh, code=1)} == expected
    assert {one["place"] for one in look(fresh, "--repair") if one["repaired"]} == expected
    assert look(fresh) == []
