"""Whole client programs of the older kind, as processes: what they make of the answers, and of a token's life.

The recordings say what is in each answer; here is that programs which trust it get to their end with it.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

from e2e.serving import PASSWORD, USER, Done
from replay.world import NUMBERS, World, Worlds

PROGRAMS = Path(__file__).with_name("programs")
DEADLINE_S = 120.0


def program(name: str, *words: str, code: int = 0, env: dict[str, str] | None = None) -> Done:
    """Run one of the programs; it finds nothing of Odin."""
    command = [sys.executable, "-P", str(PROGRAMS / name), *words]
    clean = {"PATH": os.defpath, "LANG": "C.UTF-8"} | (env or {})
    done = subprocess.run(command, env=clean, capture_output=True, text=True, timeout=DEADLINE_S)
    assert done.returncode == code, (words, done.stdout, done.stderr)
    return Done(done.returncode, done.stdout, done.stderr)


@dataclass
class Shell:
    """Somebody with the older programs, whose token is kept in one file. Called with a command and its words."""

    world: World
    file: Path

    def __call__(self, *words: str, code: int = 0) -> Done:
        return program(
            "over_http.py", f"127.0.0.1:{self.world.port}", str(self.file), USER, PASSWORD, *words, code=code
        )


@pytest.fixture
def world(worlds: Worlds) -> World:
    return worlds["usual"]


@pytest.fixture
def shell(world: World, tmp_path: Path) -> Shell:
    return Shell(world, tmp_path / "odin.token")


# ---- over HTTP -----------------------------------------------------------------------------------------------------


def test_a_job_is_made_pushed_run_looked_at_and_removed(shell: Shell, tmp_path: Path) -> None:
    job = f"team/story{next(NUMBERS)}"
    main, words = tmp_path / "main.yml", tmp_path / "words.txt"
    main.write_text("tasks:\n- name: count\n  command: cat\n  args: ['${WORK_PATH}/words.txt']\n")
    words.write_text("one\ntwo\n")
    shell("auth")
    shell("push", "-c", job, str(main))
    shell("push", "-", job, str(words))
    pipeline = shell("run", job).json["pipeline"]["id"]
    shell.world.api.finished(pipeline)
    shown = shell("status", pipeline, "image").out
    assert shown.startswith(f"{pipeline} --> cyan ")
    assert f"task = {pipeline}--count" in shown and "status = executed" in shown and "image = None" in shown
    assert shell("logs", f"{pipeline}--count").out == "one\ntwo\n"
    assert shell("logs", pipeline).out == f"==> {pipeline}--count <==\none\ntwo\n"
    assert shell("data", f"{pipeline}--count").json["jobs"]["command"] == "cat"
    assert shell("events", f"{pipeline}--count").out.count("\n") > 2
    removed = shell("cleanup", pipeline, "yes", "yes").out
    assert removed.splitlines()[0] == "task_id | cleaned_from_k8s | purged_from_db | removed_from_fs"
    assert removed.splitlines()[1] == f"{pipeline} | No | Yes | Yes"
    assert shell("status", pipeline).out == ""


def test_each_state_of_a_pipeline_makes_a_table(shell: Shell) -> None:
    for name, mark in {"finished": "cyan", "running": "green", "failed": "red"}.items():
        pipeline = getattr(shell.world, name)
        assert f"{pipeline} --> {mark} " in shell("status", pipeline).out
        for task in shell.world.api.pipeline(pipeline)["tasks"]:
            assert shell("events", task["id"]).out


def test_a_job_is_not_made_twice(shell: Shell, tmp_path: Path) -> None:
    main = tmp_path / "main.yml"
    main.write_text("tasks: []\n")
    job = f"team/twice{next(NUMBERS)}"
    shell("push", "-c", job, str(main))
    assert "could not be created" in shell("push", "-c", job, str(main), code=1).err


def test_a_user_is_made_then_changed(shell: Shell) -> None:
    name = f"kim{next(NUMBERS)}"
    assert shell("user", name, "a longer pass phrase", "Kim").json["user"]["firstname"] == "Kim"
    assert shell("user", name, "another pass phrase", "Kimberly").json["user"]["firstname"] == "Kimberly"


def test_a_wrong_password_is_never_kept_as_a_token(shell: Shell) -> None:
    place = f"127.0.0.1:{shell.world.port}"
    done = program("over_http.py", place, str(shell.file), USER, "guess", "auth", code=1)
    assert "KeyError: 'message'" in done.err
    assert not shell.file.exists()


def test_a_token_that_counts_no_more_is_thrown_away_and_made_anew(shell: Shell) -> None:
    shell.file.write_text("e30.e30.e30")
    done = shell("run", shell.world.words)
    assert done.err == "the token is refused\n" and done.json["pipeline"]["job"] == shell.world.words
    shell.world.api.finished(done.json["pipeline"]["id"])
    assert shell.file.read_text() not in ("", "e30.e30.e30")


def test_a_token_that_todays_commands_keep_is_the_older_programs_too(shell: Shell) -> None:
    person = shell.world.serving.person()
    person.run("odin-auth", "--token", str(shell.file), "-u", USER, "-p", PASSWORD)
    done = shell("run", shell.world.words)
    assert done.err == ""
    shell.world.api.finished(done.json["pipeline"]["id"])


def test_a_token_that_an_older_program_keeps_is_that_of_todays_commands_too(shell: Shell) -> None:
    shell("auth")
    shell.file.chmod(0o600)
    done = shell.world.serving.person().run("odin-run", "--token", str(shell.file), "--json", shell.world.words)
    shell.world.api.finished(json.loads(done.out)["pipeline"]["id"])


def test_cards_are_shown_also_those_that_tell_little(worlds: Worlds, tmp_path: Path) -> None:
    shown = Shell(worlds["with-cards"], tmp_path / "odin.token")("gpus").out.splitlines()
    assert shown[0] == "host | gpu | type | free | power | memory | processes"
    assert [line.split(" | ")[1:] for line in shown[1:]] == [
        ["0a", "RTX 2080", "NO", "112/250W", "512M", "python-12"],
        ["0a", "N/A", "NO", "0/0W", "0M", "python-12"],
    ]


def test_facts_of_the_server(shell: Shell) -> None:
    assert shell("ping").json["pipelines_repo_dirty"] is False


# ---- over WebSocket --------------------------------------------------------------------------------------------------


def socket(world: World, *words: str, token: bool = False) -> Done:
    env = {"TOKEN": str(world.api.token)} if token else {}
    return program("over_websocket.py", f"ws://127.0.0.1:{world.port}", *words, env=env)


def test_a_job_is_run_to_its_end_and_removed_where_no_token_is_asked_for(worlds: Worlds) -> None:
    world = worlds["open-websockets"]
    pipeline, *told = socket(world, "run", world.words).out.splitlines()
    assert [line for line in told if pipeline in line] != []
    assert world.api.pipeline(pipeline)["status"] == "DONE"
    assert f"{pipeline}--count | executed | " in socket(world, "status", pipeline).out
    assert socket(world, "logs", f"{pipeline}--count", "yes").out == "one\ntwo\nthree\n"
    assert f"\n{pipeline}--count | " in socket(world, "cleanup", pipeline, "yes", "yes").out


def test_without_a_token_a_job_is_not_run_and_the_program_ends_with_the_reason(world: World) -> None:
    done = socket(world, "run", world.words)
    assert done.out == "" and "token" in done.err


def test_a_token_in_the_message_is_enough(world: World) -> None:
    pipeline = socket(world, "run", world.words, token=True).out.splitlines()[0]
    assert world.api.pipeline(pipeline)["outcome"] == "succeeded"


def test_what_only_reads_needs_no_token(world: World) -> None:
    pipeline = world.finished
    assert "main.yml" in socket(world, "show", world.words).out
    assert socket(world, "data", pipeline).json["jobs"]["status"] == "DONE"
    assert socket(world, "events", f"{pipeline}--count").out.count("\n") > 2
    assert socket(world, "ping", "hello").out == "PONG hello\n"
