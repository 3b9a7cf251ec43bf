"""What TERM does to a server that is busy: nothing acknowledged is lost, tasks run on, and it ends. Source: F-07."""

from __future__ import annotations

import contextlib
import http.client
import signal
import socket
import threading
from pathlib import Path

from e2e.jobs import job, task
from e2e.serving import Api, Serving, until


def busy(serving: Serving) -> tuple[str, Path]:
    """A pipeline whose task runs until a file is there: its id, and that file."""
    gate = serving.folder / "gate"
    serving.api().push(
        "busy", job(task("slow", f"until [ -e {gate} ]; do sleep 0.05; done"), task("next", "echo done", "slow"))
    )
    pipeline = serving.api().launch("busy")
    serving.api().executing(f"{pipeline}--slow")
    return pipeline, gate


@contextlib.contextmanager
def unfinished_upload(serving: Serving):
    """A request that has begun and does not go on, so that the server has something to wait for."""
    with contextlib.closing(socket.create_connection(("127.0.0.1", serving.port))) as sock:
        head = f"POST /v1/jobs/x/files/y HTTP/1.1\r\nHost: 127.0.0.1\r\nAuthorization: Bearer {serving.api().token}\r\n"
        sock.sendall(f"{head}Content-Length: 100\r\n\r\nhalf".encode())
        name = b"odin_http_requests_in_flight"
        until(lambda: in_flight(serving, name) > 1)
        yield sock


def in_flight(serving: Serving, name: bytes) -> float:
    lines = serving.api().ask("GET", "/metrics").body.splitlines()
    return max((float(line.split()[-1]) for line in lines if line.startswith(name)), default=0)


def test_f07_tasks_run_on_and_the_next_server_goes_on_with_them(fresh: Serving) -> None:
    fresh.start()
    pipeline, gate = busy(fresh)
    before = {pid for pid, _ in fresh.bodies()}
    assert fresh.terminate() == 0
    assert before & {pid for pid, _ in fresh.bodies()}
    fresh.start()
    assert fresh.api().task(f"{pipeline}--slow")["status"] == "executing"
    gate.touch()
    assert fresh.api().finished(pipeline)["outcome"] == "succeeded"


def test_f07_what_is_launched_while_it_stops_is_refused_or_there_afterwards(fresh: Serving) -> None:
    fresh.start()
    fresh.api().push("quick", job(task("x", "true")))
    acknowledged: list[str] = []
    refusals: list[tuple[int, str | None]] = []
    stop = threading.Event()

    def launch() -> None:
        api = Api(fresh.port, fresh.api().token)
        while not stop.is_set():
            try:
                answer = api.ask("POST", "/v1/pipelines", {"pipeline": {"job": "quick"}})
            except (OSError, http.client.HTTPException):
                return
            if answer.status == 200:
                acknowledged.append(answer.json["pipeline"]["id"])
            else:
                refusals.append((answer.status, answer.headers.get("retry-after")))

    clients = [threading.Thread(target=launch) for _ in range(4)]
    for client in clients:
        client.start()
    until(lambda: len(acknowledged) > 20)
    assert fresh.terminate() == 0
    stop.set()
    for client in clients:
        client.join()
    assert all(status == 503 and after for status, after in refusals), refusals
    fresh.start()
    for pipeline in acknowledged:
        assert fresh.api().finished(pipeline)["outcome"] == "succeeded"


def test_f07_a_request_that_never_ends_does_not_keep_it_and_a_second_signal_ends_it_at_once(fresh: Serving) -> None:
    """The first signal alone would end it as well, once the grace is over."""
    fresh.start()
    with unfinished_upload(fresh):
        assert fresh.process is not None
        fresh.process.send_signal(signal.SIGTERM)
        until(lambda: not accepts(fresh))
        assert fresh.alive
        fresh.process.send_signal(signal.SIGTERM)
        assert fresh.gone() == 0
    fresh.start()
    with unfinished_upload(fresh):
        assert fresh.terminate() == 0


def accepts(serving: Serving) -> bool:
    try:
        socket.create_connection(("127.0.0.1", serving.port)).close()
    except OSError:
        return False
    return True
