"""W11: pods through Odin beside a bare asyncio client that creates and watches the same pods, on KUBECONFIG's cluster.

The same: what the bare client sends is a pod that Odin made just before, under another name and without its finalizer.
"""

from __future__ import annotations

import asyncio
import base64
import json
import os
import re
import ssl
import subprocess
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import aiohttp
import shapes
import yaml
from server import Server
from table import Row, Target

PODS = 500
IN_FLIGHT = 32
ROUNDS = 3
JOB, SAMPLE = "pods", "sample"
REQUESTS = re.compile(r"^apiserver_request_total\{(.*)\} (\S+)$", re.M)
LABEL = re.compile(r'(\w+)="([^"]*)"')
OTHERS = {"events", "leases", "nodes"}  # the nodes' own, some seconds late: Odin writes none of them
# What the cluster itself does for each pod, whoever made it, is in both counts and falls out of the difference.
Calls = Counter[tuple[str, str, str]]


def pods(folder: Path) -> Iterator[Row]:
    """W11: 500 pods ÷ a bare client's, and calls to the API server for each task (a few minutes)."""
    if "KUBECONFIG" not in os.environ:
        print("W11: not run here: KUBECONFIG names no cluster")
        return
    cluster = Cluster(Path(os.environ["KUBECONFIG"]))
    odin, bare, calls = [], [], []
    settings = {"ODIN_EXECUTOR": "kubernetes", "ODIN_NAMESPACE": "default", "ODIN_KUBERNETES_IMAGE": "any"}
    with Server(folder / "pods", **settings) as server:
        committed = server.committed()
        server.client().push(JOB, {"main.yml": shapes.main_yml(shapes.fan_out(PODS))})
        server.client().push(SAMPLE, {"main.yml": shapes.main_yml(shapes.fan_out(1))})
        sample = server.client().launch(SAMPLE)
        committed.wait(sample)
        pod = cluster.made(sample)
        for _ in range(ROUNDS):
            before = cluster.calls()
            bare.append(PODS / cluster.bare(pod, PODS))
            bares = Calls(cluster.calls())
            bares.subtract(before)
            cluster.remove_bare()
            between = cluster.calls()
            client = server.client()  # a kept connection would have been idle for too long
            began = time.perf_counter()
            pipeline = client.launch(JOB)
            committed.wait(pipeline)
            odin.append(PODS / (time.perf_counter() - began))
            cluster.wait_until_kept(pipeline, PODS)
            more = Calls(cluster.calls())
            more.subtract(between)
            more.subtract(bares)
            calls.append(1 + more.total() / PODS)  # the bare client creates too
            tell(more)
            client.close()
            server.client().request("DELETE", f"/v1/pipelines/{pipeline}", purgeDB="true")
        committed.close()
    yield Row("W11", f"{PODS} pods ÷ a bare client", "pods/s", odin, bare, Target(0.7, 0.95, at_least=True))
    yield Row("W11", "calls to the API server a task", "", calls, target=Target(6, 3))


def tell(calls: Calls) -> None:
    """What Odin asked for more than a bare client does."""
    named = {" ".join(filter(None, call)): count for call, count in calls.most_common(6)}
    print(f"W11: calls that a bare client does not make: {named}")


class Cluster:
    """The cluster of a kubeconfig with a client certificate."""

    def __init__(self, path: Path) -> None:
        config = yaml.safe_load(path.read_text())
        self._kubeconfig = path
        self._server = config["clusters"][0]["cluster"]["server"]
        self._tls = _tls(config["clusters"][0]["cluster"], config["users"][0]["user"])

    def calls(self) -> Calls:
        """What the API server has counted so far."""
        text = self._kubectl("get", "--raw", "/metrics")
        found: Calls = Counter()
        for labels, count in REQUESTS.findall(text):
            told = dict(LABEL.findall(labels))
            if told["resource"] not in OTHERS:
                found[told["verb"], told["resource"], told.get("subresource", "")] += int(float(count))
        return found

    def made(self, pipeline: str) -> dict[str, Any]:
        """The pod that was made for a pipeline of one task, as it could be sent."""
        (pod,) = json.loads(self._kubectl("get", "pods", "-l", f"odin/pipeline={pipeline}", "-o", "json"))["items"]
        metadata, spec = pod["metadata"], pod["spec"]
        for given in ("nodeName", "tolerations", "priority", "preemptionPolicy", "serviceAccount"):
            spec.pop(given, None)
        labels = {name.replace("odin/", "bench/"): value for name, value in metadata["labels"].items()}
        annotations = {name: text for name, text in metadata["annotations"].items() if name.startswith("odin/")}
        made = {"labels": labels | {"bench": "bare"}, "annotations": annotations}
        return {"apiVersion": "v1", "kind": "Pod", "metadata": made, "spec": spec}

    def bare(self, pod: dict[str, Any], count: int) -> float:
        """Seconds from the first create of such a pod until all are seen to have succeeded."""
        return asyncio.run(self._bare(pod, count))

    def remove_bare(self) -> None:
        self._kubectl("delete", "pods", "-l", "bench=bare", "--wait=true", "--grace-period=1")

    def wait_until_kept(self, pipeline: str, count: int) -> None:
        """Until nothing is owed to the pods of a pipeline."""
        until = time.monotonic() + 120
        while time.monotonic() < until:
            names = self._kubectl("get", "pods", "-l", f"odin/pipeline={pipeline},odin/kept", "-o", "name").split()
            if len(names) == count:
                return
            time.sleep(0.5)
        raise RuntimeError(f"the pods of {pipeline} were not let go of")

    async def _bare(self, pod: dict[str, Any], count: int) -> float:
        path = f"{self._server}/api/v1/namespaces/default/pods"
        connector = aiohttp.TCPConnector(ssl=self._tls, limit=IN_FLIGHT + 1)
        async with aiohttp.ClientSession(connector=connector, timeout=aiohttp.ClientTimeout(None)) as session:
            began = time.perf_counter()
            watching = asyncio.create_task(self._watch(session, path, count))
            turns = asyncio.Semaphore(IN_FLIGHT)

            async def create(number: int) -> None:
                async with turns, session.post(path, json=_named(pod, number)) as answer:
                    answer.raise_for_status()
                    await answer.read()

            await asyncio.gather(*map(create, range(count)))
            await watching
            return time.perf_counter() - began

    async def _watch(self, session: aiohttp.ClientSession, path: str, count: int) -> None:
        params = {"watch": "1", "labelSelector": "bench=bare", "resourceVersion": ""}
        done: set[str] = set()
        while len(done) < count:
            async with session.get(path, params=params) as answer:
                part = b""
                async for piece in answer.content.iter_any():
                    *lines, part = (part + piece).split(b"\n")
                    for line in lines:
                        seen = json.loads(line)["object"]
                        params["resourceVersion"] = seen["metadata"]["resourceVersion"]
                        if seen["status"].get("phase") == "Succeeded":
                            done.add(seen["metadata"]["name"])
                    if len(done) == count:
                        return

    def _kubectl(self, *words: str) -> str:
        command = ["kubectl", "--kubeconfig", str(self._kubeconfig), *words]
        return subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout


def _named(pod: dict[str, Any], number: int) -> dict[str, Any]:
    return pod | {"metadata": pod["metadata"] | {"name": f"bare-{number}"}}


def _tls(cluster: dict[str, str], user: dict[str, str]) -> ssl.SSLContext:
    authority = base64.b64decode(cluster["certificate-authority-data"]).decode()
    context = ssl.create_default_context(cadata=authority)
    with tempfile.NamedTemporaryFile() as pair:
        for name in ("client-certificate-data", "client-key-data"):
            pair.write(base64.b64decode(user[name]))
        pair.flush()
        context.load_cert_chain(pair.name)
    return context
