"""The server on PostgreSQL, as processes: killed, cut off from its database, and migrated by hand."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator

import pytest

from e2e.jobs import job, task
from e2e.serving import BIN, DEADLINE_S, Api, Person, Serving, until
from postgres import Postgres


@pytest.fixture
def served(own_postgres: Postgres) -> Iterator[Serving]:
    """Folders of a test's own on an empty database; the server is not started yet."""
    serving = Serving({"DATABASE_URL": own_postgres.empty()})
    try:
        yield serving
    finally:
        own_postgres.start_if_down()
        serving.close()


def test_f01_a_server_on_postgresql_that_is_killed_loses_nothing(served: Serving) -> None:
    served.start()
    ledger, gate = served.folder / "ledger", served.folder / "gate"
    note = f"echo $ODIN_TASK_NAME >> {ledger}"
    tasks = [
        task("fetch", note),
        task("train", f"{note}; until [ -e {gate} ]; do sleep 0.02; done", "fetch", cpu="10m"),
        *(task(f"score-{number}", note, "train", cpu="10m") for number in range(5)),
        task("report", note, *(f"score-{number}" for number in range(5))),
    ]
    served.api().push("model", job(*tasks))
    pipeline = served.api().launch("model")
    for _ in range(3):
        served.api().executing(f"{pipeline}--train")
        served.kill()
        served.start()
    second = served.api().launch("model")
    served.kill()
    gate.touch()
    served.start()
    for each in (pipeline, second):
        found = served.api().finished(each)
        assert found["outcome"] == "succeeded"
        assert {one["status"] for one in found["tasks"].values()} == {"executed"}
    assert sorted(ledger.read_text().split()) == sorted(2 * [each["name"] for each in tasks])
    assert served.api().get("/v1/app")["database"] == "postgresql"


def test_f40_while_postgresql_is_away_the_server_says_so_and_tasks_go_on(
    served: Serving, own_postgres: Postgres
) -> None:
    served.start()
    gate, done = served.folder / "gate", served.folder / "done"
    script = f"until [ -e {gate} ]; do sleep 0.02; done; touch {done}"
    served.api().push("waiting", job(task("first", script), task("second", "true", "first")))
    pipeline = served.api().launch("waiting")
    served.api().executing(f"{pipeline}--first")
    own_postgres.stop()
    assert Api(served.port).ask("GET", "/healthz").status == 200
    for path in ("/readyz", "/v1/pipelines", f"/v1/pipelines/{pipeline}", "/v1/users"):
        answer = served.api().ask("GET", path)
        assert (answer.status, "retry-after" in answer.headers) == (503, True), (path, answer)
    gate.touch()
    until(done.exists)
    answer = served.api().ask("POST", "/v1/pipelines", {"pipeline": {"job": "waiting"}})
    assert (answer.status, "retry-after" in answer.headers) == (503, True), answer
    own_postgres.start()
    until(lambda: Api(served.port).ask("GET", "/readyz").status == 200)  # until somebody has got through, 503
    found = served.api().finished(pipeline)
    assert (found["outcome"], found["tasks"]["first"]["exitCode"]) == ("succeeded", 0)
    assert len(served.api().get("/v1/pipelines")["pipelines"]) == 1
    assert Api(served.port).ask("GET", "/readyz").status == 200


def test_f51_a_database_that_is_put_back_from_an_old_dump_goes_on_with_what_runs(
    served: Serving, own_postgres: Postgres
) -> None:
    """The runner has seen later owners than the dump knows, and would refuse them all."""
    served.start()
    ledger, gate, url = served.folder / "ledger", served.folder / "gate", served.settings["DATABASE_URL"]
    note = f"echo $ODIN_TASK_NAME >> {ledger}"
    tasks = [task("fetch", f"{note}; until [ -e {gate} ]; do sleep 0.02; done"), task("train", note, "fetch")]
    served.api().push("model", job(*tasks))
    pipeline = served.api().launch("model")
    served.api().executing(f"{pipeline}--fetch")
    dump = own_postgres.dump(url)
    for _ in range(2):
        served.kill()
        served.start()
        served.api().executing(f"{pipeline}--fetch")
    served.kill()
    own_postgres.put_back(url, dump)
    served.start()
    gate.touch()
    assert served.api().finished(pipeline)["outcome"] == "succeeded"
    assert ledger.read_text().split() == ["fetch", "train"]
    assert f"put back to an older state; driven on all the same: {pipeline}" in served.said()


def test_f48_the_database_is_migrated_by_hand_and_a_newer_one_is_refused(
    served: Serving, own_postgres: Postgres
) -> None:
    name = served.settings["DATABASE_URL"].rpartition("/")[2]
    assert served.operate("odin-serve", "migrate").line == "the database was brought up to date"
    assert served.operate("odin-serve", "migrate").line == "the database is up to date"
    own_postgres.execute("UPDATE alembic_version SET version_num = '9999'", name)
    own_postgres.execute("UPDATE facts SET value = '9998' WHERE name = 'oldest_program'", name)
    for words in (("odin-serve", "migrate"), ("odin-serve",)):
        assert "has schema 9999, made by a newer Odin" in served.operate(*words, code=9).err


def test_a_server_whose_database_never_answers_gives_up_and_says_why(served: Serving, own_postgres: Postgres) -> None:
    own_postgres.stop()
    said = served.operate("odin-serve", code=9).err
    assert "the database cannot be reached" in said and "Connection refused" in said


def test_a_server_on_sqlite_never_loads_the_driver() -> None:
    code = "import sys, odin.main, odin.store.rows, odin.api.app; print('psycopg' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "False\n"


def test_two_servers_on_one_database_each_take_any_request(own_postgres: Postgres) -> None:
    """Each with a runner of its own: one drives, the other shows, streams, and passes on what is asked."""
    settings = {"DATABASE_URL": own_postgres.empty(), "SECRET": "s" * 40}
    one, two = Serving(dict(settings)), Serving(dict(settings))
    try:
        one.start()
        two.start()
        gate = one.folder / "gate"
        script = f"until [ -e {gate} ]; do sleep 0.02; done"
        one.api().push("waiting", job(task("first", script), task("second", "sleep 1000", "first")))
        pipeline = one.api().launch("waiting")
        two.api().executing(f"{pipeline}--first")
        with subprocess.Popen(
            [BIN / "odin-status", pipeline, "--watch", "--json"],
            env=Person(two.home, two.url, two.tools, two.api().token).environment(),
            stdout=subprocess.PIPE,
            text=True,
        ) as watching:
            first = watching.stdout.readline()  # only who watches already sees what happens now
            gate.touch()
            two.api().executing(f"{pipeline}--second")
            two.api().post(f"/v1/pipelines/{pipeline}/cancel")
            said, _ = watching.communicate(timeout=DEADLINE_S)
        assert one.api().finished(pipeline)["outcome"] == "cancelled"
        assert '"executing"' in first and '"cancelled"' in said
    finally:
        for each in (one, two):
            each.close()
