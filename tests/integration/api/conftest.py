"""A whole house behind the REST tier: real store, repository, engine and logs; tasks end as a test says."""

import asyncio
import contextlib
import io
import json
import socket
import threading

import pytest
import uvloop
from starlette.testclient import TestClient

from integration.api.streaming import DEADLINE_S, RUNNING, Follower, until
from odin import settings as configuration
from odin.api.app import build_app
from odin.api.passwords import hasher
from odin.api.server import listen, make_server
from odin.api.services import Services
from odin.api.tokens import Tokens
from odin.engine.builds import Builds
from odin.engine.cleanup import Cleaner
from odin.engine.commands import Commands
from odin.engine.keepsakes import Keepsakes
from odin.engine.launches import Launches
from odin.engine.layout import Layout
from odin.engine.loop import Engine
from odin.executors.logs import LocalLogs, log_path
from odin.executors.nodereports import NodeReports, ReportedNodes
from odin.executors.protocol import Machines
from odin.jobs.checkouts import Checkouts
from odin.jobs.repository import Repository
from odin.jobs.workfolders import WorkFolders
from odin.model.users import Role
from odin.store.database import Database
from odin.store.deletion import Deletions
from odin.store.migrate import bring_up_to_date
from odin.store.queries import Queries
from odin.store.users import NewUser, Users
from odin_testing.place import FakePlace

SECRET = b"s" * 32
PASSWORDS = {"vera": "vera's long password", "edda": "edda's long password", "ada": "ada's long password"}
ROLES = {"vera": Role.VIEWER, "edda": Role.EDITOR, "ada": Role.ADMIN}


class NoNodes:
    async def nodes(self):
        return Machines(({"host": "here", "gpus": []},))


@pytest.fixture(scope="session")
def template(tmp_path_factory):
    """A migrated database with a viewer, an editor and an admin, to copy."""
    path = tmp_path_factory.mktemp("template") / "odin.db"
    database = Database(f"sqlite:///{path}")
    bring_up_to_date(database)
    for name, role in ROLES.items():
        Users(database).create(NewUser(name, role, hasher().hash(PASSWORDS[name]), name.title(), "Test"))
    database.close()
    return path


class House:
    """Everything that an application is built from. ``plan`` gives the exit code of a task, None to let it run."""

    def __init__(self, folder, template, *, plan=lambda launch: 0, flags=None, secret=SECRET, issuer="odin:test"):
        self.data, self.shared = folder / "data", folder / "shared"
        self.data.mkdir(parents=True)
        (self.shared / "runs").mkdir(parents=True)
        (self.data / "odin.db").write_bytes(template.read_bytes())
        flags = {"data": self.data, "shared": self.shared, "port": 0, "anonymous_read": "off"} | (flags or {})
        environ = {"HOME": str(folder), "USER": "ada"}
        self.settings = configuration.load(flags, environ, None).settings
        self.database = Database(self.settings.database_url)
        self.repository = Repository.open(self.data / "jobs.git")
        self.place = FakePlace(plan)
        self.users, self.queries = Users(self.database), Queries(self.database)
        self.services = self.build(Tokens(secret, issuer, self.settings.token_duration_s))
        self.engine = self.services.commands.engine
        self.app = build_app(self.services)
        self.odin = self.app.state.context

    def build(self, tokens):
        layout = Layout(self.shared)
        checkouts = Checkouts(self.repository, self.shared / "checkouts")
        keepsakes = Keepsakes(layout, self.data / "logs")
        builds = Builds(layout, checkouts, WorkFolders(self.repository), self.queries, keepsakes)
        engine = Engine(self.database, self.place, Launches(layout), builds.build)
        reports = NodeReports()
        cleaner = Cleaner(layout, self.data / "logs", Deletions(self.database), checkouts, self.queries)
        return Services(
            settings=self.settings,
            repository=self.repository,
            commands=Commands(engine, self.repository, checkouts, self.queries, cleaner, layout),
            queries=self.queries,
            users=self.users,
            tokens=tokens,
            logs=LocalLogs(self.data),
            nodes=ReportedNodes(NoNodes(), reports),
            reports=reports,
            feed=engine.feed,
        )

    def token(self, name):
        return self.services.tokens.issue(self.users.get(name))[0]

    def headers(self, name):
        return {"Authorization": f"Bearer {self.token(name)}"}

    def client(self, name=None):
        """An application client in which the engine runs; use it as a context manager for pipelines."""
        client = Client(self)
        if name is not None:
            client.headers.update(self.headers(name))
        return client

    def write_log(self, attempt, content):
        path = log_path(self.data, attempt)
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("ab") as file:
            file.write(content)

    def push(self, job, *names, **files):
        """A job of tasks that each run after the one before."""
        tasks = [
            {"name": name, "command": "true"} | ({"depends": names[i - 1]} if i else {}) for i, name in enumerate(names)
        ]
        from odin.jobs.values import Author

        content = {"main.yml": json.dumps({"tasks": tasks}).encode()} | files
        return self.repository.write(job, content, Author("edda"), create=True)

    def close(self):
        self.engine.stop()
        self.repository.close()
        self.database.close()


class Client(TestClient):
    def __init__(self, house):
        super().__init__(house.app, base_url="http://127.0.0.1", raise_server_exceptions=True)
        self.house = house

    def __enter__(self):
        super().__enter__()
        self.portal.call(self._attach)
        self.house.engine.start()
        return self

    async def _attach(self):
        self.house.engine.feed.attach(asyncio.get_running_loop())

    def run_job(self, job, **headers):
        answer = self.post("/v1/pipelines", json={"pipeline": {"job": job}}, headers=headers)
        assert answer.status_code == 200, answer.text
        return answer.json()["pipeline"]["id"]

    def finished(self, pipeline):
        return until(lambda: (found := self.get(f"/v1/pipelines/{pipeline}").json()["pipeline"])["outcome"] and found)


@pytest.fixture
def make_house(template, tmp_path):
    made = []

    def make(**options):
        made.append(House(tmp_path / f"house{len(made)}", template, **options))
        return made[-1]

    yield make
    for house in made:
        house.close()


@pytest.fixture
def house(make_house):
    return make_house()


class Listening:
    """The house's application behind a real server in a thread of its own, spoken to through plain sockets."""

    def __init__(self, house, **doors):
        self.house = house
        self.sockets = listen("127.0.0.1", 0)
        self.port = self.sockets[0].getsockname()[1]
        self.server = make_server(house.app, house.settings, house.services.stopping, grace_s=5)
        for name, value in doors.items():
            setattr(self.server.config.http.doors, name, value)
        self.doors = self.server.config.http.doors
        self.thread = threading.Thread(target=self._run)

    def _run(self):
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            runner.run(self._serve())

    async def _serve(self):
        self.loop = asyncio.get_running_loop()
        self.house.engine.feed.attach(self.loop)
        self.house.engine.start()
        await self.server.serve(sockets=self.sockets)

    def __enter__(self):
        self.thread.start()
        until(lambda: self.server.started)
        return self

    def __exit__(self, *_):
        self.stop()
        self.thread.join(DEADLINE_S)
        assert not self.thread.is_alive()

    def stop(self):
        self.server.should_exit = True

    def connect(self):
        return contextlib.closing(socket.create_connection(("127.0.0.1", self.port), timeout=DEADLINE_S))

    def request(self, path, *, method="GET", body=b"", **headers):
        """Status, headers and body of one request on a connection of its own."""
        with self.connect() as sock:
            sock.sendall(head(path, method=method, length=len(body) if body else None, **headers) + body)
            return read_answer(sock)


def head(path, *, method="GET", length=None, **headers):
    lines = [f"{method} {path} HTTP/1.1", "Host: 127.0.0.1", "Connection: close"]
    lines += [f"{name.replace('_', '-')}: {value}" for name, value in headers.items()]
    if length is not None:
        lines.append(f"Content-Length: {length}")
    return "\r\n".join([*lines, "", ""]).encode()


def read_answer(sock):
    """Read to the end of the connection."""
    data = io.BytesIO()
    with contextlib.suppress(ConnectionResetError):
        while piece := sock.recv(65536):
            data.write(piece)
    top, _, body = data.getvalue().partition(b"\r\n\r\n")
    if not top:
        return 0, {}, b""
    first, *lines = top.decode("latin-1").split("\r\n")
    return int(first.split()[1]), {k.lower(): v for k, v in (line.split(": ", 1) for line in lines)}, body


@pytest.fixture
def listening(make_house):
    """Start a server; keyword arguments are the house's, ``doors`` those of its doors."""
    with contextlib.ExitStack() as stack:

        def listen_(*, doors=None, **options):
            return stack.enter_context(Listening(make_house(**options), **(doors or {})))

        yield listen_


@pytest.fixture
def follow():
    with contextlib.ExitStack() as stack:

        def follow_(*args, **headers):
            follower = Follower(*args, **headers)
            stack.callback(follower.sock.close)
            return follower

        yield follow_


@pytest.fixture
def server(listening):
    server = listening(**RUNNING)
    server.house.push("one", "fetch", "train")
    return server
