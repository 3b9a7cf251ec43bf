"""The runner stands alone: it is started without site-packages and without Odin."""

from __future__ import annotations

import ast
import sys
from pathlib import Path

import pytest

import odin.executors
from odin.executors.connection import PROTOCOL as SERVERS_PROTOCOL
from odin.executors.connection import runner_command
from odin.executors.logs import log_path
from odin.executors.runner.requests import ATTEMPT
from odin.executors.runner.spawn import Logs
from odin.executors.runner.wire import PROTOCOL
from odin.model.ids import AttemptId, PipelineId, attempt_id, task_id

FILES = sorted((Path(odin.executors.__file__).parent / "runner").glob("*.py"))


def imported(tree: ast.Module) -> set[str]:
    names: set[str] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.level == 0:
            names.add(node.module or "")
    return {name.partition(".")[0] for name in names}


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.name)
def test_the_runner_imports_the_standard_library_alone(file):
    assert imported(ast.parse(file.read_text())) <= sys.stdlib_module_names


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.name)
def test_a37_the_runner_has_no_shell(file):
    source = file.read_text()
    assert "shell=True" not in source
    assert "os.system" not in source
    assert '"-c"' not in source


def test_the_runner_is_started_isolated():
    command = runner_command(Path("/data"))
    assert command[1:5] == ["-I", "-S", "-X", "utf8"]
    assert "--data=/data" in command


def test_server_and_runner_speak_the_same_protocol():
    assert SERVERS_PROTOCOL == PROTOCOL


@pytest.mark.parametrize("number", [1, 2, 99])
def test_server_and_runner_agree_on_where_a_log_is_and_what_an_attempt_is_called(number):
    attempt = attempt_id(task_id(PipelineId("my-job-0abc1234"), "train-2"), number)
    assert str(log_path(Path("/data"), attempt)) == Logs("/data/logs").path(attempt)
    assert ATTEMPT.fullmatch(attempt)


@pytest.mark.parametrize("name", ["", "../x", "a/b", "A", "a\n", "a--b--2/..", "-a", "a b", "a---b"])
def test_what_is_no_attempt_never_becomes_a_path(name):
    assert not ATTEMPT.fullmatch(AttemptId(name))
