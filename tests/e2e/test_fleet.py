"""Three servers on one host with one data folder, one PostgreSQL and one runner."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from e2e.fleet import fleet
from e2e.jobs import job, task
from e2e.serving import Serving, until
from postgres import Postgres

CPUS = 2


@pytest.fixture
def servers(own_postgres: Postgres) -> Iterator[list[Serving]]:
    with fleet(3, own_postgres.empty(), LOCAL_CPUS=str(CPUS)) as made:
        yield [each.start() for each in made]


def most_at_once(ledger: Path) -> int:
    """How many ran together at the worst moment, by what they wrote themselves."""
    running, most = 0, 0
    for line in ledger.read_text().splitlines():
        running += 1 if line.startswith("start") else -1
        most = max(most, running)
    return most


def test_tasks_of_three_servers_never_take_more_cpus_than_there_are(servers: list[Serving]) -> None:
    first = servers[0]
    ledger = first.folder / "ledger"
    script = f"echo start $ODIN_TASK_ID >> {ledger}; sleep 0.05; echo end $ODIN_TASK_ID >> {ledger}"
    first.api().push("crowd", job(*(task(f"t{number}", script) for number in range(8))))
    launched = [(each, each.api().launch("crowd")) for each in servers for _ in range(2)]
    for each, pipeline in launched:
        assert each.api().finished(pipeline)["outcome"] == "succeeded"
    starts = [line for line in ledger.read_text().splitlines() if line.startswith("start")]
    assert len(starts) == len(set(starts)) == 8 * len(launched)
    assert most_at_once(ledger) == CPUS
    assert {each.runner for each in servers} == {first.runner}


def test_f50_what_a_killed_server_drove_runs_on_and_another_goes_on_with_it(servers: list[Serving]) -> None:
    one, two, three = servers
    ledger, gate = one.folder / "ledger", one.folder / "gate"
    note = f"echo $ODIN_TASK_ID >> {ledger}"
    waiting = f"{note}; until [ -e {gate} ]; do sleep 0.02; done"
    one.api().push("long", job(task("first", waiting, cpu="100m"), task("second", note, "first", cpu="100m")))
    mine, others = one.api().launch("long"), two.api().launch("long")
    for pipeline in (mine, others):
        two.api().executing(f"{pipeline}--first")
    one.kill()
    until(lambda: "taken over" in two.said() + three.said())
    gate.touch()
    for pipeline in (mine, others):
        found = three.api().finished(pipeline)
        assert found["outcome"] == "succeeded"
        assert [each["attempt"] for each in found["tasks"].values()] == [1, 1]
    assert sorted(ledger.read_text().split()) == sorted(
        f"{pipeline}--{name}" for pipeline in (mine, others) for name in ("first", "second")
    )
    one.start()
    assert one.api().log(f"{mine}--first") == three.api().log(f"{mine}--first")


def test_a_token_a_job_and_a_log_of_one_server_are_those_of_all(servers: list[Serving]) -> None:
    one, two, three = servers
    token = one.api().token
    two._token = three._token = token
    two.api().push("greeting", job(task("hello", "echo hello")))
    pipeline = three.api().launch("greeting")
    assert one.api().finished(pipeline)["outcome"] == "succeeded"
    assert one.api().log(f"{pipeline}--hello") == b"hello\n"
    said = two.operate("odin-fsck", "--repair", code=6).err
    assert "is in use by process" in said


def test_f15_a_server_on_another_database_does_not_join_those_of_a_data_folder(own_postgres: Postgres) -> None:
    with fleet(2, own_postgres.empty(), LOCAL_CPUS=str(CPUS)) as (one, stranger):
        gate = one.start().folder / "gate"
        waiting = f"until [ -e {gate} ]; do sleep 0.02; done; cat $ODIN_WORK_PATH/main.yml"
        one.api().push("long", job(task("first", waiting)))
        pipeline = one.api().launch("long")
        one.api().executing(f"{pipeline}--first")
        stranger.settings = {**stranger.settings, "DATABASE_URL": own_postgres.empty()}
        said = stranger.operate("odin-serve", "--port", "0", code=9).err
        assert f"the data folder {one.data} is in use by process" in said
        assert "on another database; stop that server, or give this one another --data" in said
        gate.touch()
        assert one.api().finished(pipeline)["outcome"] == "succeeded", one.api().log(f"{pipeline}--first")
        one.terminate()
        stranger.start()
