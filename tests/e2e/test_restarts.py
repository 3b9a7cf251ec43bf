"""Commands that follow while the server is killed and started again: everything once, one notice. Source: F-75."""

from __future__ import annotations

import json
import subprocess
import time
from collections import Counter
from pathlib import Path

from e2e.jobs import job, task
from e2e.serving import BIN, Person, Serving, until

KILLS = 3
NAMES = ("one", "two", "three")
FOLLOWERS = (
    ("odin-logs", "{}", "--follow"),
    ("odin-logs", "{}", "--follow", "--timestamps", "--grep", "line"),
    ("odin-logs", "{}--two", "--follow", "--json"),
    ("odin-logs", "{}--three", "--follow"),
    ("odin-status", "{}", "--watch"),
    ("odin-status", "{}", "--watch", "--json"),
)


def test_f75_commands_show_everything_once_over_restarts_of_the_server(fresh: Serving) -> None:
    fresh.start()
    gate = fresh.folder / "gate"
    count = f"i=0; until [ -e {gate} ]; do i=$((i+1)); echo line $i; sleep 0.01; done; echo last $i"
    fresh.api().push("counting", job(*(task(name, count, cpu="10m") for name in NAMES)))
    pipeline = fresh.api().launch("counting")
    for name in NAMES:
        fresh.api().executing(f"{pipeline}--{name}")
    env = Person(fresh.home, fresh.url, fresh.tools, fresh.api().token).environment()
    outputs = [fresh.folder / f"output-{number}" for number in range(len(FOLLOWERS))]
    followers = [follower(words, pipeline, output, env) for words, output in zip(FOLLOWERS, outputs, strict=True)]
    until(lambda: all(output.stat().st_size for output in outputs))
    for _ in range(KILLS):
        time.sleep(1.0)  # let them read on; nothing is asserted about how much
        fresh.kill()
        fresh.start()
    gate.touch()
    errors = [one.communicate(timeout=120)[1] for one in followers]
    said = [(output.read_text(), error) for output, error in zip(outputs, errors, strict=True)]
    assert [one.returncode for one in followers] == [0] * len(followers), said
    assert [errors.count("reconnecting") for _, errors in said] == [1] * len(said)
    logs = {name: fresh.api().log(f"{pipeline}--{name}").decode().splitlines() for name in NAMES}
    assert all(lines[-1].startswith("last ") for lines in logs.values())
    check_lines(said, logs, pipeline)


def follower(words: tuple[str, ...], pipeline: str, output: Path, env: dict[str, str]) -> subprocess.Popen[str]:
    argv = [str(BIN / words[0]), *(word.format(pipeline) for word in words[1:])]
    with output.open("w") as file:
        return subprocess.Popen(argv, env=env, stdout=file, stderr=subprocess.PIPE, text=True)


def check_lines(said: list[tuple[str, str]], logs: dict[str, list[str]], pipeline: str) -> None:
    merged, matched, as_json, alone, watched, changes = (output.splitlines() for output, _ in said)
    for name, lines in logs.items():
        assert [line.partition(" | ")[2] for line in merged if line.startswith(f"{name} ")] == lines
        mine = [line.partition(" | ")[2][21:] for line in matched if line.startswith(f"{name} ")]
        assert mine == [line for line in lines if line.startswith("line")]
    assert [json.loads(line)["line"] for line in as_json] == logs["two"]
    assert alone == logs["three"]
    assert {json.loads(line)["attempt"] for line in as_json} == {1}
    states = Counter(tuple(line.split()[1:3]) for line in watched if line[:2].isdigit())
    assert states == {(name, status): 1 for name in NAMES for status in ("executing", "executed")}
    assert f"{pipeline} succeeded" in watched[-1]
    assert json.loads(changes[-1])["event"] == "end"
