"""Whatever goes wrong is one clear line and a documented exit code. Source: cli.md, "Exit codes"."""

from __future__ import annotations

import socket
import subprocess
from pathlib import Path

import pytest

from integration.cli.scripted import Scripted, Shell, body, dropped, problem
from odin.cli import failures
from odin.client import errors

COMMANDS = ("auth", "user", "create", "push", "show", "run", "status", "data", "events", "logs", "cancel", "cleanup")


def one_line(done: subprocess.CompletedProcess[str]) -> str:
    assert "Traceback" not in done.stderr
    assert done.stderr.count("\n") == 1, done.stderr
    return done.stderr


@pytest.mark.parametrize(
    ("status", "code"),
    [(404, 3), (401, 4), (403, 4), (409, 6), (400, 8), (413, 8), (422, 8), (500, 9), (507, 9), (429, 9)],
)
def test_each_refusal_has_its_exit_code_and_the_servers_words(
    server: Scripted, shell: Shell, status: int, code: int
) -> None:
    server.on("GET /v1/pipelines/hello-ab12cd34", problem(status, "the words of the server"))
    done = shell.run("odin-status", "hello-ab12cd34")
    assert done.returncode == code
    assert "not signed in" in one_line(done) if status == 401 else "the words of the server" in one_line(done)
    assert done.stdout == ""


def test_a_server_that_is_down_is_named_with_how_to_start_one(shell: Shell) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{taken.getsockname()[1]}"
        done = shell.run("odin-status", ODIN_URL=url)
    assert done.returncode == 5
    assert url in one_line(done)
    assert "odin-serve" in done.stderr


def test_an_unknown_host_is_named(shell: Shell) -> None:
    done = shell.run("odin-ping", "--host", "no-such-host.invalid")
    assert done.returncode == 5
    assert "no-such-host.invalid" in one_line(done)


def test_another_program_at_that_port_is_not_taken_for_odin(server: Scripted, shell: Shell) -> None:
    server.on("GET /v1/ping", body(b"<html>hello</html>", kind="text/html"))
    server.on("GET /v1/nodes", body(b"<html>hello</html>", kind="text/html"))
    for command in ("odin-ping", "odin-gpus"):
        done = shell.run(command)
        assert done.returncode == 5
        assert "does not answer like an Odin server" in one_line(done)


def test_https_to_a_port_without_tls_says_so(server: Scripted, shell: Shell) -> None:
    done = shell.run(
        "odin-ping", "--scheme", "wss", "--host", "127.0.0.1", "--port", str(server.server_port), ODIN_URL=""
    )
    assert done.returncode == 5
    assert "does not speak TLS" in one_line(done)


def test_what_may_help_is_said_in_the_words_of_a_command_line(server: Scripted, shell: Shell) -> None:
    server.on("GET /v1/nodes", body(b"", 302, Location="https://odin.example.com"))
    for told, command in {
        "; name the server with --host or ODIN_URL": ("odin-gpus",),
        "; start it with odin-serve, or name another one with --host or ODIN_URL": ("odin-ping", "--port", "1"),
        "; use --username": ("odin-ping", "--host", "http://ana@localhost"),
        "; run odin-auth, or set ODIN_TOKEN or ODIN_PASSWORD": ("odin-run", "hello"),
    }.items():
        assert one_line(shell.run(*command)).endswith(told + "\n")


def test_commands_have_words_for_whatever_may_help() -> None:
    assert failures.REMEDIES.keys() == errors.REMEDIES.keys()


def test_every_place_of_refused_input_has_a_line(server: Scripted, shell: Shell, tmp_path: Path) -> None:
    main = tmp_path / "main.yml"
    main.write_text("tasks: []\n")
    places = [
        {"path": "tasks[0].name", "message": "is missing", "file": "hello/main.yml", "line": 3, "column": 5},
        {
            "path": "tasks[1].depends",
            "message": 'there is no task "fetsh"',
            "file": "hello/main.yml",
            "line": 9,
            "column": 14,
        },
    ]
    server.on("POST /v1/jobs/hello/files", problem(422, "the job has 2 errors", errors=places))
    done = shell.run("odin-push", "hello", str(main), ODIN_TOKEN="x")
    assert done.returncode == 8
    assert done.stderr.splitlines()[-2:] == [
        "odin-push: hello/main.yml:3:5: is missing",
        'odin-push: hello/main.yml:9:14: there is no task "fetsh"',
    ]


def test_a_mistyped_command_gets_the_nearest(shell: Shell) -> None:
    done = shell.run("odin", "stauts")
    assert done.returncode == 2
    assert "did you mean status?" in one_line(done)


def test_a_mistyped_option_gets_the_nearest(shell: Shell) -> None:
    done = shell.run("odin-run", "hello", "--folow")
    assert done.returncode == 2
    assert "did you mean --follow?" in one_line(done)
    done = shell.run("odin-serve", "--prot", "9100")
    assert done.returncode == 2
    assert "did you mean --port?" in one_line(done)


@pytest.mark.parametrize(
    "arguments", [["--port", "seventy"], ["--host", "http://me@x"], ["--scheme", "ftp"], ["--hots", "x"]]
)
def test_a_setting_that_makes_no_sense_is_a_usage_error(shell: Shell, arguments: list[str]) -> None:
    done = shell.run("odin-ping", *arguments)
    assert done.returncode == 2
    one_line(done)


def test_a_lost_answer_is_asked_for_again(server: Scripted, shell: Shell) -> None:
    server.on("GET /v1/ping", dropped, dropped, body("pong"))
    assert shell.run("odin-ping").returncode == 0
    server.on("GET /v1/ping", dropped)
    assert shell.run("odin-ping").returncode == 5


def test_f70_a_repeated_post_has_the_same_key_and_body(server: Scripted, shell: Shell) -> None:
    launched = {"pipeline": {"id": "hello-ab12cd34", "name": "hello", "job": "hello"}}
    server.on("POST /v1/pipelines", dropped, dropped, body(launched))
    done = shell.run("odin-run", "hello", ODIN_TOKEN="x")
    assert done.stdout == "hello-ab12cd34\n"
    sent = server.asked("POST /v1/pipelines")
    assert len(sent) == 3
    assert len({(one.headers["idempotency-key"], one.body) for one in sent}) == 1


def test_a_busy_server_is_waited_for_as_long_as_it_asks(server: Scripted, shell: Shell) -> None:
    server.on("GET /v1/ping", problem(503, "starting", Retry_After="0"), body("pong"))
    assert shell.run("odin-ping").returncode == 0
    server.on("GET /v1/ping", problem(503, "no database", Retry_After="600"))
    done = shell.run("odin-ping")
    assert done.returncode == 9
    assert "no database; try again in 600 s" in one_line(done)


@pytest.mark.parametrize("word", COMMANDS)
def test_every_command_has_help_with_examples(shell: Shell, word: str) -> None:
    dashed, spaced = shell.run(f"odin-{word}", "--help"), shell.run("odin", word, "--help")
    assert dashed.returncode == spaced.returncode == 0
    assert f"  odin-{word} " in dashed.stdout.partition("examples:")[2] + " "
    assert dashed.stdout.count("\n") == spaced.stdout.count("\n")


def test_a_bug_in_a_command_is_a_line_too(server: Scripted, shell: Shell) -> None:
    server.on("GET /v1/nodes", body({"nodes": 7}))
    done = shell.run("odin-gpus")
    assert done.returncode == 9
    assert "a bug in Odin: TypeError" in one_line(done)
