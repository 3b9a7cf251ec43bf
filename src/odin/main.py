"""Builds everything once and runs it; the only place that names concrete backends."""

from __future__ import annotations

import asyncio
import ctypes
import errno
import gc
import logging
import os
import socket
import sys
from collections.abc import Callable, Mapping
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from odin import settings as configuration
from odin import wiring
from odin.backup.switch import refuse_half_done
from odin.engine.builds import Builds
from odin.engine.cleanup import Cleaner
from odin.engine.clock import Clock
from odin.engine.commands import Commands
from odin.engine.feed import Feed
from odin.engine.keepsakes import Keepsakes
from odin.engine.layout import Layout
from odin.engine.loop import Engine
from odin.engine.retention import DAY_S, Limits, Retention
from odin.engine.taskuser import make_folders, refuse_dangers
from odin.executors.nodereports import NodeReports, ReportedNodes
from odin.exits import told
from odin.faults import reach
from odin.jobs.checkouts import Checkouts
from odin.jobs.deliveries import Deliveries
from odin.jobs.repository import Repository
from odin.jobs.workfolders import WorkFolders
from odin.logformat import configure
from odin.model.errors import Conflict, OdinError, Unavailable
from odin.settings import Loaded, Settings
from odin.store import copying
from odin.store.database import Database
from odin.store.deletion import Deletions
from odin.store.expiry import Expiry
from odin.store.facts import store_id
from odin.store.happenings import Happenings
from odin.store.holder import Holder, Seat, data_id
from odin.store.leases import Leases
from odin.store.migrate import bring_up_to_date
from odin.store.moments import moment
from odin.store.queries import Queries
from odin.store.users import Users
from odin.wiring import Backend

if TYPE_CHECKING:
    from odin.backup.archive import Manifest

log = logging.getLogger("odin")

# The engine must not wait 5 ms for a busy request thread to let go of the interpreter (architecture.md).
SWITCH_INTERVAL_S = 0.0005
SHARING = "; several servers share a folder on one PostgreSQL, see ODIN_DATABASE_URL"
# A collection stops every thread. What is there after the start stays, and most of what comes later dies without one.
COLLECT = 5_000, 10, 20
M_ARENA_MAX = -8  # malloc.h
STARTED, USAGE, REFUSED, FAILED = 0, 2, 8, 9


def serve(flags: Mapping[str, object], *, check: bool = False, config: str | None = None) -> int:
    """Run the server until it is told to stop; with ``check`` print the settings and start nothing.

    Returns the exit code of the process: 0, 8 for settings that are refused, 9 when it cannot start.
    """
    try:
        loaded = configuration.load(flags, os.environ, Path(config) if config else None)
        if check:
            return _print_settings(loaded)
        configuration.refuse(configuration.check(loaded.settings))
        with ExitStack() as stack:
            return Server(loaded.settings, stack).run()
    except OdinError as error:
        for line in error.problems or (error,):
            print(f"odin-serve: {line}", file=sys.stderr)
        return REFUSED if error.problems else FAILED
    except OSError as error:
        place = f"{error.filename}: " if error.filename else ""
        print(f"odin-serve: {place}{error.strerror or error}", file=sys.stderr)
        return FAILED


def migrate(flags: Mapping[str, object], *, config: str | None = None) -> int:
    """Bring the database to this program's schema and say what was done."""
    try:
        settings = _settings(flags, config)
        _private_folder(settings.data)
        refuse_half_done(settings.data)
        database = Database(settings.database_url)
        done = bring_up_to_date(database)
        database.close()
    except OdinError as error:
        print(f"odin-serve: {error}", file=sys.stderr)
        return REFUSED if error.problems else FAILED
    print("the database was brought up to date" if done else "the database is up to date")
    return STARTED


def backup(flags: Mapping[str, object], file: str, *, config: str | None = None) -> int:
    """Back up into ``file``, beside a running server; say what is in it."""
    from odin.backup.making import make

    try:
        made = make(_settings(flags, config), Path(file))
    except (OdinError, OSError) as error:
        return told("odin-serve backup", error)
    print(f"{file}: {_contents(made)}")
    return STARTED


def restore(flags: Mapping[str, object], file: str, *, config: str | None = None) -> int:
    """Put what ``file`` holds in the place of the database and the jobs; say where these are now."""
    from odin.backup.restoring import restore as put_back

    try:
        settings = _settings(flags, config)
        os.umask(0o077)
        restored = put_back(settings, Path(file))
        database = configuration.without_password(settings.database_url)
    except (OdinError, OSError) as error:
        return told("odin-serve restore", error)
    print(f"restored into {settings.data} and {database}: {_contents(restored.manifest)}")
    for place in restored.kept:
        print(f"  what was there before is {place}")
    return STARTED


def _contents(manifest: Manifest) -> str:
    sizes = ", ".join(f"{name} {part.bytes} bytes" for name, part in manifest.parts.items())
    return f"{manifest.pipelines} pipelines as of {manifest.at}, schema {manifest.schema} ({sizes})"


def _settings(flags: Mapping[str, object], config: str | None) -> Settings:
    return configuration.load(flags, os.environ, Path(config) if config else None).settings


def _print_settings(loaded: Loaded) -> int:
    for name, value, origin in configuration.describe(loaded):
        print(f"{name:<24} {value:<48} {origin}")
    problems = configuration.check(loaded.settings)
    for problem in problems:
        print(f"odin-serve: {problem}", file=sys.stderr)
    return REFUSED if problems else STARTED


def _private_folder(path: Path) -> None:
    path.mkdir(mode=0o700, parents=True, exist_ok=True)


@dataclass(frozen=True, slots=True)
class Rooms:
    """The rooms below the api, built and connected."""

    database: Database
    users: Users
    repository: Repository
    engine: Engine
    commands: Commands
    queries: Queries
    backend: Backend
    retention: Retention


class Server:
    """One server. Everything that must be let go of is on ``stack``, the newest first."""

    def __init__(self, settings: Settings, stack: ExitStack) -> None:
        self._settings = settings
        self._stack = stack
        self._layout = Layout(settings.shared, wiring.task_user(settings))

    def run(self) -> int:
        """Start everything, serve, stop everything."""
        settings = self._settings
        os.umask(0o077)
        sys.setswitchinterval(SWITCH_INTERVAL_S)
        _share_arenas()
        configure(settings.log_level, settings.log_format)
        make_folders(settings.data, self._layout.passages, self._layout.task_user)
        self._hold_folder()
        refuse_half_done(settings.data)
        from odin.api.server import listen

        sockets = self._listen(listen)
        for sock in sockets:
            self._stack.callback(sock.close)
        rooms = self._build()
        with asyncio.Runner(loop_factory=_new_loop) as runner:
            runner.run(self._serve(rooms, sockets))
        return FAILED if rooms.engine.failure else STARTED

    def _listen(self, listen: Callable[[str, int], list[socket.socket]]) -> list[socket.socket]:
        settings = self._settings
        try:
            return listen(settings.host, settings.port)
        except OSError as error:
            why = "is in use" if error.errno == errno.EADDRINUSE else f"cannot be used: {error.strerror or error}"
            raise Conflict(
                f"{settings.host}:{settings.port} {why}; stop what listens there, or choose another --port or --host"
            ) from error

    def _hold_folder(self) -> None:
        """Alone on a database of its own; on PostgreSQL with others."""
        data, alone = self._settings.data, self._settings.database_url.startswith("sqlite")
        remedy = f"give this one another --data{SHARING}" if alone else "wait until it has ended"
        self._folder = self._hold(data / "server.lock", f"the data folder {data}", remedy, shared=not alone)

    def _hold(self, lock: Path, what: str, remedy: str, *, shared: bool = False) -> Holder:
        holder = Holder(lock, what, remedy, shared=shared)
        self._stack.callback(holder.release)
        return holder

    def _hold_file(self, path: Path) -> None:
        file = f"the database {path}"
        self._hold(Path(f"{path}.lock"), file, "give this one another --database")
        if damage := copying.wrong(path):
            raise Unavailable(
                f"{file} is damaged: {damage[0]}; put a backup back with odin-serve restore FILE,"
                " or copy what can be read of it with the .recover of sqlite3"
            )

    def _build(self) -> Rooms:
        settings, layout = self._settings, self._layout
        database = Database(settings.database_url)
        self._stack.callback(database.close)
        if layout.task_user is not None and settings.executor == "local":
            refuse_dangers(settings.data, layout.passages, database.path, layout.task_user)
        if database.path is not None:
            self._hold_file(database.path)
        if bring_up_to_date(database):
            log.info("the database was brought to this version's schema")
        reach("start:migrated")
        self._folder.claim(settings.data / "store", store_id(database))
        repository = Repository.open(settings.data / "jobs.git", remote=settings.jobs_remote)
        self._stack.callback(repository.close)
        checkouts = Checkouts(repository, layout.checkouts)
        clock = Clock(moment(database))
        queries = Queries(database, clock.now)
        backend = self._backend(database, repository, queries, clock)
        self._stack.callback(backend.close)
        deletions = Deletions(database, clock.now)
        cleaner = Cleaner(layout, settings.data / "logs", deletions, checkouts, queries, backend.objects)
        builds = Builds(layout, checkouts, WorkFolders(repository), queries, Keepsakes(layout, settings.data / "logs"))
        leases = self._leases(database, backend.reach)
        builds.mend(database, leases.driver.owner if leases is not None else None)
        engine = Engine(
            database, backend.place, backend.launches, builds.build, clock=clock, feed=Feed(), leases=leases
        )
        commands = Commands(engine, repository, checkouts, queries, cleaner, layout, backend.check)
        retention = Retention(
            Limits(settings.retain_days and settings.retain_days * DAY_S, settings.retain_bytes),
            Expiry(database),
            cleaner,
            clock=clock,
            gone=engine.feed.removed,
        )
        return Rooms(database, Users(database), repository, engine, commands, queries, backend, retention)

    def _leases(self, database: Database, reach: str | None) -> Leases | None:
        """Where there may be several servers, this one is one of them from now on."""
        if database.kind == "sqlite":
            return None
        folder, seat = data_id(self._settings.data), Seat(self._settings.data / "servers")
        self._stack.callback(seat.release)
        home = folder if seat.number == 1 else f"{folder}-{seat.number}"
        name = f"process {os.getpid()} on {socket.gethostname()}"
        leases = Leases(database, home=home, place=reach or f"local:{folder}", name=name)
        leases.take()
        if others := leases.others():
            log.info("other servers on this database: %s", ", ".join(others))
        return leases

    def _backend(self, database: Database, repository: Repository, queries: Queries, clock: Clock) -> Backend:
        settings, layout = self._settings, self._layout
        if settings.executor == "local":
            return wiring.local(settings, layout, clock.now)
        store, keep = store_id(database), Happenings(database).keep
        return wiring.kubernetes(settings, layout, store, Deliveries(repository), queries, keep)

    async def _serve(self, rooms: Rooms, sockets: list[socket.socket]) -> None:
        from odin.api.app import build_app
        from odin.api.bootstrap import bootstrap
        from odin.api.server import make_server
        from odin.api.services import Services
        from odin.api.sockets.legacy import warned
        from odin.api.tokens import Tokens, load_secret

        settings, secrets = self._settings, self._settings.data / "secrets"
        _private_folder(secrets)
        password = bootstrap(rooms.users, secrets, settings.root_user, settings.root_pass)
        issuer = settings.auth_issuer or f"odin:{store_id(rooms.database)}"
        tokens = Tokens(load_secret(secrets, settings.secret), issuer, settings.token_duration_s)
        reports = NodeReports()
        services = Services(
            settings=settings,
            repository=rooms.repository,
            commands=rooms.commands,
            queries=rooms.queries,
            users=rooms.users,
            tokens=tokens,
            logs=rooms.backend.logs,
            resources=rooms.backend.resources,
            nodes=ReportedNodes(rooms.backend.nodes, reports),
            reports=reports,
            feed=rooms.engine.feed,
            retained=rooms.retention.figures,
        )
        rooms.engine.feed.attach(asyncio.get_running_loop())
        reach("start:built")
        waiting = await asyncio.to_thread(rooms.commands.cleaner.resume, is_alone=not rooms.engine.others())
        reach("start:cleaned-up")
        rooms.engine.start()
        reach("start:engine-started")
        finishing = asyncio.create_task(rooms.commands.finish_cleanups(waiting))
        rooms.retention.start()
        try:
            self._greet(sockets, password)
            async with warned(settings.legacy_ws):
                server = make_server(build_app(services), settings, services.stopping)
                gc.freeze()
                gc.set_threshold(*COLLECT)
                await server.serve(sockets=sockets)
        finally:
            finishing.cancel()
            await asyncio.to_thread(rooms.retention.stop)
            await asyncio.to_thread(rooms.engine.stop)

    def _greet(self, sockets: list[socket.socket], password: str | None) -> None:
        settings = self._settings
        port = sockets[0].getsockname()[1]
        print(f"Odin serves http://{settings.host}:{port} with its data in {settings.data}", file=sys.stderr)
        if settings.executor == "local" and settings.task_user is None:
            print(
                "  tasks run as processes of this user: whoever may run pipelines can do what you can", file=sys.stderr
            )
        if settings.anonymous_reads:
            print("  every user of this machine can read (ODIN_ANONYMOUS_READ=off changes that)", file=sys.stderr)
        if password is not None:
            print(f"  first start: user {settings.root_user}, {self._first_password(password)}", file=sys.stderr)

    def _first_password(self, password: str) -> str:
        """The password on a terminal; elsewhere, where somebody may collect it, the file that holds it (A-53)."""
        if sys.stderr.isatty():
            return f"password {password} (shown once)"
        from odin.api.bootstrap import PASSWORD_FILE

        return f"password in {self._settings.data / 'secrets' / PASSWORD_FILE}"


def _share_arenas() -> None:
    """Have glibc give the threads two heaps for all of them; elsewhere nothing happens.

    With one for each thread, its default, what a thread let go of lies idle there: a server under steady load grew and
    grew, with no more objects than before.
    """
    with suppress(AttributeError, OSError):
        ctypes.CDLL(None).mallopt(M_ARENA_MAX, 2)


def _new_loop() -> asyncio.AbstractEventLoop:
    try:
        import uvloop
    except ImportError:
        return asyncio.new_event_loop()
    loop: asyncio.AbstractEventLoop = uvloop.new_event_loop()
    return loop
