"""Launching, cancelling and cleaning up, on real git, a real database and a real folder; only the place is a fake."""

import time

import anyio
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import text

import odin.engine.commands
from odin.engine.builds import Builds
from odin.engine.cleanup import Cleaner
from odin.engine.commands import Commands
from odin.engine.keepsakes import Keepsakes
from odin.engine.launches import Launches
from odin.engine.layout import Layout, begin_run
from odin.engine.loop import Engine
from odin.engine.places import Machine
from odin.engine.resuming import Again
from odin.jobs.checkouts import Checkouts
from odin.jobs.repository import Repository
from odin.jobs.values import Author
from odin.jobs.workfolders import WorkFolders
from odin.model.errors import Conflict, NotAllowed, NotFound, NotSupported, ValidationFailed
from odin.model.resume import Choice
from odin.model.users import Role, User
from odin.store.database import Database
from odin.store.deletion import Deletions
from odin.store.idempotency import Idempotency
from odin.store.queries import Queries
from odin_testing.place import FakePlace

pytestmark = pytest.mark.anyio

ADA = User(1, "ada", Role.EDITOR)
BOB = User(2, "bob", Role.EDITOR)
ROOT = User(3, "root", Role.ADMIN)
HELLO = b"tasks:\n  - {name: a, command: /bin/true, args: ['${TASK_IDS}']}\n  - {name: b, command: x, depends: a}\n"


@pytest.fixture
def anyio_backend():
    return "asyncio"


class Office:
    """Everything that commands need, below one folder."""

    def __init__(self, root, template, place, mounts):
        self.root, self.place = root, place
        self.layout = Layout(root / "shared")
        self.layout.runs.mkdir(parents=True)
        (root / "odin.db").write_bytes(template.read_bytes())
        self.database = Database(f"sqlite:///{root}/odin.db")
        self.queries = Queries(self.database)
        self.repository = Repository.open(root / "jobs.git")
        self.checkouts = Checkouts(self.repository, root / "shared" / "checkouts")
        self.cleaner = Cleaner(self.layout, root / "logs", Deletions(self.database), self.checkouts, self.queries)
        keepsakes = Keepsakes(self.layout, root / "logs")
        builds = Builds(self.layout, self.checkouts, WorkFolders(self.repository), self.queries, keepsakes)
        self.engine = Engine(self.database, place, Launches(self.layout, mounts), builds.build)
        self.engine.start()
        self.commands = Commands(
            self.engine, self.repository, self.checkouts, self.queries, self.cleaner, self.layout, Machine(mounts)
        )

    def push(self, job, content, **files):
        self.repository.write(job, {"main.yml": content, **files}, Author("ada"), create=True, draft=True)

    async def done(self, identity):
        with anyio.fail_after(60):
            while (view := self.queries.pipeline(identity)).outcome is None:
                await anyio.sleep(0.01)
        return view

    def close(self):
        self.engine.stop()
        self.repository.close()
        self.database.close()


@pytest.fixture
def office(template, tmp_path):
    made = []

    def build(place=None, mounts=None):
        made.append(Office(tmp_path, template, place or FakePlace(), mounts or {}))
        return made[-1]

    yield build
    for each in made:
        each.close()


async def test_a_job_is_launched_at_the_newest_commit(office):
    office = office()
    office.push("nlp/Hello_World", HELLO)
    ref = await office.commands.launch("nlp__Hello_World", ADA)
    assert ref.id.startswith("hello-world-") and ref.job == "nlp/Hello_World"
    view = await office.done(ref.id)
    assert (view.outcome, view.version, view.username) == ("succeeded", office.repository.head(), "ada")


async def test_the_first_launch_of_a_commit_makes_its_checkout_and_later_ones_share_it(office):
    office = office()
    office.push("hello", HELLO)
    first = await office.done((await office.commands.launch("hello", ADA)).id)
    second = await office.done((await office.commands.launch("hello", ADA)).id)
    types = [[event.type for event in office.queries.events(view.id) if event.idx is None] for view in (first, second)]
    assert types == [["submitted", "built", "succeeded"], ["submitted", "succeeded"]]
    assert len([path for path in (office.root / "shared/checkouts").iterdir() if path.name == first.version]) == 1


async def test_a_task_gets_its_variables_in_argv_and_environment(office):
    office = office(FakePlace(plan=lambda _: None))
    office.push("hello", HELLO)
    ref = await office.commands.launch("hello", ADA)
    with anyio.fail_after(60):
        while not office.place.running:
            await anyio.sleep(0.01)
    launch = office.place.running[f"{ref.id}--a"]
    assert launch.argv == ("/bin/true", f"{ref.id}--a,{ref.id}--b")
    run = office.layout.run(ref.id)
    assert launch.env["ODIN_RUN_PATH"] == str(run)
    assert launch.env["ODIN_WORK_PATH"].endswith("/hello")
    assert "ODIN_TASK_IDS" not in launch.env
    with open(launch.env["ODIN_TASK_IDS_FILE"]) as file:
        assert file.read().split() == [f"{ref.id}--a", f"{ref.id}--b"]
    assert (launch.work, launch.make) == (str(run / "a"), (str(run / "a"),))


async def test_a_mapped_mount_is_another_folder_here(office, tmp_path):
    office = office(FakePlace(plan=lambda _: None), mounts={"/data": str(tmp_path / "mine")})
    mount = "mount: {name: data, path: /data, claim: data-rw}"
    office.push("m", f"tasks:\n  - name: a\n    command: x\n    args: [/data/in, /database]\n    {mount}\n".encode())
    ref = await office.commands.launch("m", ADA)
    with anyio.fail_after(60):
        while not office.place.running:
            await anyio.sleep(0.01)
    assert office.place.running[f"{ref.id}--a"].argv == ("x", f"{tmp_path}/mine/in", "/database")


@pytest.mark.parametrize(
    ("content", "error", "said"),
    [
        (b"tasks: []\n", ValidationFailed, "has no tasks"),
        (
            b"tasks:\n  - {name: a, command: x, num_gpus: 3}\n",
            ValidationFailed,
            "asks for 3 GPUs and this machine has 0",
        ),
        (b"tasks:\n  - {name: a, command: x, cpu: 99}\n", ValidationFailed, "asks for 99 CPUs and this machine has 16"),
        (
            b"tasks:\n  - {name: a, command: x, mount: {name: d, path: /no/such, claim: c}}\n",
            ValidationFailed,
            "/no/such, which this machine does not have",
        ),
        (
            b"tasks:\n  - {name: a, command: x, secret: {name: s, path: /no/such}}\n",
            ValidationFailed,
            'the secret "s" at /no/such',
        ),
        (
            b"tasks:\n  - {name: a, command: x, resource_type: PyTorchJob, num_workers: 2}\n",
            ValidationFailed,
            "PyTorchJob of 2 workers and one machine runs one; set num_workers to 1",
        ),
        (
            b"tasks:\n  - {name: a, command: x, args: [^b.outputs.x]}\n  - {name: b, command: x}\n",
            NotSupported,
            "references",
        ),
        (b"tasks:\n  - {name: a, command: x, depends: b}\n", ValidationFailed, '"b"'),
    ],
)
async def test_what_cannot_run_here_is_refused_at_launch_with_the_reason(office, content, error, said):
    office = office()
    office.push("job", content)
    with pytest.raises(error) as caught:
        await office.commands.launch("job", ADA)
    assert said in f"{caught.value} {caught.value.problems}"
    assert office.queries.pipelines() == ([], None)


async def test_what_this_machine_ignores_is_said_once(office):
    office = office()
    office.push(
        "job",
        b"tasks:\n  - {name: a, command: x, image: i, labels: {a: b}}\n  - {name: b, command: x, image: i, resource_type: gang}\n",
    )
    view = await office.done((await office.commands.launch("job", ADA)).id)
    assert view.warnings == ("this machine runs commands as they are and ignores: image, labels, resource_type",)


async def test_f70_a_repeated_launch_is_the_same_pipeline(office):
    office = office()
    office.push("job", HELLO)
    key = Idempotency(ADA.uid, "POST /v1/pipelines", "k", "h")
    first = await office.commands.launch("job", ADA, idempotency=key)
    assert await office.commands.launch("job", ADA, idempotency=key) == first
    assert len(office.queries.pipelines()[0]) == 1


async def test_f70_a_launch_that_comes_again_while_the_first_still_waits_is_the_same_pipeline(office):
    office = office()
    office.push("job", HELLO)
    key = Idempotency(ADA.uid, "POST /v1/pipelines", "k", "h")
    found = []

    async def launch():
        found.append(await office.commands.launch("job", ADA, idempotency=key))

    async with anyio.create_task_group() as asking:
        for _ in range(8):
            asking.start_soon(launch)
    assert found == [found[0]] * 8
    assert [each.id for each in office.queries.pipelines()[0]] == [found[0].id]
    await office.done(found[0].id)  # its folder is made after the answer
    assert [each.name for each in office.layout.runs.iterdir()] == [found[0].id]


async def test_an_id_that_is_taken_is_not_given_again(office, monkeypatch):
    office = office()
    office.push("job", HELLO)
    picks = iter(["aaaaaaaa", "aaaaaaaa", "bbbbbbbb", "aaaaaaaa", "cccccccc"])
    monkeypatch.setattr(odin.engine.commands, "_suffix", lambda: next(picks))
    assert (await office.commands.launch("job", ADA)).id == "job-aaaaaaaa"
    await office.done("job-aaaaaaaa")
    ids = office.layout.task_ids("job-aaaaaaaa")
    before = ids.read_text()
    assert (await office.commands.launch("job", ADA)).id == "job-bbbbbbbb"
    assert ids.read_text() == before
    await office.commands.cleanup("job-aaaaaaaa", ADA, db=False, fs=True, dry_run=False)
    assert (await office.commands.launch("job", ADA)).id == "job-cccccccc"
    assert not office.layout.run("job-aaaaaaaa").exists()


async def test_a_refused_submission_leaves_no_folder(office):
    office = office()
    office.push("job", HELLO)
    await office.done((await office.commands.launch("job", ADA)).id)
    before = sorted(office.layout.runs.iterdir())
    office.engine.stop()
    with pytest.raises(Exception, match="stopping"):
        await office.commands.launch("job", ADA)
    assert sorted(office.layout.runs.iterdir()) == before


async def test_a_rerun_is_of_the_same_commit(office):
    office = office()
    office.push("job", HELLO)
    first = await office.done((await office.commands.launch("job", ADA)).id)
    office.push("job", b"tasks:\n  - {name: other, command: x}\n")
    again = await office.done((await office.commands.resume(first.id, BOB, Again(Choice(everything=True)))).id)
    assert (again.version, again.rerun_of, again.username) == (first.version, first.id, "bob")


async def test_a_pipeline_is_cancelled_by_its_owner_or_an_admin_alone(office):
    office = office(FakePlace(plan=lambda _: None))
    office.push("job", HELLO)
    ref = await office.commands.launch("job", ADA)
    with pytest.raises(NotAllowed, match="belongs to ada"):
        await office.commands.cancel(ref.id, BOB)
    await office.commands.cancel(ref.id, ROOT)
    view = await office.done(ref.id)
    assert (view.outcome, view.error_message) == ("cancelled", None)
    with pytest.raises(Conflict, match="over already: cancelled"):
        await office.commands.cancel(ref.id, ADA)


async def test_an_unknown_pipeline_is_told_with_the_nearest(office):
    office = office()
    office.push("job", HELLO)
    ref = await office.commands.launch("job", ADA)
    with pytest.raises(NotFound, match=f"did you mean {ref.id}"):
        await office.commands.cancel(ref.id[:-1], ADA)


# --- cleanup


async def finished(office, job="job"):
    office.push(job, HELLO)
    view = await office.done((await office.commands.launch(job, ADA)).id)
    for folder in (office.layout.task(view.id, "a"), office.root / "logs" / view.id):
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "file").write_text("x")
    return view


async def test_a_dry_run_tells_and_removes_nothing(office):
    office = office()
    view = await finished(office)
    told = await office.commands.cleanup(view.id, ADA, db=True, fs=True, dry_run=True)
    assert [(each.task_id, each.removed, each.purged) for each in told] == [
        (view.id, True, True),
        (f"{view.id}--a", True, True),
        (f"{view.id}--b", False, True),
    ]
    assert office.queries.pipeline(view.id) is not None
    assert office.layout.run(view.id).is_dir()


async def test_cleaning_the_files_keeps_the_rows_and_may_be_repeated(office):
    office = office()
    view = await finished(office)
    first = await office.commands.cleanup(view.id, ADA, db=False, fs=True, dry_run=False)
    again = await office.commands.cleanup(view.id, ADA, db=False, fs=True, dry_run=False)
    assert (first[0].removed, again[0].removed) == (True, False)
    assert not office.layout.run(view.id).exists()
    assert office.queries.pipeline(view.id).deleting is None
    assert (office.root / "logs" / view.id).is_dir()


async def test_cleaning_the_rows_removes_logs_and_the_checkout_nobody_else_uses(office):
    office = office()
    one = await finished(office)
    two = await office.done((await office.commands.launch("job", ADA)).id)
    await office.commands.cleanup(one.id, ADA, db=True, fs=False, dry_run=False)
    assert office.queries.pipeline(one.id) is None and one.id in office.queries.known_ids()
    assert not (office.root / "logs" / one.id).exists()
    assert office.layout.run(one.id).is_dir()
    assert office.checkouts.ready(two.version) is not None
    await office.commands.cleanup(two.id, ADA, db=True, fs=True, dry_run=False)
    assert office.checkouts.ready(two.version) is None
    with office.database.reader() as connection:
        for table in ("tasks", "attempts", "events", "pipelines"):
            assert connection.execute(text(f"SELECT count(*) FROM {table}")).scalar_one() == 0


async def test_what_runs_is_stopped_first(office):
    office = office(FakePlace(plan=lambda _: None))
    office.push("job", HELLO)
    ref = await office.commands.launch("job", ADA)
    await office.commands.cleanup(ref.id, ADA, db=False, fs=False, dry_run=False)
    assert office.queries.pipeline(ref.id).outcome == "cancelled"
    assert office.place.running == {}


async def test_while_tasks_are_still_stopping_nothing_is_removed(office):
    place = FakePlace(plan=lambda _: None)
    place.stop = lambda *args, **fields: None
    office = office(place)
    office.push("job", b"tasks:\n  - {name: a, command: x, grace_period: 0}\n")
    ref = await office.commands.launch("job", ADA)
    with anyio.fail_after(60):
        while not place.running:
            await anyio.sleep(0.01)
    before = time.monotonic()
    with pytest.raises(Conflict, match="still stopping; nothing was removed"):
        await office.commands.cleanup(ref.id, ADA, db=True, fs=True, dry_run=False)
    assert time.monotonic() - before >= 5
    assert office.layout.run(ref.id).is_dir()


async def test_others_pipelines_are_not_cleaned_up(office):
    office = office()
    view = await finished(office)
    with pytest.raises(NotAllowed):
        await office.commands.cleanup(view.id, BOB, db=True, fs=True, dry_run=False)


async def test_a06_only_the_pipelines_own_folder_is_removed(office):
    office = office()
    view = await finished(office)
    sibling = office.layout.run(view.id + "b")
    sibling.mkdir()
    outside = office.root / "outside"
    outside.mkdir()
    (outside / "kept").write_text("x")
    (office.layout.run(view.id) / "link").symlink_to(outside)
    (office.layout.run(view.id) / "closed").mkdir()
    (office.layout.run(view.id) / "closed" / "file").write_text("x")
    (office.layout.run(view.id) / "closed").chmod(0o500)
    await office.commands.cleanup(view.id, ADA, db=True, fs=True, dry_run=False)
    assert not office.layout.run(view.id).exists()
    assert sibling.is_dir() and (outside / "kept").read_text() == "x"
    assert list(office.layout.trash.iterdir()) == []


async def test_a06_a_run_folder_that_was_swapped_for_a_link_is_left_alone(office):
    office = office()
    view = await finished(office)
    run = office.layout.run(view.id)
    run.rename(office.root / "moved")
    run.symlink_to(office.root / "moved")
    told = await office.commands.cleanup(view.id, ADA, db=False, fs=True, dry_run=False)
    assert told[0].removed is False
    assert (office.root / "moved" / "a" / "file").exists()


@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    name=st.one_of(
        st.sampled_from(["", ".", "..", "/", "%2e%2e", "../outside", "/etc", "runs", ".trash", "a/b", "job-", "\0"]),
        st.text(max_size=30),
    )
)
def test_a06_no_other_name_reaches_a_folder(office, tmp_path, name):
    if not (tmp_path / "canary").exists():
        office()
        (tmp_path / "canary").write_text("x")
    before = sorted(path for path in tmp_path.rglob("*") if ".db" not in path.name)

    async def clean():
        database = Database(f"sqlite:///{tmp_path}/odin.db")
        queries = Queries(database)
        commands = Commands(None, None, None, queries, None, None)
        try:
            with pytest.raises(NotFound):
                await commands.cleanup(name, ROOT, db=True, fs=True, dry_run=False)
        finally:
            database.close()

    anyio.run(clean)
    assert sorted(path for path in tmp_path.rglob("*") if ".db" not in path.name) == before


async def test_a_cleanup_that_was_interrupted_is_resumed(office, monkeypatch):
    office = office()
    view = await finished(office)

    def die(point):
        if point == "cleanup:renamed":
            raise KeyboardInterrupt

    monkeypatch.setattr("odin.engine.cleanup.reach", die)
    with pytest.raises(KeyboardInterrupt):
        office.cleaner.clean(view, True, True)
    monkeypatch.undo()
    assert office.queries.pipeline(view.id).deleting == {"db": True, "fs": True}
    office.cleaner.resume()
    assert office.queries.pipeline(view.id) is None
    assert not office.layout.run(view.id).exists()


async def test_a_start_collects_what_no_pipeline_has_and_keeps_what_one_has(office):
    office = office()
    kept = await finished(office)
    office.push("other", HELLO)
    unused = office.repository.head()
    office.checkouts.ensure(unused)
    office.repository.pin(unused)
    begin_run(office.layout, "never-accepted1", ["a"])
    foreign = office.layout.run("foreign-00000001") / "results"
    foreign.mkdir(parents=True)
    (foreign / "file").write_text("x")
    office.cleaner.resume()
    assert office.repository.pins() == [kept.version]
    assert office.checkouts.kept() == [kept.version]
    assert not office.layout.run("never-accepted1").exists()
    assert (foreign / "file").exists()
    assert office.layout.run(kept.id).is_dir()


async def test_a_pipeline_in_flight_is_not_cleaned(office):
    office = office(FakePlace(plan=lambda _: None))
    office.push("job", HELLO)
    ref = await office.commands.launch("job", ADA)
    with pytest.raises(Conflict, match="not over yet"):
        office.cleaner.clean(office.queries.pipeline(ref.id), True, True)
    assert office.queries.pipeline(ref.id).deleting is None
