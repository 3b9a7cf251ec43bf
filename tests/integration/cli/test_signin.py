"""Tokens: where they come from, where they are kept, where they never go. Source: cli.md; reliability.md, A-73, A-74."""

from __future__ import annotations

import json
import os
import stat
import threading
from collections.abc import Iterator
from pathlib import Path

import pexpect
import pytest

from integration.cli.scripted import Scripted, Shell, body, problem, token
from odin.client.tokens import read_claims

LAUNCHED = body({"pipeline": {"id": "hello-ab12cd34", "name": "hello", "job": "hello"}})


@pytest.fixture
def typist(server: Scripted, shell: Shell) -> Iterator[Typist]:
    made = Typist(shell)
    yield made
    for child in made.children:
        child.close(force=True)


class Typist:
    """Somebody at a terminal."""

    def __init__(self, shell: Shell) -> None:
        self.shell = shell
        self.children: list[pexpect.spawn] = []

    def start(self, command: str, *arguments: str, **env: str) -> pexpect.spawn:
        argv = self.shell.argv(command, *arguments)
        child = pexpect.spawn(argv[0], argv[1:], env=self.shell.environ(**env), encoding="utf-8", timeout=60)
        self.children.append(child)
        return child


def ends(child: pexpect.spawn) -> int:
    child.expect(pexpect.EOF)
    child.wait()
    return int(child.exitstatus if child.exitstatus is not None else -child.signalstatus)


def test_the_password_is_asked_for_behind_asterisks_and_the_token_printed(server: Scripted, typist: Typist) -> None:
    given = token()
    server.on("POST /v1/auth", body({"message": given}))
    child = typist.start("odin-auth")
    child.expect_exact("odin password: ")
    child.send("secrex\x7ft\r")
    child.expect_exact("******\b \b*")
    child.expect_exact(given)
    assert ends(child) == 0
    assert server.asked("POST /v1/auth")[0].json == {"username": "ana", "password": "secret"}


def test_nobody_is_asked_again_until_the_token_expires(server: Scripted, typist: Typist) -> None:
    server.on("POST /v1/auth", body({"message": token()}))
    server.on("POST /v1/pipelines", LAUNCHED)
    first = typist.start("odin-run", "hello")
    first.expect_exact("odin password: ")
    first.sendline("secret")
    first.expect_exact("hello-ab12cd34")
    assert ends(first) == 0
    assert typist.shell.run("odin-run", "hello").stdout == "hello-ab12cd34\n"

    typist.shell.keep(server.url, token(lifetime_s=1))
    expired = typist.start("odin-run", "hello")
    expired.expect_exact("odin password: ")
    expired.sendline("secret")
    assert ends(expired) == 0
    assert len(server.asked("POST /v1/auth")) == 2


def test_a_refused_token_is_asked_about_once_and_the_request_sent_again(server: Scripted, typist: Typist) -> None:
    typist.shell.keep(server.url, token("ana"))
    renewed = token("ana", lifetime_s=7200)
    server.on("POST /v1/auth", body({"message": renewed}))
    server.on("POST /v1/pipelines", problem(401, "the token was revoked"), LAUNCHED)
    child = typist.start("odin-run", "hello")
    child.expect_exact("odin password: ")
    child.sendline("secret")
    child.expect_exact("hello-ab12cd34")
    assert ends(child) == 0
    sent = server.asked("POST /v1/pipelines")
    assert sent[1].headers["authorization"] == f"Bearer {renewed}"
    assert sent[0].headers["idempotency-key"] == sent[1].headers["idempotency-key"]


def test_a_wrong_password_is_one_line(server: Scripted, shell: Shell) -> None:
    server.on("POST /v1/auth", problem(401, "wrong"))
    done = shell.run("odin-auth", "-u", "bob", "-p", "nonsense")
    assert done.returncode == 4
    assert done.stderr == f'odin-auth: wrong user name or password for "bob" at {server.url}\n'


def test_where_nobody_said_who_signs_in_the_way_to_say_so_is_told(server: Scripted, shell: Shell) -> None:
    server.on("POST /v1/auth", problem(401, "wrong"))
    done = shell.run("odin-auth", "-p", "nonsense")
    assert "; with -u NAME as somebody else (the first user of a new server is whoever started it" in done.stderr
    assert done.stderr.count("\n") == 1


def test_without_a_terminal_and_a_password_there_is_one_line(server: Scripted, shell: Shell) -> None:
    done = shell.run("odin-run", "hello")
    assert done.returncode == 4
    assert "you are not signed in" in done.stderr
    assert done.stderr.count("\n") == 1
    shell.keep(server.url, token(lifetime_s=-5))
    assert "your sign-in has expired" in shell.run("odin-run", "hello").stderr
    assert server.requests == []


def test_an_expired_token_of_the_environment_is_named(server: Scripted, shell: Shell) -> None:
    done = shell.run("odin-run", "hello", ODIN_TOKEN=token(lifetime_s=-5))
    assert done.returncode == 4
    assert "the token in ODIN_TOKEN has expired" in done.stderr


def test_the_password_of_the_environment_is_used(server: Scripted, shell: Shell) -> None:
    server.on("POST /v1/auth", body({"message": token("bob")}))
    server.on("POST /v1/pipelines", LAUNCHED)
    assert shell.run("odin-run", "hello", ODIN_USERNAME="bob", ODIN_PASSWORD="secret").returncode == 0
    assert server.asked("POST /v1/auth")[0].json == {"username": "bob", "password": "secret"}


def test_another_user_named_by_flag_does_not_use_the_kept_token(server: Scripted, shell: Shell) -> None:
    shell.keep(server.url, token("ana"), "ana")
    server.on("POST /v1/auth", body({"message": token("bob")}))
    server.on("POST /v1/pipelines", LAUNCHED)
    shell.run("odin-run", "hello", "-u", "bob", "-p", "secret")
    assert len(server.asked("POST /v1/auth")) == 1


def used(server: Scripted) -> list[str]:
    """Whose tokens the launches carried."""
    return [str(read_claims(one.headers["authorization"])["sub"]) for one in server.asked("POST /v1/pipelines")]


def test_a_user_named_for_one_command_does_not_take_the_place_of_the_one_signed_in(
    server: Scripted, shell: Shell
) -> None:
    server.on("POST /v1/auth", body({"message": token("ana")}), body({"message": token("bob")}))
    server.on("POST /v1/pipelines", LAUNCHED)
    shell.run("odin-auth", "-p", "secret")
    for env in ({}, {"ODIN_USERNAME": "bob", "ODIN_PASSWORD": "secret"}, {"ODIN_USERNAME": "bob"}, {}):
        assert shell.run("odin-run", "hello", **env).returncode == 0
    assert used(server) == ["ana", "bob", "bob", "ana"]
    assert len(server.asked("POST /v1/auth")) == 2


def test_odin_auth_changes_who_commands_run_as_and_back(server: Scripted, shell: Shell) -> None:
    shell.keep(server.url, token("ana"))
    server.on("POST /v1/auth", body({"message": token("bob")}))
    server.on("POST /v1/pipelines", LAUNCHED)
    server.on("GET /v1/users/ana", body({"user": {"username": "ana"}}))
    shell.run("odin-auth", "-u", "bob", "-p", "secret")
    shell.run("odin-run", "hello")
    back = shell.run("odin-auth", "-u", "ana")
    assert back.stderr.startswith("signed in as ana until ")
    shell.run("odin-run", "hello")
    assert used(server) == ["bob", "ana"]
    assert len(server.asked("POST /v1/auth")) == 1


def test_a_token_file_of_before_goes_on_working_and_keeps_its_shape(server: Scripted, shell: Shell) -> None:
    """Programs of the version before read ``token`` and ``username``, and nothing else."""
    shell.keep(server.url, ana := token("ana"))
    server.on("POST /v1/auth", body({"message": (bob := token("bob"))}))
    server.on("POST /v1/pipelines", LAUNCHED)
    shell.run("odin-run", "hello", "-u", "bob", "-p", "secret")
    assert json.loads(shell.tokens.read_text()) == {
        server.url: {"token": ana, "username": "ana", "others": {"bob": bob}}
    }
    shell.tokens.write_text(json.dumps({server.url: {"token": ana, "username": "ana", "others": 5}}))
    assert shell.run("odin-run", "hello").returncode == 0
    assert used(server) == ["bob", "ana"]


def test_tokens_of_others_that_are_over_are_not_kept_for_ever(server: Scripted, shell: Shell) -> None:
    shell.keep(server.url, token("ana", lifetime_s=-5))
    server.on("POST /v1/auth", body({"message": token("bob")}))
    shell.run("odin-auth", "-u", "bob", "-p", "secret")
    assert "others" not in json.loads(shell.tokens.read_text())[server.url]


def test_reading_sends_a_kept_token_and_asks_for_none(server: Scripted, shell: Shell) -> None:
    server.on("GET /v1/nodes", body({"nodes": []}))
    shell.run("odin-gpus")
    shell.keep(server.url, token())
    shell.run("odin-gpus")
    assert ["authorization" in one.headers for one in server.requests] == [False, True]


def test_auth_prints_the_kept_token_while_the_server_takes_it(server: Scripted, shell: Shell) -> None:
    kept = token()
    shell.keep(server.url, kept)
    server.on("GET /v1/users/ana", body({"user": {"username": "ana"}}))
    assert shell.run("odin-auth").stdout == kept + "\n"
    server.on("GET /v1/users/ana", problem(401, "revoked"))
    server.on("POST /v1/auth", body({"message": token("ana", lifetime_s=99)}))
    assert shell.run("odin-auth", ODIN_PASSWORD="secret").stdout.strip() not in ("", kept)


def test_a_token_file_of_ones_own_is_read_and_written(server: Scripted, shell: Shell, tmp_path: Path) -> None:
    place = tmp_path / "my.token"
    given = token()
    server.on("POST /v1/auth", body({"message": given}))
    server.on("POST /v1/pipelines", LAUNCHED)
    shell.run("odin-run", "hello", "--token", str(place), ODIN_PASSWORD="secret")
    assert place.read_text() == given  # older programs send all that stands there
    assert shell.run("odin-run", "hello", ODIN_TOKEN_FILE=str(place)).returncode == 0
    assert not shell.tokens.exists()


def test_a73_the_token_file_is_private_whatever_the_umask(server: Scripted, shell: Shell) -> None:
    server.on("POST /v1/auth", body({"message": token()}))
    before = os.umask(0)
    try:
        shell.run("odin-auth", "-p", "secret")
    finally:
        os.umask(before)
    assert stat.S_IMODE(shell.tokens.stat().st_mode) == 0o600
    assert stat.S_IMODE(shell.tokens.parent.stat().st_mode) == 0o700


@pytest.mark.parametrize("fault", ["readable", "link"])
def test_a73_a_token_file_that_others_can_read_is_not_used(server: Scripted, shell: Shell, fault: str) -> None:
    shell.keep(server.url, token())
    if fault == "readable":
        shell.tokens.chmod(0o666)
    else:
        shell.tokens.rename(shell.home / "elsewhere.json")
        shell.tokens.symlink_to(shell.home / "elsewhere.json")
    refused = shell.run("odin-run", "hello")
    assert refused.returncode == 4
    assert "not used: " in refused.stderr
    assert server.requests == []

    fresh = token("ana", lifetime_s=99)
    server.on("POST /v1/auth", body({"message": fresh}))
    shell.run("odin-auth", "-p", "secret")
    assert json.loads(shell.tokens.read_text())[server.url]["token"] == fresh
    assert stat.S_IMODE(shell.tokens.lstat().st_mode) == 0o600
    assert not shell.tokens.is_symlink()


def test_a73_a_token_file_named_by_flag_that_others_can_read_is_refused(shell: Shell, tmp_path: Path) -> None:
    place = tmp_path / "my.token"
    place.write_text(token())
    place.chmod(0o644)
    done = shell.run("odin-run", "hello", "--token", str(place))
    assert done.returncode == 4
    assert f"chmod 600 {place}" in done.stderr


def test_a73_sign_ins_at_two_servers_at_once_keep_both_tokens(server: Scripted, shell: Shell) -> None:
    server.on("POST /v1/auth", body({"message": token()}))
    urls = [f"{server.url}/{number}" for number in range(6)]
    for number in range(6):
        server.on(f"POST /{number}/v1/auth", body({"message": token()}))
    starts = [threading.Thread(target=shell.run, args=("odin-auth", "-p", "x", "--host", url)) for url in urls]
    for one in starts:
        one.start()
    for one in starts:
        one.join()
    assert sorted(json.loads(shell.tokens.read_text())) == sorted(urls)


def test_a74_a_token_goes_only_to_the_server_that_gave_it(server: Scripted, shell: Shell) -> None:
    shell.keep("http://127.0.0.1:1", token())
    (shell.home / ".odin.token").write_text(token())
    (shell.home / ".odin.token").chmod(0o600)
    server.on("GET /v1/nodes", body({"nodes": []}))
    assert shell.run("odin-gpus").returncode == 0
    assert "authorization" not in server.requests[0].headers


@pytest.mark.parametrize("status", [301, 302, 307, 308])
def test_a74_a_redirect_is_not_followed(server: Scripted, shell: Shell, status: int) -> None:
    shell.keep(server.url, token())
    server.on("GET /v1/nodes", body(b"", status, Location=f"{server.url}/elsewhere"))
    done = shell.run("odin-gpus")
    assert done.returncode == 5
    assert "redirects to" in done.stderr
    assert [one.path for one in server.requests] == ["/v1/nodes"]


def test_a74_proxies_and_netrc_are_not_used(server: Scripted, shell: Shell) -> None:
    (shell.home / ".netrc").write_text("machine 127.0.0.1 login x password y\n")
    server.on("GET /v1/ping", body("pong"))
    done = shell.run("odin-ping", http_proxy="http://127.0.0.1:1", HTTP_PROXY="http://127.0.0.1:1")
    assert done.returncode == 0
    assert "authorization" not in server.requests[0].headers


def test_ctrl_c_at_the_prompt_leaves_a_terminal_that_echoes(typist: Typist) -> None:
    child = typist.start("odin-auth")
    child.expect_exact("odin password: ")
    child.send("sec")
    child.expect_exact("***")
    child.sendintr()
    assert ends(child) == 130
    assert "Traceback" not in child.before
