"""Several servers on one PostgreSQL: one drives, another takes over, and who was away commits nothing."""

import os
import signal
import subprocess
import sys
import threading
import time
from itertools import count
from pathlib import Path

import psycopg
import pytest

from builders import spec, submission
from odin.engine import crew as crew_module
from odin.engine.launches import Launches
from odin.engine.layout import Layout
from odin.engine.loop import Engine
from odin.model.commands import Submit
from odin.model.states import Stop
from odin.store import postgresql as postgresql_module
from odin.store.database import Database
from odin.store.leases import MOST, Leases
from odin.store.queries import Queries
from odin_testing.place import FakePlace
from pgproxy import Proxy

DEADLINE_S = 60
HOMES = count(1)


class Server:
    """An engine of several; all of them reach the same place."""

    def __init__(self, url, shared, place, *, home=None, lease_s=60.0):
        self.place = place
        self.database = Database(url)
        self.queries = Queries(self.database)
        home = home or f"home-{next(HOMES)}"
        self.leases = Leases(self.database, home=home, place="here", name=home, lease_s=lease_s)
        launches = Launches(Layout(shared))
        self.engine = Engine(self.database, place, launches, lambda _: None, leases=self.leases)
        self.engine.start()

    def submit(self, *specs, **fields):
        made = submission(*specs, at=time.time(), **fields)
        self.engine.submit(Submit(made)).result(DEADLINE_S)
        return made.id

    def end(self):
        self.engine.stop()
        self.database.close()


class Shared:
    """One place that several servers see, each by a view of its own; what ran is counted once."""

    def __init__(self):
        self.views = []
        self.starts, self.running, self.ended, self.fences = {}, {}, {}, {}

    def view(self):
        place = FakePlace(plan=lambda _: None)
        place.starts, place.running, place.ended, place._fences = self.starts, self.running, self.ended, self.fences
        self.views.append(place)
        return place

    def finish(self, attempt, code=0):
        """All servers see it."""
        self.views[0].finish(attempt, code)
        for other in self.views[1:]:
            if other._ends:
                other._say(self.ended[attempt])


@pytest.fixture
def crew(postgres, tmp_path, monkeypatch):
    monkeypatch.setattr(crew_module, "BEAT_S", 0.5)
    url, made, world = postgres.migrated(), [], Shared()

    def build(*, url=url, **fields):
        made.append(Server(url, tmp_path / "shared", world.view(), **fields))
        return made[-1]

    yield build, world
    for each in made:
        each.end()
    postgres.drop(url)


def until(condition):
    deadline = time.monotonic() + DEADLINE_S
    while not (found := condition()):
        assert time.monotonic() < deadline, "it does not happen"
        time.sleep(0.01)
    return found


def driver(server, identity):
    with psycopg.connect(server.database.url) as connection:
        return connection.execute("SELECT owner, fence FROM pipelines WHERE id = %s", (identity,)).fetchone()


def dies(server):
    """As a process does that is killed: it says nothing any more, and its lease is left."""
    server.engine._crew._leases.renew = lambda: None
    server.engine._crew._leases.take_over = list
    server.engine._crew._leases.release = lambda: None
    server.engine._turns.turn = lambda items, last=False: None


def test_f50_what_one_server_drives_another_leaves_alone(crew):
    build, world = crew
    one, two = build(), build()
    first, second = one.submit(spec("a"), id="job-00000001"), two.submit(spec("a"), id="job-00000002")
    until(lambda: len(world.running) == 2)
    assert driver(one, first) == (one.leases.driver.owner, 1)
    assert driver(one, second) == (two.leases.driver.owner, 1)
    assert (one.engine.in_flight, two.engine.in_flight) == (1, 1)
    for each in (first, second):
        world.finish(f"{each}--a")
    until(lambda: {one.queries.pipeline(each).outcome for each in (first, second)} == {"succeeded"})
    assert set(world.starts.values()) == {1}


def test_f51_a_dead_servers_pipelines_are_taken_over_and_go_on(crew):
    build, world = crew
    one, two = build(lease_s=3.0), build()
    identity = one.submit(spec("a"), spec("b", "a"))
    until(lambda: world.running)
    dies(one)
    until(lambda: driver(two, identity) == (two.leases.driver.owner, 2))
    world.finish(f"{identity}--a")
    until(lambda: f"{identity}--b" in world.running)
    world.finish(f"{identity}--b")
    until(lambda: two.queries.pipeline(identity).outcome == "succeeded")
    assert world.starts == {f"{identity}--a": 1, f"{identity}--b": 1}


def test_f51_who_was_away_for_longer_than_the_lease_commits_and_starts_nothing(crew):
    build, world = crew
    one = build(lease_s=3.0)
    identity = one.submit(spec("a"), spec("b", "a"))
    until(lambda: world.running)
    # Both of its threads stop, as under SIGSTOP: in a turn, with the beat behind it.
    paused, woken = threading.Event(), threading.Event()
    one.engine._crew._leases.renew, renew = lambda: woken.wait(DEADLINE_S), one.engine._crew._leases.renew
    turn = one.engine._turns.turn

    def turn_late(items, *, last=False):
        paused.set()
        woken.wait(DEADLINE_S)
        turn(items, last=last)

    one.engine._turns.turn = turn_late
    world.finish(f"{identity}--a")
    paused.wait(DEADLINE_S)
    two = build()
    until(lambda: driver(two, identity) == (two.leases.driver.owner, 2))
    until(lambda: two.queries.pipeline(identity).tasks[1].status == "executing")
    events = len(two.queries.events(identity))
    one.engine._crew._leases.renew = renew
    woken.set()
    until(lambda: one.engine.in_flight == 0)
    assert driver(two, identity) == (two.leases.driver.owner, 2)
    assert len(two.queries.events(identity)) == events
    world.finish(f"{identity}--b")
    until(lambda: two.queries.pipeline(identity).outcome == "succeeded")
    assert set(world.starts.values()) == {1}


def test_f52_who_is_cut_off_from_the_database_starts_nothing_and_gives_way(crew, postgres, monkeypatch):
    monkeypatch.setattr(postgresql_module, "PATIENCE_S", 0.1)
    build, world = crew
    two = build()
    proxy = Proxy(postgres.port)
    one = build(url=two.database.url.replace(str(postgres.port), str(proxy.port)), lease_s=3.0)
    first, second = one.submit(spec("a"), spec("b", "a")), one.submit(spec("a"), spec("b", "a"), id="job-00000002")
    until(lambda: len(world.running) == 2)
    launched = []
    one.place.launch = launched.append
    proxy.part()
    world.finish(f"{first}--a")  # both servers hear of it
    until(lambda: driver(two, first) == driver(two, second) == (two.leases.driver.owner, 2))
    until(lambda: f"{first}--b" in world.running)
    proxy.join()
    until(lambda: one.leases.holds() and one.engine.in_flight == 0)
    for attempt in (f"{second}--a", f"{first}--b"):
        world.finish(attempt)
    until(lambda: f"{second}--b" in world.running)
    world.finish(f"{second}--b")
    until(lambda: {two.queries.pipeline(each).outcome for each in (first, second)} == {"succeeded"})
    assert launched == [] and set(world.starts.values()) == {1}
    one.end()
    proxy.close()


FROZEN = """
import sys, time
from builders import spec, submission
from odin.engine.launches import Launches
from odin.engine.layout import Layout
from odin.engine.loop import Engine
from odin.model.commands import Halt, Submit
from odin.model.states import Stop
from odin.store.database import Database
from odin.store.leases import Leases
from odin.store.queries import Queries
from odin_testing.place import FakePlace

database, place = Database(sys.argv[1]), FakePlace(plan=lambda _: None)
stops = []
place.stop = lambda attempt, **_: stops.append(attempt)
leases = Leases(database, home="frozen", place="here", name="frozen")
engine = Engine(database, place, Launches(Layout(sys.argv[2])), lambda _: None, leases=leases)
engine.start()
made = submission(spec("a"), at=time.time(), id="job-00000001")
engine.submit(Submit(made)).result(60)
while Queries(database).pipeline(made.id).tasks[0].status != "executing":
    time.sleep(0.01)
print("driving", flush=True)
sys.stdin.readline()
said = engine.post(Halt(made.id, Stop.CANCEL, "cancelled by a frozen server")).exception(60)
print(type(said).__name__, stops, flush=True)
while engine.in_flight:
    time.sleep(0.01)
engine.stop()
database.close()
print(stops, flush=True)
"""


def test_f51_a_server_that_was_frozen_past_its_lease_commits_and_stops_nothing(crew, tmp_path):
    """A real process under SIGSTOP; when it is woken, another drives what was its own."""
    build, _ = crew
    two = build()
    command = [sys.executable, "-c", FROZEN, two.database.url, str(tmp_path / "frozen")]
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])}
    frozen = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment)
    with frozen:
        try:
            assert frozen.stdout.readline() == "driving\n"
            frozen.send_signal(signal.SIGSTOP)
            until(lambda: driver(two, "job-00000001") == (two.leases.driver.owner, 2))
            frozen.send_signal(signal.SIGCONT)
            frozen.stdin.write("\n")
            frozen.stdin.flush()
            assert frozen.stdout.readline() == "Unavailable []\n"
            assert frozen.stdout.readline() == "[]\n"
            assert frozen.wait(DEADLINE_S) == 0
        finally:
            frozen.kill()
    view = two.queries.pipeline("job-00000001")
    assert view.stop is None  # the other's place knows nothing of the task, which is lost therefore


def test_a_server_that_stops_hands_over_at_once(crew):
    build, world = crew
    one, two = build(), build()
    identity = one.submit(spec("a"))
    until(lambda: world.running)
    one.engine.stop()
    until(lambda: driver(two, identity)[0] == two.leases.driver.owner)


def test_of_a_server_that_stops_all_is_taken_over_and_not_only_what_is_taken_at_a_time(crew, monkeypatch):
    build, _ = crew
    one, two = build(), build()
    many = [submission(spec("a"), at=time.time(), id=f"job-{number:08d}") for number in range(MOST + 1)]
    for done in [one.engine.submit(Submit(each)) for each in many]:
        done.result(DEADLINE_S)
    monkeypatch.setattr(crew_module, "BEAT_S", 3600.0)  # it does not look a second time
    one.engine.stop()
    until(lambda: two.engine.in_flight == len(many))


def test_the_successor_in_a_data_folder_waits_for_no_lease(crew, monkeypatch):
    build, world = crew
    one = build(home="the same")
    identity = one.submit(spec("a"))
    until(lambda: world.running)
    dies(one)
    two = build(home="the same")
    assert driver(two, identity) == (two.leases.driver.owner, 2)


def test_a_server_asked_to_stop_what_another_drives_passes_it_on(crew):
    build, world = crew
    one, two = build(), build()
    identity = one.submit(spec("a"))
    until(lambda: world.running)
    two.engine.halt(identity, Stop.CANCEL, "cancelled by ada").result(DEADLINE_S)
    until(lambda: two.queries.pipeline(identity).outcome == "cancelled")
    until(lambda: not one.leases.asked())


def test_an_order_outlives_the_server_that_should_have_carried_it_out(crew):
    build, world = crew
    one, two = build(lease_s=3.0), build()
    identity = one.submit(spec("a"))
    until(lambda: world.running)
    dies(one)
    two.engine.halt(identity, Stop.CANCEL, "cancelled by ada").result(DEADLINE_S)
    until(lambda: two.queries.pipeline(identity).outcome == "cancelled")


def test_each_server_learns_what_another_did(crew):
    build, world = crew
    one, two = build(), build()
    heard = {}
    two.engine.feed.publish = heard.update
    identity = one.submit(spec("a"))
    until(lambda: identity in heard)
    until(lambda: world.running)
    world.finish(f"{identity}--a")
    until(lambda: (view := one.queries.pipeline(identity)).outcome and heard[identity] == view.seq)
