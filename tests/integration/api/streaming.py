"""Clients of streams on plain sockets, and pipelines that move when a test says so."""

import json
import socket
import struct
import time

from odin.model.users import Role
from odin.store.users import Change

RUNNING = {"plan": lambda launch: None}
DEADLINE_S = 60


def until(condition):
    """What ``condition`` gives once it is true."""
    deadline = time.monotonic() + DEADLINE_S
    while not (found := condition()):
        assert time.monotonic() < deadline, "it does not happen"
        time.sleep(0.01)
    return found


def end_token(server, change, name="vera"):
    """End a user's tokens by a new password, a new role, or the user's end."""
    users, uid = server.house.users, server.house.users.get(name).uid
    time.sleep(0.002)  # a token that is as old as the change would count
    if change == "delete":
        users.delete(name)
    else:
        users.change(name, Change(role=Role.EDITOR) if change == "role" else Change(password_hash="x"))
    server.loop.call_soon_threadsafe(server.house.odin.accounts.forget, uid)


def launch(server, job="one"):
    headers = {"Authorization": f"Bearer {server.house.token('edda')}", "Content-Type": "application/json"}
    body = json.dumps({"pipeline": {"job": job}}).encode()
    status, _, answer = server.request("/v1/pipelines", method="POST", body=body, **headers)
    assert status == 200, answer
    return json.loads(answer)["pipeline"]["id"]


class Follower:
    """One streaming request on a plain socket; ``text`` is what came so far, without the chunks' sizes."""

    def __init__(self, server, path, name="vera", port=None, **headers):
        self.sock = socket.create_connection(("127.0.0.1", port or server.port), timeout=DEADLINE_S)
        lines = [f"GET {path} HTTP/1.1", "Host: 127.0.0.1", f"Authorization: Bearer {server.house.token(name)}"]
        lines += [f"{key.replace('_', '-')}: {value}" for key, value in headers.items()]
        self.sock.sendall("\r\n".join([*lines, "", ""]).encode())
        self.data = b""
        self.closed = False

    def read_until(self, condition):
        while not condition(self):
            piece = self.sock.recv(65536)
            if not piece:
                self.closed = True
                assert condition(self), self.data
                break
            self.data += piece
        return self

    def read_to_end(self):
        return self.read_until(lambda one: one.closed or one.complete)

    @property
    def head(self):
        return self.data.partition(b"\r\n\r\n")[0].decode()

    @property
    def complete(self):
        return self.data.endswith(b"0\r\n\r\n")

    @property
    def text(self):
        rest, out = self.data.partition(b"\r\n\r\n")[2], b""
        while rest:
            size, _, rest = rest.partition(b"\r\n")
            length = int(size, 16)
            out, rest = out + rest[:length], rest[length + 2 :]
        return out.decode()

    @property
    def events(self):
        frames = [frame for frame in self.text.split("\n\n") if frame.startswith("id: ")]
        fields = [dict(line.split(": ", 1) for line in frame.split("\n")) for frame in frames]
        return [(int(one["id"]), one["event"], json.loads(one["data"])) for one in fields]

    def close(self, *, reset=False):
        if reset:
            self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.sock.close()


def finish(server, attempt, code=0):
    """End an attempt from outside the engine, as a place would: its report wakes the engine."""
    until(lambda: attempt in server.house.place.running)
    server.house.place.finish(attempt, code)
