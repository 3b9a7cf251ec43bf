"""A real cluster, servers in namespaces of it, and what a person would do with kubectl."""

from __future__ import annotations

import json
import os
import subprocess
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from secrets import token_hex
from typing import Any

import yaml

from e2e.serving import Api, Done, Person, Serving, until
from kubernetes_accounts import RIGHTS, install, install_nodes, kubeconfig, remove_nodes

CONTROL = "ODIN_TEST_CONTROL_PLANE"
TOOLS = "ODIN_TEST_NODE_TOOLS"
IMAGE = os.environ.get("ODIN_TEST_IMAGE", "example/any:1")  # with sh and python3; nodes that run processes need none


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

    @property
    def version(self) -> tuple[int, int]:
        """Major and minor of the API server."""
        told = json.loads(self.kubectl("get", "--raw", "/version"))
        return int(told["major"]), int("".join(filter(str.isdecimal, told["minor"])))

    def served(self, *words: str) -> list[str]:
        """Its kinds, as ``pods`` or ``jobs.batch``. A group that another test brings or removes may be half there."""
        for _ in range(20):
            with suppress(AssertionError):
                return self.kubectl("api-resources", *words, "-o", "name").split()
            time.sleep(0.5)
        return self.kubectl("api-resources", *words, "-o", "name").split()

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

    def claim(self, name: str, folder: Path) -> None:
        """A claim of that name which is a folder of this machine, where the nodes are this machine too."""
        volume, size = f"{self.namespace}-{name}", {"storage": "1Gi"}
        common = {"accessModes": ["ReadWriteMany"], "storageClassName": ""}
        # Bound to one another beforehand: whoever comes first, the cluster binds them at once.
        by = {"apiVersion": "v1", "kind": "PersistentVolumeClaim", "namespace": self.namespace, "name": name}
        source = {"hostPath": {"path": str(folder), "type": "Directory"}, "claimRef": by}
        made = [
            {
                "apiVersion": "v1",
                "kind": "PersistentVolume",
                "metadata": {"name": volume, "labels": {"odin-test": self.namespace}},
                "spec": {**common, **source, "capacity": size},
            },
            {
                "apiVersion": "v1",
                "kind": "PersistentVolumeClaim",
                "metadata": {"name": name},
                "spec": {**common, "resources": {"requests": size}, "volumeName": volume},
            },
        ]
        for each in made:
            self.kubectl("apply", "-f", "-", given=json.dumps(each))
        until(lambda: self.json("get", "pvc", name)["status"].get("phase") == "Bound", pause_s=0.1)

    def reason(self, task: str, has: Callable[[str], bool]) -> str:
        """The task's reason once it is one that ``has`` something."""
        return until(lambda: (said := self.api.task(task)["reason"] or "") and has(said) and said)


def shell(task: dict[str, Any]) -> dict[str, Any]:
    """A task with an image; ``script`` is a shell's."""
    made = {"image": IMAGE, **task}
    script = made.pop("script", None)
    if script is not None:
        made |= {"command": "sh", "args": ["-c", script.replace("$", "$$")]}
    return made


def place(cluster: Cluster, **settings: str) -> Place:
    """A server, not started yet, in a new namespace, with the rights that deploy/kubernetes gives it and no others."""
    namespace = f"odin-{token_hex(4)}"
    cluster.kubectl("create", "namespace", namespace)
    install(cluster.kubectl, namespace)
    install_nodes(cluster.kubectl, namespace)
    serving = Serving(settings={"EXECUTOR": "kubernetes"} | settings)
    serving.variables["KUBECONFIG"] = str(kubeconfig(cluster.kubectl, namespace, serving.folder))
    return Place(cluster, namespace, serving)


def leave(one: Place, *, quiet: bool = True) -> None:
    """End the server and give everything back, also what a finalizer holds."""
    try:
        one.serving.close(quiet=quiet)
    finally:
        for each in one.objects(",".join(_kinds(one.cluster))):
            kind, name = each["kind"], each["metadata"]["name"]
            if each["metadata"].get("finalizers"):
                one.kubectl("patch", kind, name, "--type=merge", "-p", '{"metadata":{"finalizers":null}}', code=None)
        remove_nodes(one.cluster.kubectl, one.namespace)
        one.cluster.kubectl("delete", "namespace", one.namespace, "--wait=false", "--ignore-not-found")
        one.cluster.kubectl("delete", "persistentvolumes", "-l", f"odin-test={one.namespace}", "--wait=false")


def _kinds(cluster: Cluster) -> list[str]:
    """All that Odin may have made there and that this cluster serves."""
    served = cluster.served("--namespaced", "--verbs=patch")
    return [each for each in _rights() if each in served]


def _rights() -> list[str]:
    """The kinds with a finalizer of Odin's: the role lets it patch those alone."""
    (role,) = (each for each in yaml.safe_load_all(RIGHTS.read_text()) if each["kind"] == "Role")
    return [
        f"{plural}.{group}".removesuffix(".")
        for rule in role["rules"]
        if "patch" in rule["verbs"]
        for group in rule["apiGroups"]
        for plural in rule["resources"]
    ]
