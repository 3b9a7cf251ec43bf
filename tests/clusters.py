"""A real cluster, servers in namespaces of it, and what a person would do with kubectl."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from secrets import token_hex
from typing import Any

from e2e.serving import Api, Done, Person, Serving, until

CONTROL = "ODIN_TEST_CONTROL_PLANE"


@dataclass(frozen=True)
class Cluster:
    """What a kubeconfig names. ``program`` is kubectl."""

    kubeconfig: Path
    program: str

    def kubectl(self, *words: str, given: str | None = None, code: int | None = 0) -> str:
        """What kubectl prints; AssertionError with its errors unless it ends with ``code`` (None: any)."""
        command = [self.program, "--kubeconfig", str(self.kubeconfig), *words]
        done = subprocess.run(command, input=given, capture_output=True, text=True)
        assert code is None or done.returncode == code, f"kubectl {' '.join(words)}\n{done.stderr}"
        return done.stdout

    def json(self, *words: str) -> Any:
        return json.loads(self.kubectl(*words, "-o", "json"))

    def control(self, *words: str) -> None:
        """Stop and start parts of the control plane."""
        environ = {**os.environ, "KUBE_RUN": str(self.kubeconfig.parent)}
        subprocess.run(["bash", os.environ[CONTROL], *words], env=environ, check=True, capture_output=True)


@dataclass(frozen=True)
class Place:
    """An Odin in a namespace of its own."""

    cluster: Cluster
    namespace: str
    serving: Serving

    @property
    def api(self) -> Api:
        return self.serving.api()

    def command(self, *words: str, code: int | None = 0, **options: Any) -> Done:
        return self.serving.command(*words, code=code, **options)

    def person(self) -> Person:
        return self.serving.person()

    def kubectl(self, *words: str, given: str | None = None, code: int | None = 0) -> str:
        return self.cluster.kubectl("-n", self.namespace, *words, given=given, code=code)

    def json(self, *words: str) -> Any:
        return json.loads(self.kubectl(*words, "-o", "json"))

    def objects(self, kinds: str = "pods", pipeline: str = "") -> list[Any]:
        selector = ["-l", f"odin/pipeline={pipeline}"] if pipeline else ["-l", "odin/store"]
        found: list[Any] = self.json("get", kinds, *selector)["items"]
        return found

    def run(self, tasks: list[dict[str, Any]], job: str = "job", **files: str) -> dict[str, Any]:
        """Push a job of these tasks, run it to its end and tell what became of it."""
        return self.api.finished(self.begin(tasks, job, **files))

    def begin(self, tasks: list[dict[str, Any]], job: str = "job", **files: str) -> str:
        self.api.push(job, {"tasks": [shell(each) for each in tasks]}, **files)
        return self.api.launch(job)

    def reason(self, task: str, has: Callable[[str], bool]) -> str:
        """The task's reason once it is one that ``has`` something."""
        return until(lambda: (said := self.api.task(task)["reason"] or "") and has(said) and said)


def shell(task: dict[str, Any]) -> dict[str, Any]:
    """A task with an image; ``script`` is a shell's."""
    made = {"image": "example/any:1", **task}
    script = made.pop("script", None)
    if script is not None:
        made |= {"command": "sh", "args": ["-c", script.replace("$", "$$")]}
    return made


def place(cluster: Cluster, **settings: str) -> Place:
    """A server, not started yet, in a new namespace."""
    namespace = f"odin-{token_hex(4)}"
    cluster.kubectl("create", "namespace", namespace)
    own = {"EXECUTOR": "kubernetes", "NAMESPACE": namespace} | settings
    serving = Serving(settings=own, variables={"KUBECONFIG": str(cluster.kubeconfig)})
    return Place(cluster, namespace, serving)


def leave(one: Place, *, quiet: bool = True) -> None:
    """End the server and give everything back, also what a finalizer holds."""
    try:
        one.serving.close(quiet=quiet)
    finally:
        for kind in ("pods", "jobs"):
            for each in one.objects(kind):
                name = each["metadata"]["name"]
                one.kubectl("patch", kind, name, "--type=merge", "-p", '{"metadata":{"finalizers":null}}', code=None)
        one.cluster.kubectl("delete", "namespace", one.namespace, "--wait=false")
