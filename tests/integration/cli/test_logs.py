"""``odin-logs``: which lines of which tasks, how they look, and the JSON that scripts rely on."""

from __future__ import annotations

import json
import re
import threading
from collections.abc import Iterator
from typing import Any

import pytest

from integration.cli.pane import pane
from integration.cli.scripted import Scripted, Shell, body, events, frame, pipeline, problem, stream, task
from odin.cli.screen import FIXED_PALETTE

ID = "hello-ab12cd34"
STREAM = f"GET /v1/pipelines/{ID}/stream"
TEXT = b"reading\nepoch 1 loss 0.9\nepoch 2 loss 0.5\ndone\n"
UTC = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ")


@pytest.fixture
def held() -> Iterator[threading.Event]:
    event = threading.Event()
    yield event
    event.set()


def have(
    server: Scripted, name: str, data: bytes = TEXT, *, attempt: int = 1, hold: threading.Event | None = None
) -> None:
    """The log of a task, as the server gives it in each of the ways that it is asked for."""
    log = f"GET /v1/resources/{ID}--{name}/logs"
    text = data.decode(errors="replace")
    last = text.splitlines(keepends=True)[-1] if text else ""
    size = len(data)
    server.on(log, body({"logs": text, "offset": 0, "size": size}))
    server.on(
        f"{log}?lines=1&attempt={attempt}", body({"logs": last, "offset": size - len(last.encode()), "size": size})
    )
    server.on(f"{log}?follow=true&attempt={attempt}&offset=0", stream(data, hold=hold))


def these(server: Scripted, *tasks: dict[str, Any], outcome: str | None = "failed", **facts: Any) -> None:
    server.on(f"GET /v1/pipelines/{ID}", body({"pipeline": pipeline(outcome, tasks=list(tasks), **facts)}))
    server.on(
        STREAM,
        events(
            frame("pipeline", pipeline(None, tasks=list(tasks)), 1),
            frame("end", pipeline(outcome, tasks=list(tasks)), 2),
        ),
    )


def refused(shell: Shell, *arguments: str) -> str:
    done = shell.run("odin-logs", *arguments)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.count("\n") == 1
    return done.stderr


# ---- choosing lines ------------------------------------------------------------------------------------------------


def test_only_lines_that_match_are_printed(server: Scripted, shell: Shell) -> None:
    these(server, task("train", "executed"))
    have(server, "train")
    for arguments in ([f"{ID}--train"], [f"{ID}--train", "-f"]):
        done = shell.run("odin-logs", *arguments, "--grep", r"loss 0\.[0-6]")
        assert done.stdout == "epoch 2 loss 0.5\n"


def test_what_matches_is_highlighted_on_a_terminal(server: Scripted, shell: Shell) -> None:
    these(server, task("train", "executed"))
    have(server, "train", b"a \x1b[32mlo\x1b[0mss 0.5 \x1b[2Jb\n")
    with pane(shell, "odin-logs", f"{ID}--train", "--grep", "loss") as seen:
        assert seen.ended() == 0
    assert seen.raw == "a \x1b[1;38;5;167mloss\x1b[0m 0.5 \\x1b[2Jb\r\n"


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--grep", "("], 'odin-logs: "(" is no regular expression: '),
        (
            ["--since", "yesterday"],
            'odin-logs: "yesterday" is no time; write 90s, 10m, 2h, 3d, or 2026-11-22T10:00:00Z',
        ),
        (["--timestamps"], "odin-logs: --timestamps is when lines arrive, which only --follow sees"),
        (["--first-error", "-f"], "odin-logs: --first-error looks at what there is; leave out --follow"),
        (["--first-error", "--grep", "x"], "odin-logs: --first-error and --grep each choose lines"),
        (["--first-error", "--since", "1h"], "odin-logs: --first-error and --since each choose tasks"),
        (["--raw", "--grep", "x"], "odin-logs: --raw prints bytes as they are; leave out --grep"),
        (["--raw", "--json"], "odin-logs: --raw prints bytes as they are; leave out --json"),
        (["--raw", "-f"], "odin-logs: --raw cannot mix the bytes of many tasks"),
    ],
)
def test_what_makes_no_sense_is_refused_with_a_sentence(shell: Shell, arguments: list[str], said: str) -> None:
    assert refused(shell, ID, *arguments).startswith(said)


def test_tasks_of_a_pipeline_come_in_the_order_of_their_start(server: Scripted, shell: Shell) -> None:
    late, early = "2026-11-22T18:20:09Z", "2026-11-22T18:20:02Z"
    these(server, task("b", "executed", startTime=late), task("a", "executed", startTime=early), task("c", "waiting"))
    for name in ("a", "b"):
        have(server, name, name.encode() + b"\n")
    assert shell.run("odin-logs", ID).stdout == f"==> {ID}--a <==\na\n\n==> {ID}--b <==\nb\n"
    assert shell.run("odin-logs", ID, "-f").stdout == "a | a\nb | b\n"


def test_a_task_without_a_match_has_no_heading(server: Scripted, shell: Shell) -> None:
    these(server, *(task(name, "executed") for name in "abc"))
    for name in "abc":
        have(server, name, name.encode() + b"\n")
    done = shell.run("odin-logs", ID, "--grep", "[ac]")
    assert done.stdout == f"==> {ID}--a <==\na\n\n==> {ID}--c <==\nc\n"


def test_since_leaves_out_tasks_that_ended_before(server: Scripted, shell: Shell) -> None:
    these(
        server,
        task("old", "executed", completionTime="2026-11-22T18:20:04Z"),
        task("new", "executed", completionTime="2026-11-22T18:20:08Z"),
        task("now", "executing"),
    )
    for name in ("old", "new", "now"):
        have(server, name, name.encode() + b"\n")
    moment = "2026-11-22T18:20:06Z"
    assert re.findall("==> .*--(.*) <==", shell.run("odin-logs", ID, "--since", moment).stdout) == ["new", "now"]
    these(
        server,
        task("old", "executed", completionTime="2026-11-22T18:20:04Z"),
        task("new", "executed", completionTime="2026-11-22T18:20:08Z"),
    )
    assert shell.run("odin-logs", ID, "-f", "--since", moment).stdout == "new | new\n"
    done = shell.run("odin-logs", f"{ID}--old", "--since", moment)
    assert (done.stdout, done.stderr) == ("", f"{ID}--old ended before {moment}\n")
    assert shell.run("odin-logs", f"{ID}--new", "--since", moment).stdout == "new\n"
    assert "no task ran since then" in shell.run("odin-logs", ID, "--since", "1s").stderr


def test_an_attempt_of_all_tasks_that_had_so_many(server: Scripted, shell: Shell) -> None:
    these(server, task("once", "executed"), task("twice", "executed", attempt=2))
    server.on(f"GET /v1/resources/{ID}--twice/logs?attempt=2", body({"logs": "again\n", "offset": 0, "size": 6}))
    have(server, "twice", b"again\n", attempt=2)
    assert shell.run("odin-logs", ID, "--attempt", "2").stdout == f"==> {ID}--twice <==\nagain\n"
    assert shell.run("odin-logs", ID, "-f", "--attempt", "2").stdout == "twice | again\n"


# ---- progress bars -------------------------------------------------------------------------------------------------

BAR = b"reading\n\r  0%|   |\r 50%|#  |\r100%|###| 2/2\nsaved\n"
FOLDED = ["reading", "100%|###| 2/2", "saved"]
UNFOLDED = ["reading", "", "  0%|   |", " 50%|#  |", "100%|###| 2/2", "saved"]


@pytest.fixture
def bar(server: Scripted) -> None:
    these(server, task("train", "executed"))
    have(server, "train", BAR)
    log = f"GET /v1/resources/{ID}--train/logs"
    server.on(f"{log}?lines=1", body({"logs": "saved\n", "offset": len(BAR) - 6, "size": len(BAR)}))
    server.on(f"{log}?follow=true&offset=0", stream(BAR))


@pytest.mark.usefixtures("bar")
@pytest.mark.parametrize("arguments", [[], ["-f"], ["--grep", "."], ["-f", "--grep", "."]])
def test_a_bar_is_its_last_state_on_a_terminal(shell: Shell, arguments: list[str]) -> None:
    for term in ("xterm-256color", "dumb"):
        with pane(shell, "odin-logs", f"{ID}--train", *arguments, TERM=term) as seen:
            assert seen.ended() == 0
            assert seen.lines == FOLDED


@pytest.mark.usefixtures("bar")
def test_a_bar_is_its_last_state_among_the_lines_of_a_pipeline(shell: Shell) -> None:
    assert shell.run("odin-logs", ID, "-f").stdout.splitlines() == [f"train | {line}" for line in FOLDED]
    assert shell.run("odin-logs", ID).stdout.splitlines() == [f"==> {ID}--train <==", *FOLDED]
    assert shell.run("odin-logs", ID, "-f", "--grep", "50%").stdout == ""


@pytest.mark.usefixtures("bar")
def test_every_state_of_a_bar_is_there_for_programs(shell: Shell) -> None:
    for arguments in ([], ["-f"]):
        assert shell.run("odin-logs", f"{ID}--train", *arguments).stdout.splitlines() == UNFOLDED
        assert shell.run("odin-logs", f"{ID}--train", "--raw", *arguments).stdout.encode() == BAR.replace(b"\r", b"\n")
    lines = shell.run("odin-logs", ID, "-f", "--json").stdout.splitlines()
    assert [json.loads(line)["line"] for line in lines] == UNFOLDED


def test_a_followed_bar_moves_in_place(server: Scripted, shell: Shell, held: threading.Event) -> None:
    these(server, task("train", "executing"), outcome=None)
    have(server, "train", BAR.partition(b"100%")[0] + b" 75%|## |", hold=held)
    with pane(shell, "odin-logs", f"{ID}--train", "-f") as seen:
        assert seen.shows("75%") == ["reading", " 75%|## |"]


# ---- the first error -----------------------------------------------------------------------------------------------


def test_the_first_error_of_a_pipeline_is_that_of_the_task_that_failed_first(server: Scripted, shell: Shell) -> None:
    these(
        server,
        task("second", "failed", completionTime="2026-11-22T18:20:08Z"),
        task("first", "failed", completionTime="2026-11-22T18:20:04Z"),
    )
    have(server, "first", b"a\nb\nc\nd\nTraceback (most recent call last):\n  File x\nValueError: no\n")
    done = shell.run("odin-logs", ID, "--first-error")
    assert done.stdout == "b\nc\nd\nTraceback (most recent call last):\n  File x\nValueError: no\n"
    assert done.stderr == f"{ID}--first: failed, exit code 2; the first error is in line 5\n"
    done = shell.run("odin-logs", ID, "--first-error", "--lines", "1")
    assert done.stdout.splitlines()[-1] == "Traceback (most recent call last):"


def test_without_a_line_that_looks_like_one_the_last_lines_are_shown(server: Scripted, shell: Shell) -> None:
    these(server, task("train", "failed"))
    have(server, "train")
    done = shell.run("odin-logs", f"{ID}--train", "--first-error")
    assert done.stdout == TEXT.decode()
    assert done.stderr.endswith("; no line looks like an error; the last are\n")


def test_lines_that_look_like_errors_stand_out_on_a_terminal(server: Scripted, shell: Shell) -> None:
    these(server, task("train", "failed"))
    have(server, "train", b"a\nKilled\n")
    with pane(shell, "odin-logs", ID, "--first-error") as seen:
        assert seen.ended() == 0
    assert seen.raw.endswith("\r\na\r\n\x1b[1;38;5;167mKilled\x1b[0m\r\n")


def test_a_pipeline_without_a_failure_has_no_first_error(server: Scripted, shell: Shell) -> None:
    these(server, task("train", "executed"), outcome="succeeded")
    done = shell.run("odin-logs", ID, "--first-error")
    assert (done.returncode, done.stdout, done.stderr) == (0, "", f"no task of {ID} has failed\n")


# ---- following -----------------------------------------------------------------------------------------------------


def test_names_before_merged_lines_are_aligned_and_coloured_by_task(
    server: Scripted, shell: Shell, held: threading.Event
) -> None:
    tasks = [task(name, "executing") for name in ("fetch", "a-much-longer-name-than-fits-here", "日本")]
    server.on(f"GET /v1/pipelines/{ID}", body({"pipeline": pipeline(None, tasks=tasks)}))
    server.on(STREAM, events(frame("pipeline", pipeline(None, tasks=tasks), 1), hold=held))
    for one in ("fetch", "a-much-longer-name-than-fits-here", "%E6%97%A5%E6%9C%AC"):
        have(server, one, f"of {one[:5]}\nno end".encode(), hold=held)
    with pane(shell, "odin-logs", ID, "-f") as seen:
        lines = seen.shows("of fetch", "of a-muc", "of %E6")
        assert "no end" not in "\n".join(lines)  # whole lines only
        assert {line.index("|") for line in lines if "| of" in line} in ({25}, {25, 23})  # two wide letters
        codes = {seen.raw.split(f"m{name}")[0].rpartition("\x1b[")[2] for name in ("fetch", "a-much", "日本")}
        assert len(codes) == 3
        seen.interrupt()
        assert seen.ended() == 130
        assert f"odin-cancel {ID}" in "\n".join(seen.lines)


def test_colours_of_names_are_none_of_those_for_failures() -> None:
    assert len(set(FIXED_PALETTE)) == len(FIXED_PALETTE) >= 8
    assert "red" not in FIXED_PALETTE


def test_arrival_times_are_only_of_lines_that_came_while_following(server: Scripted, shell: Shell) -> None:
    these(server, task("train", "executed"))
    log = f"GET /v1/resources/{ID}--train/logs"
    server.on(f"{log}?lines=1&attempt=1", body({"logs": "old\n", "offset": 0, "size": 4}))
    server.on(f"{log}?follow=true&attempt=1&offset=0", stream(b"old\n", b"new\n"))
    for arguments, prefix in (([f"{ID}--train"], ""), ([ID], "train | ")):
        old, new = shell.run("odin-logs", *arguments, "-f", "--timestamps").stdout.splitlines()
        assert old == f"{prefix}{' ' * 20} old"
        assert UTC.fullmatch(new.removeprefix(prefix).removesuffix(" new"))


def test_what_a_task_writes_before_a_followed_pipeline_ends_is_all_there(server: Scripted, shell: Shell) -> None:
    these(server, *(task(f"t{number}", "executed") for number in range(100)))
    for number in range(100):
        have(server, f"t{number}", b"".join(b"%d\n" % line for line in range(50)))
    lines = shell.run("odin-logs", ID, "-f").stdout.splitlines()
    for number in range(100):
        mine = [line.partition(" | ")[2] for line in lines if line.startswith(f"t{number:<3}|")]
        assert mine == [str(line) for line in range(50)]


def test_f75_a_task_that_begins_while_the_server_is_away_is_followed_all_the_same(
    server: Scripted, shell: Shell
) -> None:
    these(server, task("train", "executed"))
    have(server, "train", b"a\n")
    there = body({"success": True, "jobs": {"status": "executed", "attempts": [{"number": 1}]}})
    server.on(f"GET /v1/resources/{ID}--train/data", problem(503, "stopping"), problem(503, "stopping"), there)
    done = shell.run("odin-logs", ID, "-f")
    assert done.stdout == "train | a\n"


# ---- JSON: stable, see docs/commands.md ----------------------------------------------------------------------------


def test_json_of_a_task_is_its_log_with_its_place(server: Scripted, shell: Shell) -> None:
    have(server, "train")
    done = shell.run("odin-logs", f"{ID}--train", "--json")
    assert json.loads(done.stdout) == {"logs": TEXT.decode(), "offset": 0, "size": len(TEXT)}


def test_json_of_a_pipeline_is_the_log_of_each_task_that_has_begun(server: Scripted, shell: Shell) -> None:
    these(server, task("train", "executed"), task("later", "waiting"))
    have(server, "train")
    assert json.loads(shell.run("odin-logs", ID, "--json").stdout) == {"logs": {f"{ID}--train": TEXT.decode()}}


@pytest.mark.parametrize("identifier", [ID, f"{ID}--train"])
def test_json_of_followed_lines_is_an_object_for_each(server: Scripted, shell: Shell, identifier: str) -> None:
    these(server, task("train", "executed"))
    log = f"GET /v1/resources/{ID}--train/logs"
    server.on(f"{log}?lines=1&attempt=1", body({"logs": "old\n", "offset": 0, "size": 4}))
    server.on(f"{log}?follow=true&attempt=1&offset=0", stream(b"old\n", b"\x1b[31mn\xc3\xa9w\xff\x7f\n"))
    done = shell.run("odin-logs", identifier, "-f", "--json")
    old, new = map(json.loads, done.stdout.splitlines())
    assert old == {"task": f"{ID}--train", "attempt": 1, "line": "old", "time": None}
    assert UTC.fullmatch(new.pop("time"))
    assert new == {"task": f"{ID}--train", "attempt": 1, "line": "\x1b[31mnéw\\xff\x7f"}
    assert done.stdout.replace("\n", "").isascii()
    assert done.stdout.replace("\n", "").isprintable()


def test_json_of_chosen_lines_is_an_object_for_each(server: Scripted, shell: Shell) -> None:
    these(server, task("train", "failed"))
    have(server, "train", b"a\nKilled\n")
    killed = {"task": f"{ID}--train", "attempt": 1, "line": "Killed", "time": None}
    for arguments in (["--grep", "Kill"], ["--first-error"]):
        found = [json.loads(line) for line in shell.run("odin-logs", ID, "--json", *arguments).stdout.splitlines()]
        assert found[-1] == killed


def test_a_task_that_is_not_there_is_named(server: Scripted, shell: Shell) -> None:
    these(server, task("train", "executed"))
    server.on(f"GET /v1/resources/{ID}--trian/logs", problem(404, "no such task"))
    for arguments in ([], ["-f"], ["--grep", "x"], ["--first-error"]):
        done = shell.run("odin-logs", f"{ID}--trian", *arguments)
        assert done.returncode == 3
        assert "Traceback" not in done.stderr
