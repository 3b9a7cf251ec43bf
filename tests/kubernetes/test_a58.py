"""A-58: what is in the namespace and not Odin's is read by admins alone, and only where a setting lists it."""

from __future__ import annotations

import json
from typing import Any

import pytest

from clusters import Place
from e2e.serving import Api, sign_in, until

pytestmark = pytest.mark.xdist_group("a58")  # what they share takes long to make

SECRET = "the-secret-in-the-log"
POD = {
    "apiVersion": "v1",
    "kind": "Pod",
    "metadata": {"name": "web-0", "labels": {"app": "web"}},
    "spec": {
        "restartPolicy": "Never",
        "securityContext": {"runAsNonRoot": True, "runAsUser": 10001, "seccompProfile": {"type": "RuntimeDefault"}},
        "containers": [
            {
                "name": "web",
                "image": "example/any:1",
                "command": ["sh", "-c", f"echo {SECRET}"],
                "securityContext": {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}},
            }
        ],
    },
}
SERVICE = {
    "apiVersion": "v1",
    "kind": "Service",
    "metadata": {"name": "web"},
    "spec": {"selector": {"app": "web"}, "ports": [{"port": 80}]},
}
HIDDEN = {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "web"}, "stringData": {"password": SECRET}}
NAMES = (
    "web-0",
    "pod/web-0",
    "po/web-0",
    "pods/web-0",
    "svc/web",
    "secret/web",
    "cm/web",
    "pod/*",
)
WAYS = ("data", "events", "logs", "logs?follow=true", "logs?container=web")


def foreign(odin: Place) -> None:
    for each in (POD, SERVICE, HIDDEN):
        odin.kubectl("apply", "-f", "-", given=json.dumps(each))
    until(lambda: odin.json("get", "pod", "web-0")["status"].get("phase") == "Succeeded")
    assert SECRET in odin.kubectl("logs", "web-0")


def ask(api: Api, name: str, way: str) -> Any:
    return api.ask("GET", f"/v1/resources/{name.replace('/', '%2F')}/{way}")


@pytest.fixture(scope="module")
def others(lasting) -> Place:
    """A server whose setting lists more than it may ever tell."""
    odin = lasting(KUBERNETES_RESOURCES="svc/*,po/web-*,secret/*,cm/*")
    odin.serving.start()
    foreign(odin)
    return odin


def editor(odin: Place) -> Api:
    user = {"username": "eve", "password": "a dog in the snow", "firstname": "", "lastname": "", "role": "editor"}
    odin.api.post("/v1/users", {"user": user})
    return Api(odin.serving.port, sign_in(odin.serving.port, "eve", "a dog in the snow"))


def test_a58_without_the_setting_nobody_reads_what_is_not_odins(fresh) -> None:
    odin = fresh()
    odin.serving.start()
    foreign(odin)
    for api in (odin.api, editor(odin), Api(odin.serving.port)):
        for name in NAMES:
            for way in WAYS:
                answer = ask(api, name, way)
                assert (answer.status, SECRET.encode() in answer.body) == (404, False), (name, way)


def test_a58_with_the_setting_others_than_admins_read_nothing_and_are_told_nothing(others: Place) -> None:
    for api in (editor(others), Api(others.serving.port)):
        for name in NAMES:
            for way in WAYS:
                there, nowhere = ask(api, name, way), ask(api, name.replace("web", "xyz"), way)
                assert (there.status, SECRET.encode() in there.body) == (404, False)
                assert there.body.replace(b"web", b"xyz") == nowhere.body, "it does not tell that it is there"


def test_a58_an_admin_reads_what_the_setting_lists_and_never_secrets(others: Place) -> None:
    for name in ("pod/web-0", "svc/web"):
        assert ask(others.api, name, "logs").json["logs"] == f"{SECRET}\n"
        assert others.command("odin-logs", name).out == f"{SECRET}\n"
        assert ask(others.api, name, "data").json["jobs"]["metadata"]["name"] == name.partition("/")[2]
    found = ask(others.api, "po/web-0", "events").json["events"]
    assert "Started" in {each["reason"] for each in found}
    assert "Started" in others.command("odin-events", "po/web-0").out
    for name in ("secret/web", "cm/web", "deploy/web", "web-0", "pod/other", "pod/web-*"):
        assert [ask(others.api, name, way).status for way in WAYS] == [404] * len(WAYS), name


def test_a58_a_namespace_in_a_request_is_passed_by(others: Place) -> None:
    from websockets.sync.client import connect

    task = others.run([{"name": "a", "script": "echo mine"}], job="spaces")["tasks"]["a"]["id"]
    headers = {"Authorization": f"Bearer {others.api.token}"}

    def said(command: str, resource: str) -> list[Any]:
        request = {"resource": resource, "namespace": "kube-system", "follow": False}
        with connect(f"ws://127.0.0.1:{others.serving.port}/v1/ws", additional_headers=headers) as socket:
            socket.send(json.dumps({"command": command, "request": request}))
            return [json.loads(each) for each in socket]

    assert [each["response"] for each in said("LOGS", task)] == ["mine\n", task]
    assert said("EVENTS", task)[0]["status"] == "OK"
    assert [each["status"] for each in said("LOGS", "coredns")] == ["ERROR"]
