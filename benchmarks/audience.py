"""Clients that come and go, as a program: ``audience.py JSON``.

Given: ``port``, ``token``, ``streams`` and ``followers`` (the paths, one for each client), ``stay_s`` (how long a client
stays, on average; 0: to the end), ``seed``; and ``ask`` (paths by name), which ``askers`` clients ask for every two
seconds until the others are done. A client that left comes back within half a second, a stream with the last id it saw, a
follower with the bytes it has. Prints JSON: what was lost, what came twice, delays.

A stream loses a change when at its end it has not seen a task's last state; what comes twice is an id that is not
above the one before. A delay is taken only of what happened while the client was there.
"""

from __future__ import annotations

import asyncio
import json
import random
import sys
import time
import zlib
from collections.abc import Callable
from datetime import datetime
from typing import Any

import msgspec

AWAY_S = 0.5
ORDER = {"waiting": 0, "queued": 1, "executing": 2, "executed": 3, "failed": 3, "terminated": 3, "skipped": 3}
decode = msgspec.json.decode


class Wire(asyncio.Protocol):
    """One GET: gives the body in pieces, and says at the end whether it was whole."""

    def __init__(self, request: bytes, on_piece: Callable[[bytes], None]) -> None:
        self.over: asyncio.Future[bool] = asyncio.get_running_loop().create_future()
        self._request = request
        self._on_piece = on_piece
        self._data = bytearray()
        self._in_body = False
        self.status = 0

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        self._transport = transport
        transport.write(self._request)

    def connection_lost(self, exc: Exception | None) -> None:
        if not self.over.done():
            self.over.set_result(False)

    def data_received(self, data: bytes) -> None:
        if self.over.done():
            return
        self._data += data
        if not self._in_body:
            at = self._data.find(b"\r\n\r\n")
            if at < 0:
                return
            self.status = int(self._data[9:12])
            del self._data[: at + 4]
            self._in_body = True
        self._chunks()

    def _chunks(self) -> None:
        start = 0
        while (at := self._data.find(b"\r\n", start)) >= 0:
            size = int(self._data[start:at], 16)
            if not size:
                self.over.set_result(True)
                break
            if len(self._data) < at + 4 + size:
                break
            self._on_piece(bytes(self._data[at + 2 : at + 2 + size]))
            start = at + 4 + size
        del self._data[:start]

    def leave(self, *, reset: bool) -> None:
        if not self.over.done():
            self.over.set_result(False)
        if reset:
            self._transport.abort()
        else:
            self._transport.close()


class Stream:
    """Follows a pipeline and keeps what it believes of each task."""

    def __init__(self) -> None:
        self.delays_ms: list[float] = []
        self.twice = self.lost = self.snapshots = 0
        self.over = False
        self._position = 0
        self._rest = b""
        self._since = 0.0
        self._states: dict[str, str] = {}

    def request(self) -> tuple[str, list[str]]:
        self._rest, self._since = b"", time.time()
        return "", [f"Last-Event-ID: {self._position}"] if self._position else []

    def piece(self, piece: bytes) -> None:
        *frames, self._rest = (self._rest + piece).split(b"\n\n")
        now = time.time()
        for frame in frames:
            if frame.startswith(b"id: "):
                position, event, data = frame.split(b"\n", 2)
                self._see(int(position[4:]), event[7:], decode(data[6:]), now)

    def _see(self, position: int, event: bytes, data: Any, now: float) -> None:
        if event == b"end":
            self.over = True
            self.lost = sum(self._states.get(task["id"]) != task["status"] for task in data["tasks"])
            return
        self.twice += position <= self._position
        self._position = position
        if event == b"pipeline":
            self.snapshots += 1
            self._states = {task["id"]: task["status"] for task in data["tasks"]}
            return
        self.twice += ORDER[data["status"]] < ORDER[self._states.get(data["id"], "waiting")]
        self._states[data["id"]] = data["status"]
        if data["completionTime"]:
            ended = datetime.fromisoformat(data["completionTime"]).timestamp()
            if ended > self._since:
                self.delays_ms.append((now - ended) * 1e3)


class Follower:
    """Follows a log whose lines begin with the moment they were written."""

    def __init__(self) -> None:
        self.delays_ms: list[float] = []
        self.bytes = self.checksum = self.lines = 0
        self._rest = b""
        self._since = 0

    def request(self) -> tuple[str, list[str]]:
        self._since = time.time_ns()
        return f"&offset={self.bytes}", []

    def piece(self, piece: bytes) -> None:
        now = time.time_ns()
        self.bytes += len(piece)
        self.checksum = zlib.crc32(piece, self.checksum)
        whole, _, last = (self._rest + piece).rpartition(b"\n")
        self._rest = last
        if whole:
            self.lines += whole.count(b"\n") + 1
            written = int(whole[: whole.index(b" ")])
            if written > self._since:
                self.delays_ms.append((now - written) / 1e6)


async def attend(client: Stream | Follower, path: str, given: dict[str, Any], chance: random.Random) -> int:
    """Be there until the end, leaving and coming back; how often it left."""
    left = 0
    await asyncio.sleep(chance.random() * AWAY_S)
    while True:
        query, fields = client.request()
        lines = [f"GET {path}{query} HTTP/1.1", "Host: 127.0.0.1", f"Authorization: Bearer {given['token']}", *fields]
        request = "\r\n".join([*lines, "", ""]).encode()
        loop = asyncio.get_running_loop()
        transport, wire = await loop.create_connection(
            lambda request=request: Wire(request, client.piece), "127.0.0.1", given["port"]
        )
        stay_s = chance.expovariate(1 / given["stay_s"]) if given["stay_s"] else None
        done, _ = await asyncio.wait([wire.over], timeout=stay_s)
        if done and wire.over.result() and wire.status == 200:
            transport.close()
            return left
        wire.leave(reset=chance.random() < 0.5)
        left += 1
        await asyncio.sleep(chance.random() * AWAY_S)


class Asker:
    """Asks small things and keeps how long the answers took; any other status than 200 is a failure."""

    def __init__(self) -> None:
        self.took_ms: dict[str, list[float]] = {}
        self.failures = 0

    async def ask_on(self, given: dict[str, Any], chance: random.Random) -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", given["port"])
        try:
            while True:
                await asyncio.sleep(chance.random() * 4)
                name = chance.choice(list(given["ask"]))
                lines = [
                    f"GET {given['ask'][name]} HTTP/1.1",
                    "Host: 127.0.0.1",
                    f"Authorization: Bearer {given['token']}",
                ]
                begun = time.perf_counter()
                writer.write("\r\n".join([*lines, "", ""]).encode())
                head = (await reader.readuntil(b"\r\n\r\n")).lower()
                length = head.index(b"content-length: ") + 16
                await reader.readexactly(int(head[length : head.index(b"\r\n", length)]))
                self.took_ms.setdefault(name, []).append((time.perf_counter() - begun) * 1e3)
                self.failures += not head.startswith(b"http/1.1 200")
        finally:
            writer.close()


async def attend_all(given: dict[str, Any]) -> dict[str, Any]:
    chance = random.Random(given["seed"])
    streams, followers = [Stream() for _ in given["streams"]], [Follower() for _ in given["followers"]]
    askers = [Asker() for _ in range(given.get("askers", 0))]
    clients = [*zip(streams, given["streams"], strict=True), *zip(followers, given["followers"], strict=True)]
    asking = [asyncio.create_task(each.ask_on(given, chance)) for each in askers]
    left = await asyncio.gather(*(attend(client, path, given, chance) for client, path in clients))
    failed = sum(task.done() for task in asking)
    for task in asking:
        task.cancel()
    return {
        "left": sum(left),
        "unfinished": sum(not each.over for each in streams),
        "lost": sum(each.lost for each in streams),
        "twice": sum(each.twice for each in streams),
        "snapshots": sum(each.snapshots for each in streams),
        "delays_ms": [delay for each in streams for delay in each.delays_ms],
        "logs": [{"lines": each.lines, "bytes": each.bytes, "checksum": each.checksum} for each in followers],
        "log_delays_ms": [delay for each in followers for delay in each.delays_ms],
        "failures": failed + sum(each.failures for each in askers),
        "took_ms": {
            name: [took for each in askers for took in each.took_ms.get(name, ())] for name in given.get("ask", {})
        },
    }


if __name__ == "__main__":
    json.dump(asyncio.run(attend_all(json.loads(sys.argv[1]))), sys.stdout)
