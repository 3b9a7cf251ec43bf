"""The Dockerfile: its build steps by hand, since no container engine need be here, and Odin under the image's conditions:
another user, nothing writable but the volumes."""

from __future__ import annotations

import contextlib
import json
import os
import re
import shlex
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import urllib.error
import urllib.request
from collections.abc import Iterator
from fnmatch import fnmatch
from pathlib import Path

import pytest

from e2e.serving import until
from odin import __version__

pytestmark = pytest.mark.xdist_group("image")  # what they share takes long to make

ROOT = Path(__file__).parents[2]
TEXT = re.sub(r"^#.*\n", "", (ROOT / "Dockerfile").read_text(), flags=re.M).replace("\\\n", " ")
STEPS = [tuple(line.split(maxsplit=1)) for line in TEXT.splitlines() if line.strip()]
BUILD = STEPS[: [word for word, _ in STEPS].index("FROM", 2)]
COPIED = [source for word, rest in BUILD if word == "COPY" for source in shlex.split(rest)[:-1]]
UID = 10001
PYTHON = Path(sys.base_prefix) / "bin" / Path(sys.executable).resolve().name
PASSWORD = "a horse in the rain"
OPEN = urllib.request.build_opener(urllib.request.ProxyHandler({})).open  # no proxy to this machine itself


def ignored(path: str) -> bool:
    """Whether .dockerignore, whose last matching line counts, leaves the path out."""
    out = False
    for line in (ROOT / ".dockerignore").read_text().splitlines():
        pattern = line.removeprefix("!").removeprefix("**/")
        if pattern and not line.startswith("#") and (fnmatch(path, pattern) or path.startswith(f"{pattern}/")):
            out = not line.startswith("!")
    return out


def test_everything_that_the_image_copies_is_there_and_sent():
    assert "src" in COPIED
    assert [source for source in COPIED if not (ROOT / source).exists() or ignored(source)] == []
    assert [name for name in (".git", ".venv", "tests", "deploy", "testing") if not ignored(name)] == []


def test_every_package_of_the_image_is_pinned_by_hash():
    steps = [part for word, rest in BUILD if word == "RUN" for part in rest.split("&&")]
    installs = [step for step in steps if "pip" in step and " install " in step]
    assert len(installs) == 3
    assert [step for step in installs if "--require-hashes" not in step and "--no-deps --no-index" not in step] == []


def test_the_image_is_not_roots_and_starts_the_server():
    last = dict(STEPS[len(BUILD) :])
    assert last["USER"] == f"{UID}:{UID}"
    assert last["ENTRYPOINT"] == '["tini", "--", "odin-serve"]'
    assert f"--uid {UID} --gid {UID}" in last["RUN"]
    assert " git " in last["RUN"]


def test_the_image_is_built_and_checks_its_settings():
    program = shutil.which("docker")
    if program is None or subprocess.run([program, "info"], capture_output=True).returncode:
        pytest.skip("not run here: docker build and docker run, there is no container engine")
    tag = f"odin:{__version__}"
    subprocess.run([program, "build", "--quiet", "--tag", tag, str(ROOT)], check=True)
    run = [program, "run", "--rm", "--read-only", "--cap-drop=ALL", "--tmpfs=/tmp", tag, "--check"]
    done = subprocess.run(run, capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")


# ---- the same steps by hand --------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def folder() -> Iterator[Path]:
    """One that others may pass, as they may not those of pytest."""
    made = Path(tempfile.mkdtemp(prefix="odin-image-"))
    made.chmod(0o755)
    try:
        yield made
    finally:
        shutil.rmtree(made)


@pytest.fixture(scope="module")
def opt(folder: Path) -> Path:
    """What the build stage makes in /opt, made by its own commands elsewhere."""
    if subprocess.run([PYTHON, "-m", "pip", "--version"], capture_output=True).returncode:
        pytest.skip("not run here: the image's build steps, this Python has no pip")
    for name in COPIED:
        copy(ROOT / name, folder / "src" / name)
    settings = dict(pair.split("=", 1) for word, rest in BUILD if word == "ENV" for pair in shlex.split(rest))
    for command in [rest for word, rest in BUILD if word == "RUN"]:
        build(command, folder, {**os.environ, **settings})
    return folder / "opt"


def copy(source: Path, target: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    if source.is_dir():
        shutil.copytree(source, target, ignore=shutil.ignore_patterns("__pycache__"))
    else:
        shutil.copy(source, target)


def build(command: str, folder: Path, environment: dict[str, str]) -> None:
    command = command.replace("/opt/", f"{folder}/opt/")
    command = re.sub(
        r"\bpython -m ", f"{PYTHON} -m ", re.sub(r"\bpip --python ", f"{PYTHON} -m pip --python ", command)
    )
    done = subprocess.run(["sh", "-ec", command], cwd=folder / "src", env=environment, capture_output=True, text=True)
    assert done.returncode == 0, f"{command}\n{done.stdout}{done.stderr}"


@pytest.fixture
def volume(folder: Path) -> Path:
    """All that Odin may write in, and its own."""
    made = Path(tempfile.mkdtemp(prefix="volume", dir=folder))
    (made / "tmp").mkdir()
    if os.geteuid() == 0:
        for each in (made, made / "tmp"):
            os.chown(each, UID, UID)
    return made


def contained(opt: Path, volume: Path) -> tuple[list[str], dict[str, str]]:
    """How to start a program of the image: as its user, with the whole file system but ``volume`` read-only.

    The user may read everything, because the Python of this machine may lie in somebody's home; in the image it does not.
    """
    if os.geteuid() != 0 or not shutil.which("setpriv") or not shutil.which("unshare"):
        pytest.skip("not run here: the server as another user on a read-only file system, which takes root on Linux")
    user = f"exec setpriv --reuid={UID} --regid={UID} --clear-groups --bounding-set=-all,+dac_read_search"
    user += " --inh-caps=-all,+dac_read_search --ambient-caps=-all,+dac_read_search"
    script = f'mount --bind "$0" "$0" && cd "$0" && mount -o remount,bind,ro / && {user} "$@"'
    environment = {
        "PATH": f"{opt}/odin/bin:/usr/local/bin:/usr/bin:/bin",
        "HOME": str(volume),
        "TMPDIR": str(volume / "tmp"),
        "PYTHONDONTWRITEBYTECODE": "1",
        "ODIN_DATA": str(volume / "data"),
        "ODIN_SHARED": str(volume / "shared"),
    }
    return [
        "unshare",
        "--mount",
        "--pid",
        "--fork",
        "--mount-proc",
        "--kill-child",
        "sh",
        "-ec",
        script,
        str(volume),
    ], environment


def test_the_build_steps_make_an_installation_that_runs_read_only_as_another_user(opt, volume):
    inside, environment = contained(opt, volume)
    done = subprocess.run([*inside, "odin-serve", "--check"], env=environment, capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")
    assert re.search(rf"^ODIN_DATA +{volume}/data +ODIN_DATA$", done.stdout, re.M)
    tried = [*inside, "sh", "-c", f"id -u; touch {opt}/x || touch /x || echo closed"]
    assert subprocess.run(tried, env=environment, capture_output=True, text=True).stdout == f"{UID}\nclosed\n"


def test_the_same_installation_is_the_agent_of_a_node(opt, volume):
    inside, environment = contained(opt, volume)
    agent = [*inside, "odin-midgard", "--once", "--node", "n1"]
    done = subprocess.run(agent, env=environment, capture_output=True, text=True)
    assert (done.returncode, json.loads(done.stdout)["node"]) == (0, "n1"), done.stderr


def test_the_installation_serves_git_and_stops_when_told(opt, volume):
    inside, environment = contained(opt, volume)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    environment |= {"ODIN_PORT": str(port), "ODIN_ROOT_USER": "admin", "ODIN_ROOT_PASS": PASSWORD}
    with serving([*inside, "odin-serve"], environment) as server:
        until(lambda: ready(port) or server.poll())
        address = f"http://admin:{PASSWORD.replace(' ', '%20')}@127.0.0.1:{port}/git/jobs.git"
        done = subprocess.run(
            ["git", "ls-remote", address], capture_output=True, text=True, env={"PATH": os.environ["PATH"]}
        )
        assert (done.returncode, "refs/heads/main" in done.stdout) == (0, True), done.stderr


@contextlib.contextmanager
def serving(command: list[str], environment: dict[str, str]) -> Iterator[subprocess.Popen]:
    """Process 1 gets TERM, as from a kubelet, and ends with 0; the rest goes with it, as in a container."""
    process = subprocess.Popen(command, env=environment)
    try:
        yield process
        first = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text()
        os.kill(int(first), signal.SIGTERM)
        assert process.wait(60) == 0
    finally:
        process.kill()
        process.wait()


def ready(port: int) -> bool:
    try:
        with OPEN(f"http://127.0.0.1:{port}/readyz", timeout=5) as answer:
            return answer.status == 200
    except (urllib.error.URLError, OSError):
        return False
