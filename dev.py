#!/usr/bin/env python3
"""Everything a developer or CI does with Odin, by the standard library alone: ``python3 dev.py WORD``.

    demo        start a server, push and run examples/digits, show what came of it, stop
    test        install and run the tests; what follows goes to pytest: dev.py test -k graph
    test-kubernetes  the tests of tests/kubernetes, on the cluster of KUBECONFIG or one of their own
    simulate    seeded schedules of crashes and faults, ODIN_SEEDS of them; simulate --seed N replays one
    chaos       everything broken while pipelines run, and the rows of the scoreboard; chaos --help
    lint        formatting, rules, types and import contracts
    cover       the tests with coverage of model and engine, which must reach 95 %
    screens     pictures of what the commands show in a real terminal, in test-output/screens
    bench       the benchmarks of a minute; bench-all runs the rest too
    rows        which failure and attack rows have a test
    up          install, then odin-serve with what follows; ends with Ctrl-C
    install     install into .venv, nothing if all is there; install postgresql kubernetes: with what these need
    fmt         format the sources
    lock        write the lock files of requirements/ anew
    clean       remove what these words made

It needs Python 3.11 with pip, and git. Everything else goes into .venv, pinned by hash.
"""

# ruff: noqa: S606, UP036 - becomes the server; says so on an older Python
import difflib
import hashlib
import json
import os
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from pathlib import Path

ROOT = Path(__file__).resolve().parent
VENV = ROOT / ".venv"
BIN = VENV / "bin"
PYTHON = BIN / "python"
STAMP = VENV / "odin-installed.json"
LOCKS = ROOT / "requirements"
MADE = (".venv", ".pytest_cache", ".mypy_cache", ".ruff_cache", ".hypothesis", ".import_linter_cache",
        ".coverage", "htmlcov", "dist", "build", "demo-output", "test-output", ".bench")  # fmt: skip
EXTRAS = ("kubernetes", "postgresql")
CODE = ["src", "testing/src", "tests", "examples", "benchmarks", "dev.py"]
MODEL_AND_ENGINE = ["--cov=odin.model", "--cov=odin.engine", "--cov-branch", "--cov-fail-under=95"]
READY_WITHIN_S = 60.0
OPEN = urllib.request.build_opener(urllib.request.ProxyHandler({})).open  # no proxy to this machine itself


def say(sentence):
    print(f"dev.py: {sentence}", flush=True)


def stop(sentence):
    sys.exit(f"dev.py: {sentence}")


def call(*command, **options):
    """Run a program from the repository's root; end with its exit code if it fails."""
    code = subprocess.run([str(word) for word in command], cwd=ROOT, **options).returncode
    if code:
        say(f"{Path(str(command[0])).name} ended with {code}")
        sys.exit(code)


def call_quietly(*command):
    """As ``call``, but what the program prints is shown only when it fails."""
    done = subprocess.run([str(word) for word in command], cwd=ROOT, text=True, capture_output=True)
    if done.returncode:
        print(done.stdout, done.stderr, sep="", file=sys.stderr)
        sys.exit(done.returncode)


# ---- installing ------------------------------------------------------------------------------------------------


def demand(*, pip):
    """Name what is missing with the one line that brings it."""
    if sys.version_info < (3, 11):
        stop(f"Odin needs Python 3.11 or newer and this is {sys.version.split()[0]}: apt-get install python3")
    missing = [] if shutil.which("git") else ["git"]
    if pip and subprocess.run([sys.executable, "-m", "pip", "--version"], capture_output=True).returncode:
        missing.append("python3-pip")
    if missing:
        stop(f"{' and '.join(missing)} missing: apt-get update && apt-get install -y {' '.join(missing)}")


def state(locks):
    """What an installation of these locks is made of; another hash means that something changed."""
    digest = hashlib.sha256(sys.version.encode())
    parts = [ROOT / "pyproject.toml", ROOT / "testing/pyproject.toml", *(LOCKS / f"{lock}.txt" for lock in locks)]
    for path in parts:
        digest.update(path.read_bytes())
    return {"locks": sorted(locks), "hash": digest.hexdigest()}


def installed():
    try:
        return json.loads(STAMP.read_text())
    except (OSError, ValueError):
        return {"locks": []}


def install(*wanted):
    """Bring .venv to the locks wanted and those it has already; instantly done if nothing changed."""
    locks = sorted({"build", "server", *wanted, *installed()["locks"]})
    current = installed() == state(locks)
    demand(pip=not current and not (BIN / "uv").exists())
    if not current:
        make_venv()
        fill_venv(locks)
        STAMP.write_text(json.dumps(state(locks)))
    subprocess.run([PYTHON, "-m", "compileall", "-q", "src", "testing/src"], cwd=ROOT, check=True)


def install_extras(*extras):
    if unknown := [extra for extra in extras if extra not in EXTRAS]:
        say(f'there is no extra "{unknown[0]}"; there are {" and ".join(EXTRAS)}')
        sys.exit(2)
    install(*extras)


def make_venv():
    if (
        PYTHON.exists()
        and subprocess.run([PYTHON, "-c", "import sys; sys.exit(sys.version_info < (3, 11))"]).returncode
    ):
        say("the .venv there is of no use; making a new one")
        shutil.rmtree(VENV)
    if not PYTHON.exists():
        say("making .venv")
        call(sys.executable, "-m", "venv", "--without-pip", VENV)
    if not (BIN / "uv").exists():
        say("installing uv, the installer, into it")
        pip = [
            sys.executable,
            "-m",
            "pip",
            "--python",
            PYTHON,
            "install",
            "--quiet",
            "--no-deps",
            "--only-binary=:all:",
        ]
        call(*pip, "--require-hashes", "-r", LOCKS / "uv.txt")


def fill_venv(locks):
    say(f"installing the packages of {', '.join(f'requirements/{lock}.txt' for lock in locks)}, pinned by hash")
    pip = [BIN / "uv", "pip"]
    common = ["-q", "--python", PYTHON]
    files = [LOCKS / f"{lock}.txt" for lock in ("uv", *locks)]
    call(*pip, "sync", *common, "--require-hashes", "--compile-bytecode", *files, env=uv_environment())
    say("installing Odin itself from this folder")
    own = ["-e", ".", *(["-e", "testing"] if "dev" in locks else [])]
    call(*pip, "install", *common, "--no-deps", "--no-build-isolation", *own, env=uv_environment())


def uv_environment():
    """uv does not read pip's settings: hand over the index that pip is set to, and load no Python."""
    environment = {**os.environ, "UV_PYTHON_DOWNLOADS": "never", "UV_NO_CONFIG": "1"}
    index = (
        os.environ.get("PIP_INDEX_URL")
        or subprocess.run(
            [sys.executable, "-m", "pip", "config", "get", "global.index-url"], capture_output=True, text=True
        ).stdout.strip()
    )
    if index:
        environment.setdefault("UV_DEFAULT_INDEX", index)
    return environment


# ---- words -----------------------------------------------------------------------------------------------------


def test(*words):
    install("dev", "demo")
    spread = [] if any(word.startswith("-n") for word in words) else ["-n", "2"]
    # Nothing is said after pytest's closing line.
    sys.exit(subprocess.run([PYTHON, "-m", "pytest", *spread, *words], cwd=ROOT).returncode)


def test_kubernetes(*words):
    """On a control plane of our own where KUBECONFIG names none; its nodes run pods as processes of this machine."""
    install("dev", "demo")
    if os.environ.get("KUBECONFIG"):
        sys.exit(_test_cluster(words, disruptive=False))
    program = ROOT.parent / "shared/kube/cluster"
    if not program.exists():
        stop("KUBECONFIG names no cluster, and there is none to bring up beside this folder")
    folder = Path(tempfile.mkdtemp(prefix="odin-kube-"))
    # Not its default ports, so that another one may run beside it.
    own = {"PORT": str(17_000 + 40 * (os.getpid() % 60)), "PYTHON": str(PYTHON), "KUBE_RUN": str(folder)}
    os.environ.update(own)
    say("bringing a control plane up; the first time on a machine it is compiled, for 10 to 15 minutes")
    try:
        call("bash", program, "up", stdout=subprocess.DEVNULL)
        call("bash", program, "stop", "node-1")
        node = ["--cpu", "64", "--memory", "256Gi", "--pods", "1000", "--gpus", "4"]
        node += ["--status-seconds", "5"]  # it is ready again soon after the API server was away
        if os.geteuid() == 0:  # it takes root to have volumes at their paths
            tools = folder / "tools"
            tools.mkdir()
            node += ["--mount-namespaces", "--path", f"{tools}:{BIN}:/usr/local/bin:/usr/bin:/bin"]
            os.environ["ODIN_TEST_NODE_TOOLS"] = str(tools)
        call("bash", program, "node", "node-1", *node)
        cache = Path(os.environ.get("KUBE_CACHE") or Path.home() / ".cache/odin-kube")
        os.environ["PATH"] += f":{cache / 'bin'}"
        os.environ |= {"KUBECONFIG": str(folder / "kubeconfig"), "ODIN_TEST_CONTROL_PLANE": str(program)}
        sys.exit(_test_cluster(words, disruptive=not words))
    finally:
        subprocess.run(["bash", program, "down"])
        shutil.rmtree(folder, ignore_errors=True)


def _test_cluster(words, *, disruptive):
    """Side by side what can be, most of which is waiting; then, alone, what stops parts of the control plane."""
    pytest = [PYTHON, "-m", "pytest", *(words or ["tests/kubernetes"])]
    spread = [] if any(word.startswith("-n") for word in words) else ["-n", "3", "--dist", "loadgroup"]
    marked = ["-m", "not disruptive"] if disruptive else []
    code = subprocess.run([*pytest, *spread, *marked], cwd=ROOT).returncode
    if disruptive and code == 0:
        code = subprocess.run([*pytest, "-n", "0", "-m", "disruptive"], cwd=ROOT).returncode
        code = 0 if code == 5 else code  # no tests collected
    return code


def simulate(*words):
    run_from_tests("simulation", words)


def chaos(*words):
    run_from_tests("chaos", words)


def run_from_tests(module, words):
    install("dev")
    path = os.pathsep.join([str(ROOT / "tests"), *filter(None, [os.environ.get("PYTHONPATH")])])
    call(PYTHON, "-m", module, *words, env=os.environ | {"PYTHONPATH": path})


def screens(*words):
    programs = {"xterm": "xterm", "Xvfb": "xvfb"}
    missing = [package for program, package in programs.items() if not shutil.which(program)]
    if missing:
        stop(f"{' and '.join(missing)} missing: apt-get update && apt-get install -y xvfb xterm fonts-dejavu-core")
    say(f"the pictures will be in {ROOT / 'test-output/screens'}")
    test("tests/e2e/test_screens.py", *words)


def cover(*words):
    test("tests/unit", "tests/integration", *MODEL_AND_ENGINE, "--cov-report=term-missing:skip-covered", *words)


def lint():
    install("dev")
    code = [name for name in CODE if (ROOT / name).exists()]
    call(BIN / "ruff", "check", "--quiet", *code)
    call(BIN / "ruff", "format", "--quiet", "--check", *code)
    call_quietly(BIN / "lint-imports", "--no-cache")
    call(BIN / "mypy", "--no-error-summary")
    say("lint finds nothing")


def fmt():
    install("dev")
    code = [name for name in CODE if (ROOT / name).exists()]
    call(BIN / "ruff", "check", "--fix", *code)
    call(BIN / "ruff", "format", *code)


def bench(*words):
    install()
    call(PYTHON, "benchmarks/run.py", *words)


def rows(*words):
    call(sys.executable, "tests/rows.py", *words)


def lock():
    """Each lock agrees with the ones before it; pyproject.toml is the server's list."""
    install()
    sources = {
        name: f"requirements/{name}.in" for name in ("uv", "build", "server", "kubernetes", "postgresql", "dev", "demo")
    }
    sources["server"] = "pyproject.toml"
    compile_ = [BIN / "uv", "pip", "compile", "-q", "--upgrade", "--generate-hashes", "--universal"]
    compile_ += ["--python-version", "3.11", "--no-emit-index-url", "--no-annotate", "--no-header"]
    done = []
    for name, source in sources.items():
        file = LOCKS / f"{name}.txt"
        agree = [word for other in done for word in ("-c", other)]
        call(*compile_, source, *agree, "-o", file, env=uv_environment(), stdout=subprocess.DEVNULL)
        file.write_text(f"# Made from {source} by: python3 dev.py lock\n{file.read_text()}")
        done.append(file)
        say(f"wrote {file.relative_to(ROOT)}")


def up(*words):
    install()
    say("starting odin-serve; Ctrl-C ends it")
    os.execv(BIN / "odin-serve", ["odin-serve", *words])


def clean():
    for name in MADE:
        path = ROOT / name
        if path.is_dir():
            shutil.rmtree(path)
        else:
            path.unlink(missing_ok=True)
    for cache in ROOT.glob("*/**/__pycache__"):
        shutil.rmtree(cache, ignore_errors=True)


# ---- the demo --------------------------------------------------------------------------------------------------


def demo():
    """A server of its own in a folder of its own; nothing of yours is read or changed."""
    install("demo")
    folder = Path(tempfile.mkdtemp(prefix="odin-demo-"))
    environment = demo_environment(folder)
    say(f"starting odin-serve on {environment['ODIN_URL']} with its data in {folder}")
    log = folder / "server.log"
    with log.open("wb") as output:
        server = subprocess.Popen([BIN / "odin-serve"], env=environment, stdout=output, stderr=output)
    try:
        wait_until_ready(server, environment["ODIN_URL"], log)
        code = tour(environment)
    finally:
        end(server)
        end_runner(folder / "data")
        remove(folder)
    say("stopped the server and its runner")
    return code


def demo_environment(folder):
    (folder / "home").mkdir()
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    password = secrets.token_urlsafe(12)
    own = {name: value for name, value in os.environ.items() if not name.startswith(("ODIN_", "XDG_"))}
    return own | {
        "HOME": str(folder / "home"),
        "PATH": f"{BIN}{os.pathsep}{own.get('PATH', os.defpath)}",
        "ODIN_DATA": str(folder / "data"),
        "ODIN_PORT": str(port),
        "ODIN_URL": f"http://127.0.0.1:{port}",
        "ODIN_ROOT_USER": "demo",
        "ODIN_ROOT_PASS": password,
        "ODIN_USERNAME": "demo",
        "ODIN_PASSWORD": password,
    }


def wait_until_ready(server, url, log):
    until = time.monotonic() + READY_WITHIN_S
    while time.monotonic() < until:
        if server.poll() is not None:
            stop(f"odin-serve ended with {server.returncode} and said:\n{log.read_text(errors='replace')}")
        try:
            with OPEN(f"{url}/readyz", timeout=5):
                return
        except (urllib.error.URLError, OSError):
            time.sleep(0.05)
    stop(f"odin-serve was not ready within {READY_WITHIN_S:.0f} s and said:\n{log.read_text(errors='replace')}")


def tour(environment):
    """The commands that a user would type; returns the exit code of the followed pipeline."""
    show(environment, "odin-push", "-c", "digits", "examples/digits", must=True)
    code = show(environment, "odin-run", "digits", "--follow")
    pipeline = newest(environment)
    show(environment, "odin-status", pipeline["id"], must=True)
    show(environment, "odin-logs", pipeline["tasks"][-1]["id"], must=True)
    report = keep_report(Path(environment["ODIN_DATA"] + "-shared") / "runs" / pipeline["id"])
    say(f"the report is {report}" if report else "the pipeline wrote no report")
    return code or (0 if report else 1)


def show(environment, *command, must=False):
    print(f"\n$ {' '.join(command)}", flush=True)
    code = subprocess.run([BIN / command[0], *command[1:]], cwd=ROOT, env=environment).returncode
    if must and code:
        stop(f"{command[0]} ended with {code}")
    return code


def newest(environment):
    """The newest pipeline as the API gives it; reading from this machine needs no token."""
    with OPEN(f"{environment['ODIN_URL']}/v1/pipelines?limit=1", timeout=30) as answer:
        return json.load(answer)["pipelines"][0]


def keep_report(run):
    """Copy the folder with the report to demo-output, for the run's folder goes with the demo's server."""
    found = sorted(run.glob("*/report.*"))
    if not found:
        return None
    kept = ROOT / "demo-output"
    shutil.rmtree(kept, ignore_errors=True)
    shutil.copytree(found[0].parent, kept)
    return kept / found[0].name


def remove(folder):
    """Checkouts are read-only, folders too."""
    for name, _, _ in os.walk(folder):
        Path(name).chmod(0o700)
    shutil.rmtree(folder, ignore_errors=True)


def end(process):
    process.terminate()
    try:
        process.wait(30)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def end_runner(data):
    """The runner outlives its server on purpose; TERM ends it once nothing runs."""
    try:
        pid = int((data / "runner" / "lock").read_text())
        os.kill(pid, signal.SIGTERM)
        until = time.monotonic() + 30
        while time.monotonic() < until:
            os.kill(pid, 0)
            time.sleep(0.02)
        say(f"the runner (pid {pid}) still runs")
    except (OSError, ValueError):
        return  # there is none, or none any more


WORDS = {
    "demo": demo, "test": test, "lint": lint, "cover": cover, "bench": bench, "rows": rows, "up": up, "fmt": fmt,
    "bench-all": lambda *words: bench("--all", *words), "install": install_extras, "lock": lock, "clean": clean,
    "chaos": chaos, "screens": screens, "simulate": simulate, "test-kubernetes": test_kubernetes,
}  # fmt: skip


def main():
    word, rest = (sys.argv[1:2] or ["help"])[0], sys.argv[2:]
    if word in ("help", "-h", "--help"):
        sys.exit(print(__doc__))
    if word not in WORDS:
        near = difflib.get_close_matches(word, WORDS, n=1)
        say(f'there is no word "{word}"' + (f"; did you mean {near[0]}?" if near else "; python3 dev.py shows them"))
        sys.exit(2)
    os.environ.setdefault("PYTHONUTF8", "1")
    try:
        sys.exit(WORDS[word](*rest))
    except KeyboardInterrupt:
        sys.exit(130)
    except subprocess.CalledProcessError as error:
        stop(f"{error.cmd[0]} ended with {error.returncode}")


if __name__ == "__main__":
    main()
