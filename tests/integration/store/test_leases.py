"""Who drives what, where several servers share a database."""

import threading
from itertools import count

import pytest
from sqlalchemy import select, text

from builders import Sim, spec
from odin.model.ids import PipelineId
from odin.model.states import Stop
from odin.store import leases as module
from odin.store.commit import ALONE, Driver, commit
from odin.store.deletion import Deletions
from odin.store.leases import Leases
from odin.store.others import Others
from odin.store.schema import pipelines, servers

NUMBERS = count(1)


@pytest.fixture
def server(postgresql):
    """Makes servers that reach the same place, unless said otherwise."""

    def make(*, home=None, place="here"):
        home = home or f"home-{next(NUMBERS)}"
        made = Leases(postgresql, home=home, place=place, name=home)
        made.take()
        return made

    return make


def submit(database, many, driver=ALONE):
    ids = []
    for _ in range(many):
        sim = Sim()
        ids.append(sim.submit(spec("a"), id=f"job-{next(NUMBERS):08d}").id)
        with database.writer() as connection:
            commit(connection, sim.world.changes, {}, now=sim.now, driver=driver)
    return ids


def driven(database):
    with database.reader() as connection:
        return {row.id: (row.owner, row.fence) for row in connection.execute(select(pipelines))}


def expire(database, leases):
    with database.writer() as connection:
        connection.execute(servers.update().where(servers.c.id == leases.driver.owner).values(expires_at=0.0))


def test_f50_of_servers_that_race_for_pipelines_each_gets_other_ones(postgresql, server):
    racing = [server() for _ in range(4)]
    ids = submit(postgresql, 200, Driver("dead", "here"))
    taken = {each: [] for each in racing}
    start = threading.Barrier(len(racing))

    def race(leases):
        start.wait()
        while found := leases.take_over():
            taken[leases] += found

    threads = [threading.Thread(target=race, args=(each,)) for each in racing]
    for each in threads:
        each.start()
    for each in threads:
        each.join()
    for each in racing:  # one that lost the race for rows that were locked looks again at its next beat
        taken[each] += each.take_over()
    assert sorted(name for names in taken.values() for name in names) == sorted(ids)
    assert driven(postgresql) == {name: (each.driver.owner, 2) for each, names in taken.items() for name in names}


def test_f50_of_a_living_server_nothing_is_taken(postgresql, server):
    one, two = server(), server()
    ids = submit(postgresql, 3, one.driver)
    assert two.take_over() == []
    expire(postgresql, one)
    assert two.take_over() == ids
    assert driven(postgresql) == dict.fromkeys(ids, (two.driver.owner, 2))


def test_f51_a_commit_under_a_fence_that_was_passed_is_refused(postgresql, server):
    one, two = server(), server()
    sim = Sim()
    pipeline = sim.submit(spec("a"), id="job-aaaaaaaa")
    with postgresql.writer() as connection:
        commit(connection, sim.world.take_changes(), {}, now=sim.now, driver=one.driver)
    pipeline.saved_seq = pipeline.seq
    expire(postgresql, one)
    assert two.take_over() == [pipeline.id]
    sim.end("a")
    with postgresql.writer() as connection:
        assert commit(connection, sim.world.changes, {}, now=sim.now, driver=one.driver) == {pipeline.id}
    one.renew()
    assert one.take_over() == []


def test_what_only_another_place_reaches_is_left_to_it(postgresql, server):
    one, two = server(place="a runner"), server(place="another")
    submit(postgresql, 1, one.driver)
    expire(postgresql, one)
    assert two.take_over() == []
    one.renew()
    assert one.take_over() == []


def test_a_lease_is_counted_from_before_it_was_asked_for(postgresql, server, monkeypatch):
    one = server()
    assert one.holds() and one.holds(module.LEASE_S / 2) and not one.holds(module.LEASE_S)
    one.release()
    assert not one.holds()


def test_servers_know_of_each_other_while_they_live(postgresql, server):
    one, two = server(home="one"), server(home="two")
    assert (one.others(), two.others()) == (["two"], ["one"])
    two.release()
    assert one.others() == []


def test_an_order_waits_for_whoever_drives_and_goes_with_its_pipeline(postgresql, server):
    one, two = server(), server()
    (name,) = submit(postgresql, 1, one.driver)
    two.ask(name, Stop.CANCEL, "cancelled by ada")
    assert two.asked() == []
    ((number, *order),) = one.asked()
    assert order == [name, Stop.CANCEL, "cancelled by ada"]
    expire(postgresql, one)
    two.take_over()
    assert [each.number for each in two.asked()] == [number]
    two.done(two.asked()[0])
    assert two.asked() == []


def test_others_are_seen_to_move_and_to_be_removed(postgresql, server):
    one, two = server(), server()
    seen = Others(postgresql, two.driver.owner)
    assert seen.look() == ({}, set())
    (theirs,) = submit(postgresql, 1, one.driver)
    submit(postgresql, 1, two.driver)
    moved, removed = seen.look()
    assert (list(moved), removed) == ([theirs], set())
    assert seen.look() == ({}, set())
    with postgresql.writer() as connection:
        connection.execute(text(f"UPDATE pipelines SET seq = 9, status = 'DONE' WHERE id = '{theirs}'"))
    assert seen.look() == ({theirs: 9}, set())
    Deletions(postgresql).finish(PipelineId(theirs), db=True)
    assert seen.look() == ({}, {theirs})
    assert seen.look() == ({}, set())
