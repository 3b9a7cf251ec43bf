"""What a person sees of pipelines that go on, in terminals of all kinds. Source: F-75, F-76."""

from __future__ import annotations

import contextlib
import json
import os
import random
import re
import signal
import socket
import subprocess
import threading
import time
from collections.abc import Iterator
from functools import partial
from typing import Any

import pytest

from integration.cli.pane import Pane, pane
from integration.cli.scripted import Handler, Scripted, Shell, body, events, frame, pipeline, task, token

ID = "hello-ab12cd34"
STREAM = f"GET /v1/pipelines/{ID}/stream"
ALL = "GET /v1/stream"
LAUNCHED = body({"pipeline": {"id": ID, "name": "hello", "job": "hello"}})
LOG = f"GET /v1/resources/{ID}--train/logs"
FRAME = re.compile(r"\x1b\[\?2026h(.*?)\x1b\[\?2026l", re.DOTALL)
SIZES = [(80, 24), (200, 50)]


@pytest.fixture
def shell(server: Scripted, shell: Shell) -> Shell:
    shell.keep(server.url, token("ana"))
    server.on("POST /v1/pipelines", LAUNCHED)
    server.on(f"GET /v1/pipelines/{ID}", body({"pipeline": pipeline(None)}))
    server.on(f"{LOG}?lines=3", body({"logs": "\x1b[32mepoch 1\x1b[0m\nepoch 2\n", "offset": 0, "size": 30}))
    server.on(f"{LOG}?lines=5", body({"logs": "reading\nValueError: no\n", "offset": 0, "size": 30}))
    return shell


@pytest.fixture
def held() -> Iterator[threading.Event]:
    event = threading.Event()
    yield event
    event.set()


class Slow:
    """A stream whose frames are let out one by one."""

    def __init__(self, *frames: bytes) -> None:
        self._frames = frames
        self._out = threading.Semaphore(0)

    def next(self) -> None:
        self._out.release()

    def __call__(self, handler: Handler) -> None:
        handler.head(200, "text/event-stream", Transfer_Encoding="chunked")
        for each in self._frames:
            self._out.acquire(timeout=60)
            handler.chunk(each)
        handler.wfile.write(b"0\r\n\r\n")


def running(*tasks: dict[str, Any]) -> bytes:
    return frame("pipeline", pipeline(None, **({"tasks": list(tasks)} if tasks else {})), 3)


def failing() -> bytes:
    return frame("end", pipeline("failed"), 5)


# ---- one pipeline --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("command", [("odin-run", "hello", "--follow"), ("odin-status", ID, "--watch")])
def test_a_pipeline_is_drawn_in_place_with_the_last_line_of_what_runs(
    server: Scripted, shell: Shell, size: tuple[int, int], command: tuple[str, ...]
) -> None:
    slow = Slow(running(), failing())
    server.on(STREAM, slow)
    with pane(shell, *command, size=size) as seen:
        slow.next()
        lines = seen.shows("epoch 2")
        start = lines.index(next(line for line in lines if line.startswith(f"{ID}  running")))
        assert re.fullmatch(r"━+─*  1/2 executed · 1 executing · \d\S+", lines[start + 1])
        assert lines[start + 2] == ""
        assert re.fullmatch(r"✓ fetch  executed +3\.5s", lines[start + 3])
        assert re.fullmatch(r"▸ train  executing +\S+  epoch 2", lines[start + 4])
        slow.next()
        assert seen.ended() == (1 if command[0] == "odin-run" else 0)
        text = "\n".join(seen.lines)
        assert text.count(f"{ID}  ") == 1, "the picture before is drawn over"
        assert "✗ train  failed" in text


def test_the_end_is_told_with_the_reason_the_last_lines_and_what_to_type_next(server: Scripted, shell: Shell) -> None:
    server.on(STREAM, events(failing()))
    with pane(shell, "odin-run", "hello", "-f") as seen:
        assert seen.ended() == 1
        end = seen.lines[-7:]
    assert end == [
        f"{ID} failed after 12s",
        "  train: exit code 2",
        "    | reading",
        "    | ValueError: no",
        f"    odin-logs {ID}--train",
        f"  odin-logs {ID} --first-error   what went wrong first",
        f"  odin-resume {ID} --at HEAD   go on from here after a fix was pushed",
    ]


def test_what_to_type_next_names_the_server_that_was_named(server: Scripted, shell: Shell) -> None:
    server.on(STREAM, events(failing()))
    there = f"--host {server.url}"
    with pane(shell, "odin-run", "hello", "-f", "--host", server.url, size=(200, 24)) as seen:
        assert seen.ended() == 1
        assert [line.strip() for line in seen.lines[-3:]] == [
            f"odin-logs {ID}--train {there}",
            f"odin-logs {ID} --first-error {there}   what went wrong first",
            f"odin-resume {ID} --at HEAD {there}   go on from here after a fix was pushed",
        ]


def test_a_lost_connection_is_told_below_the_picture_while_it_lasts(server: Scripted, shell: Shell) -> None:
    slow = Slow(frame("end", pipeline(), 5))
    server.on(STREAM, events(running(), cut=True), slow)
    with pane(shell, "odin-status", ID, "--watch") as seen:
        seen.shows("1/2 executed", "was lost; reconnecting")
        slow.next()
        assert seen.ended() == 0
        assert "reconnecting" not in "\n".join(seen.lines)
        assert "2/2 executed" in "\n".join(seen.lines)


def fits(seen: Pane, columns: int, rows: int) -> bool:
    """Whether the picture of 30 tasks is one for this window."""
    small = len(seen.lines) < rows and all(len(line) < columns for line in seen.lines)
    return small and ("… and" if rows < 20 else "t29") in "\n".join(seen.lines)


def test_f76_the_picture_follows_the_window(server: Scripted, shell: Shell) -> None:
    tasks = [task(f"t{number:02}", "executing" if number < 12 else "waiting") for number in range(30)]
    slow = Slow(running(*tasks), frame("end", pipeline("succeeded", tasks=[task("all", "executed")]), 9))
    server.on(STREAM, slow)
    for number in range(12):
        server.on(f"GET /v1/resources/{ID}--t{number:02}/logs?lines=3", body({"logs": "x" * 500, "size": 500}))
    with pane(shell, "odin-status", ID, "--watch", size=(120, 40)) as seen:
        slow.next()
        seen.shows("t29", "x" * 40)
        for columns, rows in ((120, 10), (60, 12), (30, 6), (200, 50), (41, 6)):
            seen.resize(columns, rows)
            drawn = len(FRAME.findall(seen.raw))
            seen.until(lambda drawn=drawn: len(FRAME.findall(seen.raw)) > drawn)
            seen.until(partial(fits, seen, columns, rows))  # a frame for the window before may have been on its way
        slow.next()
        assert seen.ended() == 0
        assert f"{ID} succeeded after 12s" in "\n".join(seen.lines)


@pytest.mark.parametrize("size", [(80, 24), (40, 5), (200, 3)])
def test_a_picture_is_never_taller_than_the_window(server: Scripted, shell: Shell, size: tuple[int, int]) -> None:
    tasks = [task(f"t{number}", "failed" if number % 3 else "executing") for number in range(200)]
    server.on(STREAM, events(running(*tasks), frame("end", pipeline("failed", tasks=tasks), 9)))
    with pane(shell, "odin-status", ID, "--watch", size=size) as seen:
        seen.ended()
    for drawn in FRAME.findall(seen.raw):
        assert drawn.count("\n") < size[1]


def test_each_frame_is_whole_and_leaves_the_cursor_visible(server: Scripted, shell: Shell) -> None:
    slow = Slow(running(), failing())
    server.on(STREAM, slow)
    with pane(shell, "odin-status", ID, "--watch") as seen:
        slow.next()
        seen.shows("epoch 2")
        slow.next()
        seen.ended()
    frames = FRAME.findall(seen.raw)
    assert len(frames) >= 2
    assert all(drawn.startswith("\x1b[?25l") and drawn.endswith("\x1b[?25h") for drawn in frames)
    assert seen.raw.rfind("\x1b[?25l") < seen.raw.rfind("\x1b[?25h")


def test_nothing_is_written_while_nothing_changes_but_a_second(
    server: Scripted, shell: Shell, held: threading.Event
) -> None:
    server.on(STREAM, events(running(task("train", "waiting")), hold=held))
    long_ago = pipeline(None, submitTime="2020-01-01T00:00:00Z", tasks=[task("train", "waiting")])
    server.on(STREAM, events(frame("pipeline", long_ago, 3), hold=held))
    with pane(shell, "odin-status", ID, "--watch") as seen:
        seen.shows("1 waiting")
        until = time.monotonic() + 1.5
        while time.monotonic() < until:
            seen.shows("1 waiting")
            seen.read()
    assert len(FRAME.findall(seen.raw)) == 1
    assert server.asked(f"{LOG}?lines=3") == []  # nothing runs


def test_only_logs_on_the_screen_are_asked_for_and_few_at_a_time(
    server: Scripted, shell: Shell, held: threading.Event
) -> None:
    tasks = [task(f"t{number:02}", "executing") for number in range(40)]
    for number in range(40):
        logs = f"GET /v1/resources/{ID}--t{number:02}/logs?lines=3"
        server.on(logs, body({"logs": f"line of {number:02}\n", "offset": 0, "size": 10}))
    server.on(STREAM, events(running(*tasks), hold=held))
    with pane(shell, "odin-status", ID, "--watch", size=(100, 10)) as seen:
        began = time.monotonic()
        seen.shows("line of 00", "line of 04")
        took = time.monotonic() - began
        seen.interrupt()
        assert seen.ended() == 130
    asked = [one.path for one in server.requests if "/logs" in one.path]
    assert {path.split("--")[1][:3] for path in asked} <= {f"t{number:02}" for number in range(6)}
    assert len(asked) <= 4 * (took + 2)


def test_a_server_that_refuses_logs_leaves_the_picture_alone(server: Scripted, shell: Shell) -> None:
    slow = Slow(running(task("other", "executing")), frame("end", pipeline(), 5))
    server.on(STREAM, slow)
    with pane(shell, "odin-status", ID, "--watch") as seen:
        slow.next()
        seen.shows("▸ other")
        slow.next()
        assert seen.ended() == 0


def test_what_tasks_write_cannot_act_on_the_terminal(server: Scripted, shell: Shell) -> None:
    bad = "\x1b]0;owned\x07\x1b[2J\x1b[31mrisky\x9b2J\u202e"
    server.on(f"{LOG}?lines=3", body({"logs": bad, "offset": 0, "size": 30}))
    tasks = [task("train", "executing", reason=bad), task("x\x1b[2Jy", "failed", reason=bad)]
    slow = Slow(frame("pipeline", pipeline(None, job=bad, user=bad, warnings=[bad], tasks=tasks), 3), failing())
    server.on(STREAM, slow)
    with pane(shell, "odin-status", ID, "--watch", size=(200, 24), NO_COLOR="1") as seen:
        slow.next()
        seen.shows("risky\\x9b2J\\u202e")
        slow.next()
        seen.ended()
    left = re.sub(r"\x1b\[(\?2026[hl]|\?25[hl]|\d*F|[KJ])", "", seen.raw)
    assert all(sign.isprintable() or sign in "\r\n" for sign in left), repr(left)


def test_f76_without_utf_8_the_picture_is_ascii(server: Scripted, shell: Shell) -> None:
    server.on(STREAM, events(failing()))
    with pane(shell, "odin-status", ID, "--watch", LC_ALL="C", NO_COLOR="1") as seen:
        seen.ended()
    assert seen.raw.isascii()
    assert "x train  failed" in seen.raw
    assert "#" in seen.raw


@pytest.mark.parametrize(("env", "arguments"), [({"NO_COLOR": "1"}, []), ({}, ["--no-color"])])
def test_f76_a_picture_without_colours(
    server: Scripted, shell: Shell, env: dict[str, str], arguments: list[str]
) -> None:
    server.on(STREAM, events(failing()))
    with pane(shell, "odin-status", ID, "--watch", *arguments, **env) as seen:
        seen.ended()
    assert seen.colours() == set()


@pytest.mark.parametrize(("env", "size"), [({"TERM": "dumb"}, (80, 24)), ({}, (39, 24)), ({}, (20, 5))])
@pytest.mark.parametrize("command", [("odin-run", "hello", "-f"), ("odin-status", ID, "--watch")])
def test_f76_a_dumb_or_narrow_terminal_gets_lines(
    server: Scripted, shell: Shell, env: dict[str, str], size: tuple[int, int], command: tuple[str, ...]
) -> None:
    server.on(STREAM, events(running(), failing()))
    with pane(shell, *command, size=size, **env) as seen:
        seen.ended()
    assert "\x1b[?" not in seen.raw
    assert re.search(r"\d\d:\d\d:\d\d  train {13}", seen.raw)
    assert [one.path for one in server.requests if "lines=3" in one.path] == []  # a picture would have asked


# ---- Ctrl-C and other ends -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("command", [("odin-run", "hello", "-f"), ("odin-status", ID, "--watch")])
def test_f76_ctrl_c_stops_looking_and_says_how_to_come_back(
    server: Scripted, shell: Shell, held: threading.Event, command: tuple[str, ...]
) -> None:
    server.on(STREAM, events(running(), hold=held))
    with pane(shell, *command) as seen:
        seen.shows("epoch 2")
        seen.interrupt()
        assert seen.ended() == 130
        assert seen.lines[-3:] == [
            f"detached; {ID} goes on",
            f"  odin-status {ID} --watch   to come back",
            f"  odin-cancel {ID}           to stop it",
        ]
        assert "▸ train" in "\n".join(seen.lines)  # the picture stays
        assert not seen.cursor_is_hidden
    assert server.asked(f"POST /v1/pipelines/{ID}/cancel") == []


def before_odin(code: int | None, raw: str) -> bool:
    """Python was still starting: it ends itself by the signal, or fails to load its own modules."""
    return code is None or "init_import_site" in raw


VIEWS = [
    ("odin-run", "hello", "-f"),
    ("odin-status", ID, "--watch"),
    ("odin-status", "--watch"),
    ("odin-logs", ID, "-f"),
    ("odin-logs", ID, "-f", "--grep", "e"),
    ("odin-logs", ID, "-f", "--timestamps"),
    ("odin-logs", ID, "--first-error"),
    ("odin-logs", f"{ID}--train", "-f"),
]


@pytest.mark.parametrize("command", VIEWS, ids=" ".join)
def test_f76_an_interrupt_at_any_moment_leaves_the_terminal_in_order(
    server: Scripted, shell: Shell, held: threading.Event, command: tuple[str, ...]
) -> None:
    many = [task(f"t{number}", "executing") for number in range(15)]
    server.on(STREAM, events(running(*many), hold=held))
    server.on(ALL, events(recent("a-1"), frame("ready", {}, 1), hold=held))
    server.on(f"GET /v1/pipelines/{ID}", lambda _handler: held.wait(60))
    moments = random.Random(76)
    for _ in range(10):
        with pane(shell, *command, size=(90, 20)) as seen:
            time.sleep(moments.uniform(0.05, 0.45))
            seen.child.kill(signal.SIGINT)
            code = seen.ended()
        assert code == 130 or before_odin(code, seen.raw), seen.raw
        assert "Traceback" not in seen.raw or before_odin(code, seen.raw), seen.raw
        assert not seen.cursor_is_hidden


@pytest.mark.parametrize("command", VIEWS, ids=" ".join)
def test_f76_a_reader_that_leaves_ends_a_view_quietly(
    server: Scripted, shell: Shell, held: threading.Event, command: tuple[str, ...]
) -> None:
    lines = b"".join(b"error: %d x\n" % number for number in range(100_000))
    log = f"GET /v1/resources/{ID}--train/logs?"
    server.on(f"{log}lines=1&attempt=1", body({"logs": "", "offset": 0, "size": len(lines)}))
    server.on(f"{log}follow=true&attempt=1&offset=0", body(lines, kind="text/plain"))
    many = [frame("task", task("train", "executing", attempt=number), number) for number in range(4, 5000)]
    server.on(STREAM, events(running(task("train", "failed")), *many, hold=held))
    some = [recent(f"a-{number}", outcome="failed" if number % 2 else None) for number in range(4000)]
    server.on(ALL, events(recent("b-1"), frame("ready", {}, 1), *some, hold=held))
    server.on(f"GET /v1/pipelines/{ID}", body({"pipeline": pipeline("failed")}))
    with subprocess.Popen(
        shell.argv(command[0], *command[1:]), env=shell.environ(), stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as child:
        first, second = (child.stderr, child.stdout) if command[0] == "odin-run" else (child.stdout, child.stderr)
        assert first
        assert second
        first.readline()
        first.close()
        said = second.read().decode()
        assert "Traceback" not in said
        assert child.wait(60) == 0 or command[0] == "odin-run", said


def test_a_stopped_command_draws_below_what_the_shell_wrote(
    server: Scripted, shell: Shell, held: threading.Event
) -> None:
    server.on(STREAM, events(running(), hold=held))
    with pane(shell, "odin-status", ID, "--watch") as seen:
        seen.shows("epoch 2")
        os.kill(seen.child.pid, signal.SIGSTOP)
        os.waitid(os.P_PID, seen.child.pid, os.WSTOPPED | os.WNOWAIT)
        seen.drain()
        before = len(FRAME.findall(seen.raw))
        os.kill(seen.child.pid, signal.SIGCONT)
        seen.until(lambda: len(FRAME.findall(seen.raw)) > before)
        after = FRAME.findall(seen.raw)[before]
        assert after.startswith("\x1b[?25l\r")


# ---- all pipelines -------------------------------------------------------------------------------------------------


def recent(name: str, message: str | None = None, outcome: str | None = None) -> bytes:
    one = pipeline(outcome, id=name, errorMessage=message, taskCounts={"executed": 1, "executing": 3}, position=7)
    del one["tasks"]
    return frame("pipeline", one, 1)


@pytest.mark.parametrize("size", SIZES)
def test_the_recent_pipelines_are_drawn_in_place(server: Scripted, shell: Shell, size: tuple[int, int]) -> None:
    new = pipeline("succeeded", id="a-1", taskCounts={"executed": 4}, position=9)
    slow = Slow(
        recent("a-1") + recent("b-2") + frame("ready", {}, 1),
        frame("pipeline", new, 2),
        frame("removed", {"id": "b-2"}, 3),
        b"",
    )
    server.on(ALL, slow)
    with pane(shell, "odin-status", "--watch", size=size) as seen:
        slow.next()
        assert seen.shows("2 running")[0] == "2 running"
        slow.next()
        rows = [["1", "running", "·"], [], ["▸", "b-2", "running"], ["✓", "a-1", "succeeded"]]
        seen.until(lambda: [line.split()[:3] for line in seen.lines] == rows)
        slow.next()
        seen.until(lambda: len(seen.lines) == 3)
        seen.interrupt()
        assert seen.ended() == 130
        assert seen.lines[-1] == "stopped looking; the pipelines go on"


def test_the_recent_pipelines_are_filtered_and_have_the_columns_asked_for(
    server: Scripted, shell: Shell, held: threading.Event
) -> None:
    server.on(f"{ALL}?job=hello&user=ana", events(recent("a-1"), frame("ready", {}, 1), hold=held))
    with pane(shell, "odin-status", "--watch", "--job", "hello", "--user", "ana", "--columns", "id,tasks") as seen:
        assert seen.shows("1/4") == ["1 running", "", "id   tasks", "a-1  1/4"]


def test_without_a_terminal_the_recent_pipelines_are_a_table_and_then_lines(server: Scripted, shell: Shell) -> None:
    new = pipeline("failed", id="a-1", taskCounts={"executed": 4}, position=9)
    slow = Slow(recent("a-1") + frame("ready", {}, 1) + recent("b-2"), frame("pipeline", new, 2))
    server.on(ALL, slow)
    slow.next()
    slow.next()
    with subprocess.Popen(
        shell.argv("odin-status", "--watch"), env=shell.environ(), stdout=subprocess.PIPE, text=True
    ) as child:
        assert child.stdout
        shown = [child.stdout.readline() for _ in range(4)]
        child.send_signal(signal.SIGINT)
        assert child.wait(60) == 130
    assert shown[0].split()[:3] == ["id", "job", "state"]
    assert shown[1].split()[:3] == ["a-1", "hello", "running"]
    assert shown[2].split()[1:] == ["b-2", "running"]
    assert shown[3].split()[1:] == ["a-1", "failed", "12s"]


# ---- JSON ----------------------------------------------------------------------------------------------------------


def test_json_of_a_watched_pipeline_is_an_object_for_each_change(server: Scripted, shell: Shell) -> None:
    last = pipeline("failed")["tasks"][1]
    server.on(STREAM, events(running(), frame("task", last, 4), failing()))
    done = shell.run("odin-status", ID, "--watch", "--json")
    assert done.returncode == 0
    assert [json.loads(line) for line in done.stdout.splitlines()] == [
        {"event": "pipeline", "pipeline": pipeline(None)},
        {"event": "task", "task": last},
        {"event": "end", "pipeline": pipeline("failed")},
    ]


def test_json_of_all_pipelines_is_an_object_for_each_change(server: Scripted, shell: Shell) -> None:
    slow = Slow(recent("a-1") + frame("ready", {}, 1) + frame("removed", {"id": "a-1"}, 2), b"")
    slow.next()
    server.on(ALL, slow)
    with subprocess.Popen(
        shell.argv("odin-status", "--watch", "--json"), env=shell.environ(), stdout=subprocess.PIPE, text=True
    ) as child:
        assert child.stdout
        found = [json.loads(child.stdout.readline()) for _ in range(3)]
        child.send_signal(signal.SIGINT)
        assert child.wait(60) == 130
    assert found[0]["event"] == "pipeline"
    assert found[0]["pipeline"]["id"] == "a-1"
    assert found[1:] == [{"event": "ready"}, {"event": "removed", "id": "a-1"}]


# ---- every command -------------------------------------------------------------------------------------------------

COMMANDS = [
    ("odin-auth", "--renew"),
    ("odin-user",),
    ("odin-create", "job"),
    ("odin-push", "job", "main.yml"),
    ("odin-show", "job"),
    ("odin-run", "hello"),
    ("odin-status",),
    ("odin-status", ID),
    ("odin-data", ID),
    ("odin-events", ID),
    ("odin-logs", ID),
    ("odin-logs", f"{ID}--train"),
    ("odin-cancel", ID),
    ("odin-cleanup", ID),
    ("odin-gpus",),
    ("odin-ping",),
    ("odin", "--help"),
]


@pytest.mark.parametrize("command", COMMANDS, ids=" ".join)
def test_f76_an_interrupt_ends_any_command_without_a_traceback(
    shell: Shell, held: threading.Event, command: tuple[str, ...]
) -> None:
    """Against a server that takes connections and never answers."""
    moments = random.Random(76)
    with socket.create_server(("127.0.0.1", 0), backlog=50) as silent:
        for _ in range(4):
            with pane(shell, *command, ODIN_URL=f"http://127.0.0.1:{silent.getsockname()[1]}") as seen:
                time.sleep(moments.uniform(0.1, 0.4))
                with contextlib.suppress(OSError):
                    seen.child.kill(signal.SIGINT)
                code = seen.ended()
            assert "Traceback" not in seen.raw or before_odin(code, seen.raw), seen.raw
            assert not seen.cursor_is_hidden


@pytest.mark.parametrize("command", COMMANDS, ids=" ".join)
def test_f76_a_dumb_terminal_of_20_columns_does_for_any_command(shell: Shell, command: tuple[str, ...]) -> None:
    with pane(shell, *command, size=(20, 5), TERM="dumb", ODIN_PASSWORD="x") as seen:
        assert seen.ended() is not None
    assert "\x1b" not in seen.raw
    assert "Traceback" not in seen.raw
