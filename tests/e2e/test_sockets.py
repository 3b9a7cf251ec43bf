"""WebSockets to a server as a process: through its ends and beginnings, and with the setting for old clients."""

from __future__ import annotations

import contextlib
import json
import os
from itertools import cycle

import pytest
from websockets.exceptions import WebSocketException
from websockets.sync.client import connect

from e2e.jobs import job, task
from e2e.serving import DEADLINE_S, until

ENDS = int(os.environ.get("ODIN_KILLS", "2"))
COUNT = 3_000


def socket(serving, token=None, path="/v1/ws"):
    headers = {"Authorization": f"Bearer {token}"} if token else {}
    return connect(f"ws://127.0.0.1:{serving.port}{path}", additional_headers=headers, proxy=None)


def said(ws):
    return json.loads(ws.recv(timeout=DEADLINE_S))


@pytest.mark.timeout(300)
def test_f75_a_log_is_followed_over_the_ends_of_its_server_line_by_line_once(fresh):
    fresh.start()
    api = fresh.api()
    gate = fresh.folder / "gate"
    script = (
        f"i=0; while [ $i -lt {COUNT} ]; do i=$((i+1)); echo line $i; [ $((i % 20)) -eq 0 ] && sleep 0.02; done;"
        f" until [ -e {gate} ]; do sleep 0.02; done"
    )
    api.push("counting", job(task("count", script)))
    with socket(fresh, api.token) as ws:
        ws.send(json.dumps({"command": "START", "request": "counting"}))
        pipeline = said(ws)["response"]
    request = {"resource": f"{pipeline}--count", "follow": True, "attempt": 1, "offset": 0}
    lines, ways = [], cycle((fresh.kill, fresh.terminate))
    for _ in range(ENDS):
        with socket(fresh, api.token) as ws:
            ws.send(json.dumps({"command": "LOGS", "request": request}))
            goal = len(lines) + COUNT // ENDS // 2
            while len(lines) < goal:
                follow(ws, lines, request)
            next(ways)()
            with contextlib.suppress(WebSocketException):
                while True:
                    follow(ws, lines, request)
        fresh.start()
    gate.touch()
    with socket(fresh, api.token) as ws:
        ws.send(json.dumps({"command": "LOGS", "request": request}))
        while follow(ws, lines, request):
            pass
    assert lines == [f"line {number}" for number in range(1, COUNT + 1)]
    assert api.finished(pipeline)["outcome"] == "succeeded"


def follow(ws, lines, request):
    """Take one reply; false at the end."""
    reply = said(ws)
    assert reply["status"] != "ERROR", reply
    if reply["status"] == "END":
        return False
    lines.append(reply["response"])
    request["offset"] = reply["offset"]
    return True


def test_a57_the_setting_for_old_clients_opens_the_sockets_and_says_so(fresh):
    fresh.settings |= {"LEGACY_WS": "yes", "LOG_LEVEL": "debug", "ANONYMOUS_READ": "off"}
    fresh.start()
    fresh.api().push("small", job(task("one", "echo hello")))
    assert "ODIN_LEGACY_WS is on" in fresh.said()
    with socket(fresh, path="/") as ws:
        ws.send(json.dumps({"command": "START", "request": "small"}))
        pipeline = said(ws)["response"]
    fresh.api().finished(pipeline)
    with socket(fresh, path=f"/?token={fresh.api().token}") as ws:
        assert ws.response.headers["Deprecation"] == "true"
        ws.send(json.dumps({"command": "LOGS", "request": {"resource": f"{pipeline}--one"}}))
        assert said(ws)["response"] == "hello\n"
    until(lambda: "LOGS / " in fresh.said())
    assert fresh.api().token not in fresh.said()
    assert "token=" not in fresh.said()
