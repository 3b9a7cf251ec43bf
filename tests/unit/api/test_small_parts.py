"""Cursors, limits of bodies, parts of logs, metrics, problems: each by itself."""

import asyncio
import json
from collections import Counter
from dataclasses import replace

import pytest
from starlette.exceptions import HTTPException

from odin.api import limits, logtails
from odin.api.cursors import Cursors
from odin.api.metrics import Metrics, render
from odin.api.problems import STATUS, document, of_error, status_of
from odin.api.shapes import reason
from odin.engine.retention import Figures
from odin.model import errors
from odin.model.errors import InvalidInput, OdinError, Problem, TooLarge
from odin.model.job import TaskSpec
from odin.store.queries import TaskView


def test_a27_a_cursor_counts_only_as_it_was_written():
    cursors = Cursors(b"k" * 32)
    written = cursors.write(123_456)
    assert cursors.read(written) == 123_456
    for other in (
        "",
        "x",
        "123456",
        written[:-2],
        "B" + written[1:],
        Cursors(b"j" * 32).write(123_456),
        "ä",
        written * 9,
    ):
        with pytest.raises(InvalidInput):
            cursors.read(other)


def every_error(kind=OdinError):
    return [kind, *(below for child in kind.__subclasses__() for below in every_error(child))]


@pytest.mark.parametrize("kind", every_error())
def test_every_error_has_a_status(kind):
    assert status_of(kind("what")) == next(STATUS[each] for each in kind.__mro__ if each in STATUS)


def test_problems_never_have_a_message_which_old_clients_take_for_a_token():
    body = json.loads(document(422, "no", problems=[Problem("bad", path="a.b", line=3)]))
    assert "message" not in body
    assert body["errors"] == [{"path": "a.b", "message": "bad", "file": "", "line": 3, "column": None}]
    assert {"type", "title", "status", "detail"} <= body.keys()


def test_a_bug_is_no_answer():
    with pytest.raises(errors.IllegalMove):
        of_error(errors.IllegalMove("an attempt that is ended cannot start"))


def source(*pieces, delay_s=0.0):
    queue = [
        {"type": "http.request", "body": piece, "more_body": i < len(pieces) - 1} for i, piece in enumerate(pieces)
    ]

    async def receive():
        await asyncio.sleep(delay_s)
        return queue.pop(0)

    return receive


async def read_all(receive):
    size = 0
    while True:
        message = await receive()
        size += len(message["body"])
        if not message["more_body"]:
            return size


@pytest.mark.parametrize("pieces", [[b"x" * 100], [b"x" * 50, b"x" * 50], [b"x"] * 100])
def test_a80_a_body_may_be_as_large_as_the_limit_and_no_byte_more(pieces):
    assert asyncio.run(read_all(limits.Limited(source(*pieces), 100))) == 100
    with pytest.raises(TooLarge):
        asyncio.run(read_all(limits.Limited(source(*pieces, b"x"), 100)))


def test_a80_a_length_that_is_too_large_or_no_number_is_refused_unread():
    limits.check_length([(b"content-length", b"100")], 100)
    with pytest.raises(TooLarge):
        limits.check_length([(b"content-length", b"101")], 100)
    with pytest.raises(TooLarge):
        limits.check_length([(b"content-length", b"9" * 5000)], 100)
    for value in (b"-1", b"1e3", b"", b" 1", "²".encode()):
        with pytest.raises(InvalidInput):
            limits.check_length([(b"content-length", value)], 100)


def test_a80_a_body_that_trickles_is_given_up(monkeypatch):
    monkeypatch.setattr(limits, "BODY_S", 0.05)
    with pytest.raises(HTTPException) as caught:
        asyncio.run(read_all(limits.Limited(source(*[b"x"] * 10_000, delay_s=0.01), None)))
    assert caught.value.status_code == 408


def test_a80_a_large_body_at_a_kilobyte_a_second_may_take_its_time(monkeypatch):
    monkeypatch.setattr(limits, "BODY_S", 0.05)
    assert asyncio.run(read_all(limits.Limited(source(*[b"x" * 1000] * 20, delay_s=0.01), None))) == 20_000


class Bytes:
    """A log in memory."""

    def __init__(self, data):
        self.data, self.read_bytes = data, 0

    async def read(self, attempt, *, offset, limit):
        start = max(0, len(self.data) + offset) if offset < 0 else offset
        self.read_bytes += len(self.data[start : start + limit])
        return self.data[start : start + limit], len(self.data)


LINES = b"".join(b"line %d\n" % i for i in range(100_000))


@pytest.mark.parametrize("count", [0, 1, 2, 10, 5_000, 99_999, 100_000, 100_001, 10**9])
@pytest.mark.parametrize("data", [LINES, LINES[:-1], b"", b"\n", b"\n\n", b"one"])
def test_the_last_lines_of_a_log(data, count):
    part = asyncio.run(logtails.read_lines(Bytes(data), "a", count))
    expected = b"".join(data.splitlines(keepends=True)[-count:]) if count else b""
    assert part.data == expected
    assert part.end == len(data)


def test_few_lines_of_a_long_log_cost_little():
    log = Bytes(LINES)
    asyncio.run(logtails.read_lines(log, "a", 10))
    assert log.read_bytes <= logtails.FIRST_LOOK


def test_a_long_log_says_what_is_left_out():
    log = Bytes(b"x" * logtails.MOST + b"tail")
    part = asyncio.run(logtails.read_last(log, "a"))
    assert (len(part.data), part.offset) == (logtails.MOST, 4)
    assert logtails.shown(part).startswith("[odin: 4 bytes before this are left out]\nx")
    assert logtails.shown(asyncio.run(logtails.read_from(log, "a", 0))).endswith(
        "[odin: 4 bytes after this are left out]\n"
    )


def test_a_character_cut_in_two_is_left_out_at_the_front():
    assert logtails.shown(logtails.Part("ä".encode()[1:] + b"b\xff", 0, 3)) == "b\ufffd"


def test_metrics_are_in_prometheus_text_form():
    metrics = Metrics()
    metrics.answered("GET", '/v1/jobs/{job}"\\', 200, 0.03)
    metrics.answered("GET", "/v1/ping", 200, 99.0)
    metrics.answered("GET", "/v1/x/stream", 200, None)
    retained = Figures(Counter(age=2), 4096)
    lines = render(metrics, {"DONE": 3}, retained, ready=True).splitlines()
    assert 'odin_http_requests_total{method="GET",route="/v1/jobs/{job}\\"\\\\",status="200"} 1' in lines
    assert 'odin_http_request_seconds_bucket{le="0.05"} 1' in lines
    assert 'odin_http_request_seconds_bucket{le="+Inf"} 2' in lines
    assert "odin_http_request_seconds_count 2" in lines
    assert 'odin_pipelines{status="DONE"} 3' in lines
    assert 'odin_retention_removed_total{reason="age"} 2' in lines
    assert "odin_retention_held_bytes 4096" in lines
    assert "odin_ready 1" in lines


@pytest.mark.parametrize(
    ("cpu_m", "gpus", "told"),
    [(None, 0, "1 CPU"), (2500, 0, "2.5 CPUs"), (500, 2, "2 GPUs and 0.5 CPU"), (0, 1, "1 GPU"), (0, 0, "its turn")],
)
def test_a_queued_task_says_what_it_waits_for(cpu_m, gpus, told):
    spec = TaskSpec(name="a", command=("true",), cpu_m=cpu_m, num_gpus=gpus)
    times = {"submitted_at": None, "started_at": None, "completed_at": None, "due_at": None, "origin": None}
    fresh = TaskView("p--a", 0, "a", spec, status="queued", reason=None, attempt=0, exit_code=None, **times)
    assert reason(fresh, built=True) == f"waits for {told}"
    assert reason(fresh, built=False) is None
    assert reason(replace(fresh, status="waiting"), built=True) is None
    assert reason(replace(fresh, attempt=1), built=True) is None
    assert reason(replace(fresh, reason="another"), built=True) == "another"
