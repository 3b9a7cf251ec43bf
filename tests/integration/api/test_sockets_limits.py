"""What a WebSocket client cannot do to the server: flood it, hold it, fill it, or leave it spinning."""

import asyncio
import contextlib
import json
import logging
import os
import random
import time
from types import SimpleNamespace

import pytest

from integration.api.streaming import DEADLINE_S, until
from integration.api.talking import KEY, Raw, ask, closed_with, frame, handshake, head, heard, opened
from odin.api.frames import Frame, News, encode
from odin.api.sockets import conversation, door
from odin.api.sockets.wire import FRAMES, LONGEST_REASON, MESSAGE_BYTES, closing

RUNNING = {"plan": lambda launch: None}
LINE = b"x" * 1023 + b"\n"


@pytest.fixture
def server(listening):
    server = listening(**RUNNING)
    server.house.push("one", "fetch", "train")
    yield server
    until(lambda: base(server) == (0, 0))  # whatever was done to it, the places at its doors are free again


def base(server):
    return server.house.odin.metrics.sockets, server.doors.open


@contextlib.contextmanager
def raw(server, *args, **options):
    made = Raw(server, *args, **options)
    with contextlib.closing(made):
        yield made


def end_of(server, *frames, name="vera"):
    """How a socket ends on which these frames were sent."""
    with raw(server, name=name) as made:
        with contextlib.suppress(OSError):
            made.send(*frames)
        return closed_with(made.read_to_end())


def ping_of(size):
    """A request in exactly so many bytes."""
    start = b'{"command":"PING","request":"'
    return start + b"x" * (size - len(start) - 2) + b'"}'


# Size, number and kind of what comes


def test_a81_a_message_may_have_64_kib_and_no_byte_more(server):
    assert end_of(server, frame(ping_of(MESSAGE_BYTES)))[0] == 1000
    assert end_of(server, frame(ping_of(MESSAGE_BYTES + 1)))[0] == 1009


@pytest.mark.parametrize("size", [MESSAGE_BYTES + 1, 16 << 20, 2**62])
def test_a81_a_frame_that_is_too_large_is_refused_by_its_head(server, size):
    assert end_of(server, frame(b"x" * 10, length=size))[0] == 1009


def test_a81_the_pieces_of_a_message_count_together(server):
    piece = b"x" * 10_000
    pieces = [frame(piece, 0, fin=False) for _ in range(10)]
    assert end_of(server, frame(piece, fin=False), *pieces)[0] == 1009


def test_a81_nothing_is_unpacked(server):
    """Compression was not agreed on, so a frame that says it is compressed is a breach."""
    assert end_of(server, frame(b"\xca\x41\x01" * 100, rsv=4))[0] == 1002


@pytest.mark.parametrize(
    ("frames", "code"),
    [
        ([frame(b"x" * 100, 9) for _ in range(FRAMES + 100)], 1008),
        ([frame(b"", 10) for _ in range(FRAMES + 100)], 1008),
        ([frame(b"", fin=False)] + [frame(b"", 0, fin=False) for _ in range(FRAMES + 100)], 1008),
        ([frame(b"x", fin=False), frame(b"x")], 1002),
        ([frame(b"x", 0)], 1002),
        ([frame(b"x", masked=False)], 1002),
        ([frame(b"x", 3)], 1002),
        ([frame(b"x" * 126, 9)], 1002),
        ([frame(b"x", 9, fin=False)], 1002),
        ([frame(b"\xff\xfe")], 1007),
        ([frame(b"\x00\x01", 8)], 1002),
        ([frame(b"\x03", 8)], 1002),
    ],
    ids=["pings", "pongs", "empty pieces", "text in text", "piece of nothing", "unmasked", "opcode", "long ping",
         "ping in pieces", "no UTF-8", "close code", "half a close code"],
)  # fmt: skip
def test_a81_floods_and_breaches_end_the_socket(server, frames, code):
    assert end_of(server, *frames)[0] == code
    assert server.request("/healthz")[0] == 200


def test_a81_a_client_may_ping_now_and_then(server):
    with raw(server, name="vera") as made:
        made.send(*(frame(b"hello", 9) for _ in range(50)))
        made.ask("PING", "x")
        frames = made.read_to_end()
    assert frames.count((10, b"hello")) == 50
    assert closed_with(frames)[0] == 1000


def test_a81_each_user_has_so_many_sockets_and_no_more(server, monkeypatch):
    assert door.PER_USER == 200
    monkeypatch.setattr(door, "PER_USER", 20)
    with contextlib.ExitStack() as stack:
        held = [stack.enter_context(opened(server, name="vera")) for _ in range(20)]
        until(lambda: server.house.odin.metrics.sockets == 20)
        with opened(server, name="vera") as ws:
            said = heard(ws)
        assert (said.statuses, said.code) == (["ERROR"], 1013)
        assert "20 sockets of yours are open" in said.last["response"]
        said = ask(server, "PING", "x", token=server.house.token("vera"))
        assert said.code == 1013
        assert ask(server, "PING", "x", "edda").code == 1000
        held[0].close()
        until(lambda: server.house.odin.metrics.sockets == 19)
        assert ask(server, "PING", "x", "vera").code == 1000


def test_a81_sockets_beyond_the_servers_number_are_turned_away(listening):
    server = listening(flags={"max_connections": 30})
    with contextlib.ExitStack() as stack:
        for _ in range(30):
            stack.enter_context(raw(server))
        until(lambda: base(server) == (30, 30))
        with server.connect() as sock:
            assert b" 503 " in sock.recv(65536)
    until(lambda: base(server) == (0, 0))
    assert ask(server, "PING", "x").code == 1000


def test_a81_hundreds_of_silent_sockets_keep_nobody_waiting(server, monkeypatch):
    monkeypatch.setattr(conversation, "FIRST_S", 5.0)
    with contextlib.ExitStack() as stack:
        for _ in range(500):
            stack.enter_context(raw(server))
        for _ in range(20):
            assert server.request("/healthz")[0] == 200
            assert ask(server, "PING", "x").code == 1000


# Handshakes


@pytest.mark.parametrize(
    ("headers", "statuses"),
    [
        ({"Sec_WebSocket_Version": "12"}, (400, 426)),
        ({"Sec_WebSocket_Key": "short"}, (400,)),
        ({"Sec_WebSocket_Key": [KEY, KEY]}, (400,)),
        ({"Content_Length": "5"}, (400,)),
        ({"Transfer_Encoding": "chunked"}, (400,)),
        ({"X": "x" * 9000}, (431,)),
        ({"X": ["x"] * 200}, (431,)),
        ({"X": "x" * 40_000}, (431,)),
    ],
)
def test_a81_a_handshake_that_is_none_is_answered_and_closed(server, headers, statuses):
    assert handshake(server, **headers)[0] in statuses


@pytest.mark.parametrize(
    "frames",
    [frame(b"x", 9), frame(b"", 8), frame(b"x", masked=False), frame(b'{"command": "PING"}')],
    ids=["ping", "close", "unmasked", "request"],
)
def test_a81_frames_before_the_answer_to_a_handshake_do_no_harm(server, frames, monkeypatch, caplog):
    accounts = server.house.odin.accounts
    session = accounts.session

    async def slow(token):
        await asyncio.sleep(0.3)
        return await session(token)

    monkeypatch.setattr(accounts, "session", slow)
    with contextlib.closing(Raw(server, name="vera", wait=False)) as made:
        time.sleep(0.1)
        made.send(frames)
        assert b" 101 " not in made.read_all()
    until(lambda: base(server) == (0, 0))
    assert [record.getMessage() for record in caplog.records if record.levelno > logging.INFO] == []


def test_a81_only_a_get_opens_a_socket(server):
    with server.connect() as sock:
        sock.sendall(head().replace(b"GET", b"POST"))
        assert sock.recv(65536).split()[1] in (b"405", b"400")


def test_a81_a_body_behind_a_handshake_is_not_read_for_ever(server):
    with server.connect() as sock:
        sock.sendall(head(Content_Length="1000000000000") + b"x" * 1000)
        assert b" 400 " in sock.recv(65536)
        with contextlib.suppress(OSError):
            while sock.recv(65536):
                pass


def test_a81_a_handshake_behind_a_request_that_is_not_answered_yet_is_refused(server, monkeypatch):
    def slow():
        time.sleep(0.3)

    monkeypatch.setattr(server.house.queries, "alive", slow)
    with server.connect() as sock:
        sock.sendall(b"GET /readyz HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n" + head())
        received = b""
        while piece := sock.recv(65536):
            received += piece
    assert b" 101 " not in received


def test_a_connection_that_has_answered_requests_may_become_a_socket(server):
    with server.connect() as sock:
        sock.sendall(b"GET /healthz HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n")
        received = b""
        while not received.endswith(b"}"):
            received += sock.recv(65536)
        sock.sendall(head())
        assert b" 101 " in sock.recv(65536)
        assert server.doors.open == 1
        sock.sendall(frame(b'{"command": "PING", "request": "x"}'))
        assert b"PONG x" in sock.recv(65536)


# Sources that never wait, clients that leave


class EndlessLog:
    """Follows a log that always has more and never suspends: what froze whole servers."""

    attempt, start = 1, 0

    async def pieces(self):
        while True:
            yield LINE


async def endless_news(*_):
    attempt = 0
    while True:
        attempt += 1
        task = {"id": "p--t", "status": "executing", "attempt": attempt, "reason": None}
        yield News((Frame(attempt, "task", encode(attempt, "task", task)),))


def endless(server, command, monkeypatch):
    """Make the command's source one that never ends; the request that has it read."""
    odin = server.house.odin
    if command == "START":
        monkeypatch.setattr(odin.channels, "follow", endless_news)
        return "one"
    monkeypatch.setattr(odin.tails, "follow", lambda *_, **__: EndlessLog())
    pipeline = ask_start(server)
    return {"resource": f"{pipeline}--fetch", "follow": True}


def ask_start(server):
    with opened(server, name="edda") as ws:
        ws.send(json.dumps({"command": "START", "request": "one"}))
        pipeline = json.loads(ws.recv())["response"]
    until(lambda: f"{pipeline}--fetch" in server.house.place.running)
    return pipeline


@pytest.mark.parametrize("command", ["LOGS", "START"])
@pytest.mark.parametrize("reset", [False, True], ids=["FIN", "RST"])
@pytest.mark.parametrize("after_s", [0, 0.005, 0.5])
def test_f71_a_client_that_vanishes_from_a_socket_does_not_stop_the_server(
    server, monkeypatch, command, after_s, reset
):
    request = endless(server, command, monkeypatch)
    for _ in range(3):
        made = Raw(server, name="edda")
        made.ask(command, request)
        time.sleep(after_s)
        made.close(reset=reset)
        assert server.request("/healthz")[0] == 200
    until(lambda: base(server) == (0, 0))


@pytest.mark.parametrize("reset", [False, True], ids=["FIN", "RST"])
@pytest.mark.parametrize("after_s", [0, 0.005, 0.5])
def test_f71_a_quiet_followed_log_is_let_go_when_its_client_vanishes(server, after_s, reset):
    pipeline = ask_start(server)
    for _ in range(3):
        made = Raw(server, name="vera")
        made.ask("LOGS", {"resource": f"{pipeline}--fetch", "follow": True})
        time.sleep(after_s)
        made.close(reset=reset)
    until(lambda: base(server) == (0, 0))
    assert server.house.services.feed._watchers == {}


def test_f71_a_greedy_command_gives_way_even_if_nobody_ever_waits():
    """The conversation alone, with a client whose sending never suspends: others get their turns."""
    from odin.api.metrics import Metrics
    from odin.api.sockets.messages import OK, Reply
    from odin.api.stopping import Stopping
    from odin.model.users import Role, User

    async def greedy(ask):
        while True:
            yield Reply(OK, "x")

    async def main(monkeypatch):
        monkeypatch.setitem(conversation.ANSWERS, "PING", greedy)
        odin = SimpleNamespace(metrics=Metrics(), services=SimpleNamespace(stopping=Stopping()), anonymous_reads=False)
        messages = asyncio.Queue()

        async def say(text):
            return None

        wire = SimpleNamespace(say=say, end=lambda *_: None, bookmark="")
        scope = {"odin.socket": wire, "client": ("127.0.0.1", 1)}
        session = SimpleNamespace(user=User(1, "vera", Role.VIEWER), token=None)
        place = lambda *_: contextlib.nullcontext()  # noqa: E731
        talk = conversation.Conversation(odin, scope, session, None, place)
        running = asyncio.create_task(talk.hold(messages.get))
        messages.put_nowait({"type": "websocket.receive", "text": '{"command": "PING", "request": ""}'})
        for _ in range(100):
            await asyncio.sleep(0)
        messages.put_nowait({"type": "websocket.disconnect", "code": 1005})
        await asyncio.wait_for(running, DEADLINE_S)

    with pytest.MonkeyPatch.context() as monkeypatch:
        asyncio.run(main(monkeypatch))


# Readers that do not read, peers that do not answer


def test_f72_readers_that_never_read_are_told_where_to_go_on_and_hold_nobody_up(listening, monkeypatch):
    server = listening(doors={"blocked_s": 2.0}, **RUNNING)
    server.house.push("one", "fetch", "train")
    request = endless(server, "LOGS", monkeypatch)
    with contextlib.ExitStack() as stack:
        slow = [stack.enter_context(raw(server, name="vera", receive_buffer=65536)) for _ in range(20)]
        for each in slow:
            each.ask("LOGS", request)
        until(lambda: server.house.odin.metrics.sockets == len(slow))
        for _ in range(20):
            assert server.request("/healthz")[0] == 200
        until(lambda: server.house.odin.metrics.sockets == 0)
        frames = slow[0].read_to_end()
        lines = [json.loads(data) for opcode, data in frames if opcode == 1]
        assert lines[-1]["offset"] == len(lines) * len(LINE)
        last = f"you read too slowly; go on with: attempt 1, offset {lines[-1]['offset']}"
        assert closed_with(frames) == (1013, last)
    until(lambda: base(server) == (0, 0))


def test_f72_whoever_never_reads_again_is_cut_off(listening, monkeypatch):
    server = listening(doors={"blocked_s": 0.2}, **RUNNING)
    server.house.push("one", "fetch", "train")
    request = endless(server, "LOGS", monkeypatch)
    with contextlib.ExitStack() as stack:
        for _ in range(10):
            stack.enter_context(raw(server, name="vera", receive_buffer=4096)).ask("LOGS", request)
        until(lambda: base(server) == (0, 0))


def test_f72_whoever_reads_slowly_but_reads_is_served_on(listening, monkeypatch):
    server = listening(doors={"blocked_s": 1.0}, **RUNNING)
    server.house.push("one", "fetch", "train")
    request = endless(server, "LOGS", monkeypatch)
    with raw(server, name="vera", receive_buffer=65536) as made:
        made.ask("LOGS", request)
        end = time.monotonic() + 3.0
        while time.monotonic() < end:
            assert made.sock.recv(2048)
            time.sleep(0.01)
        assert base(server) == (1, 1)


def test_a81_what_waits_for_all_sockets_together_is_bounded(listening):
    server = listening(doors={"untaken": 4_000_000})
    server.house.push("one", "fetch", **{f"{number}.txt": b"line\n" * 180_000 for number in range(3)})
    with contextlib.ExitStack() as stack:
        for _ in range(10):
            stack.enter_context(raw(server, name="vera", receive_buffer=4096)).ask("SHOW", "one")
        until(lambda: server.doors.open == 1)
        with raw(server, name="vera") as reading:
            reading.ask("SHOW", "one")
            (_, said), closed = reading.read_to_end()
        assert len(json.loads(said)["response"]) == 4
        assert closed[0] == 8
    until(lambda: base(server) == (0, 0))


def test_f72_the_server_stops_without_waiting_for_who_does_not_read(listening, monkeypatch):
    server = listening(**RUNNING)
    server.house.push("one", "fetch", "train")
    request = endless(server, "LOGS", monkeypatch)
    with raw(server, name="vera", receive_buffer=4096) as made:
        made.ask("LOGS", request)
        time.sleep(0.3)
        server.stop()
        server.thread.join(DEADLINE_S)
        assert not server.thread.is_alive()
        assert server.doors.open == 0


def test_f73_a_peer_that_answers_no_ping_is_let_go(listening):
    server = listening(doors={"ping_s": 0.2}, **RUNNING)
    server.house.push("one", "fetch", "train")
    pipeline = ask_start(server)
    with raw(server, name="vera") as deaf, opened(server, name="vera") as hearing:
        for each in (deaf, hearing):
            message = {"command": "LOGS", "request": {"resource": f"{pipeline}--fetch", "follow": True}}
            each.send(frame(json.dumps(message).encode()) if each is deaf else json.dumps(message))
        frames = deaf.read_to_end()
        assert [opcode for opcode, _ in frames] == [9, 9, 8]
        assert closed_with(frames)[0] == 1011
        time.sleep(0.5)
        server.house.write_log(f"{pipeline}--fetch", b"one\n")
        assert json.loads(hearing.recv())["response"] == "one"
        assert base(server) == (1, 1)


def test_f73_a_vanished_peer_is_noticed_within_a_minute():
    from odin.api.protocol import PING_S
    from odin.api.sockets.wire import MISSES

    assert PING_S == 20
    assert PING_S * (MISSES + 1) <= 60


def test_the_reason_of_a_close_fits_into_its_frame():
    reason = closing("the server is stopping", "ü" * 200)
    assert reason.startswith("the server is stopping; ü")
    assert LONGEST_REASON - 1 <= len(reason.encode()) <= LONGEST_REASON
    assert closing("", "") == ""


# Anything at all


def random_frame(chance):
    opcode = chance.choice([0, 1, 1, 1, 2, 8, 9, 10, chance.randrange(16)])
    data = chance.choice(
        [
            b"",
            os.urandom(chance.randrange(200)),
            json.dumps({"command": chance.choice(COMMANDS), "request": random_value(chance)}).encode(),
            json.dumps(random_value(chance)).encode(),
            b"[" * chance.randrange(1000),
            b"x" * chance.choice([125, 126, 65535, 65536, 65537]),
        ]
    )
    return frame(
        data,
        opcode,
        fin=chance.random() < 0.8,
        masked=chance.random() < 0.95,
        rsv=0 if chance.random() < 0.95 else chance.randrange(8),
        length=None if chance.random() < 0.9 else chance.randrange(2**20),
    )


COMMANDS = ["PING", "STATUS", "SHOW", "DATA", "EVENTS", "LOGS", "START", "CLEANUP", "GENERATE", "", "x", None, 7]


def random_value(chance, depth=0):
    kind = chance.randrange(8 if depth < 3 else 6)
    if kind == 6:
        return [random_value(chance, depth + 1) for _ in range(chance.randrange(4))]
    if kind == 7:
        keys = ["resource", "work", "template", "follow", "lines", "offset", "attempt", "namespace", "context", "x"]
        return {chance.choice(keys): random_value(chance, depth + 1) for _ in range(chance.randrange(5))}
    return [
        None,
        True,
        chance.randrange(-(10**20), 10**20),
        chance.random(),
        "x" * chance.randrange(50),
        "é\u202e\x00",
    ][kind]


def test_a81_no_sequence_of_frames_brings_the_server_down(server, caplog):
    """10,000 frames of every kind, whole, broken and cut off, on a thousand sockets."""
    caplog.set_level(logging.WARNING)
    seed = int(os.environ.get("ODIN_FUZZ_SEED", time.time_ns()))
    chance = random.Random(seed)
    for number in range(1000):
        made = Raw(server, name=chance.choice([None, "vera", "edda"]), wait=chance.random() < 0.9)
        data = b"".join(random_frame(chance) for _ in range(10))
        with contextlib.suppress(OSError):
            made.sock.sendall(data[: chance.randrange(len(data) + 1)] if chance.random() < 0.2 else data)
        made.close(reset=chance.random() < 0.5)
        if number % 50 == 0:
            assert server.request("/healthz")[0] == 200, seed
    assert server.request("/healthz")[0] == 200, seed
    assert [record.getMessage() for record in caplog.records if record.levelno > logging.INFO] == [], seed
