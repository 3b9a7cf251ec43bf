"""A client program as people have it: knows nothing of this server's package, reads answers as trustingly as it dares.

Usage: over_http.py HOST:PORT TOKEN-FILE USER PASSWORD COMMAND [WORD…]
"""

from __future__ import annotations

import http.client
import json
import os
import re
import sys
from collections import namedtuple
from urllib.parse import urlencode

Row = namedtuple("Row", "task status command name image resource_type resource_id submitted completed")
Event = namedtuple("Event", "type reason source message timestamp")
Cleaned = namedtuple("Cleaned", "task_id cleaned_from_k8s purged_from_db removed_from_fs")
Card = namedtuple("Card", "host gpu type free power memory processes")
MARKS = {"DONE": "cyan", "RUNNING": "green", "TERMINATED": "red", "BUILDING": "yellow"}
HEADERS = {"User-Agent": "python-requests/2.22.0", "Accept": "*/*", "Accept-Encoding": "gzip, deflate"}


def table(rows, shown=None):
    """Fails on no rows; asks the first row alone what is a number."""
    fields = [name for name in rows[0]._fields if shown is None or name in shown]
    if len(rows) == 1:
        for name in fields:
            print(f"{name} = {getattr(rows[0], name)}")
        return
    form = " | ".join("%d" if isinstance(getattr(rows[0], name), int) else "%s" for name in fields)
    print(" | ".join(fields))
    for row in rows:
        print(form % tuple(getattr(row, name) for name in fields))


class Server:
    """``place`` is host:port. The token is what stands in the file, all of it."""

    def __init__(self, place, token_file, user, password):
        self.place, self.token_file, self.user, self.password = place, token_file, user, password

    def ask(self, method, path, body=None, kind="application/json", signed=False, **headers):
        """Status and answer as JSON; ValueError for a sign-in that does not count, or that cannot be sent."""
        headers = HEADERS | headers | ({"Authorization": f"Bearer {self.token()}"} if signed else {})
        if any(re.search(r"[\r\n]", value) for value in headers.values()):
            raise ValueError("a header may not hold the end of a line")
        if body is not None:
            headers["Content-Type"] = kind
            body = body.encode() if isinstance(body, str) else json.dumps(body).encode()
        connection = http.client.HTTPConnection(self.place, timeout=60)
        connection.request(method, path, body, headers)
        reply = connection.getresponse()
        text = reply.read()
        connection.close()
        if reply.status == 401 and signed:
            raise ValueError("sign in again")
        return reply.status, json.loads(text)

    def token(self):
        if os.path.isfile(self.token_file):
            with open(self.token_file) as file:
                return file.read()
        form = urlencode({"username": self.user, "password": self.password})
        _, answer = self.ask("POST", "/v1/auth", form, "application/x-www-form-urlencoded")
        token = answer["message"]
        with open(self.token_file, "w") as file:
            file.write(token)
        return token

    def get(self, path):
        return self.ask("GET", path)[1]

    def put_in(self, method, path, body=None, kind="application/json"):
        """A request that changes something; once more with a new token when the kept one does not count."""
        try:
            return self.ask(method, path, body, kind, signed=True)
        except ValueError:
            print("the token is refused", file=sys.stderr)
            os.remove(self.token_file)
            return self.ask(method, path, body, kind, signed=True)


def encoded(job):
    return "__".join(part for part in job.split("/") if part)


def auth(server):
    if os.path.exists(server.token_file):
        os.remove(server.token_file)
    print(server.token())


def user(server, name, password, firstname):
    fields = {"username": name, "password": password, "firstname": firstname}
    status, _ = server.ask("GET", f"/v1/users/{name}")
    if status == 200:
        print(json.dumps(server.put_in("PUT", f"/v1/users/{name}", fields)[1]))
        return
    status, answer = server.put_in("POST", "/v1/users", {"user": fields})
    if status != 200:
        raise RuntimeError("not created")
    print(json.dumps(answer))


def push(server, flag, job, path):
    if flag == "-c":
        _, made = server.put_in("POST", "/v1/jobs", {"job": {"name": encoded(job)}})
        if "status" in made:
            sys.exit("the job could not be created")
    with open(path) as file:
        text = file.read()
    name = os.path.basename(path)
    _, answer = server.put_in("POST", f"/v1/jobs/{encoded(job)}/files/{name}", text, "text/plain")
    print(json.dumps(answer))
    if "status" in answer:
        sys.exit("the file could not be pushed")


def run(server, job, *pairs):
    body = {"pipeline": {"job": encoded(job)}, "context": dict(pair.split("=") for pair in pairs)}
    print(json.dumps(server.put_in("POST", "/v1/pipelines", body)[1]))


def status(server, work, *columns):
    for found in server.get(f"/v1/pipelines?q={work}")["pipelines"]:
        print(found["id"], "-->", MARKS[found["status"]], found["submitTime"], found["completionTime"])
        keys = [
            "task",
            "status",
            "command",
            "name",
            "image",
            "resourceType",
            "resourceId",
            "submitTime",
            "completionTime",
        ]
        rows = [Row(*[task.get(key) for key in keys]) for task in found["tasks"]]
        table(rows, {"task", "status", "command", "resource_id", "submitted", *columns})


def data(server, resource):
    print(json.dumps(server.get(f"/v1/resources/{resource}/data")))


def events(server, resource):
    keys = ["eventType", "reason", "source", "message", "timestamp"]
    table(
        [Event(*[each.get(key) for key in keys]) for each in server.get(f"/v1/resources/{resource}/events")["events"]]
    )


def logs(server, resource):
    """Of a pipeline those of its tasks, one by one where the server has none for the whole."""
    try:
        print(server.get(f"/v1/resources/{resource}/logs")["logs"], end="")
    except KeyError:
        for task in server.get(f"/v1/resources/{resource}/data")["jobs"]["jobs"]:
            place = server.get(f"/v1/resources/{task}/data")["jobs"]["resource_id"]
            print("=" * 4, place)
            print(server.get(f"/v1/resources/{place}/logs")["logs"], end="")


def cleanup(server, work, db, fs):
    query = urlencode({"db": db == "yes", "fs": fs == "yes"})
    _, answer = server.put_in("DELETE", f"/v1/pipelines/{work}?{query}")
    keys = ["taskId", "cleanedFromK8s", "purgedFromDb", "removedFromFs"]
    table([Cleaned(*[each.get(key) for key in keys]) for each in answer["cleanups"]])


def gpus(server):
    table([_card(node["host"], card) for node in server.get("/v1/nodes")["nodes"] for card in node["gpus"]])


def _card(host, card):
    held = card.get("processes", [])
    power = card["powerReadings"]
    watts = f"{int(power['powerDraw'])}/{int(power['powerLimit'])}{power['unit']}"
    names = " ".join(each["process_name"] for each in held)
    place = card["id"].split(":")[1]
    kind = card["productName"].replace("GeForce ", "")
    memory = sum(int(each["used_memory"]) for each in held)
    return Card(host, place, kind, "NO" if held else "YES", watts, f"{memory}M", names)


def ping(server):
    print(json.dumps(server.get("/v1/app")))


COMMANDS = [auth, user, push, run, status, data, events, logs, cleanup, gpus, ping]

if __name__ == "__main__":
    place, token_file, name, password, word, *rest = sys.argv[1:]
    next(each for each in COMMANDS if each.__name__ == word)(Server(place, token_file, name, password), *rest)
