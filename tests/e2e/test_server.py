"""Starting, checking and stopping ``odin-serve``; what it lets in and what it keeps to itself."""

from __future__ import annotations

import contextlib
import os
import re
import signal
import socket
import stat
import subprocess
import time
from pathlib import Path

import pexpect
import pytest

from e2e.serving import BIN, DEADLINE_S, PASSWORD, USER, Api, Serving, sign_in, until

pytestmark = pytest.mark.filterwarnings("ignore:This process.*multi-threaded:DeprecationWarning")  # pexpect's fork


@pytest.fixture
def another(fresh):
    """More installs for a test that compares them."""
    with contextlib.ExitStack() as stack:

        def make(**settings):
            serving = Serving(settings)
            stack.callback(serving.close)
            return serving

        yield make


def check(serving, *flags):
    serving.port = serving.port or 9003
    process = serving.popen("--check", *flags, output=subprocess.PIPE)
    out, _ = process.communicate()
    return process.returncode, out.decode()


# ---- starting ------------------------------------------------------------------------------------------------------


def test_check_prints_every_setting_and_where_it_is_from_and_starts_nothing(fresh):
    (fresh.folder / "odin.toml").write_text("local_cpus = 3\nlog_level = 'debug'\n")
    fresh.settings["CONFIG"] = str(fresh.folder / "odin.toml")
    code, shown = check(fresh)
    rows = {line.split()[0]: line.split()[1:] for line in shown.splitlines()}
    assert code == 0
    assert rows["ODIN_PORT"] == ["9003", "--port"]
    assert rows["ODIN_LOCAL_CPUS"] == ["16", "ODIN_LOCAL_CPUS"]
    assert rows["ODIN_LOG_LEVEL"][0] == "debug"
    assert rows["ODIN_LOG_LEVEL"][1].endswith("odin.toml:2")
    assert rows["ODIN_HOST"] == ["127.0.0.1", "default"]
    assert PASSWORD not in shown
    assert not fresh.data.exists()


def test_check_names_every_setting_that_is_wrong(fresh):
    fresh.settings |= {"PROT": "1", "LOCAL_CPUS": "many", "SECRET": "short"}
    code, shown = check(fresh)
    assert code == 8
    assert "did you mean ODIN_PORT?" in shown
    assert "ODIN_LOCAL_CPUS" in shown


@pytest.mark.parametrize("secret", ["", "a", "secret", "x" * 31])
def test_a46_a_short_secret_is_refused(fresh, secret):
    fresh.settings["SECRET"] = secret or " "
    process = fresh.popen()
    assert process.wait() == 8
    assert "ODIN_SECRET" in fresh.said()


def test_a46_two_fresh_installs_differ_in_secret_password_and_tokens(another):
    installs = [another().start() for _ in range(2)]
    secrets = [sorted(path.read_bytes() for path in (one.data / "secrets").iterdir()) for one in installs]
    assert all(secrets)
    assert not set(secrets[0]) & set(secrets[1])
    modes = {stat.S_IMODE(path.stat().st_mode) for one in installs for path in (one.data / "secrets").iterdir()}
    assert modes == {0o600}
    assert {stat.S_IMODE(one.data.stat().st_mode) for one in installs} == {0o700}
    first, second = installs
    token = sign_in(first.port, USER, PASSWORD)
    assert Api(first.port, token).ask("GET", "/v1/users").status == 200
    assert Api(second.port, token).ask("GET", "/v1/users").status == 401


def test_a46_without_a_given_password_each_install_makes_a_random_one(another):
    installs = [another(ROOT_PASS="").start() for _ in range(2)]
    paths = [one.data / "secrets" / "first-admin-password" for one in installs]
    passwords = [path.read_text().strip() for path in paths]
    assert passwords[0] != passwords[1]
    assert min(map(len, passwords)) >= 16
    first = installs[0]
    assert sign_in(first.port, USER, passwords[0])
    for guess in ("admin", USER, "password", "odin", "", passwords[1]):
        assert Api(first.port).ask("POST", "/v1/auth", {"username": USER, "password": guess}).status != 200
    assert str(paths[0]) in first.said()
    assert passwords[0] not in first.said(), "a log is no place for it"


def test_a46_on_a_terminal_the_random_password_is_shown_once(fresh):
    fresh.settings["ROOT_PASS"] = ""
    shown = on_a_terminal(fresh)
    (password,) = re.findall(r"password (\S+) \(shown once\)", shown)
    assert (fresh.data / "secrets" / "first-admin-password").read_text().strip() == password
    assert password not in on_a_terminal(fresh)


def on_a_terminal(odin):
    """What a server prints on a terminal until it is told to stop."""
    words = ["--port", "0", "--data", str(odin.data)]
    child = pexpect.spawn(str(BIN / "odin-serve"), words, env=odin.environment(), encoding="utf-8", timeout=DEADLINE_S)
    child.expect(r"serves http://127.0.0.1:(\d+)")
    port = int(child.match[1])
    until(lambda: ready(port))
    child.kill(signal.SIGTERM)
    rest = child.read()
    child.close()
    return rest


def test_a105_listening_beyond_loopback_with_the_local_executor_is_refused(fresh):
    fresh.port = 9003
    process = fresh.popen("--host", "0.0.0.0")
    assert process.wait() == 8
    assert "ODIN_TASK_USER" in fresh.said()
    assert "ODIN_ALLOW_REMOTE_LOCAL=yes" in fresh.said()
    assert check(fresh, "--host", "0.0.0.0")[0] == 8


def test_a105_it_is_accepted_when_the_operator_says_so_and_reads_need_a_token_then(fresh):
    fresh.settings |= {"ALLOW_REMOTE_LOCAL": "yes", "HOST": "0.0.0.0"}
    fresh.start()
    assert Api(fresh.port).ask("GET", "/v1/pipelines").status == 401
    assert fresh.api().ask("GET", "/v1/pipelines").status == 200


def test_a105_the_start_says_that_tasks_run_as_this_user(fresh):
    assert "tasks run as processes of this user" in fresh.start().said()


# ---- one server for a data folder ----------------------------------------------------------------------------------


def test_f15_of_two_servers_started_at_once_exactly_one_serves(fresh):
    fresh.port = 0
    for turn in range(4):
        rivals = [rival(fresh, turn, number) for number in range(2)]
        try:
            judge(rivals)
        finally:
            for process, _ in rivals:
                process.terminate()
                process.wait()


def judge(rivals):
    until(lambda: all(map(decided, rivals)), told=lambda: [log.read_text() for _, log in rivals])
    (server, port), (loser, refusal) = sorted(map(decided, rivals), key=lambda one: isinstance(one[1], str))
    assert loser.wait() == 9
    assert f"process {server.pid} on {socket.gethostname()}" in refusal
    assert "Traceback" not in refusal
    assert until(lambda: ready(port))


def rival(fresh, turn, number):
    """A server and its log; the second one of a turn starts a little later each time."""
    time.sleep(0.05 * turn * number)
    log = fresh.folder / f"log{turn}{number}"
    with log.open("wb") as output:
        return fresh.popen(output=output), log


def decided(rival):
    """The process, and the port that it serves or the words with which it ended; None before."""
    process, log = rival
    ended = process.poll() is not None
    said = log.read_text()
    greeting = re.search(r"serves http://127.0.0.1:(\d+)", said)
    return (process, said) if ended else (process, int(greeting[1])) if greeting else None


def ready(port):
    with contextlib.suppress(OSError):
        return Api(port).ask("GET", "/readyz").status == 200


def test_f15_the_lock_of_a_dead_server_is_taken(fresh):
    fresh.start()
    fresh.kill()
    assert fresh.start().alive


def test_a_taken_port_is_named(odin, fresh):
    fresh.port = odin.port
    process = fresh.popen()
    assert process.wait() == 9
    assert "in use" in fresh.said()
    assert len(fresh.said().splitlines()) == 1


# ---- who gets in ---------------------------------------------------------------------------------------------------


def test_a41_the_server_listens_on_its_port_and_nowhere_else(odin):
    sockets = {os.readlink(path) for path in Path(f"/proc/{odin.process.pid}/fd").iterdir()}
    listening = set()
    for table in ("tcp", "tcp6"):
        for line in Path(f"/proc/net/{table}").read_text().splitlines()[1:]:
            fields = line.split()
            if fields[3] == "0A" and f"socket:[{fields[9]}]" in sockets:
                listening.add((table, fields[1]))
    assert listening == {("tcp", f"0100007F:{odin.port:04X}")}


def test_a41_whatever_changes_something_needs_a_token(odin):
    nobody, forged = Api(odin.port), Api(odin.port, "eyJhbGciOiJub25lIn0.eyJzdWIiOiJhZGEifQ.")
    document = nobody.get("/v1/openapi.json")
    asked = 0
    for path, methods in document["paths"].items():
        for method in methods:
            if method.upper() in ("GET", "HEAD") or path == "/v1/auth":
                continue
            asked += 1
            place = re.sub(r"\{\w+\}", "x", path)
            assert nobody.ask(method.upper(), place, {}).status == 401, (method, path)
            assert forged.ask(method.upper(), place, {}).status == 401, (method, path)
    assert asked >= 12


def test_a41_git_is_never_anonymous(odin):
    for path in ("info/refs?service=git-upload-pack", "info/refs?service=git-receive-pack", "HEAD", "config"):
        answer = Api(odin.port).ask("GET", f"/git/jobs.git/{path}")
        assert answer.status in (401, 404), path
    person = odin.person()
    assert person.git("clone", f"{odin.url}/git/jobs.git", str(person.home / "x"), code=128, password="wrong").err


# ---- the token's file ----------------------------------------------------------------------------------------------


def sign(person, **environment):
    return person.run("odin-auth", env={"ODIN_PASSWORD": PASSWORD, **environment})


def test_a73_the_tokens_file_is_private_whatever_the_umask(odin):
    person = odin.person()
    program = f"umask 0; exec {BIN}/odin-auth"
    person.run("sh", "-c", program, env={"ODIN_PASSWORD": PASSWORD})
    folder = person.home / ".config/odin"
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    assert {stat.S_IMODE(path.stat().st_mode) for path in folder.iterdir()} == {0o600}


def test_a73_a_file_that_others_can_read_is_not_used_and_not_filled(odin):
    person = odin.person()
    folder = person.home / ".config/odin"
    folder.mkdir(parents=True)
    path = folder / "tokens.json"
    path.write_text("{}")
    path.chmod(0o666)
    token = sign(person).line
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert token in path.read_text()
    path.chmod(0o644)
    refused = person.run("odin-create", "x73", code=4)
    assert "other users can read" in refused.err


def test_a73_a_link_in_the_place_of_the_file_gets_no_token(odin):
    person = odin.person()
    folder = person.home / ".config/odin"
    folder.mkdir(parents=True)
    target = person.home / "elsewhere"
    target.write_text("{}")
    (folder / "tokens.json").symlink_to(target)
    token = sign(person).line
    assert token not in target.read_text()


def test_a73_a_token_never_goes_to_another_server(odin, another):
    other = another().start()
    person = odin.person()
    sign(person)
    assert "no terminal" in person.run("odin-create", "x", "--port", str(other.port), code=4).err


# ---- stopping ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_f07_an_idle_server_ends_with_0_when_told(fresh, number):
    fresh.start()
    runner = until(lambda: fresh.runner)
    fresh.process.send_signal(number)
    assert fresh.gone() == 0
    until(lambda: not Path(f"/proc/{runner}").exists())
