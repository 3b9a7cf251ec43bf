"""W10's clients as a program: ``followers.py PORT TOKEN TIMES TASK...`` follows the log of each task so many times.

Prints JSON: for each follower its task, bytes, checksum and lines; and the delays of all pieces in milliseconds.
The delay of a piece is that of its oldest line, so that no line was later than what is said.
"""

from __future__ import annotations

import json
import sys
import time
import zlib
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field

from client import Client


@dataclass(slots=True)
class Follower:
    task: str
    checksum: int = 0
    lines: int = 0
    delays_ms: list[float] = field(default_factory=list)

    def follow(self, port: int, token: str) -> Follower:
        client, rest = Client(port, token), b""
        for piece in client.pieces(f"/v1/resources/{self.task}/logs?follow=true"):
            now = time.time_ns()
            self.checksum = zlib.crc32(piece, self.checksum)
            whole, _, last = (rest + piece).rpartition(b"\n")
            if whole:
                self.delays_ms.append((now - int(whole[: whole.index(b" ")])) / 1e6)
                self.lines += whole.count(b"\n") + 1
            rest = last
        client.close()
        return self


def main(port: int, token: str, times: int, tasks: list[str]) -> None:
    followers = [Follower(task) for task in tasks for _ in range(times)]
    with ThreadPoolExecutor(len(followers)) as pool:
        for done in [pool.submit(each.follow, port, token) for each in followers]:
            done.result()
    facts = [{"task": each.task, "checksum": each.checksum, "lines": each.lines} for each in followers]
    delays = [delay for each in followers for delay in each.delays_ms]
    json.dump({"followers": facts, "delays_ms": delays}, sys.stdout)


if __name__ == "__main__":
    main(int(sys.argv[1]), sys.argv[2], int(sys.argv[3]), sys.argv[4:])
