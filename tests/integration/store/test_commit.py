"""What a turn writes is what a restart reads: the rows of any path through the state machine give the same world."""

from itertools import count

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import text

from builders import Sim, spec
from odin.model.ids import PipelineId
from odin.model.job import Retries
from odin.model.reports import Reason
from odin.model.states import AttemptState, Stop, TaskStatus
from odin.model.world import Task
from odin.store import loading
from odin.store.commit import commit
from odin.store.idempotency import Answer, Idempotency, recalled
from odin.store.queries import Filter, Queries
from odin.store.rows import Rows

NUMBERS = count(1)


def save(database, sim):
    changes = sim.world.take_changes()
    with database.writer() as connection:
        lost = commit(connection, changes, {}, now=sim.now)
    for pipeline in changes.pipelines.values():
        pipeline.saved_seq = pipeline.seq
    return lost


def load(database, identity):
    with database.reader() as connection:
        return loading.load(connection, identity)


def facts(task: Task):
    attempt = task.attempt
    return {
        "status": task.status,
        "unmet": task.unmet,
        "number": task.number,
        "reason": task.reason,
        "code": task.exit_code,
        "times": (task.submitted_at, task.started_at, task.completed_at, task.due_at),
        "spent": task.spent or None,
        "attempt": (attempt.number, attempt.state, attempt.stop, attempt.cards) if attempt else None,
    }


def same(memory, stored):
    assert [facts(task) for task in memory.tasks] == [facts(task) for task in stored.tasks]
    for name in ("status", "seq", "saved_seq", "stop", "halted", "unsettled", "error_message", "timeout_s", "children"):
        assert getattr(memory, name) == getattr(stored, name), name


@st.composite
def graphs(draw):
    size = draw(st.integers(1, 6))
    specs = []
    for idx in range(size):
        parents = draw(st.sets(st.integers(0, idx - 1), max_size=2)) if idx else set()
        retries = Retries(user=draw(st.integers(0, 1)))
        specs.append(spec(f"t{idx}", *(f"t{p}" for p in sorted(parents)), retries=retries, retry_delay_s=1))
    return specs


@settings(max_examples=120, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(specs=graphs(), data=st.data())
def test_f01_a_crash_at_any_moment_loses_nothing(database, specs, data):
    """Whatever happens in whatever order, memory made again from the rows equals the memory that was lost."""
    sim = Sim(cpus=data.draw(st.integers(1, 3)))
    pipeline = sim.submit(
        *specs,
        id=f"job-{next(NUMBERS):08d}",
        on_failure=data.draw(st.sampled_from(["stop", "continue"])),
        built=data.draw(st.booleans()),
    )
    for _ in range(60):
        save(database, sim)
        if pipeline.outcome is not None:
            break
        same(pipeline, load(database, pipeline.id))
        _anything(sim, data)
    assert pipeline.outcome is not None, "the pipeline does not end"
    found = Queries(database).pipeline(pipeline.id)
    assert found is not None and found.outcome == pipeline.outcome
    assert [task.status for task in found.tasks] == [task.status for task in pipeline.tasks]
    history = Queries(database).events(pipeline.id)
    assert [event.seq for event in history] == list(range(1, pipeline.seq + 1))


def test_f01_however_many_are_in_flight_each_is_read_back_in_its_order(database, monkeypatch):
    monkeypatch.setattr(loading, "AT_ONCE", 3)
    sims = [Sim() for _ in range(10)]
    for number, sim in enumerate(sims):
        sim.submit(*(spec(f"t{task}") for task in range(number % 4 + 1)), id=f"job-{9 - number:08d}")
        save(database, sim)
    with database.writer() as connection:
        connection.execute(text("UPDATE pipelines SET status = 'DONE' WHERE id = 'job-00000006'"))
    found = Rows(database).in_flight()
    assert [each.id for each in found] == [f"job-{9 - number:08d}" for number in range(10) if number != 3]
    for pipeline in found:
        same(sims[9 - int(pipeline.id[-1])].pipeline, pipeline)


def _anything(sim, data):
    """One thing that may happen now; time passes when nothing else can."""
    running = [task.spec.name for task in sim.pipeline.tasks if task.attempt is not None]
    if sim.pipeline.status == "BUILDING":
        sim.built()
    elif not running:
        sim.wait(2)
    else:
        name = data.draw(st.sampled_from(running))
        begun = sim.task(name).attempt.state == AttemptState.RUNNING
        what = data.draw(st.sampled_from(["end", "fail", "lose"] if begun else ["start", "end", "cancel"]))
        if what == "start":
            sim.start(name)
        elif what == "cancel":
            sim.halt(Stop.CANCEL)
        else:
            code, reason = {"end": (0, Reason.EXIT), "fail": (1, Reason.EXIT), "lose": (None, Reason.LOST)}[what]
            sim.end(name, code, reason)


def test_a_pipeline_that_another_server_took_is_left_out_whole(database):
    sim = Sim()
    sim.submit(spec("a"), id="one-00000001")
    one = sim.pipeline
    sim.submit(spec("a"), id="two-00000001")
    assert save(database, sim) == set()
    with database.writer() as connection:
        connection.execute(text("UPDATE pipelines SET fence = 2 WHERE id = 'one-00000001'"))
    sim.end("a")
    sim.pipeline = one
    sim.end("a")
    assert save(database, sim) == {"one-00000001"}
    queries = Queries(database)
    assert queries.pipeline("one-00000001").tasks[0].status == TaskStatus.QUEUED
    assert queries.pipeline("two-00000001").tasks[0].status == TaskStatus.EXECUTED
    assert [event.type for event in queries.events("one-00000001")] == ["submitted", "planned"]


def test_an_id_that_was_given_before_is_refused_and_changes_nothing(database):
    first, second = Sim(), Sim()
    first.submit(spec("a"))
    second.submit(spec("other"), spec("more"))
    assert save(database, first) == set()
    assert save(database, second) == {"job-00000001"}
    assert [task.name for task in Queries(database).pipeline("job-00000001").tasks] == ["a"]


def test_an_id_whose_pipeline_is_gone_is_never_given_again(database):
    with database.writer() as connection:
        connection.execute(text("INSERT INTO tombstones VALUES ('job-00000001', 1)"))
    sim = Sim()
    sim.submit(spec("a"))
    assert save(database, sim) == {"job-00000001"}
    assert Queries(database).pipeline("job-00000001") is None
    with database.reader() as connection:
        assert connection.execute(text("SELECT count(*) FROM tasks")).scalar_one() == 0


def test_f70_the_answer_of_a_submission_is_kept_in_its_own_commit(database):
    sim = Sim()
    pipeline = sim.submit(spec("a"))
    request = Idempotency(1, "POST /v1/pipelines", "key", "hash")
    with database.writer() as connection:
        commit(connection, sim.world.take_changes(), {pipeline.id: (request, Answer(200, "{}"))}, now=1e12)
    with database.reader() as connection:
        assert recalled(connection, request, now=1e12) == Answer(200, "{}")
        assert recalled(connection, request, now=1e12 + 25 * 3600) is None


def test_f70_the_answer_of_a_submission_that_was_left_out_is_not_kept(database):
    request = Idempotency(1, "POST /v1/pipelines", "key", "hash")
    for promises in ({}, {PipelineId("job-00000001"): (request, Answer(200, "{}"))}):
        sim = Sim()
        sim.submit(spec("a"))
        with database.writer() as connection:
            lost = commit(connection, sim.world.take_changes(), promises, now=1e12)
    assert lost == {"job-00000001"}
    with database.reader() as connection:
        assert recalled(connection, request, now=1e12) is None


def test_f70_one_key_makes_one_pipeline_also_within_a_turn(database):
    request = Idempotency(1, "POST /v1/pipelines", "key", "hash")
    sim = Sim()
    twins = [sim.submit(spec("a"), id=f"job-0000000{number}") for number in range(2)]
    promises = {each.id: (request, Answer(200, each.id)) for each in twins}
    with database.writer() as connection:
        assert commit(connection, sim.world.take_changes(), promises, now=1e12) == {twins[1].id}
    later = sim.submit(spec("a"), id="job-00000002")
    with database.writer() as connection:
        changes = sim.world.take_changes()
        assert commit(connection, changes, {later.id: (request, Answer(200, later.id))}, now=1e12) == {later.id}
    assert [each.id for each in Queries(database).pipelines()[0]] == [twins[0].id]
    with database.reader() as connection:
        assert recalled(connection, request, now=1e12) == Answer(200, twins[0].id)


def test_a_commit_that_fails_leaves_nothing(database):
    sim = Sim()
    sim.submit(spec("a"))
    with pytest.raises(RuntimeError), database.writer() as connection:
        commit(connection, sim.world.changes, {}, now=sim.now)
        raise RuntimeError("before the end")
    assert Queries(database).pipelines() == ([], None)


def test_pages_go_from_the_newest_to_the_oldest_without_a_gap(database):
    sim = Sim(cpus=100)
    for number in range(7):
        sim.submit(spec("a"), id=f"job-0000000{number}")
    save(database, sim)
    queries, seen, before = Queries(database), [], None
    while True:
        page, before = queries.pipelines(Filter(before=before), limit=3)
        seen += [view.id for view in page]
        if before is None:
            break
    assert seen == [f"job-0000000{number}" for number in reversed(range(7))]


@pytest.mark.parametrize("query", ["job-0", "%", "_", "0000000%", "\\", "JOB", "3", ""])
def test_a27_a_query_means_what_it_says(database, query):
    sim = Sim()
    for number in range(4):
        sim.submit(spec("a"), id=f"job-0000000{number}")
    save(database, sim)
    found, _ = Queries(database).pipelines(Filter(query=query))
    assert {view.id for view in found} == {f"job-0000000{n}" for n in range(4) if query in f"job-0000000{n}"}


def test_the_nearest_ids_are_told(database):
    sim = Sim()
    sim.submit(spec("a"), id="sst2-abcdefgh")
    save(database, sim)
    assert Queries(database).nearest("sst2-abcdefgx") == ["sst2-abcdefgh"]
    assert Queries(database).nearest("nothing-like-it") == []


def test_for_the_name_of_a_job_its_newest_pipelines_are_told(database):
    for id in ("sst2-abcdefgh", "sst2-zyxwvuts"):
        sim = Sim()
        sim.submit(spec("a"), id=id)
        save(database, sim)
    job = Queries(database).pipeline("sst2-abcdefgh").job
    assert Queries(database).nearest(job) == ["sst2-zyxwvuts", "sst2-abcdefgh"]
