"""W6's client as a program: ``launches.py PORT TOKEN JOB COUNT``, eight connections at once."""

from __future__ import annotations

import sys
from concurrent.futures import ThreadPoolExecutor

from client import Client

CONNECTIONS = 8


def some(port: int, token: str, job: str, count: int) -> None:
    client = Client(port, token)
    for _ in range(count):
        client.launch(job)
    client.close()


def main(port: int, token: str, job: str, count: int) -> None:
    shares = [count // CONNECTIONS + (index < count % CONNECTIONS) for index in range(CONNECTIONS)]
    with ThreadPoolExecutor(CONNECTIONS) as pool:
        for done in [pool.submit(some, port, token, job, share) for share in shares]:
            done.result()


if __name__ == "__main__":
    main(int(sys.argv[1]), sys.argv[2], sys.argv[3], int(sys.argv[4]))
