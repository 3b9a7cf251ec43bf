"""What only a server can do to us: go away, restart, cut a connection, give a transaction up."""

import signal
import threading
from itertools import count

import psycopg
import pytest
from sqlalchemy import select, text, update

from builders import Sim, spec
from odin.model.errors import InvalidInput, OutcomeUnknown, Unavailable
from odin.model.users import Role
from odin.store import postgresql as module
from odin.store.backend import Crossed
from odin.store.commit import commit
from odin.store.database import Database
from odin.store.migrate import bring_up_to_date, version
from odin.store.migrations import HEAD
from odin.store.queries import Filter, Queries
from odin.store.rows import Rows
from odin.store.schema import facts, users
from odin.store.users import NewUser, Users
from pgproxy import MOMENTS, Proxy
from postgres import cluster

NUMBERS = count(1)
OURS = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name LIKE 'odin%'"


@pytest.fixture
def proxied(postgres, postgresql):
    """The database through a proxy, and the proxy."""
    proxy = Proxy(postgres.port)
    name = postgresql.url.rpartition("/")[2]
    database = Database(f"postgresql://odin@127.0.0.1:{proxy.port}/{name}")
    yield database, proxy
    database.close()
    proxy.close()


def submitted():
    sim = Sim()
    pipeline = sim.submit(spec("a"), id=f"job-{next(NUMBERS):08d}")
    return sim, pipeline


def alive(database):
    Queries(database).alive()


# ---- F-40: it goes away and comes back


def test_f40_after_a_restart_the_first_query_succeeds(own_postgres):
    database = Database(own_postgres.migrated())
    alive(database)
    rows = Rows(database)
    rows.open()
    own_postgres.restart()
    alive(database)
    sim, pipeline = submitted()
    assert rows.commit(sim.world.changes, {}, now=sim.now) == set()
    assert Queries(database).pipeline(pipeline.id) is not None
    rows.close()
    database.close()


def test_f40_while_it_is_away_a_reader_is_told_so_and_waits_once(own_postgres, monkeypatch, caplog):
    monkeypatch.setattr(module, "PATIENCE_S", 0.2)
    database = Database(own_postgres.migrated())
    own_postgres.stop()
    for _ in range(3):
        with pytest.raises(Unavailable, match="cannot be reached; try again") as caught:
            alive(database)
        assert caught.value.retry_after_s
    own_postgres.start()
    alive(database)
    said = [record.message for record in caplog.records if record.name == "odin.store"]
    assert len(said) == 2 and "refused" in said[0] and said[1] == "connected to the database again"
    database.close()


def test_f40_a_server_that_restarts_at_once_is_waited_for(own_postgres):
    database = Database(own_postgres.migrated())
    own_postgres.stop()
    asked = []
    asking = threading.Thread(target=lambda: asked.append(alive(database)))
    asking.start()
    own_postgres.start()
    asking.join()
    assert asked == [None]
    database.close()


def test_f40_an_address_that_cannot_be_a_server_is_said_without_its_password(monkeypatch):
    monkeypatch.setattr(module, "PATIENCE_S", 0.0)
    database = Database("postgresql://ada:hunter22@127.0.0.1:1/odin?connect_timeout=1")
    with pytest.raises(Unavailable) as caught:
        alive(database)
    assert "hunter22" not in str(caught.value)
    database.close()
    with pytest.raises(InvalidInput, match="not a URL of PostgreSQL"):
        Database("postgresql://x/y?sslmo")


# ---- F-41: another takes its place


def test_f41_after_a_failover_all_that_was_acknowledged_is_there(own_postgres):
    """The standby is a synchronous one; both are in the URL."""
    url = own_postgres.migrated()
    standby = own_postgres.standby()
    try:
        own_postgres.execute("ALTER SYSTEM SET synchronous_standby_names = '*'")
        own_postgres.execute("SELECT pg_reload_conf()")
        name = url.rpartition("/")[2]
        database = Database(f"postgresql://odin@127.0.0.1:{standby.port},127.0.0.1:{own_postgres.port}/{name}")
        rows, acknowledged = Rows(database), []
        for _ in range(20):
            sim, pipeline = submitted()
            assert rows.commit(sim.world.changes, {}, now=sim.now) == set()
            acknowledged.append(pipeline.id)
        own_postgres.stop(signal.SIGQUIT)
        standby.execute("SELECT pg_promote()")
        sim, pipeline = submitted()
        assert rows.commit(sim.world.changes, {}, now=sim.now) == set()
        found = Queries(database).positions([*acknowledged, pipeline.id])
        assert found.keys() == {*acknowledged, pipeline.id}
        rows.close()
        database.close()
    finally:
        standby.close()


# ---- F-42: the connection dies in a commit


@pytest.mark.parametrize("moment", MOMENTS)
def test_f42_a_commit_whose_answer_was_lost_is_done_once(proxied, postgresql, moment):
    database, proxy = proxied
    rows = Rows(database)
    for _ in range(20):
        sim, pipeline = submitted()
        rows.open()
        proxy.cut_at(moment)
        with pytest.raises(OutcomeUnknown):
            rows.commit(sim.world.changes, {}, now=sim.now)
        lost = settled(rows, sim)
        assert (lost is None) == (moment == "before") or moment == "inside"
        if lost is None:
            assert rows.commit(sim.world.changes, {}, now=sim.now) == set()
        history = Queries(postgresql).events(pipeline.id)
        assert [event.seq for event in history] == list(range(1, pipeline.seq + 1))
    rows.close()
    assert proxy.cuts == 20


def settled(rows, sim):
    """Until the session is gone it is not known."""
    while True:
        try:
            return rows.settle(sim.world.changes)
        except Unavailable:
            continue


def test_f42_a_commit_that_another_server_overtook_is_told_apart(proxied, postgresql):
    """Of one that happened, what was left out is named; one that could not happen did not."""
    database, proxy = proxied
    rows = Rows(database)
    sim, pipeline = submitted()
    rows.commit(sim.world.take_changes(), {}, now=sim.now)
    pipeline.saved_seq = pipeline.seq
    with postgresql.writer() as connection:
        connection.execute(text("UPDATE pipelines SET fence = 2"))
    other = sim.submit(spec("a"), id=f"job-{next(NUMBERS):08d}")
    sim.pipeline = pipeline
    sim.end("a")
    proxy.cut_at("after")
    with pytest.raises(OutcomeUnknown):
        rows.commit(sim.world.changes, {}, now=sim.now)
    assert settled(rows, sim) == {pipeline.id}
    assert Queries(postgresql).pipeline(other.id) is not None
    rows.close()


# ---- F-43: given up for another's sake


def test_f43_a_deadlock_is_repeated_and_nobody_notices(postgres, postgresql):
    add(postgresql, "ada", "ben")
    tried = []
    with psycopg.connect(postgresql.url) as other:
        other.execute("UPDATE users SET lastname = 'x' WHERE username = 'ada'")

        def cross(connection):
            tried.append(1)
            connection.execute(update(users).where(users.c.username == "ben").values(firstname="first"))
            if len(tried) == 1:
                held.set()
            connection.execute(update(users).where(users.c.username == "ada").values(firstname="second"))

        held = threading.Event()
        writer = threading.Thread(target=postgresql.write, args=(cross,))
        writer.start()
        held.wait(60)
        waits_for_a_lock(postgres, postgresql)
        try:
            other.execute("UPDATE users SET lastname = 'y' WHERE username = 'ben'")
        except psycopg.errors.DeadlockDetected:  # the other was the victim, and ours went on
            other.rollback()
        other.commit()
        writer.join()
    assert [user.firstname for user in Users(postgresql).list()] == ["second", "first"]


def waits_for_a_lock(postgres, database):
    waiting = "SELECT 1 FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND datname = '{}'"
    while not postgres.execute(waiting.format(database.url.rpartition("/")[2])):
        pass


def test_f43_many_who_cross_lose_no_change(postgresql):
    """Each adds to two rows, in one order or the other, and reads what it adds to."""
    add(postgresql, "ada", "ben")
    done, refused = [], []

    def transfer(number):
        names = ["ada", "ben"] if number % 2 else ["ben", "ada"]

        def act(connection):
            for name in names:
                row = connection.execute(select(users).where(users.c.username == name).with_for_update()).one()
                connection.execute(update(users).where(users.c.uid == row.uid).values(not_before=row.not_before + 1))

        for _ in range(15):
            try:
                postgresql.write(act)
                done.append(number)
            except Crossed:
                refused.append(number)

    threads = [threading.Thread(target=transfer, args=(number,)) for number in range(6)]
    for each in threads:
        each.start()
    for each in threads:
        each.join()
    with postgresql.reader() as connection:
        assert set(connection.execute(select(users.c.not_before)).scalars()) == {float(len(done))}
    assert len(done) + len(refused) == 90 and len(done) > 45


def test_f43_a_lock_that_somebody_keeps_is_said(postgresql, monkeypatch):
    add(postgresql, "ada")
    with psycopg.connect(postgresql.url) as other:
        other.execute("LOCK TABLE users")
        tried = []

        def act(connection):
            tried.append(1)
            connection.execute(text("SET LOCAL lock_timeout = '20ms'"))
            connection.execute(update(users).values(lastname="x"))

        with pytest.raises(Unavailable, match="stood in the way"):
            postgresql.write(act)
    assert len(tried) == 6


# ---- F-44: too many


def test_f44_when_the_server_is_full_all_are_served_in_the_end(monkeypatch):
    monkeypatch.setattr(module, "PATIENCE_S", 0.5)
    small = cluster(max_connections="12")
    try:
        database = Database(small.migrated())
        hogs = [psycopg.connect(small.conninfo("postgres")) for _ in range(7)]
        served = []

        def ask():
            while True:
                try:
                    alive(database)
                    break
                except Unavailable:
                    continue
            served.append(1)

        threads = [threading.Thread(target=ask) for _ in range(100)]
        for each in threads:
            each.start()
        for each in threads:
            each.join()
        assert len(served) == 100
        for each in hogs:
            each.close()
        database.close()
    finally:
        small.close()


def test_f44_who_gets_no_connection_in_time_is_told(postgresql, monkeypatch):
    pool = postgresql._backend.reading.pool
    monkeypatch.setattr(pool, "_timeout", 0.05)
    held = [postgresql._backend.reading.connect() for _ in range(module.POOLED)]
    with pytest.raises(Unavailable, match="all connections to the database are in use"):
        alive(postgresql)
    for each in held:
        each.close()
    alive(postgresql)


def test_f44_sessions_that_an_operator_ended_are_replaced(postgres, postgresql):
    rows = Rows(postgresql)
    rows.open()
    alive(postgresql)
    for _ in range(3):
        assert len(postgres.execute(OURS)) >= 2
        alive(postgresql)
        sim, _ = submitted()
        assert rows.commit(sim.world.changes, {}, now=sim.now) == set()
    rows.close()


def test_a_server_that_froze_in_a_transaction_holds_no_lock_for_ever(postgresql):
    with pytest.raises(Unavailable, match="silent for too long"), postgresql.writer() as connection:
        told = connection.execute(text("SHOW idle_in_transaction_session_timeout")).scalar_one()
        connection.execute(text("SET LOCAL idle_in_transaction_session_timeout = '30ms'"))
        connection.execute(text("LOCK TABLE facts"))
        with psycopg.connect(postgresql.url) as other:
            other.execute("LOCK TABLE facts")  # granted once the silent session is ended
    assert told == "10s"


# ---- migrations, and values that SQLite would take


def test_f48_of_servers_that_start_together_one_migrates(postgres):
    url = postgres.empty()
    databases = [Database(url) for _ in range(3)]
    failed = []

    def migrate(database):
        try:
            bring_up_to_date(database)
        except Exception as error:
            failed.append(error)

    threads = [threading.Thread(target=migrate, args=(each,)) for each in databases]
    for each in threads:
        each.start()
    for each in threads:
        each.join()
    assert failed == []
    assert {version(each) for each in databases} == {HEAD}
    for each in databases:
        each.close()


def test_a_database_that_is_not_there_is_said(postgres, monkeypatch, caplog):
    monkeypatch.setattr(module, "PATIENCE_S", 0.0)
    database = Database(postgres.conninfo("nowhere"))
    with pytest.raises(Unavailable, match="cannot be reached"):
        version(database)
    assert 'database "nowhere" does not exist' in caplog.text


@pytest.mark.parametrize("query", ["a\0b", "x" * 100_000])
def test_a_query_that_no_id_can_hold_finds_nothing_or_is_refused(database, query):
    try:
        assert Queries(database).pipelines(Filter(query=query)) == ([], None)
        assert Queries(database).pipeline(query) is None
    except InvalidInput:
        assert "\0" in query


def test_a_message_with_a_nul_is_kept(database):
    sim, pipeline = submitted()
    with database.writer() as connection:
        commit(connection, sim.world.take_changes(), {}, now=sim.now)
        pipeline.saved_seq = pipeline.seq
        sim.world.record(pipeline, 1.0, "note", None, "a\0b \\u0000 c")
        commit(connection, sim.world.take_changes(), {}, now=sim.now)
    (kept,) = [each.message for each in Queries(database).events(pipeline.id) if each.type == "note"]
    assert kept == "a\ufffdb \\u0000 c"


def test_two_servers_that_start_at_once_make_one_first_admin(postgresql):
    made = []

    def first(number):
        new = NewUser(f"admin{number}", Role.ADMIN, "hash")
        made.append(Users(postgresql).create_first(new))

    threads = [threading.Thread(target=first, args=(number,)) for number in range(6)]
    for each in threads:
        each.start()
    for each in threads:
        each.join()
    assert len([each for each in made if each is not None]) == 1 == Users(postgresql).count()


def test_readers_see_one_moment(postgresql):
    with postgresql.reader() as connection:
        before = connection.execute(select(facts)).all()
        with postgresql.writer() as other:
            other.execute(text("INSERT INTO facts VALUES ('a', 'b')"))
        assert connection.execute(select(facts)).all() == before


def add(database, *names):
    for name in names:
        Users(database).create(NewUser(name, Role.EDITOR, "hash"))
