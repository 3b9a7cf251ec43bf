"""git's own program against the mount: who may clone and push, with what."""

import os
import subprocess

import pytest

GOOD = "tasks:\n  - name: fetch\n    command: python\n"
BROKEN = "tasks:\n  - name: fetch\n    comand: python\n"


def git(*args, cwd, check=True):
    env = {
        "PATH": os.environ["PATH"], "HOME": str(cwd), "GIT_TERMINAL_PROMPT": "0", "GIT_CONFIG_NOSYSTEM": "1",
        "GIT_AUTHOR_NAME": "Forged", "GIT_AUTHOR_EMAIL": "x@y", "GIT_COMMITTER_NAME": "F", "GIT_COMMITTER_EMAIL": "x@y",
    }  # fmt: skip
    done = subprocess.run(["git", *args], cwd=cwd, env=env, capture_output=True, text=True, timeout=60)
    assert not check or done.returncode == 0, done.stderr
    return done


@pytest.fixture
def server(listening):
    server = listening()
    server.house.push("one", "fetch")
    return server


def url(server, name, password=None):
    from urllib.parse import quote

    secret = quote(password or f"{name}'s long password", safe="")
    return f"http://{name}:{secret}@127.0.0.1:{server.port}/git/jobs.git"


def clone(server, tmp_path, name, password=None):
    return git("clone", "-q", url(server, name, password), "work", cwd=tmp_path, check=False)


def commit(tmp_path, content):
    work = tmp_path / "work"
    (work / "two").mkdir(exist_ok=True)
    (work / "two" / "main.yml").write_text(content)
    git("add", "-A", cwd=work)
    git("commit", "-qm", "x", cwd=work)
    return work


@pytest.mark.parametrize("name", ["vera", "edda", "ada"])
def test_every_user_may_clone_with_a_password_or_a_token(server, tmp_path, name):
    assert clone(server, tmp_path, name).returncode == 0
    assert (tmp_path / "work" / "one" / "main.yml").exists()
    (tmp_path / "b").mkdir()
    assert clone(server, tmp_path / "b", name, server.house.token(name)).returncode == 0


def test_a41_nobody_clones_without_a_name_even_where_reads_are_open(listening, tmp_path):
    server = listening(flags={"anonymous_read": "on"})
    done = git("clone", f"http://127.0.0.1:{server.port}/git/jobs.git", "work", cwd=tmp_path, check=False)
    assert done.returncode != 0
    assert clone(server, tmp_path, "vera", "wrong password").returncode != 0
    assert clone(server, tmp_path, "vera", server.house.token("ada")).returncode != 0


def test_an_editor_pushes_and_a_viewer_does_not(server, tmp_path):
    clone(server, tmp_path, "edda")
    work = commit(tmp_path, GOOD)
    refused = git("push", url(server, "vera"), "HEAD:main", cwd=work, check=False)
    assert refused.returncode != 0
    assert "403" in refused.stderr
    git("push", url(server, "edda"), "HEAD:main", cwd=work)
    assert "two" in server.house.repository.jobs()


def test_a_push_of_a_broken_job_is_refused_with_its_place(server, tmp_path):
    clone(server, tmp_path, "edda")
    work = commit(tmp_path, BROKEN)
    refused = git("push", "origin", "HEAD:main", cwd=work, check=False)
    assert refused.returncode != 0
    assert "two/main.yml:3:5" in refused.stderr


def test_a47_a_token_that_was_ended_pushes_nothing(server, tmp_path):
    import time

    from odin.model.users import Role
    from odin.store.users import Change

    clone(server, tmp_path, "edda")
    work = commit(tmp_path, GOOD)
    token = server.house.token("edda")
    time.sleep(0.002)
    server.house.users.change("edda", Change(role=Role.ADMIN))
    server.loop.call_soon_threadsafe(server.house.odin.accounts.forget, server.house.users.get("edda").uid)
    assert git("push", url(server, "edda", token), "HEAD:main", cwd=work, check=False).returncode != 0
    git("push", url(server, "edda"), "HEAD:main", cwd=work)
