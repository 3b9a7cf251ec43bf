"""The HTTP side of git: limits, and clients that leave in the middle."""

import asyncio
import gzip
import http.client
import os
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from odin.jobs.http import GitBackend, is_push
from odin.jobs.repository import Repository
from odin.jobs.values import Author

PUSH = "/git-receive-pack"
PUSH_TYPE = {"Content-Type": "application/x-git-receive-pack-request"}
FETCH_TYPE = {"Content-Type": "application/x-git-upload-pack-request"}


def ask(url: str, method: str, path: str, body: bytes | None = None, **headers: str) -> tuple[int, bytes]:
    connection = http.client.HTTPConnection(url.rpartition("@")[2], timeout=30)
    try:
        connection.request(method, path, body, {name.replace("_", "-"): value for name, value in headers.items()})
        answer = connection.getresponse()
        return answer.status, answer.read()
    finally:
        connection.close()


def children() -> set[str]:
    """Command lines of the children of this process."""
    found = set()
    for process in Path("/proc").glob("[0-9]*"):
        try:
            fields = (process / "stat").read_text().rpartition(")")[2].split()
            if int(fields[1]) == os.getpid() and fields[0] != "Z":
                found.add((process / "cmdline").read_text().replace("\0", " ").strip())
        except OSError:
            continue
    return found


def wait_for(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 30
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def no_git_runs() -> bool:
    return not any("http-backend" in line for line in children())


def test_refs_are_listed_without_those_of_odin(url: str, repository: Repository, ann: Author) -> None:
    repository.pin(repository.create("sst2", ann).version)
    status, body = ask(url, "GET", "/info/refs?service=git-upload-pack")
    assert status == 200
    assert repository.head().encode() in body
    assert b"refs/odin" not in body


def test_a_compressed_request_is_understood(url: str, repository: Repository) -> None:
    want = f"want {repository.head()}\n".encode()
    body = b"%04x%s00000009done\n" % (len(want) + 4, want)
    plain = ask(url, "POST", "/git-upload-pack", body, **FETCH_TYPE)
    packed = ask(url, "POST", "/git-upload-pack", gzip.compress(body), Content_Encoding="gzip", **FETCH_TYPE)
    assert plain[0] == packed[0] == 200
    assert b"PACK" in plain[1]
    assert b"PACK" in packed[1]


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({**PUSH_TYPE, "Content-Encoding": "br"}, 415),
        ({**PUSH_TYPE, "Content-Encoding": "gzip, gzip"}, 415),
        ({"Content-Type": "text/plain"}, 415),
        ({**PUSH_TYPE, "Content-Length": str(300 * 1024 * 1024)}, 413),
    ],
)
def test_a35_other_encodings_types_and_sizes_are_refused_at_once(
    url: str, headers: dict[str, str], status: int
) -> None:
    connection = http.client.HTTPConnection(url.rpartition("@")[2], timeout=30)
    connection.putrequest("POST", PUSH)
    for name, value in headers.items():
        connection.putheader(name, value)
    connection.endheaders()
    assert connection.getresponse().status == status
    connection.close()


def test_a_client_that_leaves_in_the_middle_of_a_push_leaves_no_program(url: str, repository: Repository) -> None:
    connection = http.client.HTTPConnection(url.rpartition("@")[2])
    connection.putrequest("POST", PUSH)
    connection.putheader("Transfer-Encoding", "chunked")
    connection.putheader(*next(iter(PUSH_TYPE.items())))
    connection.endheaders()
    connection.send(b"4\r\n00b4\r\n")
    wait_for(lambda: not no_git_runs())
    connection.close()
    wait_for(no_git_runs)
    assert ask(url, "GET", "/info/refs?service=git-upload-pack")[0] == 200


def test_a_client_that_leaves_in_the_middle_of_a_clone_leaves_no_program(
    url: str, repository: Repository, ann: Author
) -> None:
    for number in range(3):
        repository.write("big", {f"{number}.bin": os.urandom(8 * 1024 * 1024)}, ann, create=True)
    want = f"want {repository.head()}\n".encode()
    connection = http.client.HTTPConnection(url.rpartition("@")[2])
    connection.request("POST", "/git-upload-pack", b"%04x%s00000009done\n" % (len(want) + 4, want), FETCH_TYPE)
    assert connection.getresponse().read(100_000)
    assert not no_git_runs()
    connection.close()
    wait_for(no_git_runs)


def test_a_request_that_takes_too_long_is_ended(repository: Repository, serve) -> None:
    connection = http.client.HTTPConnection(serve(repository, time_limit_s=0.5).rpartition("@")[2], timeout=30)
    connection.putrequest("POST", PUSH)
    connection.putheader("Transfer-Encoding", "chunked")
    connection.putheader(*next(iter(PUSH_TYPE.items())))
    connection.endheaders()
    connection.send(b"4\r\n00b4\r\n")
    assert connection.getresponse().read() == b""
    connection.close()
    assert no_git_runs()


def scope(method: str, path: str, *, query: bytes = b"", root: str = "") -> dict:
    return {
        "type": "http", "method": method, "path": root + path, "root_path": root, "query_string": query,
        "headers": [(b"content-type", b"application/x-git-receive-pack-request")],
    }  # fmt: skip


def test_a_push_is_known_from_a_fetch_before_it_is_served() -> None:
    assert is_push(scope("POST", PUSH))
    assert is_push(scope("GET", "/info/refs", query=b"service=git-receive-pack"))
    assert not is_push(scope("GET", "/info/refs", query=b"service=git-upload-pack"))
    assert not is_push(scope("GET", "/elsewhere"))


def test_it_can_be_mounted_below_a_path(repository: Repository) -> None:
    sent, asked = [], []

    async def receive() -> dict:
        asked.append(True)
        if len(asked) == 1:
            return {"type": "http.request", "body": b"", "more_body": False}
        await asyncio.sleep(3600)
        raise AssertionError

    async def send(message: dict) -> None:
        sent.append(message)

    app = GitBackend(repository, lambda scope: Author("ann"))
    asyncio.run(app(scope("GET", "/info/refs", query=b"service=git-upload-pack", root="/git/jobs.git"), receive, send))
    assert sent[0]["status"] == 200
    assert repository.head().encode() in b"".join(message.get("body", b"") for message in sent)
