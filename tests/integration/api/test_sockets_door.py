"""Who gets in by WebSocket: tokens, pages of other sites, the setting for old clients."""

import contextlib
import json
import logging
import time

import jwt
import pytest
from websockets.exceptions import InvalidStatus

from integration.api.streaming import end_token, until
from integration.api.talking import PATHS, REQUESTS, ask, handshake, heard, opened
from odin.api import endings
from odin.api.access import COMMANDS, Access
from odin.api.sockets import conversation, legacy
from odin.api.sockets.origins import is_own
from odin.api.tokens import TYPE

RUNNING = {"plan": lambda launch: None}
SECRET = b"s" * 32
IDENTITIES = ("none", "garbage", "expired", "viewer", "editor")
BAD = ("garbage", "expired")
MUTABLE = {"START", "CLEANUP", "GENERATE"}
PASSED = 1000


def expired(house):
    user, now = house.users.get("ada"), int(time.time())
    claims = {"iss": "odin:test", "sub": "ada", "uid": user.uid, "iat": now - 9000, "exp": now - 3600, "jti": "j"}
    return jwt.encode(claims, SECRET, headers={"typ": TYPE})


def token_of(house, identity):
    if identity in BAD:
        return "garbage" if identity == "garbage" else expired(house)
    return {"none": None, "viewer": house.token("vera"), "editor": house.token("edda")}[identity]


def expected(command, identity, *, old_clients):
    """api.md, "WebSocket tier", written down a second time on purpose."""
    if identity in BAD:
        return 4401
    if command == "PING" or identity == "editor" or (identity == "none" and old_clients):
        return PASSED
    if identity == "none":
        return 4401
    return 4403 if command in MUTABLE else PASSED


def spoken(server, path, command, *, header=None, field=None):
    """How a socket with this request ends; 401 if it is not even accepted."""
    headers = {"Authorization": f"Bearer {header}"} if header is not None else {}
    extras = {"token": field} if field is not None else {}
    try:
        with opened(server, path, headers=headers) as ws:
            ws.send(json.dumps({"command": command, "request": REQUESTS[command], **extras}))
            said = heard(ws)
    except InvalidStatus as error:
        return error.response.status_code
    assert "token" not in said.last
    assert field is None or field not in json.dumps(said.replies) + said.reason
    assert said.code == PASSED or said.statuses == ["ERROR"]
    return said.code


@pytest.mark.parametrize("identity", IDENTITIES)
@pytest.mark.parametrize("old_clients", [False, True], ids=["strict", "legacy"])
def test_a57_every_command_lets_in_whom_the_contract_names(listening, identity, old_clients):
    server = listening(flags={"legacy_ws": old_clients})
    token = token_of(server.house, identity)
    for path in PATHS:
        for command in REQUESTS:
            wanted = expected(command, identity, old_clients=old_clients)
            by_header = spoken(server, path, command, header=token)
            assert by_header == (401 if identity in BAD else wanted), (path, command)
            assert spoken(server, path, command, field=token) == wanted, (path, command)


@pytest.mark.parametrize("path", PATHS)
def test_a57_anonymous_reads_open_reads_alone_and_do_not_excuse_a_bad_token(listening, path):
    server = listening(flags={"anonymous_read": "on"})
    for command in REQUESTS:
        assert spoken(server, path, command) == (4401 if command in MUTABLE else PASSED), command
        assert spoken(server, path, command, field="garbage") == 4401, command


def test_a57_the_commands_that_change_something_are_an_editors():
    assert {name for name, access in COMMANDS.items() if access is Access.EDITOR} == MUTABLE
    assert COMMANDS["PING"] is Access.OPEN
    assert {COMMANDS[name] for name in COMMANDS.keys() - MUTABLE - {"PING"}} == {Access.READ}


@pytest.mark.parametrize("header", ["Basic YWRhOmFkYQ==", "Bearer", "Bearer ", "garbage", ["Bearer a", "Bearer b"]])
def test_a57_a_header_that_is_no_token_is_refused_before_the_socket_is_accepted(listening, header):
    status, top, rest = handshake(listening(flags={"anonymous_read": "on"}), Authorization=header)
    assert status == 401
    assert "www-authenticate: bearer" in top
    assert "application/problem+json" in top
    assert json.loads(rest)["status"] == 401


@pytest.mark.parametrize(
    "path", ["/v1", "/v1/ws/", "/ws", "//", "/v1/pipelines", "/v1/auth", "/healthz", "/git/jobs.git"]
)
def test_a57_there_are_sockets_on_two_paths_alone(listening, path):
    server = listening()
    status, _, rest = handshake(server, path, Authorization=f"Bearer {server.house.token('ada')}")
    assert status == 404
    assert "use / or /v1/ws" in json.loads(rest)["detail"]


def test_whoever_asks_for_the_address_of_the_sockets_without_one_is_told_what_to_use(listening):
    status, headers, body = listening().request("/v1/ws")
    said = json.loads(body)
    assert (status, headers["upgrade"]) == (426, "websocket")
    assert headers["content-type"] == "application/problem+json"
    assert (said["status"], said["title"]) == (426, "Upgrade Required")
    assert "WebSocket client" in said["detail"]


def test_a57_without_a_token_the_first_request_must_come_soon(listening, monkeypatch):
    monkeypatch.setattr(conversation, "FIRST_S", 0.2)
    server = listening(flags={"anonymous_read": "on"})
    for name, code in ((None, 4401), ("vera", 4408)):
        with opened(server, name=name) as ws:
            said = heard(ws)
        assert (said.replies, said.code) == ([], code)


def test_a57_a_token_of_the_handshake_is_not_exchanged_for_another(listening):
    server = listening()
    server.house.push("one", "fetch")
    said = ask(server, "START", "one", "vera", token=server.house.token("edda"))
    assert said.code == 4403


def following(server, stack, name, **extras):
    """A socket on which a log is followed, with the token in the header or in the request."""
    pipeline = ask_start(server)
    ws = stack.enter_context(opened(server, name=None if extras else name))
    ws.send(json.dumps({"command": "LOGS", "request": {"resource": f"{pipeline}--fetch", "follow": True}, **extras}))
    server.house.write_log(f"{pipeline}--fetch", b"one\n")
    assert json.loads(ws.recv())["response"] == "one"
    return ws


def ask_start(server):
    with opened(server, name="edda") as ws:
        ws.send(json.dumps({"command": "START", "request": "one"}))
        pipeline = json.loads(ws.recv())["response"]
    until(lambda: f"{pipeline}--fetch" in server.house.place.running)
    return pipeline


@pytest.mark.parametrize("change", ["password", "role", "delete"])
@pytest.mark.parametrize("where", ["header", "field"])
def test_a47_an_open_socket_ends_soon_after_its_token(listening, monkeypatch, change, where):
    monkeypatch.setattr(endings, "CHECK_S", 0.05)
    server = listening(**RUNNING)
    server.house.push("one", "fetch")
    with contextlib.ExitStack() as stack:
        extras = {"token": server.house.token("vera")} if where == "field" else {}
        ws = following(server, stack, "vera", **extras)
        end_token(server, change)
        said = heard(ws)
    assert (said.replies, said.code) == ([], 4401)
    assert said.reason == "the token has ended; go on with: attempt 1, offset 4"


def test_a57_a_token_that_runs_out_while_a_socket_is_open_closes_it(listening, monkeypatch):
    monkeypatch.setattr(endings, "CHECK_S", 0.05)
    monkeypatch.setattr("odin.api.accounts.SKEW_S", 0)
    server = listening(**RUNNING)
    server.house.push("one", "fetch")
    user, now = server.house.users.get("vera"), time.time()
    claims = {"iss": "odin:test", "sub": "vera", "uid": user.uid, "iat": now - 60, "exp": int(now) + 2, "jti": "j"}
    with contextlib.ExitStack() as stack:
        ws = following(server, stack, "vera", token=jwt.encode(claims, SECRET, headers={"typ": TYPE}))
        assert heard(ws).code == 4401


def test_a57_how_often_a_token_is_looked_at_ends_a_socket_within_five_seconds():
    from odin.api.accounts import FRESH_S

    assert endings.CHECK_S + FRESH_S < 5


ORIGINS = [
    "null", "", "http://evil.example", "https://evil.example", "http://127.0.0.1.evil.example", "http://evil127.0.0.1",
    "http://evil.example#127.0.0.1", "http://127.0.0.1@evil.example", "http://evil.example/127.0.0.1", "http://127.0.0.1:1",
    "http://localhost", "file://", "file:///etc/passwd", "chrome-extension://abcdef", "127.0.0.1", "//127.0.0.1",
    "http://127.0.0.1/", "http://127.0.0.1 http://evil.example", "http://0x7f.1", "http://[::1]",
    "ws://127.0.0.1", "javascript://127.0.0.1", "http://127.0.0.1:80:80", "http://127.0.0.1\t",
]  # fmt: skip


@pytest.mark.parametrize("path", PATHS)
def test_a60_a_page_of_another_site_opens_no_socket(listening, path):
    server = listening(flags={"anonymous_read": "on"})
    token = {"Authorization": f"Bearer {server.house.token('ada')}"}
    for origin in ORIGINS:
        for headers in ({}, token):
            status, _, rest = handshake(server, path, Origin=origin, **headers)
            assert status == 403 or (status, origin) == (101, "http://127.0.0.1\t"), origin  # blanks are no part of it
            assert status == 101 or json.loads(rest)["status"] == 403
    assert handshake(server, path, Origin=["http://127.0.0.1", "http://evil.example"])[0] in (400, 403)


def test_a60_a_program_and_the_servers_own_page_open_sockets(listening):
    server = listening()
    assert handshake(server)[0] == 101
    own = f"127.0.0.1:{server.port}"
    assert handshake(server, Host=own, Origin=f"http://{own}")[0] == 101
    assert handshake(server, Host="127.0.0.1", Origin="https://127.0.0.1")[0] == 101


@pytest.mark.parametrize(
    ("origin", "host", "own"),
    [
        ("https://odin.example", "odin.example", True),
        ("https://odin.example", "odin.example:443", True),
        ("https://ODIN.example:8443", "odin.example:8443", True),
        ("http://[::1]:9003", "[::1]:9003", True),
        ("https://odin.example.evil", "odin.example", False),
        ("https://evil-odin.example", "odin.example", False),
        ("https://odin.example:8443", "odin.example", False),
        ("https://odin.example", "odin.example:9003", False),
        ("https://odin.example", "", False),
        ("https://odin.example:", "odin.example", False),
    ],
)
def test_a60_a_page_is_the_servers_own_by_name_and_port(origin, host, own):
    assert is_own([origin], [host]) is own
    assert is_own([], [host])
    assert not is_own([origin], [host, host])


def test_a60_what_a_browser_says_of_another_site_is_believed(listening):
    server = listening(flags={"anonymous_read": "on"})
    assert handshake(server, Sec_Fetch_Site="cross-site")[0] == 403
    assert handshake(server, Sec_Fetch_Site="same-origin")[0] == 101


def test_a66_a_socket_is_opened_by_the_servers_own_names_alone(listening):
    server = listening(flags={"anonymous_read": "on"})
    for host in ("evil.example", "127.0.0.1.evil.example", ["127.0.0.1", "evil.example"]):
        assert handshake(server, Host=host, Origin="http://evil.example")[0] in (400, 421)


# The setting for old clients


CANARY = "canary"


def test_a59_a_token_in_the_address_counts_for_old_clients_alone(listening):
    for old_clients in (False, True):
        server = listening(flags={"legacy_ws": old_clients})
        good, bad = server.house.token("vera"), expired(server.house)
        with opened(server, f"/v1/ws?x=1&token={good}") as ws:
            ws.send(json.dumps({"command": "START", "request": "no-job"}))
            assert heard(ws).code == (4403 if old_clients else 4401)
        status, top, _ = handshake(server, f"/?token={good}")
        assert (status, "deprecation: true" in top) == (101, old_clients)
        assert "cache-control: no-store" in top
        assert "referrer-policy: no-referrer" in top
        assert handshake(server, f"/?token={bad}")[0] == (401 if old_clients else 101)


@pytest.mark.parametrize("old_clients", [False, True], ids=["strict", "legacy"])
def test_a59_no_token_reaches_a_log_or_a_figure(listening, caplog, old_clients):
    caplog.set_level(logging.DEBUG)
    server = listening(flags={"legacy_ws": old_clients, "anonymous_read": "on"})
    good = server.house.token("vera")
    tokens = [good, good + CANARY, CANARY, "x." + CANARY + ".y"]
    for token in tokens:
        for path in PATHS:
            with contextlib.suppress(InvalidStatus), opened(server, f"{path}?token={token}") as ws:
                ws.send(json.dumps({"command": "PING", "request": "x"}))
                heard(ws)
        spoken(server, "/v1/ws", "STATUS", header=token)
        spoken(server, "/v1/ws", "STATUS", field=token)
        handshake(server, f"/v1/nothing?token={token}")
        handshake(server, f"/?token={token}", Origin="null")
    figures = server.request("/metrics", Authorization=f"Bearer {good}")[2].decode()
    server.stop()
    server.thread.join(60)
    assert 'route="/v1/ws"' in figures
    ours = [record for record in caplog.records if not record.name.startswith("websockets.client")]
    assert [record for record in ours if record.name == "odin.access"]
    told = "\n".join([*(f"{record.name} {record.getMessage()} {record.exc_text}" for record in ours), figures])
    assert CANARY not in told
    assert good not in told
    assert "token=" not in told


def test_each_socket_is_one_line_of_the_access_log(listening, caplog):
    caplog.set_level(logging.DEBUG, "odin.access")
    server = listening()
    server.house.push("one", "fetch")
    ask(server, "START", "one", "edda")
    ask(server, "STATUS", "one", "vera")
    with opened(server):
        pass
    handshake(server, Authorization="Bearer x")
    until(lambda: len([record for record in caplog.records if record.name == "odin.access"]) == 4)
    lines = [record for record in caplog.records if record.name == "odin.access"]
    begins = sorted((record.levelname, *record.getMessage().split()[:3]) for record in lines)
    assert begins == [
        ("DEBUG", "STATUS", "/v1/ws", "1000"),
        ("INFO", "START", "/v1/ws", "1000"),
        ("INFO", "WS", "/v1/ws", "1000"),
        ("INFO", "WS", "/v1/ws", "401"),
    ]
    assert " edda " in next(record.getMessage() for record in lines if "START" in record.getMessage())


def test_what_an_old_client_without_a_token_runs_is_nobodys_in_particular(listening):
    server = listening(flags={"legacy_ws": True})
    server.house.push("one", "fetch")
    pipeline = ask(server, "START", "one").last["response"]
    assert server.house.queries.pipeline(pipeline).username == "anonymous"
    said = ask(server, "CLEANUP", {"work": pipeline, "purge_db": True})
    assert said.last["response"][0]["purged_from_db"] == "Yes"
    assert server.request("/v1/users")[0] == 401  # the setting is about sockets


def test_a57_the_setting_for_old_clients_warns_again_and_again_while_it_is_on(monkeypatch, caplog):
    import asyncio

    monkeypatch.setattr(legacy, "EACH_S", 0.01)

    async def run(on):
        async with legacy.warned(on):
            await asyncio.sleep(0.1)

    asyncio.run(run(False))
    assert not caplog.records
    asyncio.run(run(True))
    assert len(caplog.records) > 2
    assert {record.levelname for record in caplog.records} == {"WARNING"}
    assert "ODIN_LEGACY_WS" in caplog.text
