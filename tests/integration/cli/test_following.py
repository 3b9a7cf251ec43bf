"""Live progress and followed logs, over lost connections and on terminals of all kinds. Source: F-75, F-76."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import threading
from collections.abc import Iterator
from itertools import pairwise

import pexpect
import pytest

from integration.cli.scripted import (
    Scripted,
    Shell,
    body,
    dropped,
    events,
    frame,
    pipeline,
    problem,
    stream,
    task,
    token,
)

ID = "hello-ab12cd34"
STREAM = f"GET /v1/pipelines/{ID}/stream"
LAUNCHED = body({"pipeline": {"id": ID, "name": "hello", "job": "hello"}})


@pytest.fixture
def launched(server: Scripted, shell: Shell) -> Shell:
    shell.keep(server.url, token("ana"))
    server.on("POST /v1/pipelines", LAUNCHED)
    return shell


@pytest.fixture
def held() -> Iterator[threading.Event]:
    event = threading.Event()
    yield event
    event.set()


def story(outcome: str) -> list[bytes]:
    """A snapshot, a task that ends, the end."""
    last = pipeline(outcome)["tasks"][1]
    return [frame("pipeline", pipeline(None), 3), frame("task", last, 4), frame("end", pipeline(outcome), 5)]


@pytest.mark.parametrize(("outcome", "code"), [("succeeded", 0), ("failed", 1), ("cancelled", 7)])
def test_a_followed_run_ends_with_the_pipelines_exit_code(
    server: Scripted, launched: Shell, outcome: str, code: int
) -> None:
    server.on(STREAM, events(*story(outcome)))
    done = launched.run("odin-run", "hello", "--follow")
    assert done.returncode == code
    assert done.stdout == f"{ID}\n"
    assert f"{ID} {outcome} after 12s" in done.stderr


def test_a_failure_names_the_task_the_reason_and_where_to_read_on(server: Scripted, launched: Shell) -> None:
    server.on(STREAM, events(*story("failed")))
    done = launched.run("odin-run", "hello", "-f")
    assert f"  train: exit code 2\n    odin-logs {ID}--train\n" in done.stderr


def test_progress_without_a_terminal_is_a_line_for_each_change(server: Scripted, launched: Shell) -> None:
    server.on(STREAM, events(*story("succeeded")))
    lines = launched.run("odin-run", "hello", "-f").stderr.splitlines()
    assert [line.split()[1:3] for line in lines[:3]] == [
        ["fetch", "executed"],
        ["train", "executing"],
        ["train", "executed"],
    ]
    assert "\x1b" not in "".join(lines)


def test_why_a_task_waits_is_a_line_once_for_each_reason(server: Scripted, launched: Shell) -> None:
    waits = [("queued", "waits for 2 CPUs")] * 3 + [("queued", "quota exceeded"), ("executing", "its node is away")]
    frames = [
        frame("task", task("train", status, attempt=1, reason=reason), number)
        for number, (status, reason) in enumerate(waits, 4)
    ]
    first, *_, last = story("succeeded")
    server.on(STREAM, events(first, *frames, last))
    said = launched.run("odin-run", "hello", "-f").stderr
    assert [said.count(reason) for _, reason in waits[2:]] == [1, 1, 1]


def test_json_of_a_followed_run_is_the_pipeline_at_its_end(server: Scripted, launched: Shell) -> None:
    server.on(STREAM, events(*story("failed")))
    server.on(f"GET /v1/pipelines/{ID}", body({"pipeline": pipeline("failed")}))
    done = launched.run("odin-run", "hello", "-f", "--json")
    assert done.returncode == 1
    assert json.loads(done.stdout) == {"pipeline": pipeline("failed")}


@pytest.mark.parametrize("cut", [True, False])
def test_f75_progress_goes_on_after_the_last_event_with_one_notice(
    server: Scripted, launched: Shell, cut: bool
) -> None:
    first, second, last = story("succeeded")
    server.on(STREAM, events(first, cut=cut), dropped, problem(503, "stopping"), events(second, cut=cut), events(last))
    done = launched.run("odin-run", "hello", "-f")
    assert done.returncode == 0, done.stderr
    assert done.stderr.count("reconnecting") == 1
    assert [one.headers.get("last-event-id") for one in server.asked(STREAM)] == [None, "3", "3", "3", "4"]
    assert done.stderr.count("train             executed") == 1


def test_f75_a_followed_log_shows_every_byte_once(server: Scripted, shell: Shell) -> None:
    log = "".join(f"{number}\n" for number in range(5000)).encode() + "ä€😀".encode()
    logs = f"GET /v1/resources/{ID}--train/logs?follow=true&attempt=1&offset="
    server.on(f"GET /v1/pipelines/{ID}", *[body({"pipeline": pipeline(None)})] * 2, body({"pipeline": pipeline()}))
    cuts = [0, 1, 777, 10_000, len(log) - 6, len(log) - 1, len(log)]
    for begin, end in pairwise(cuts):
        server.on(f"{logs}{begin}", stream(log[begin:end], cut=end < len(log) and end != 777))
    done = shell.run("odin-logs", f"{ID}--train", "--follow")
    assert done.stdout == log.decode()
    assert done.stderr.count("reconnecting") == 1


def test_a_followed_log_may_begin_at_its_last_lines(server: Scripted, shell: Shell) -> None:
    logs = f"GET /v1/resources/{ID}--train/logs"
    server.on(f"GET /v1/pipelines/{ID}", body({"pipeline": pipeline()}))
    server.on(f"{logs}?lines=1&attempt=1", body({"logs": "tail\n", "offset": 100, "size": 105}))
    server.on(f"{logs}?follow=true&attempt=1&offset=100", stream(b"tail\n"))
    assert shell.run("odin-logs", f"{ID}--train", "-f", "-l", "1").stdout == "tail\n"


def test_a_followed_log_goes_on_with_the_next_attempt(server: Scripted, shell: Shell) -> None:
    def shown(status: str, attempt: int) -> object:
        return body({"pipeline": pipeline(None, tasks=[task("train", status, attempt=attempt)])})

    logs = f"GET /v1/resources/{ID}--train/logs?follow=true"
    states = [("waiting", 0), ("executing", 1), ("waiting", 1), ("waiting", 1), ("executing", 2), ("executed", 2)]
    server.on(f"GET /v1/pipelines/{ID}", *(shown(*one) for one in states))
    server.on(f"{logs}&attempt=1&offset=0", stream(b"no luck\n"))
    server.on(f"{logs}&attempt=2&offset=0", stream(b"done\n"))
    done = shell.run("odin-logs", f"{ID}--train", "--follow")
    assert done.stdout == "no luck\ndone\n"
    assert done.stderr == f"attempt 2 of {ID}--train\n"


def test_all_logs_of_a_pipeline_are_followed_line_by_line(server: Scripted, shell: Shell) -> None:
    server.on(STREAM, events(frame("pipeline", pipeline(None), 1), frame("end", pipeline(), 2)))
    server.on(f"GET /v1/pipelines/{ID}", body({"pipeline": pipeline()}))
    for name in ("fetch", "train"):
        server.on(f"GET /v1/resources/{ID}--{name}/logs?follow=true&attempt=1&offset=0", stream(b"a\nb", b"c\nd"))
    lines = shell.run("odin-logs", ID, "-f").stdout.splitlines()
    assert [line for line in lines if line.startswith("fetch")] == [f"fetch | {line}" for line in ("a", "bc", "d")]
    assert len(lines) == 6


def test_many_streams_that_lose_one_server_give_one_notice(server: Scripted, shell: Shell) -> None:
    first, _, last = story("succeeded")
    server.on(STREAM, events(first, cut=True), events(last))
    server.on(f"GET /v1/pipelines/{ID}", body({"pipeline": pipeline()}))
    for name in ("fetch", "train"):
        logs = f"GET /v1/resources/{ID}--{name}/logs?follow=true&attempt=1&offset="
        server.on(f"{logs}0", stream(b"a\n", cut=True))
        server.on(f"{logs}2", stream(b"b\n"))
    done = shell.run("odin-logs", ID, "-f")
    assert len(done.stdout.splitlines()) == 4
    assert done.stderr.count("reconnecting") == 1


def terminal(
    shell: Shell, command: str, *arguments: str, size: tuple[int, int] = (24, 80), **env: str
) -> pexpect.spawn:
    argv = shell.argv(command, *arguments)
    child = pexpect.spawn(argv[0], argv[1:], env=shell.environ(**env), encoding="utf-8", timeout=60, dimensions=size)
    child.setecho(False)
    return child


def ended(child: pexpect.spawn) -> tuple[int | None, str]:
    child.expect(pexpect.EOF)
    shown = child.before
    child.close()
    return child.exitstatus, shown


@pytest.mark.parametrize("plain", ["NO_COLOR", "--no-color"])
def test_colours_can_be_left_out(server: Scripted, launched: Shell, plain: str) -> None:
    server.on(STREAM, events(*story("succeeded")))
    more = ["--no-color"] if plain == "--no-color" else []
    _, shown = ended(terminal(launched, "odin-run", "hello", "-f", *more, **({"NO_COLOR": "1"} if not more else {})))
    assert "\x1b[3" not in shown


def test_f76_a_dumb_or_narrow_terminal_gets_plain_lines(server: Scripted, launched: Shell) -> None:
    server.on(STREAM, events(*story("failed")))
    code, shown = ended(terminal(launched, "odin-run", "hello", "-f", TERM="dumb"))
    assert (code, "\x1b" in shown) == (1, False)
    code, shown = ended(terminal(launched, "odin-run", "hello", "-f", size=(5, 20)))
    assert (code, "\x1b[J" in shown) == (1, False)


def test_f76_ctrl_c_detaches_and_says_how_to_return(server: Scripted, launched: Shell, held: threading.Event) -> None:
    server.on(STREAM, events(frame("pipeline", pipeline(None), 3), hold=held))
    child = terminal(launched, "odin-run", "hello", "-f")
    child.expect_exact("executing")
    child.sendintr()
    code, shown = ended(child)
    assert code == 130
    assert f"odin-status {ID} --watch" in shown
    assert f"odin-cancel {ID}" in shown
    assert "Traceback" not in shown
    assert server.asked(f"POST /v1/pipelines/{ID}/cancel") == []


@pytest.mark.parametrize(
    "arguments",
    [
        ["odin-logs", f"{ID}--train", "-f"],
        ["odin-logs", ID, "-f"],
        ["odin-status", ID, "--watch"],
        ["odin-status", ID, "-f"],
    ],
)
def test_f76_ctrl_c_while_following_ends_quietly(
    server: Scripted, shell: Shell, held: threading.Event, arguments: list[str]
) -> None:
    server.on(STREAM, events(frame("pipeline", pipeline(None), 3), hold=held))
    server.on(f"GET /v1/pipelines/{ID}", body({"pipeline": pipeline(None)}))
    for name in ("fetch", "train"):
        server.on(
            f"GET /v1/resources/{ID}--{name}/logs?follow=true&attempt=1&offset=0", stream(b"executing\n", hold=held)
        )
    child = terminal(shell, *arguments)
    child.expect_exact("executing")
    child.sendintr()
    code, shown = ended(child)
    assert code == 130
    assert "Traceback" not in shown
    assert ID in shown


def test_f76_a_reader_that_leaves_ends_the_command_quietly(
    server: Scripted, shell: Shell, held: threading.Event
) -> None:
    log = b"".join(b"%d\n" % number for number in range(200_000))
    server.on(f"GET /v1/resources/{ID}--train/logs", body({"logs": log.decode()}))
    server.on(f"GET /v1/pipelines/{ID}", body({"pipeline": pipeline(None)}))
    server.on(STREAM, events(frame("pipeline", pipeline(None), 3), hold=held))
    for name in ("fetch", "train"):
        server.on(f"GET /v1/resources/{ID}--{name}/logs?follow=true&attempt=1&offset=0", stream(log, hold=held))
    for arguments in ([f"{ID}--train"], [f"{ID}--train", "-f"], [ID, "-f"]):
        with subprocess.Popen(
            shell.argv("odin-logs", *arguments), env=shell.environ(), stdout=subprocess.PIPE, stderr=subprocess.PIPE
        ) as child:
            assert child.stdout is not None
            child.stdout.readline()
            child.stdout.close()
            assert child.stderr is not None
            assert child.stderr.read() == b""
            assert child.wait() == 0


def test_f76_an_interrupt_at_any_moment_shows_no_traceback(
    server: Scripted, shell: Shell, held: threading.Event
) -> None:
    def never(handler: object) -> None:
        held.wait(60)

    server.on(f"GET /v1/pipelines/{ID}", never)
    with subprocess.Popen(
        shell.argv("odin-status", ID), env=shell.environ(), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as child:
        while not server.requests:
            os.sched_yield()
        child.send_signal(signal.SIGINT)
        _, shown = child.communicate()
    assert child.returncode == 130
    assert shown == "\nodin-status: interrupted\n"
