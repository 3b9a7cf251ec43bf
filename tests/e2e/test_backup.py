"""Backups made beside a running server, and put back: all that was acknowledged is there again. F-47, F-48."""

from __future__ import annotations

import gzip
import json
import re
import signal
import sqlite3
import subprocess
import tarfile
import threading
import zlib
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from chaos.oracle import Oracle
from e2e.jobs import SLEEPER, job, task
from e2e.serving import Serving
from postgres import Postgres

POINTS = ("restore:ready", "restore:marked", "restore:former-aside", "restore:one-in-place")


@pytest.fixture
def other() -> Iterator[Serving]:
    """Another machine."""
    serving = Serving()
    try:
        yield serving
    finally:
        serving.close()


def ran(odin: Serving, name: str) -> str:
    """A pipeline that is over, of a job of its own."""
    odin.api().push(name, job(task("one", f"echo {name}")))
    pipeline = odin.api().launch(name)
    assert odin.api().finished(pipeline)["outcome"] == "succeeded"
    return pipeline


def test_a_backup_of_a_running_server_makes_another_one_like_it(fresh: Serving, other: Serving) -> None:
    fresh.start()
    pipeline, file = ran(fresh, "first"), fresh.folder / "odin.tar.gz"
    told = fresh.operate("odin-serve", "backup", file)
    assert re.fullmatch(rf"{file}: 1 pipelines as of \S+Z, schema \d+ \(odin.db \d+ bytes, .*\)\n", told.out)
    assert file.stat().st_mode & 0o777 == 0o600

    other.operate("odin-serve", "restore", file)
    other.start()
    assert other.api().pipeline(pipeline) == fresh.api().pipeline(pipeline)
    events = f"/v1/resources/{pipeline}/events"
    assert other.api().get(events) == fresh.api().get(events)
    assert other.api().get("/v1/jobs") == fresh.api().get("/v1/jobs")
    again = other.api().post(f"/v1/pipelines/{pipeline}/rerun", {"from": "start"})["pipeline"]["id"]
    assert other.api().finished(again)["outcome"] == "succeeded"


def test_backups_under_load_hold_all_that_was_answered_before_them(fresh: Serving, other: Serving) -> None:
    fresh.start()
    fresh.api().push("busy", job(task("one", "true", cpu="10m"), task("two", "true", "one", cpu="10m")))
    known: list[str] = []
    stop = threading.Event()

    def launch() -> None:
        while not stop.is_set():
            known.append(fresh.api().launch("busy"))

    thread = threading.Thread(target=launch)
    thread.start()
    try:
        for number in range(3):
            before = list(known)
            fresh.operate("odin-serve", "backup", fresh.folder / f"{number}.tar.gz")
    finally:
        stop.set()
        thread.join()
    other.operate("odin-serve", "restore", fresh.folder / "2.tar.gz")
    other.start()
    for pipeline in before:
        assert other.api().finished(pipeline)["outcome"] == "succeeded"
    for pipeline in known:
        fresh.api().finished(pipeline)


def test_a_restore_keeps_what_was_there_before(fresh: Serving) -> None:
    fresh.start()
    first, file = ran(fresh, "first"), fresh.folder / "odin.tar.gz"
    fresh.operate("odin-serve", "backup", file)
    second = ran(fresh, "second")
    fresh.terminate()
    told = fresh.operate("odin-serve", "restore", file)
    (database, jobs) = (Path(line.removeprefix("  what was there before is ")) for line in told.out.splitlines()[1:])
    with sqlite3.connect(database) as former:
        assert [row[0] for row in former.execute("SELECT id FROM pipelines ORDER BY number")] == [first, second]
    former.close()
    assert subprocess.run(["git", "-C", jobs, "fsck", "--strict"], check=False, capture_output=True).returncode == 0
    fresh.start()
    assert fresh.api().pipeline(first)["outcome"] == "succeeded"
    assert fresh.api().ask("GET", f"/v1/pipelines/{second}").status == 404
    assert [one["id"] for one in fresh.api().get("/v1/jobs")["jobs"]] == ["first"]


def test_a_running_server_is_not_restored_over(fresh: Serving) -> None:
    fresh.start()
    file = fresh.folder / "odin.tar.gz"
    fresh.operate("odin-serve", "backup", file)
    refused = fresh.operate("odin-serve", "restore", file, code=6)
    assert f"the data folder {fresh.data} is in use by process {fresh.process.pid} on " in refused.err
    assert fresh.api().get("/v1/jobs")["jobs"] == []


def test_tasks_that_run_are_taken_up_again_after_a_restore(fresh: Serving) -> None:
    fresh.start()
    fresh.api().push("slow", job(SLEEPER))
    pipeline = fresh.api().launch("slow")
    fresh.api().executing(f"{pipeline}--slow")
    fresh.operate("odin-serve", "backup", fresh.folder / "odin.tar.gz")
    body = dict(fresh.bodies())
    fresh.terminate()
    fresh.operate("odin-serve", "restore", fresh.folder / "odin.tar.gz")
    fresh.start()
    assert fresh.api().executing(f"{pipeline}--slow")["attempt"] == 1
    assert dict(fresh.bodies()) == body
    fresh.api().post(f"/v1/pipelines/{pipeline}/cancel")
    assert fresh.api().finished(pipeline)["outcome"] == "cancelled"


@pytest.mark.parametrize("point", POINTS)
def test_f48_a_restore_that_was_killed_is_done_again_and_no_server_starts_on_half_of_it(
    fresh: Serving, point: str
) -> None:
    fresh.start()
    first, file = ran(fresh, "first"), fresh.folder / "odin.tar.gz"
    fresh.operate("odin-serve", "backup", file)
    second = ran(fresh, "second")
    fresh.terminate()
    fresh.operate("odin-serve", "restore", file, code=-signal.SIGKILL, fault=f"{point}:kill")
    if point != POINTS[0]:
        refused = fresh.operate("odin-serve", "--port", "0", code=9)
        assert "was interrupted" in refused.err
        assert "odin-serve restore FILE" in refused.err
    told = fresh.operate("odin-serve", "restore", file)
    database = Path(told.out.splitlines()[1].removeprefix("  what was there before is "))
    with sqlite3.connect(database) as former:  # of before the first try
        assert former.execute("SELECT count(*) FROM pipelines WHERE id = ?", (second,)).fetchone() == (1,)
    former.close()
    fresh.start()
    assert fresh.api().pipeline(first)["outcome"] == "succeeded"
    assert fresh.api().ask("GET", f"/v1/pipelines/{second}").status == 404
    assert [path.name for path in fresh.data.iterdir() if path.name.endswith((".restoring", "restoring"))] == []


def test_f48_a_backup_of_a_newer_odin_is_refused_and_nothing_touched(fresh: Serving) -> None:
    fresh.start()
    pipeline, file = ran(fresh, "first"), fresh.folder / "odin.tar.gz"
    fresh.operate("odin-serve", "backup", file)
    fresh.terminate()
    newer = altered(file, lambda manifest: manifest | {"schema": "9999", "odin": "9.0"})
    refused = fresh.operate("odin-serve", "restore", newer, code=6)
    assert re.search(r"schema 9999, made by Odin 9.0; this program knows up to \d{4}\.", refused.err)
    fresh.start()
    assert fresh.api().pipeline(pipeline)["outcome"] == "succeeded"


def test_f47_a_damaged_backup_is_refused_whichever_byte_it_is(fresh: Serving) -> None:
    """Wherever a byte of the compressed file or of what it holds is another, the restore says so before it begins."""
    fresh.start()
    file = fresh.folder / "odin.tar.gz"
    ran(fresh, "first")
    fresh.operate("odin-serve", "backup", file)
    fresh.terminate()
    whole = file.read_bytes()
    places = [len(whole) * part // 8 + 40 for part in range(8)]
    flipped = [whole[:place] + bytes([whole[place] ^ 0x20]) + whole[place + 1 :] for place in places]
    damaged = [each for each in flipped if unpacked(each) != gzip.decompress(whole)]  # some bits of gzip mean nothing
    assert len(damaged) > 3
    for each in damaged:
        file.write_bytes(each)
        assert "is no backup of Odin, or damaged" in fresh.operate("odin-serve", "restore", file, code=8).err
    file.write_bytes(whole[: len(whole) // 2])
    assert "is no backup of Odin, or damaged" in fresh.operate("odin-serve", "restore", file, code=8).err
    inner = bytearray(gzip.decompress(whole))
    inner[inner.index(b"SQLite format 3") + 5000] ^= 1
    file.write_bytes(gzip.compress(inner))
    assert "odin.db is not what the manifest says" in fresh.operate("odin-serve", "restore", file, code=8).err
    assert not (fresh.data / "restoring").exists()


def test_f47_no_server_starts_on_a_damaged_database_and_no_backup_is_made_of_it(fresh: Serving) -> None:
    fresh.start()
    for number in range(3):
        ran(fresh, f"job{number}")
    file = fresh.folder / "before.tar.gz"
    fresh.operate("odin-serve", "backup", file)
    fresh.terminate()
    database = fresh.data / "odin.db"
    content = bytearray(database.read_bytes())
    for page in range(2, len(content) // 4096):
        content[page * 4096] ^= 0xFF  # the kind of each page but the first two
    database.write_bytes(content)
    refused = fresh.operate("odin-serve", "backup", fresh.folder / "odin.tar.gz", code=9)
    assert "damaged" in refused.err
    assert not (fresh.folder / "odin.tar.gz").exists()
    damaged = database.read_bytes()
    refused = fresh.operate("odin-serve", "--port", "0", code=9)
    assert "is damaged: " in refused.err
    assert "odin-serve restore FILE" in refused.err
    assert database.read_bytes() == damaged  # nothing was repaired in silence
    fresh.operate("odin-serve", "restore", file)
    assert len(fresh.start().api().get("/v1/pipelines")["pipelines"]) == 3


def test_f47_a_log_of_the_database_that_was_cut_short_costs_its_end_and_nothing_else(fresh: Serving) -> None:
    fresh.start()
    for number in range(3):
        ran(fresh, f"job{number}")
    fresh.kill()
    log = fresh.data / "odin.db-wal"
    with log.open("r+b") as file:
        file.truncate(log.stat().st_size * 3 // 4 + 100)
    fresh.start()
    for found in fresh.api().get("/v1/pipelines")["pipelines"]:
        told = fresh.api().finished(found["id"])
        # An end that only the lost part knew is not made up.
        assert told["outcome"] == "succeeded" or "its end was not seen" in told["tasks"]["one"]["reason"]
    fresh.terminate()
    Oracle(fresh).stores_are_sound()


def test_what_cannot_be_backed_up_or_restored_is_said_in_a_line(fresh: Serving) -> None:
    file = fresh.folder / "odin.tar.gz"
    assert "there is no database at" in fresh.operate("odin-serve", "backup", file, code=3).err
    assert "there is no file" in fresh.operate("odin-serve", "restore", file, code=3).err
    assert "needs a FILE" in fresh.operate("odin-serve", "backup", code=2).err
    fresh.start()
    file.write_text("mine")
    assert "is there already" in fresh.operate("odin-serve", "backup", file, code=6).err
    assert file.read_text() == "mine"
    assert (
        "there is no folder" in fresh.operate("odin-serve", "backup", fresh.folder / "none" / "odin.tar.gz", code=3).err
    )


def unpacked(file: bytes) -> bytes | None:
    with suppress(OSError, EOFError, zlib.error):
        return gzip.decompress(file)
    return None


def altered(file: Path, change) -> Path:
    """The same backup under a manifest that says something else."""
    new = file.with_name("altered.tar.gz")
    folder = file.with_name("altered")
    with tarfile.open(file) as archive:
        archive.extractall(folder, filter="data")
    manifest = folder / "manifest.json"
    manifest.write_text(json.dumps(change(json.loads(manifest.read_text()))))
    with tarfile.open(new, "w:gz") as archive:
        for name in ("manifest.json", "odin.db", "jobs.bundle"):
            archive.add(folder / name, name)
    return new


@pytest.fixture
def moving(fresh: Serving, own_postgres: Postgres) -> Serving:
    """A server on SQLite, to go on with an empty PostgreSQL from its next start."""
    fresh.start()
    fresh.settings["DATABASE_URL"] = own_postgres.empty()
    return fresh


def test_a_backup_of_sqlite_is_restored_into_postgresql_and_what_runs_goes_on(moving: Serving) -> None:
    api, go, file = moving.api(), moving.folder / "go", moving.folder / "odin.tar.gz"
    over = ran(moving, "over")
    removed = ran(moving, "removed")
    moving.command("odin-cleanup", removed, "--fs", "--db")
    api.push("long", job(task("one", f"while [ ! -e {go} ]; do sleep 0.05; done"), task("two", "echo done", "one")))
    running = api.launch("long")
    api.executing(f"{running}--one")
    before = api.get("/v1/pipelines")
    events = api.get(f"/v1/resources/{over}/events")
    assert moving.terminate() == 0

    url = moving.settings.pop("DATABASE_URL")
    moving.operate("odin-serve", "backup", file)
    moving.settings["DATABASE_URL"] = url
    assert moving.operate("odin-serve", "restore", file).out.startswith(f"restored into {moving.data} and {url}: ")
    assert not (moving.data / "odin.db").exists(), "a start without the setting would go on with it"
    assert [*moving.data.glob("odin.db.before-*Z")]
    moving.start()
    assert api.get("/v1/pipelines") == before
    assert api.get(f"/v1/resources/{over}/events") == events
    go.touch()
    assert api.finished(running)["outcome"] == "succeeded"
    after = ran(moving, "after")
    assert [one["id"] for one in api.get("/v1/pipelines")["pipelines"]] == [after, running, over]
    assert api.ask("POST", "/v1/users", {"user": {"username": "bob", "password": "bob's long password"}}).status == 200

    moving.terminate()
    assert "restore it into an empty one" in moving.operate("odin-serve", "restore", file, code=6).err
    assert not [*moving.data.glob("*.restoring")]


@pytest.mark.parametrize("point", ["restore:one-in-place", "restore:filled"])
def test_f48_a_restore_into_postgresql_that_was_killed_is_done_again(moving: Serving, point: str) -> None:
    file = moving.folder / "odin.tar.gz"
    pipeline = ran(moving, "first")
    moving.terminate()
    url = moving.settings.pop("DATABASE_URL")
    moving.operate("odin-serve", "backup", file)
    moving.settings["DATABASE_URL"] = url
    moving.operate("odin-serve", "restore", file, fault=f"{point}:1:kill", code=-signal.SIGKILL)
    moving.operate("odin-serve", "restore", file)
    moving.start()
    assert [one["id"] for one in moving.api().get("/v1/pipelines")["pipelines"]] == [pipeline]


def test_a_database_of_another_odin_is_not_restored_into(moving: Serving, other: Serving) -> None:
    file = moving.folder / "odin.tar.gz"
    url = moving.settings.pop("DATABASE_URL")
    moving.operate("odin-serve", "backup", file)
    other.settings["DATABASE_URL"] = url
    other.start()
    other.terminate()
    said = other.operate("odin-serve", "restore", file, code=6).err
    assert "in use by Odin already; a backup is restored into an empty one" in said
