"""The TAB key: what the scripts know by themselves, and what they ask the server."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Callable

import pexpect
import pytest

from integration.cli.scripted import Handler, Scripted, Shell, body, dropped, pipeline, problem, token

ID = "hello-ab12cd34"
OTHER = "hello-zz98yy76"


def complete(shell: Shell, *words: str, **env: str) -> list[str]:
    """What a script is told."""
    done = shell.run("odin", "__complete", *words, **env)
    return [line.partition("\t")[0] for line in done.stdout.splitlines() if line]


def listed(server: Scripted, *names: str, query: str = "") -> None:
    path = f"/v1/pipelines?limit=100{query}"
    server.on(f"GET {path}", body({"pipelines": [pipeline(id=name) for name in names]}))


# ---- what is asked -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("word", ["status", "data", "events", "logs", "cleanup", "show"])
def test_ids_of_pipelines_are_offered_newest_first(server: Scripted, shell: Shell, word: str) -> None:
    server.on("GET /v1/jobs?q=hel", body({"jobs": []}))
    listed(server, OTHER, ID, "other-hello-1", query="&q=hel")
    assert complete(shell, word, "hel") == [OTHER, ID]


def test_only_what_goes_on_can_be_cancelled(server: Scripted, shell: Shell) -> None:
    listed(server, ID, query="&status=RUNNING")
    assert complete(shell, "cancel", "") == [ID]


def test_the_tasks_of_a_pipeline_are_offered_once_it_is_clear_which(server: Scripted, shell: Shell) -> None:
    listed(server, OTHER, ID, query="&q=hello-")
    listed(server, ID, query="&q=hello-a")
    server.on(f"GET /v1/pipelines/{ID}", body({"pipeline": pipeline()}))
    assert complete(shell, "logs", "hello-") == [OTHER, ID]
    assert complete(shell, "logs", "hello-a") == [ID, f"{ID}--fetch", f"{ID}--train"]
    assert complete(shell, "logs", "-f", f"{ID}--t") == [f"{ID}--train"]


def test_jobs_and_their_files_and_users_are_offered(server: Scripted, shell: Shell) -> None:
    server.on("GET /v1/jobs?q=s", body({"jobs": [{"id": "nlp/sst2"}, {"id": "sweep"}]}))
    server.on("GET /v1/jobs?q=n", body({"jobs": [{"id": "nlp/sst2"}]}))
    server.on("GET /v1/jobs/sweep", body({"job": {"id": "sweep", "files": [{"name": "main.yml", "bytes": 3}]}}))
    server.on(f"GET /v1/pipelines/{ID}/files", body({"files": [{"name": "train.json", "bytes": 3}]}))
    server.on("GET /v1/users?q=a", body({"users": [{"username": "ana"}]}))
    assert complete(shell, "run", "s") == ["sweep"]
    assert complete(shell, "run", "--x:lr", "0.1", "n") == ["nlp/sst2"]
    assert complete(shell, "push", "-c", "s") == ["sweep"]
    assert complete(shell, "push", "sweep", "s") == []  # files of this machine
    assert complete(shell, "status", "--job=s") == ["sweep"]
    assert complete(shell, "status", "--limit", "3", "--job", "s") == ["sweep"]
    assert complete(shell, "status", "--user", "a") == ["ana"]
    assert complete(shell, "show", "sweep", "m") == ["main.yml"]
    assert complete(shell, "show", ID, "") == ["train.json"]


def test_the_server_on_the_command_line_is_asked_with_its_own_token(server: Scripted, shell: Shell) -> None:
    kept = token("ana")
    shell.keep(server.url, kept)
    listed(server, ID)
    assert complete(shell, "cleanup", "--host", server.url, "", ODIN_URL="http://127.0.0.1:1") == [ID]
    assert server.requests[0].headers["authorization"] == f"Bearer {kept}"


# ---- what is not done ----------------------------------------------------------------------------------------------


def test_nobody_is_signed_in_by_the_tab_key(server: Scripted, shell: Shell) -> None:
    server.on("GET /v1/pipelines?limit=100", problem(401, "sign in"))
    server.on("POST /v1/auth", body({"message": token()}))
    assert complete(shell, "logs", "", ODIN_PASSWORD="secret") == []
    assert complete(shell, "logs", "-p", "secret", "") == []
    assert not server.asked("POST /v1/auth")
    assert not shell.tokens.exists()


@pytest.mark.parametrize("answer", [dropped, problem(500, "no"), body(b"<html>", kind="text/html")])
def test_whatever_goes_wrong_there_are_no_candidates(
    server: Scripted, shell: Shell, answer: Callable[[Handler], None]
) -> None:
    server.on("GET /v1/pipelines?limit=100", answer)
    done = shell.run("odin", "__complete", "logs", "")
    assert done.stdout == ""
    assert "Traceback" not in done.stderr
    assert shell.run("odin", "__complete", "logs", "", ODIN_URL="http://127.0.0.1:1").stdout == ""


def test_a_server_that_does_not_answer_is_not_waited_for(server: Scripted, shell: Shell) -> None:
    def silent(handler: Handler) -> None:
        handler.rfile.read(1)  # up to the end of the connection

    server.on("GET /v1/pipelines?limit=100", silent)
    done = shell.run("odin", "__complete", "logs", "")
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_a75_a_name_that_a_shell_could_act_on_is_left_out(server: Scripted, shell: Shell) -> None:
    bad = ["$(reboot)", "a;b", "a b", "-rf", "a`b`", "a\nb", "a\tb", "\x1b[2J", "*", "a'b", "~ana", "a:b", "a=b"]
    server.on("GET /v1/jobs", body({"jobs": [{"id": name} for name in [*bad, "übung", "good"]]}))
    assert complete(shell, "run", "") == ["übung", "good"]


# ---- in the shells -------------------------------------------------------------------------------------------------


@pytest.fixture
def live(server: Scripted, shell: Shell) -> Shell:
    """``odin`` is on the path, and the server has a pipeline and a job."""
    shell.env["PATH"] = f"{shell.argv('odin')[0].removesuffix('/odin')}:/usr/bin:/bin"
    for query in ("h", "hel", "hello-ab12cd34"):
        listed(server, ID, query=f"&q={query}")
        server.on(f"GET /v1/jobs?q={query}", body({"jobs": [{"id": "hello-world"}]}))
    return shell


def in_bash(shell: Shell, line: str) -> list[str]:
    """What TAB offers after the line."""
    script = shell.run("odin", "completion", "bash").stdout
    ask = f"{script}\nCOMP_LINE='{line}'\nCOMP_POINT=${{#COMP_LINE}}\n_odin\nprintf '%s\\n' \"${{COMPREPLY[@]}}\""
    done = subprocess.run(["bash", "-c", ask], capture_output=True, text=True, check=True, env=shell.environ())
    assert done.stderr == ""
    return done.stdout.split()


@pytest.mark.parametrize("form", ["odin run", "odin-run", "/opt/odin/bin/odin-run"])
def test_in_bash_options_are_completed_in_both_forms(shell: Shell, form: str) -> None:
    assert in_bash(shell, f"{form} --fol") == ["--follow"]


@pytest.mark.parametrize(
    ("line", "offered"),
    [
        ("odin logs hel", [ID, f"{ID}--fetch", f"{ID}--train"]),
        ("odin-logs -f hel", [ID, f"{ID}--fetch", f"{ID}--train"]),
        ("odin-status --lim 3 --job hel", ["hello-world"]),
        ("odin-status --job=hel", ["hello-world"]),
        ("odin-run hel", ["hello-world"]),
        ("odin-cancel hel", []),
    ],
)
def test_in_bash_the_server_is_asked(live: Shell, line: str, offered: list[str]) -> None:
    assert in_bash(live, line) == offered


def test_in_bash_a_url_is_one_word(server: Scripted, live: Shell) -> None:
    live.env["ODIN_URL"] = "http://127.0.0.1:1"
    assert in_bash(live, f"odin-run --host {server.url} hel") == ["hello-world"]


def in_fish(shell: Shell, line: str) -> list[str]:
    script = shell.run("odin", "completion", "fish").stdout
    done = subprocess.run(
        ["fish", "-c", f"{script}\ncomplete -C '{line}'"],
        capture_output=True,
        text=True,
        check=True,
        env=shell.environ(),
    )
    assert done.stderr == ""
    return done.stdout.splitlines()


@pytest.mark.skipif(shutil.which("fish") is None, reason="fish is not installed")
def test_in_fish_options_are_completed_and_the_server_is_asked(live: Shell) -> None:
    for form in ("odin run", "odin-run"):
        assert in_fish(live, f"{form} --fol") == ["--follow\tshow it live until it ends"]
        assert in_fish(live, f"{form} hel") == ["hello-world\tjob"]
    for form in ("odin logs -f", "odin-logs -f", "/opt/odin/bin/odin-logs"):
        found = in_fish(live, f"{form} hel")
        assert [line.partition("\t")[0] for line in found] == [ID, f"{ID}--fetch", f"{ID}--train"]
        assert found[0].partition("\t")[2].startswith("succeeded, 2026-11-2")
    assert in_fish(live, "odin-status --job hel") == ["hello-world\tjob"]
    assert in_fish(live, "odin-status --job=hel") == ["--job=hello-world\tjob"]


@pytest.mark.skipif(shutil.which("zsh") is None, reason="zsh is not installed")
def test_in_zsh_options_are_completed_and_the_server_is_asked(live: Shell) -> None:
    (live.home / "_odin").write_text(live.run("odin", "completion", "zsh").stdout)
    child = pexpect.spawn("zsh", ["-f"], env=live.environ(TERM="dumb"), encoding="utf-8", timeout=60)
    try:
        child.sendline(f"PS1='> '; fpath=({live.home} $fpath); autoload -U compinit; compinit -u -D; echo rea''dy")
        child.expect_exact("ready")
        for form in ("odin run", "odin-run"):
            for typed, more in (("--fol", "low "), ("hel", "lo-world "), ("-f hel", "lo-world ")):
                child.send(f"{form} {typed}\t")
                child.expect_exact(f"{form} {typed}{more}")
                child.sendcontrol("u")
        child.send("odin-logs -f hel\t")
        child.expect_exact(f"odin-logs -f {ID}")
        child.send("\t")
        child.expect_exact(f"{ID}--train")
        child.expect_exact("executed, 2026")
        child.sendcontrol("u")
        child.send("odin status --job hel\t")
        child.expect_exact("--job hello-world ")
    finally:
        child.close(force=True)


@pytest.mark.parametrize("shell_name", ["bash", "zsh", "fish"])
def test_the_scripts_name_every_command(shell: Shell, shell_name: str) -> None:
    script = shell.run("odin", "completion", shell_name).stdout
    for word in ("run", "status", "cleanup", "user"):
        assert f"odin-{word}" in script
    assert "file_name" in script
