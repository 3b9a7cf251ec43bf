"""Every route of the API has a method, and every method asks for what the API describes."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Callable, Iterator
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import pytest
from fastapi import FastAPI

from integration.cli.scripted import Request, Scripted, body, token
from odin import Client, ClientError
from odin.api.access import ROUTES, Access
from odin.api.app import ROUTERS

ID, TASK = "hello-ab12cd34", "hello-ab12cd34--train"
SHA = "3f2a9c1e" * 5
# No route of its own: made of others, or no request at all.
WITHOUT_A_ROUTE = {"server", "url", "token", "signed_in"}
# Each method with all of its arguments, and none of them the usual one.
CALLS: dict[str, Callable[[Client], Any]] = {
    "run": lambda c: c.run("nlp/sst2", {"lr": 0.1}),
    "pipeline": lambda c: c.pipeline(ID),
    "task": lambda c: c.task(TASK),
    "pipelines": lambda c: first_two_pages(c),
    "follow": lambda c: next(c.follow(ID)),
    "watch": lambda c: next(c.watch(job="hello", user="ana")),
    "cancel": lambda c: c.cancel(ID),
    "rerun": lambda c: c.rerun(ID),
    "resume": lambda c: c.resume(ID, from_task="train", at="HEAD", context={"lr": 0.1}),
    "plan": lambda c: c.plan(ID, only="train", at=SHA, context={"lr": 0.1}),
    "cleanup": lambda c: c.cleanup(ID, db=True, fs=True, dry_run=True),
    "pipeline_files": lambda c: c.pipeline_files(ID),
    "pipeline_file": lambda c: c.pipeline_file(ID, "a b/main.yml"),
    "data": lambda c: c.data(ID),
    "events": lambda c: c.events(ID),
    "log": lambda c: c.log(TASK, lines=3, attempt=2, container="c"),
    "log_part": lambda c: c.log_part(TASK, offset=7, attempt=2, container="c", previous=True),
    "log_bytes": lambda c: list(c.log_bytes(TASK, lines=3, attempt=2, container="c")),
    "follow_log": lambda c: list(c.follow_log(TASK, attempt=2, container="c")),
    "follow_lines": lambda c: list(c.follow_lines(TASK, attempt=2, container="c")),
    "follow_pieces": lambda c: list(c.follow_pieces(TASK, lines=3, attempt=2, container="c", timed=True)),
    "jobs": lambda c: c.jobs("sst"),
    "job": lambda c: c.job("nlp/sst2", at=SHA),
    "create_job": lambda c: c.create_job("nlp/sst2"),
    "save_job": lambda c: c.save_job("nlp/sst2", tasks=[{"name": "a"}], configs={"a": "b"}, if_version=SHA),
    "delete_job": lambda c: c.delete_job("nlp/sst2"),
    "file": lambda c: c.file("nlp/sst2", "a/b.py", at=SHA),
    "push": lambda c: c.push("nlp/sst2", {"a/b.py": b"x"}, create=True, draft=True, if_version=SHA),
    "push_file": lambda c: c.push_file("nlp/sst2", "a/b.py", "x", create=True, draft=True, if_version=SHA),
    "delete_file": lambda c: c.delete_file("nlp/sst2", "a/b.py", if_version=SHA),
    "sign_in": lambda c: Client(c.url, username="ana", password="a horse").sign_in(),
    "users": lambda c: c.users("an"),
    "user": lambda c: c.user("ana"),
    "create_user": lambda c: c.create_user("bea", "a horse", firstname="B", lastname="E", role="editor"),
    "update_user": lambda c: c.update_user("bea", role="viewer", password="x", current_password="y"),
    "delete_user": lambda c: c.delete_user("bea"),
    "nodes": lambda c: c.nodes(),
    "app": lambda c: c.app(),
    "ping": lambda c: c.ping(),
    "healthy": lambda c: c.healthy(),
    "ready": lambda c: c.ready(),
    "metrics": lambda c: c.metrics(),
    "openapi": lambda c: c.openapi(),
}


def first_two_pages(client: Client) -> None:
    list(client.pipelines("lo", job="hello", user="ana", status="DONE", outcome="failed", limit=500))


@pytest.fixture(scope="module")
def operations() -> dict[tuple[str, str], set[str]]:
    """The queries of each operation that users have, as the API describes itself."""
    app = FastAPI(openapi_url=None)
    for module in ROUTERS:
        app.router.routes.extend(module.routes.routes)
    return {
        (method.upper(), path): {one["name"] for one in operation.get("parameters", ()) if one["in"] == "query"}
        for path, methods in app.openapi()["paths"].items()
        for method, operation in methods.items()
        if ROUTES.get((method.upper(), path)) is not Access.NODE
    }


@pytest.fixture
def asked(server: Scripted, client: Client) -> list[Request]:
    """What all methods together ask a server that answers no question but one."""
    page = "/v1/pipelines?limit=500&q=lo&job=hello&user=ana&status=DONE&outcome=failed"
    server.on(f"GET {page}", body({"pipelines": [], "nextCursor": "next"}))
    server.on("POST /v1/auth", body({"message": token("ana")}))
    for call in CALLS.values():
        with contextlib.suppress(ClientError):
            call(client)
    return server.requests


def pattern(path: str) -> re.Pattern[str]:
    return re.compile(re.sub(r"\\{file\\}", ".+", re.sub(r"\\{(?!file)\w+\\}", "[^/]+", re.escape(path))))


def of(operation: tuple[str, str], asked: list[Request]) -> Iterator[Request]:
    for request in asked:
        if request.method == operation[0] and pattern(operation[1]).fullmatch(urlsplit(request.path).path):
            yield request


def test_every_method_is_called_here() -> None:
    methods = {name for name in dir(Client) if not name.startswith("_")}
    assert methods - WITHOUT_A_ROUTE == CALLS.keys()


def test_every_route_has_a_method(operations: dict[tuple[str, str], set[str]], asked: list[Request]) -> None:
    assert [operation for operation in operations if not list(of(operation, asked))] == []


def test_every_query_can_be_asked(operations: dict[tuple[str, str], set[str]], asked: list[Request]) -> None:
    missing = {}
    for operation, queries in operations.items():
        sent = {name for request in of(operation, asked) for name, _ in parse_qsl(urlsplit(request.path).query)}
        missing[operation] = queries - sent
    assert {operation: names for operation, names in missing.items() if names} == {}


def test_no_method_asks_for_what_there_is_not(
    operations: dict[tuple[str, str], set[str]], asked: list[Request]
) -> None:
    described = [(method, pattern(path)) for method, path in operations]
    strange = {
        f"{request.method} {request.path}"
        for request in asked
        if not any(
            request.method == method and path.fullmatch(urlsplit(request.path).path) for method, path in described
        )
    }
    assert strange == set()


def test_every_post_but_signing_in_may_be_repeated(asked: list[Request]) -> None:
    posts = [one for one in asked if one.method == "POST"]
    assert {one.path for one in posts if "idempotency-key" not in one.headers} == {"/v1/auth"}
    keys = [one.headers["idempotency-key"] for one in posts if "idempotency-key" in one.headers]
    assert len(keys) == len(set(keys))


def test_writes_name_the_commit_that_they_expect(asked: list[Request]) -> None:
    guarded = {(one.method, urlsplit(one.path).path) for one in asked if one.headers.get("if-match") == SHA}
    base = "/v1/jobs/nlp__sst2"
    assert guarded == {
        ("PUT", base),
        ("POST", f"{base}/files"),
        ("POST", f"{base}/files/a/b.py"),
        ("DELETE", f"{base}/files/a/b.py"),
    }


def test_open_routes_are_asked_without_the_token(asked: list[Request]) -> None:
    unsigned = {one.path for one in asked if "authorization" not in one.headers}
    assert unsigned == {"/v1/auth", "/v1/ping", "/healthz", "/readyz", "/v1/openapi.json"}
