"""What is read, and what users change, is the same on both kinds of database."""

from itertools import count

import pytest

from builders import Sim, spec
from integration.store.test_commit import save
from odin.model.errors import Conflict, NotFound
from odin.model.users import Role
from odin.store import latest, moves
from odin.store.census import remove_adrift, take
from odin.store.deletion import Deletions
from odin.store.expiry import Expiry
from odin.store.facts import store_id
from odin.store.idempotency import Answer, Idempotency
from odin.store.overview import Overview
from odin.store.queries import Filter, Queries
from odin.store.users import Change, NewUser, Users

NUMBERS = count(1)


@pytest.fixture
def run(database):
    """A pipeline of two tasks whose first has ended, on a database of either kind."""
    sim = Sim()
    pipeline = sim.submit(spec("a"), spec("b", "a"), id=f"job-{next(NUMBERS):08d}")
    save(database, sim)
    sim.start("a")
    sim.end("a")
    save(database, sim)
    return database, sim, pipeline


def test_what_moved_is_read_from_a_position_on(run):
    database, sim, pipeline = run
    queries = Queries(database)
    ((place, found),) = moves.read(queries, {(pipeline.id, 2)}).items()
    assert place == (pipeline.id, 2) and found.seq == pipeline.seq
    assert {task.name: task.status for task in found.tasks} == {"a": "executed", "b": "queued"}
    before = pipeline.seq
    sim.start("b")
    sim.end("b")
    save(database, sim)
    ((_, later),) = moves.read(queries, {(pipeline.id, before)}).items()
    assert later.pipeline.outcome == "succeeded" and later.pipeline.tasks == later.tasks
    (page, following) = latest.page(queries, Filter(job=later.pipeline.job), 10, lambda _: before)
    assert [each.moves for each in page] == [later] and following is None
    assert latest.by_id(queries, [pipeline.id], lambda _: pipeline.seq)[0].moves is None


def test_a_glance_counts_tasks_and_tells_what_ended_or_was_removed(run):
    database, sim, pipeline = run
    overview = Overview(Queries(database))
    (number,) = overview.current().numbers
    assert overview.by_number([number])[0].counts == {"executed": 1, "queued": 1}
    sim.start("b")
    sim.end("b")
    save(database, sim)
    assert overview.since(0.0).numbers == [number]
    assert [each.id for each in Expiry(database).finished()] == [pipeline.id]
    deletions = Deletions(database)
    assert Expiry(database).begin(pipeline.id) and not Expiry(database).begin(pipeline.id)
    assert [each.pipeline for each in deletions.begun()] == [pipeline.id]
    deletions.finish(pipeline.id, db=True)
    deletions.finish(pipeline.id, db=True)
    assert overview.since(0.0).removed == [pipeline.id]
    assert overview.by_id([pipeline.id]) == []


def test_a_task_its_attempts_and_its_progress_are_found(run):
    database, _, pipeline = run
    queries = Queries(database)
    view, task, tried = queries.task(f"{pipeline.id}--a")
    assert (view.id, task.status, [each.exit_code for each in tried]) == (pipeline.id, "executed", [0])
    assert {each.status for each in queries.progress(pipeline.id, [0, 1]).values()} == {"executed", "queued"}
    assert queries.progress(pipeline.id, "b")[1].id == f"{pipeline.id}--b"
    assert queries.positions([pipeline.id, "none"]) == {pipeline.id: pipeline.seq}
    assert (queries.counts(), queries.uses(view.version)) == ({"RUNNING": 1}, 1)
    assert queries.known_ids() == {pipeline.id}


def test_what_the_rows_say_is_counted_whole(run):
    database, _, pipeline = run
    found = take(database)
    assert list(found.pipelines) == [pipeline.id] and found.adrift == {}
    assert {each for each, tried in found.attempts.items() if tried.is_over} == {f"{pipeline.id}--a"}
    with database.writer() as connection:
        connection.exec_driver_sql("DELETE FROM pipelines")
    for table, name in take(database).adrift:
        remove_adrift(database, table, name)
    assert take(database).adrift == {}


def test_an_answer_is_kept_once(database):
    queries, request = Queries(database), Idempotency(1, "POST /v1/jobs", "key", "hash")
    assert queries.idempotent(request) is None
    queries.remember(request, Answer(200, "{}"))
    queries.remember(request, Answer(200, "another"))
    assert queries.idempotent(request) == Answer(200, "{}")
    assert store_id(database) == store_id(database)


def test_users_are_made_changed_found_and_deleted(database):
    users = Users(database)
    ada = users.create(NewUser("ada", Role.ADMIN, "hash", "Ada", "O'Brien %"))
    users.create(NewUser("ben", Role.VIEWER, "hash"))
    with pytest.raises(Conflict):
        users.create(NewUser("ben", Role.ADMIN, "hash"))
    assert [each.username for each in users.list("O'B")] == ["ada"] and users.list("o'b") == []
    assert users.change("ben", Change(role=Role.EDITOR, lastname="B")).role is Role.EDITOR
    users.upgrade_hash(users.account("ben"), "better")
    assert users.account("ben").password_hash == "better"
    for act in (lambda: users.delete("ada"), lambda: users.change("ada", Change(role=Role.VIEWER))):
        with pytest.raises(Conflict, match="the last admin"):
            act()
    users.delete("ben")
    with pytest.raises(NotFound):
        users.get("ben")
    assert (users.account_of(ada.uid).user, users.count()) == (ada, 1)
