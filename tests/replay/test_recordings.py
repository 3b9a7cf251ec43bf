"""What older programs send, sent again byte by byte, and of each answer all that they read. See recordings.py."""

from __future__ import annotations

import json
from typing import Any

import pytest

from replay.patterns import differences
from replay.recordings import Answer, Exchange, Recording, Talk, fill, found, over_http, over_websocket
from replay.wires import PROGRAMS, Line, Reply, ask, line
from replay.world import Values, Worlds

HTTP = list(over_http())
CALLS = [(each, caller, "/") for each in over_websocket() for caller in each.talk.callers]
CALLS += [(each, each.talk.callers[0], "/v1/ws") for each in over_websocket()]


@pytest.mark.parametrize("recording", HTTP, ids=lambda each: each.id)
def test_over_http(recording: Recording, worlds: Worlds) -> None:
    world = worlds[recording.server]
    values = Values(world)
    for exchange in recording.exchanges:
        reply = sent(exchange, world.port, values)
        check(exchange.answer, reply, values)
        for name, path in exchange.keep.items():
            values.keep(name, found(reply.json, path))


def sent(exchange: Exchange, port: int, values: Values) -> Reply:
    method, path = fill(exchange.send, values).split()
    headers = PROGRAMS[exchange.program] | fill(exchange.headers, values)
    kinds = {"application/json": exchange.json, "application/x-www-form-urlencoded": exchange.form, "": exchange.plain}
    body = None
    for kind, text in kinds.items():
        if text is not None:
            body = fill(text, values).encode()
            headers |= {"Content-Type": kind} if kind else {}
    return ask(port, method, path, headers, body)


def check(wanted: Answer, reply: Reply, values: Values) -> None:
    assert reply.status == wanted.status, (reply.status, reply.body)
    assert "content-encoding" not in reply.headers
    if wanted.type is not None:
        assert reply.type == wanted.type
    if wanted.text is not None:
        assert reply.body.decode() == fill(wanted.text, values)
    if wanted.body is not None:
        assert wrong(wanted.body, reply.json, values) == []
    assert [key for key in wanted.without if key in reply.json] == []


@pytest.mark.parametrize(("recording", "caller", "path"), CALLS, ids=lambda part: getattr(part, "id", part))
def test_over_websocket(recording: Recording, caller: str, path: str, worlds: Worlds) -> None:
    world = worlds[recording.server]
    values = Values(world)
    talk = recording.talk
    assert talk is not None
    headers, query, text = {}, "", fill(talk.send, values)
    if caller == "header":
        headers = {"Authorization": f"Bearer {values['token']}"}
    if caller == "query":
        query = f"?token={values['token']}"
    if caller == "message":
        text = json.dumps(json.loads(text) | {"token": values["token"]})
    with line(world.port, path + query, headers) as opened:
        opened.say(text)
        listen(talk, opened, values)


def listen(talk: Talk, opened: Line, values: Values) -> None:
    waiting: Any = None  # what was heard and is for the next hearing
    for hearing in talk.hears:
        if hearing.repeated:
            waiting = opened.hear()
            while not wrong(hearing.reply, waiting, values):
                waiting = opened.hear()
            continue
        reply = opened.hear() if waiting is None else waiting
        waiting = None
        assert wrong(hearing.reply, reply, values) == [], reply
        for name, path in hearing.keep.items():
            values.keep(name, found(reply, path))
    if talk.closed is not None:
        assert opened.closed() == talk.closed


def wrong(pattern: Any, reply: Any, values: Values) -> list[str]:
    return [*differences(fill(pattern, values), reply)]
