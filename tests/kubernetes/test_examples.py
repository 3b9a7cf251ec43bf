"""Every example runs on one machine and in a cluster with the same outcome: one suite over ``examples/``."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

from clusters import IMAGE, Cluster, Place, leave, place
from e2e.serving import DEADLINE_S, Done, Serving

pytestmark = pytest.mark.xdist_group("examples")  # what they share takes long to make

EXAMPLES = Path(__file__).parents[2] / "examples"
JOBS = sorted({path.parent.name for path in EXAMPLES.glob("*/main.yml*")})
CONTEXT = {"sweep": ["--x:lr", "0.01,0.1,0.3"]}
NEEDS = {"digits": ("sklearn", "matplotlib")}
WITHOUT_FOLDERS = {"primes"}  # the others read what an earlier task wrote


@dataclass(frozen=True)
class Ran:
    """What is the same wherever an example ran."""

    outcome: str
    tasks: dict[str, tuple[Any, ...]]
    logs: dict[str, str]
    files: tuple[str, ...]
    outputs: dict[str, str]


@pytest.fixture(scope="module")
def here() -> Iterator[Serving]:
    """Odin on this machine."""
    serving = Serving()
    try:
        yield serving.start()
    finally:
        serving.close()


@pytest.fixture(scope="module")
def leaving() -> Iterator[ExitStack]:
    with ExitStack() as stack:
        yield stack


@pytest.fixture(scope="module")
def with_claim(cluster: Cluster, tools: Path, leaving: ExitStack) -> Place:
    """Odin on the cluster, its shared folder on a claim."""
    one = place(cluster, DATA_CLAIM="odin-shared", KUBERNETES_IMAGE=IMAGE)
    leaving.callback(leave, one)
    one.serving.shared.mkdir()
    one.claim("odin-shared", one.serving.shared)
    one.serving.start()
    return one


@pytest.fixture(scope="module")
def without_claim(cluster: Cluster, leaving: ExitStack) -> Place:
    """Odin on the cluster, which delivers the files of jobs."""
    one = place(cluster, KUBERNETES_IMAGE=IMAGE)
    leaving.callback(leave, one)
    one.serving.start()
    return one


@pytest.fixture(scope="module")
def node_has(with_claim: Place) -> Callable[[str], bool]:
    """Whether the Python of the cluster's pods has these modules."""

    def ask(modules: str) -> bool:
        task = {"name": "a", "command": ["python3", "-c", f"import {modules}"]}
        return bool(with_claim.run([task], job="probe")["outcome"] == "succeeded")

    return ask


@pytest.mark.parametrize("name", JOBS)
def test_an_example_runs_the_same_on_both(
    here: Serving, with_claim: Place, node_has: Callable[[str], bool], name: str
) -> None:
    if needed := ", ".join(NEEDS.get(name, ())):
        if not all(map(find_spec, NEEDS[name])):
            pytest.skip(f"not run here: {needed} not installed; requirements/demo.txt brings them")
        if not node_has(needed):
            pytest.skip(f"not run here: the python3 of the cluster's pods has no {needed}")
    on_machine = ran(here, name)
    in_cluster = ran(with_claim.serving, name)
    assert on_machine.outcome == "succeeded"
    assert in_cluster == on_machine


@pytest.mark.parametrize("name", JOBS)
def test_without_a_data_claim_it_runs_the_same_or_says_what_it_needs(
    here: Serving, without_claim: Place, name: str
) -> None:
    if name in WITHOUT_FOLDERS:
        in_cluster, on_machine = ran(without_claim.serving, name), ran(here, name)
        assert (in_cluster.outcome, in_cluster.tasks, in_cluster.logs, in_cluster.outputs) == (
            *("succeeded", on_machine.tasks, on_machine.logs, on_machine.outputs),
        )
        return
    push(without_claim.serving, name)
    refused = without_claim.command("odin-run", name, *CONTEXT.get(name, ()), code=None)
    assert refused.code != 0
    assert "set ODIN_DATA_CLAIM to a claim that all pods can mount" in refused.err


def test_the_notebook_runs_in_a_cluster(with_claim: Place) -> None:
    env = {**with_claim.person().environment(), "ODIN_TOKEN": str(with_claim.api.token)}
    script = EXAMPLES / "notebook/first_pipeline.py"
    done = subprocess.run([sys.executable, script], env=env, capture_output=True, text=True, timeout=DEADLINE_S)
    assert (done.returncode, done.stderr) == (0, "")
    lines = done.stdout.splitlines()
    assert [line for line in lines if line.startswith(("words: ", "log: "))] == ["words: 2", "log: huginn muninn"]
    assert lines[-1] == "outcome: cancelled"


def test_kubectl_and_odin_print_the_same_log(without_claim: Place) -> None:
    push(without_claim.serving, "primes")
    pipeline = without_claim.command("odin-run", "primes").line
    for name in without_claim.api.finished(pipeline)["tasks"]:
        task = f"{pipeline}--{name}"
        assert without_claim.kubectl("logs", task) == without_claim.command("odin-logs", task).out


def push(serving: Serving, name: str) -> Done:
    return serving.command("odin-push", "-c", name, str(EXAMPLES / name))


def ran(serving: Serving, name: str) -> Ran:
    """Push an example and run it to its end."""
    push(serving, name)
    pipeline = serving.command("odin-run", name, *CONTEXT.get(name, ())).line
    done = serving.api().finished(pipeline)
    run = serving.shared / "runs" / pipeline

    def told(text: str) -> str:
        """The same text wherever it was said."""
        root = str(serving.shared / "checkouts" / done["version"])
        return text.replace(str(run), "/odin/run").replace(root, "/odin/root").replace(pipeline, "PIPELINE")

    tasks = done["tasks"]
    return Ran(
        done["outcome"],
        {name: tuple(task[field] for field in ("status", "exitCode", "reason")) for name, task in tasks.items()},
        {name: told(serving.api().log(task["id"]).decode()) for name, task in tasks.items()},
        tuple(sorted(told(os.path.relpath(path, run)) for path in run.rglob("*") if path.is_file())),
        {told(path.name): path.read_text() for path in (run / ".odin/outputs").iterdir()},
    )
