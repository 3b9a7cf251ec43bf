"""What a picture of a pipeline shows, in windows of all sizes."""

from __future__ import annotations

import io
import re
from collections.abc import Mapping
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from odin.cli.outline import outline
from odin.cli.picture import Artist
from odin.cli.recent import Recent, Table
from odin.cli.screen import FIXED_CODES, Screen
from odin.cli.segments import STATUSES, spread
from odin.cli.tails import last_line
from odin.cli.text import SGR
from odin.cli.view import View
from odin.cli.widths import cut, fit, width

NOW = 1_795_371_600.0  # 2026-11-22T18:20:00Z
Json = dict[str, Any]


class Wide(io.StringIO):
    """A terminal that speaks UTF-8."""

    encoding = "utf-8"

    def isatty(self) -> bool:
        return True


def screen(monkeypatch: pytest.MonkeyPatch | None = None, **env: str) -> Screen:
    for name, value in env.items():
        assert monkeypatch
        monkeypatch.setenv(name, value)
    return Screen(plain=monkeypatch is None, stream=Wide())


def task(name: str, status: str = "waiting", *depends: str, **facts: Any) -> Json:
    began = None if status in ("waiting", "queued", "skipped") else "2026-11-22T18:19:00Z"
    ended = "2026-11-22T18:19:30Z" if status in ("executed", "failed", "terminated") else None
    return {
        "id": f"p-1--{name}", "name": name, "status": status, "depends": list(depends), "attempt": 1 if began else 0,
        "startTime": began, "completionTime": ended, "reason": None, "exitCode": None, **facts,
    }  # fmt: skip


def view(*tasks: Json, **facts: Any) -> View:
    made = View()
    pipeline = {"id": "p-1", "job": "nlp/sst2", "user": "ana", "version": "3f2a9c1e" * 5, "status": "RUNNING"}
    times = {"submitTime": "2026-11-22T18:18:00Z", "completionTime": None, "outcome": None}
    made.take("pipeline", {**pipeline, **times, **facts, "tasks": list(tasks)})
    return made


def draw(of: View, size: tuple[int, int] = (79, 23), tails: Mapping[str, str] | None = None) -> list[str]:
    return Artist(screen()).draw(of, tails or {}, size, NOW)


def test_a_bar_and_the_time_stay_where_not_all_counts_fit() -> None:
    tasks = [task(f"t{number}", STATUSES[number % len(STATUSES)]) for number in range(300)]
    line = draw(view(*tasks))[1]
    assert line.startswith("━")
    assert re.fullmatch(r"[━─]{10,}  43/300 executed · 43 failed · .* · 2m00s", line)


def test_a_context_stands_beside_the_job() -> None:
    assert draw(view(context={"lr": 0.1, "seed": "7"}), (120, 23))[0].endswith("by ana  with lr=0.1, seed=7")


def test_notes_that_were_told_before_are_not_drawn() -> None:
    made = view(task("a"), warnings=["mind this"])
    assert any("mind this" in line for line in draw(made))
    assert not any("mind this" in line for line in Artist(screen(), notes=False).draw(made, {}, (79, 23), NOW))


def test_a_view_tells_what_is_new_and_counts() -> None:
    made = View()
    first = {"id": "p--a", "name": "a", "status": "executing", "attempt": 1}
    assert made.take("pipeline", {"id": "p", "outcome": None, "tasks": [first]}) == [first]
    assert made.take("task", {**first, "exitCode": None}) == []
    second = {**first, "status": "failed"}
    assert made.take("task", second) == [second]
    assert (made.pipeline, made.tasks, made.over) == ({"id": "p", "outcome": None}, {"p--a": second}, False)
    assert {status: count for status, count in made.counts.items() if count} == {"failed": 1}


def test_a_pipeline_is_a_header_a_bar_and_its_tasks_below_what_they_wait_for() -> None:
    tasks = (
        task("fetch", "executed"),
        task("train", "executing", "fetch"),
        task("lint", "failed", exitCode=2),
        task("report", "waiting", "train", "fetch"),
    )
    lines = draw(view(*tasks), tails={"p-1--train": "epoch 3"})
    assert lines == [
        "p-1  running  nlp/sst2 @ 3f2a9c1e  by ana",
        "━━━━━━━━━━━━━━━─────  1/4 executed · 1 failed · 1 executing · 1 waiting · 2m00s",
        "",
        "✓ fetch       executed     30s",
        "▸   train     executing  1m00s  epoch 3",
        "◦     report  waiting           after train",
        "✗ lint        failed       30s  exit code 2",
    ]


def test_a_log_line_that_has_no_room_beside_gets_a_line_of_its_own() -> None:
    lines = draw(view(task("train-a-model", "executing")), (60, 23), {"p-1--train-a-model": "loss 0.3, accuracy 0.91"})
    assert lines[3:] == ["▸ train-a-model  executing  1m00s", "    loss 0.3, accuracy 0.91"]


def test_a_retry_says_which_attempt_it_is() -> None:
    lines = draw(view(task("train", "executing", attempt=3)), tails={"p-1--train": "epoch 1"})
    assert lines[-1].endswith("attempt 3: epoch 1")


def test_a_pipeline_that_was_never_built_says_why() -> None:
    lines = draw(view(outcome="failed", errorMessage="no checkout", warnings=["gpu is not known"]))
    assert lines[2:4] == ["no checkout", "note: gpu is not known"]


def test_more_tasks_than_lines_are_those_that_matter_and_counts_of_the_rest() -> None:
    tasks = [task(f"t{number}", "executed") for number in range(40)]
    tasks += [
        task("bad", "failed"),
        task("run", "executing"),
        task("again", "waiting", attempt=1),
        task("next", "queued", reason="needs 4 GPUs"),
    ]
    tasks += [task(f"u{number}") for number in range(40)]
    lines = draw(view(*tasks), (79, 20))
    assert [line.split()[1] for line in lines[3:7]] == ["bad", "run", "again", "next"]
    assert lines[7:] == ["… and 40 executed, 40 waiting"]


def test_failures_leave_half_of_the_room_to_what_runs() -> None:
    tasks = [task(f"bad{number}", "failed") for number in range(30)] + [task(f"run{n}", "executing") for n in range(30)]
    lines = draw(view(*tasks), (79, 20))
    shown = [line.split()[1][:3] for line in lines[3:-1]]
    assert (shown.count("bad"), shown.count("run")) == (8, 8)
    assert lines[-1] == "… and 22 failed, 22 executing"


statuses = st.sampled_from(STATUSES)
names = st.text(st.sampled_from("abz-日é🎉"), min_size=1, max_size=40)
pipelines = st.lists(st.tuples(names, statuses), max_size=40, unique_by=lambda pair: pair[0])


@given(pipelines, st.integers(10, 220), st.integers(1, 60), st.text(max_size=300))
def test_a_picture_never_leaves_its_window(tasks: list[tuple[str, str]], columns: int, rows: int, tail: str) -> None:
    made = [task(name, status, *([tasks[0][0]] if number else [])) for number, (name, status) in enumerate(tasks)]
    tails = {one["id"]: last_line(tail) for one in made}
    lines = draw(view(*made, errorMessage=tail, warnings=[tail] * 5), (columns, rows), tails)
    assert len(lines) <= rows
    assert all(width(SGR.sub("", line)) <= columns for line in lines)
    assert all(sign.isprintable() or sign.isspace() for line in lines for sign in line)


def test_without_utf_8_a_picture_is_ascii(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LC_ALL", "C")
    tasks = [task(f"t-日-{status}", status) for status in STATUSES]
    for rows in (23, 8):
        lines = Artist(screen()).draw(view(*tasks), {"p-1--t-日-executing": "é" * 100}, (79, rows), NOW)
        assert "".join(lines).isascii()
        assert all(len(line) <= 79 for line in lines)


def test_colours_are_fixed_where_there_are_many_and_the_themes_elsewhere(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("NO_COLOR", raising=False)
    monkeypatch.delenv("COLORTERM", raising=False)
    assert screen(monkeypatch, TERM="linux").paint("x", "green") == "\x1b[32mx\x1b[0m"
    assert screen(monkeypatch, TERM="xterm-256color").paint("x", "green") == f"\x1b[{FIXED_CODES['green']}mx\x1b[0m"


def luminance(number: int) -> float:
    """Of a colour of the 256. Source: WCAG 2.2, "relative luminance"; the cube of xterm's 256colres.pl."""
    levels = (0, 95, 135, 175, 215, 255)
    cube = number - 16
    grey = (8 + 10 * (number - 232),) * 3
    rgb = grey if number >= 232 else (levels[cube // 36], levels[cube // 6 % 6], levels[cube % 6])
    linear = [((one / 255 + 0.055) / 1.055) ** 2.4 if one > 10 else one / 255 / 12.92 for one in rgb]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def test_fixed_colours_can_be_read_on_white_and_on_black() -> None:
    numbers = [int(code.rpartition(";")[2]) for code in FIXED_CODES.values() if "38;5;" in code]
    assert len(numbers) > 8
    for number in numbers:
        assert 1.05 / (luminance(number) + 0.05) >= 3.0
        assert (luminance(number) + 0.05) / 0.05 >= 3.0


@given(st.lists(st.integers(0, 5000), min_size=7, max_size=7), st.integers(7, 60))
def test_a_bar_is_shared_out_whole_and_nothing_is_left_out(counts: list[int], length: int) -> None:
    shares = spread(counts, length)
    assert sum(shares) == (length if sum(counts) else 0)
    assert all((share > 0) == (count > 0) for share, count in zip(shares, counts, strict=True))


def test_an_outline_survives_what_no_server_should_send() -> None:
    tasks = [task("a", "waiting", "b"), task("b", "waiting", "a"), task("c", "waiting", "nowhere"), task("d")]
    assert sorted(one["name"] for _, one in outline(tasks)) == ["a", "b", "c", "d"]


def test_a_chain_of_thousands_is_outlined() -> None:
    tasks = [task(str(number), "waiting", *([str(number - 1)] if number else [])) for number in range(5000)]
    assert [depth for depth, _ in outline(tasks)] == list(range(5000))


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("", ""),
        ("a\nb\n", "b"),
        ("a\n\n  \n", "a"),
        ("10%\r20%\r", "20%"),
        ("\x1b[2K\x1b[1G\x1b[32mdone\x1b[0m\n", "done"),
        ("\x1b]0;a title\x07x\ty\n", "x y"),
        ("\x1b]52;c;aGk=\x1b\\safe", "safe"),
        ("\x1b(Bplain\x1b=", "plain"),
        ("bell\x07", "bell\\x07"),
    ],
)
def test_the_last_line_of_a_log_is_clean(text: str, shown: str) -> None:
    assert last_line(text) == shown


@given(st.text(), st.integers(0, 20))
def test_text_is_cut_to_columns(text: str, columns: int) -> None:
    assert width(cut(text, columns)) <= columns
    assert width(fit(text, columns)) == columns
    assert cut(text, columns) == text or width(text) > columns


def test_wide_and_combining_letters_are_measured() -> None:
    assert (width("日本"), width("e\u0301"), width("abc"), width("🎉")) == (4, 1, 3, 2)
    assert cut("日本語", 5) == "日本…"


def one_of_many(name: str, outcome: str | None, minute: int, **counts: int) -> Json:
    return {
        "id": name, "job": "hello", "user": "ana", "status": "DONE" if outcome else "RUNNING", "outcome": outcome,
        "submitTime": f"2026-11-22T18:{minute:02}:00Z", "errorMessage": None, "taskCounts": counts,
        "completionTime": f"2026-11-22T18:{minute:02}:09Z" if outcome else None,
    }  # fmt: skip


def test_the_recent_pipelines_are_a_table_with_those_that_go_on_first() -> None:
    recent = Recent()
    recent.take("pipeline", one_of_many("a-1", "succeeded", 5, executed=2))
    recent.take("pipeline", one_of_many("b-2", None, 1, executed=1, executing=1, waiting=2))
    recent.take("pipeline", one_of_many("c-3", "failed", 3, failed=1, skipped=1))
    assert Table(screen(), None, 20).draw(recent, (79, 23), NOW) == []  # not before all are known
    recent.take("ready", {})
    lines = Table(screen(), None, 20).draw(recent, (100, 23), NOW)
    assert lines[0] == "1 running · 1 succeeded · 1 failed"
    assert [line.split()[:6] for line in lines[2:]] == [
        ["▸", "b-2", "running", "━━━━━━──────", "1/4", "19m00s"],
        ["✓", "a-1", "succeeded", "━━━━━━━━━━━━", "2/2", "9.0s"],
        ["✗", "c-3", "failed", "━━━━━━──────", "0/2,", "1"],
    ]
    assert Table(screen(), None, 20).draw(recent, (100, 4), NOW)[3] == "… and 2 more"
    recent.take("removed", {"id": "a-1"})
    assert len(Table(screen(), None, 1).draw(recent, (100, 23), NOW)) == 3
    assert len(Table(screen(), None, 20).draw(recent, (100, 1), NOW)) == 1


@given(st.lists(st.tuples(names, st.sampled_from(["succeeded", "failed", "cancelled", None]))), st.integers(10, 200))
def test_the_table_of_recent_pipelines_never_leaves_its_window(
    found: list[tuple[str, str | None]], columns: int
) -> None:
    recent = Recent()
    for name, outcome in found:
        recent.take("pipeline", one_of_many(name, outcome, 3, executed=2, failed=1))
    recent.take("ready", {})
    for chosen in (None, ("id", "job", "state", "error")):
        lines = Table(screen(), chosen, 20).draw(recent, (columns, 10), NOW)
        assert len(lines) <= 10
        assert all(width(line) <= columns for line in lines)


def test_of_very_many_pipelines_the_oldest_that_are_over_are_forgotten() -> None:
    recent = Recent()
    recent.take("pipeline", one_of_many("old", None, 0))
    for number in range(1000):
        recent.take("pipeline", one_of_many(f"p{number:03}", "succeeded", number % 60))
    assert len(recent.pipelines) <= 200
    assert "old" in recent.pipelines
