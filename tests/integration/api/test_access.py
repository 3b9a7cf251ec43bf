"""Who gets in where: every route of the router, with every identity and every method."""

import asyncio
import time
from urllib.parse import unquote

import jwt
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from odin.api.access import Access, admit
from odin.api.app import check_routes
from odin.api.git import PATH
from odin.api.panorama import Panorama
from odin.api.routing import Guarded, router
from odin.api.tokens import TYPE, Tokens
from odin.model.errors import NotAllowed
from odin.model.users import Role
from odin.store.users import Change

SECRET = b"s" * 32
IDENTITIES = ("none", "garbage", "basic", "expired", "task", "foreign", "deleted", "viewer", "editor", "admin", "agent")
GOOD = ("viewer", "editor", "admin")
METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "FOO")
OPEN, READ, USER, EDITOR, ADMIN, NODE = (
    set(IDENTITIES),
    set(GOOD),
    set(GOOD),
    {"editor", "admin"},
    {"admin"},
    {"agent"},
)
# api.md, "Authentication and users", written down a second time on purpose. A route without a row fails.
EXPECTED = {
    ("POST", "/v1/auth"): OPEN,
    ("GET", "/v1/ping"): OPEN,
    ("GET", "/healthz"): OPEN,
    ("GET", "/readyz"): OPEN,
    ("GET", "/v1/openapi.json"): OPEN,
    ("GET", "/metrics"): USER,
    ("GET", "/v1/app"): READ,
    ("GET", "/v1/nodes"): READ,
    ("POST", "/v1/nodes/{node}/report"): NODE,
    ("GET", "/v1/users"): USER,
    ("GET", "/v1/users/{username}"): READ,
    ("POST", "/v1/users"): ADMIN,
    ("PUT", "/v1/users/{username}"): USER,
    ("DELETE", "/v1/users/{username}"): ADMIN,
    ("GET", "/v1/jobs"): READ,
    ("GET", "/v1/jobs/{job}"): READ,
    ("POST", "/v1/jobs"): EDITOR,
    ("PUT", "/v1/jobs/{job}"): EDITOR,
    ("DELETE", "/v1/jobs/{job}"): EDITOR,
    ("GET", "/v1/jobs/{job}/files/{file:path}"): READ,
    ("POST", "/v1/jobs/{job}/files/{file:path}"): EDITOR,
    ("DELETE", "/v1/jobs/{job}/files/{file:path}"): EDITOR,
    ("POST", "/v1/jobs/{job}/files"): EDITOR,
    ("GET", "/v1/pipelines"): READ,
    ("POST", "/v1/pipelines"): EDITOR,
    ("GET", "/v1/pipelines/{pipeline}"): READ,
    ("DELETE", "/v1/pipelines/{pipeline}"): EDITOR,
    ("GET", "/v1/pipelines/{pipeline}/stream"): READ,
    ("GET", "/v1/stream"): READ,
    ("GET", "/v1/pipelines/{pipeline}/files"): READ,
    ("GET", "/v1/pipelines/{pipeline}/files/{file:path}"): READ,
    ("POST", "/v1/pipelines/{pipeline}/cancel"): EDITOR,
    ("POST", "/v1/pipelines/{pipeline}/rerun"): EDITOR,
    ("GET", "/v1/resources/{resource:path}/data"): READ,
    ("GET", "/v1/resources/{resource:path}/events"): READ,
    ("GET", "/v1/resources/{resource:path}/logs"): READ,
    ("GET", "/v1/ws"): OPEN,
}
ANONYMOUS = {
    "/v1/app", "/v1/nodes", "/v1/users/{username}", "/v1/jobs", "/v1/jobs/{job}", "/v1/jobs/{job}/files/{file:path}",
    "/v1/pipelines", "/v1/pipelines/{pipeline}", "/v1/pipelines/{pipeline}/stream", "/v1/resources/{resource:path}/data", "/v1/stream",
    "/v1/resources/{resource:path}/events", "/v1/resources/{resource:path}/logs",
    "/v1/pipelines/{pipeline}/files", "/v1/pipelines/{pipeline}/files/{file:path}",
}  # fmt: skip
GIT = {
    ("GET", "/info/refs?service=git-upload-pack"): USER,
    ("GET", "/info/refs?service=git-receive-pack"): EDITOR,
    ("GET", "/info/refs?service=git-upload-pack&service=git-receive-pack"): USER,
    ("POST", "/git-upload-pack"): USER,
    ("POST", "/git-receive-pack"): EDITOR,
    ("GET", "/HEAD"): USER,
    ("GET", "/config"): USER,
}
AGENTS = "the node agents' own token, long enough"
ADDRESS = {"username": "nobody", "job": "no-job", "file:path": "no-file", "pipeline": "no-p", "resource": "no-r"}
ADDRESS["node"] = "no-node"


@pytest.fixture
def house(make_house):
    return make_house(flags={"midgard_token": AGENTS})


@pytest.fixture(autouse=True)
def ended_stream(monkeypatch):
    """The stream of all pipelines goes on for ever; here it ends at once."""

    async def nothing(self, *args, **chosen):
        return
        yield

    monkeypatch.setattr(Panorama, "follow", nothing)


def headers_of(house, identity):
    def signed(kind=TYPE, **claims):
        user = house.users.get("ada")
        now = int(time.time())
        given = {"iss": "odin:test", "sub": "ada", "uid": user.uid, "iat": now - 60, "exp": now + 60, "jti": "j"}
        return jwt.encode(given | claims, SECRET, headers={"typ": kind})

    tokens = {
        "garbage": "garbage",
        "agent": AGENTS,
        "expired": signed(iat=int(time.time()) - 9000, exp=int(time.time()) - 3600),
        "task": signed("odin-task+jwt"),
        "foreign": Tokens(SECRET, "odin:other", 3600).issue(house.users.get("ada"))[0],
        "deleted": signed(sub="gone", uid=10**6),
    }
    if identity == "none":
        return {}
    if identity == "basic":
        return {"Authorization": "Basic YWRhOmFkYSdzIGxvbmcgcGFzc3dvcmQ="}
    name = {"viewer": "vera", "editor": "edda", "admin": "ada"}.get(identity)
    return {"Authorization": f"Bearer {house.token(name) if name else tokens[identity]}"}


def path_of(template):
    for name, value in ADDRESS.items():
        template = template.replace("{" + name + "}", value)
    return template


def routes_of(house):
    return {(method, route.path) for route in house.app.routes if route.path != PATH for method in route.methods}


def let_in(answer):
    return answer.status_code not in (401, 403)


def test_a41_every_route_has_a_row_and_every_row_a_route(house):
    assert routes_of(house) == EXPECTED.keys()


@pytest.mark.parametrize("identity", IDENTITIES)
def test_a41_each_route_lets_in_whom_the_contract_names(house, identity):
    client = house.client()
    headers = headers_of(house, identity)
    for (method, template), allowed in EXPECTED.items():
        answer = client.request(method, path_of(template), headers=headers)
        assert let_in(answer) == (identity in allowed), (method, template, answer.status_code)
        if identity in allowed:
            continue
        assert answer.status_code == (403 if identity in GOOD else 401)
        assert answer.headers["content-type"] == "application/problem+json"
        assert answer.status_code == 403 or answer.headers["www-authenticate"] == "Bearer"


@pytest.mark.parametrize("identity", IDENTITIES)
def test_a41_a_method_that_a_path_does_not_have_does_nothing(house, identity):
    client = house.client()
    headers = headers_of(house, identity)
    for template in {template for _, template in EXPECTED}:
        for method in METHODS:
            if (method, template) not in EXPECTED:
                assert client.request(method, path_of(template), headers=headers).status_code == 405


@pytest.mark.parametrize("identity", IDENTITIES)
def test_a41_git_is_never_anonymous_and_pushing_needs_an_editor(make_house, identity):
    house = make_house(flags={"anonymous_read": "on"})
    client = house.client()
    for (method, path), allowed in GIT.items():
        kind = {"Content-Type": f"application/x-{path[1:]}-request"} if method == "POST" else {}
        answer = client.request(method, PATH + path, headers=headers_of(house, identity) | kind)
        expected = identity in allowed or identity == "basic"
        assert let_in(answer) == expected, (method, path, answer.status_code)
        if answer.status_code == 401:
            assert answer.headers["www-authenticate"].startswith("Basic ")


@pytest.mark.parametrize("identity", ["none", "garbage", "expired"])
def test_a41_anonymous_reads_open_reads_alone_and_do_not_excuse_a_bad_token(make_house, identity):
    house = make_house(flags={"anonymous_read": "on"})
    client = house.client()
    for (method, template), allowed in EXPECTED.items():
        answer = client.request(method, path_of(template), headers=headers_of(house, identity))
        readable = identity == "none" and method == "GET" and template in ANONYMOUS
        assert let_in(answer) == (allowed is OPEN or readable), (method, template)


@pytest.mark.parametrize(
    ("flags", "are_open"),
    [
        ({"anonymous_read": "auto"}, True),
        ({"anonymous_read": "auto", "host": "localhost"}, True),
        ({"anonymous_read": "auto", "host": "::1"}, True),
        ({"anonymous_read": "auto", "host": "0.0.0.0"}, False),
        ({"anonymous_read": "auto", "host": "::"}, False),
        ({"anonymous_read": "auto", "host": "192.0.2.1"}, False),
        ({"anonymous_read": "auto", "trusted_proxies": "127.0.0.1"}, False),
        ({"anonymous_read": "on", "trusted_proxies": "127.0.0.1"}, True),
        ({"anonymous_read": "off"}, False),
    ],
)
def test_a41_auto_opens_reads_only_while_nobody_but_this_machine_can_ask(make_house, flags, are_open):
    house = make_house(flags=flags)
    assert let_in(house.client().get("/v1/jobs")) == are_open


def test_a41_a_start_with_a_route_that_has_no_row_fails(house):
    extra = router()

    @extra.get("/v1/extra")
    async def nothing():
        return None

    house.app.router.routes.extend(extra.routes)
    with pytest.raises(RuntimeError, match="/v1/extra"):
        check_routes(house.app)


def test_a41_a_start_with_a_route_that_is_not_guarded_fails(house):
    house.app.add_api_route("/v1/ping2", lambda: None)
    assert not any(isinstance(route, Guarded) and route.path == "/v1/ping2" for route in house.app.routes)
    with pytest.raises(RuntimeError, match="not guarded"):
        check_routes(house.app)


def test_a41_a_route_without_a_row_is_refused_to_all(house):
    for name in ("vera", "edda", "ada"):
        with pytest.raises(NotAllowed):
            admit(None, house.users.get(name), anonymous_reads=True)
    with pytest.raises(NotAllowed):
        admit(None, None, anonymous_reads=True)
    admit(Access.OPEN, None, anonymous_reads=False)


TRICKS = [
    "//v1/users", "/v1//users", "/v1/users/", "/v1/ping/..;/users", "/v1/ping;/../users", "/v1/ping/../users",
    "/v1/ping%2f..%2fusers", "/healthz/../v1/users", "/V1/users", "/v1/users%20", "/v1/users?x=/healthz", "/v1/auth/users",
    "/v1/users/x/health", "/v1/users/..%2fping", "/./v1/users", "/v1/%75sers", "/healthz/v1/users", "/v1/users#/v1/ping",
]  # fmt: skip


@pytest.mark.parametrize("path", TRICKS)
@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"X-HTTP-Method-Override": "GET"},
        {"X-Original-URL": "/healthz"},
        {"X-Rewrite-URL": "/v1/ping"},
        {"X-Forwarded-Prefix": "/v1/ping"},
    ],
)
def test_a56_no_trick_with_a_path_or_header_gets_around_the_token(house, path, headers):
    answer = house.client().get(path, headers=headers, follow_redirects=False)
    assert answer.status_code in (400, 401, 404)
    assert "ada" not in answer.text


@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.lists(
        st.sampled_from(
            ["v1", "users", "ping", "healthz", "auth", "..", ".", "", ";", "%2e", "%2f", "jobs", "%00", "metrics", "x"]
        ),
        max_size=7,
    )
)
def test_a56_no_generated_path_reaches_what_is_guarded(house, segments):
    raw = "/" + "/".join(segments)
    status, settled = asyncio.run(ask(house.app, raw))
    if status == 200:
        assert settled in ("/v1/ping", "/healthz", "/readyz", "/v1/openapi.json")
    else:
        assert status in (400, 401, 404, 405, 503)


async def ask(app, raw):
    """The status of an anonymous GET, and the path as it was understood, without a client that tidies it up."""
    scope = {
        "type": "http",
        "method": "GET",
        "path": unquote(raw),
        "raw_path": raw.encode(),
        "query_string": b"",
        "scheme": "http",
        "headers": [(b"host", b"127.0.0.1")],
        "client": ("127.0.0.1", 1),
    }
    sent = []

    async def receive():
        return {"type": "http.request", "body": b"", "more_body": False}

    async def send(message):
        sent.append(message)

    await app(scope, receive, send)
    return sent[0]["status"], scope["path"]


@pytest.mark.parametrize("name", ["health", "ready", "ping", "auth", "healthz", "openapi.json"])
def test_a56_things_named_like_open_routes_are_guarded_like_all_others(house, name):
    client = house.client()
    for path in (f"/v1/users/{name}", f"/v1/jobs/{name}", f"/v1/pipelines/{name}", f"/v1/resources/{name}/data"):
        assert client.get(path).status_code == 401


@pytest.mark.parametrize("origin", ["https://evil.example", "null", "http://127.0.0.1:3000", "http://localhost"])
def test_a61_no_answer_has_cors_headers(house, origin):
    client = house.client("ada")
    for method, template in EXPECTED:
        headers = {"Origin": origin, "Access-Control-Request-Method": method}
        for asked in (method, "OPTIONS"):
            answer = client.request(asked, path_of(template), headers=headers)
            assert not [name for name in answer.headers if name.startswith("access-control-")]


def test_a62_a_page_of_another_site_changes_nothing_with_the_browsers_own_powers(house):
    client = house.client()
    for (method, template), allowed in EXPECTED.items():
        if method == "GET" or allowed is OPEN:
            continue
        headers = {"Content-Type": "text/plain", "Cookie": "token=x", "Sec-Fetch-Site": "same-site"}
        assert client.request(method, path_of(template), headers=headers, content="{}").status_code == 401


def test_a62_json_routes_take_nothing_that_is_not_called_json(house):
    client = house.client("ada")
    for path in ("/v1/users", "/v1/jobs", "/v1/pipelines", "/v1/pipelines/x/rerun"):
        for kind in ("text/plain", "application/x-www-form-urlencoded", "", "application/jsonp"):
            assert client.post(path, content=b"{}", headers={"Content-Type": kind}).status_code == 415


@pytest.mark.parametrize(
    "host", ["evil.example", "127.0.0.1.evil.example", "localhost.evil.example:9003", "", "192.0.2.1", "odin"]
)
def test_a66_a_loopback_server_answers_to_its_own_names_only(make_house, host):
    client = make_house(flags={"anonymous_read": "auto"}).client()
    for template in ("/v1/pipelines", "/v1/ping", "/healthz", PATH + "/info/refs"):
        assert client.get(template, headers={"Host": host}).status_code == 421


@pytest.mark.parametrize("host", ["localhost", "LOCALHOST:9003", "127.0.0.1:1", "[::1]:9003", "odin.example"])
def test_a66_its_own_names_are_loopbacks_and_the_configured(make_house, host):
    client = make_house(flags={"anonymous_read": "auto", "allowed_hosts": "odin.example"}).client()
    assert client.get("/v1/pipelines", headers={"Host": host}).status_code == 200


def test_a66_pages_of_other_sites_read_nothing(make_house):
    client = make_house(flags={"anonymous_read": "auto"}).client()
    assert client.get("/v1/pipelines", headers={"Sec-Fetch-Site": "cross-site"}).status_code == 403
    for site in ("same-origin", "none"):
        assert client.get("/v1/pipelines", headers={"Sec-Fetch-Site": site}).status_code == 200


def test_a47_a_password_change_ends_the_tokens_given_before(house):
    before = house.client("vera")
    time.sleep(0.002)
    changed = before.put(
        "/v1/users/vera", json={"password": "another long one", "currentPassword": "vera's long password"}
    )
    assert changed.status_code == 200
    assert before.get("/v1/jobs").status_code == 401
    assert house.client("vera").get("/v1/jobs").status_code == 200


def test_a47_a_role_change_ends_tokens_and_counts_at_once(house):
    edda, ada = house.client("edda"), house.client("ada")
    assert edda.post("/v1/jobs", json={"job": {"name": "one"}}).status_code == 200
    assert ada.put("/v1/users/edda", json={"role": "viewer"}).status_code == 200
    assert edda.post("/v1/jobs", json={"job": {"name": "two"}}).status_code == 401
    assert house.client("edda").post("/v1/jobs", json={"job": {"name": "two"}}).status_code == 403


def test_a47_a_deleted_users_token_is_dead_even_when_the_name_comes_back(house):
    vera, ada = house.client("vera"), house.client("ada")
    assert ada.delete("/v1/users/vera").status_code == 200
    assert vera.get("/v1/jobs").status_code == 401
    again = {"username": "vera", "password": "a new long password", "role": "admin"}
    assert ada.post("/v1/users", json={"user": again}).status_code == 200
    assert vera.get("/v1/jobs").status_code == 401


def test_a47_what_another_server_changed_counts_soon(house, monkeypatch):
    vera = house.client("vera")
    assert vera.get("/v1/jobs").status_code == 200
    time.sleep(0.002)
    house.users.change("vera", Change(role=Role.EDITOR))
    monkeypatch.setattr("odin.api.accounts.FRESH_S", 0.0)
    assert vera.get("/v1/jobs").status_code == 401
