"""Connections whose other side is gone without a word, or silent: reliability.md, F-73."""

import socket
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from integration.api.streaming import DEADLINE_S, RUNNING, Follower, launch, until
from odin.api.channels import BEAT_S
from odin.api.protocol import BLOCKED_S, VANISHED_S

PROGRAM = Path(__file__).with_name("vanishing.py")
ALONE = ["unshare", "-Urn"]


class Swallowing:
    """A proxy that, once told, neither reads nor writes nor closes: what a lost laptop or a dead tunnel looks like."""

    def __init__(self, port):
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = self._listener.getsockname()[1]
        self._to = ("127.0.0.1", port)
        self.swallowing = threading.Event()
        self._sockets = [self._listener]
        self._thread = threading.Thread(target=self._accept, daemon=True)
        self._thread.start()

    def _accept(self):
        while True:
            try:
                near = self._listener.accept()[0]
            except OSError:
                return
            far = socket.socket()
            far.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            far.connect(self._to)
            self._sockets += [near, far]
            threading.Thread(target=self._pass, args=(near, far), daemon=True).start()
            threading.Thread(target=self._pass, args=(far, near), daemon=True).start()

    def _pass(self, source, target):
        try:
            while not self.swallowing.is_set() and (piece := source.recv(4096)):
                target.sendall(piece)
        except OSError:
            return

    def close(self):
        for sock in self._sockets:
            sock.close()


@pytest.fixture
def blocked(listening):
    """A server that gives a blocked reader half a second, with a pipeline that runs."""
    server = listening(doors={"blocked_s": 0.5}, **RUNNING)
    server.house.push("one", "fetch", "train")
    return server


class Endless:
    def of(self, _container):
        return self

    async def read(self, attempt, *, offset, limit):
        return b"x" * min(limit, 65536), 1 << 40


@pytest.mark.parametrize(
    "route", ["/v1/stream", "/v1/pipelines/{0}/stream", "/v1/resources/{0}--fetch/logs?follow=true"]
)
def test_f73_a_proxy_that_swallows_everything_does_not_keep_streams_open(blocked, monkeypatch, route):
    monkeypatch.setattr("odin.api.channels.BEAT_S", 0.0)  # so that the heartbeats of hours fill what lies between
    blocked.house.odin.tails._logs = Endless()
    pipeline = launch(blocked)
    until(lambda: f"{pipeline}--fetch" in blocked.house.place.running)
    proxy = Swallowing(blocked.port)
    try:
        clients = [Follower(blocked, route.format(pipeline), port=proxy.port) for _ in range(2)]
        for client in clients:
            client.read_until(lambda one: len(one.data) > 400)
        proxy.swallowing.set()
        until(lambda: (blocked.house.odin.metrics.streams, blocked.doors.open) == (0, 0))
        assert blocked.request("/healthz")[0] == 200
    finally:
        proxy.close()
        for client in clients:
            client.close()


def test_f73_the_kernel_asks_every_connection_whether_its_other_side_is_there(blocked, monkeypatch):
    asked = []
    setsockopt = socket.socket.setsockopt
    monkeypatch.setattr(socket.socket, "setsockopt", lambda self, *args: asked.append(args) or setsockopt(self, *args))
    assert blocked.request("/healthz")[0] == 200
    options = {name: value for level, name, value in asked if level == socket.IPPROTO_TCP}
    probed_s = options[socket.TCP_KEEPIDLE] + options[socket.TCP_KEEPINTVL] * options[socket.TCP_KEEPCNT]
    assert probed_s <= 60
    assert BEAT_S + options[socket.TCP_USER_TIMEOUT] / 1000 <= 60
    assert options[socket.TCP_USER_TIMEOUT] == VANISHED_S * 1000
    assert BLOCKED_S <= 60


@pytest.mark.skipif(
    sys.platform != "linux" or subprocess.run([*ALONE, "true"], capture_output=True).returncode != 0,
    reason="this user may not make network namespaces",
)
def test_f73_a_network_that_goes_away_without_a_word_is_noticed():
    begun = time.monotonic()
    done = subprocess.run(
        [*ALONE, sys.executable, str(PROGRAM), "1"], capture_output=True, text=True, timeout=DEADLINE_S, check=False
    )
    assert done.returncode == 0, done.stderr
    assert float(done.stdout) < time.monotonic() - begun
