"""A client program as people have it, over WebSocket: one connection, one request, no token of its own.

Usage: over_websocket.py URL COMMAND [WORD…]; ``TOKEN`` in the environment goes with the request.
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
from collections import namedtuple

import websockets

Row = namedtuple("Row", "task status command name image resource_type resource_id submitted completed")
Pipeline = namedtuple("Pipeline", "label job version status submitted completed")
Event = namedtuple("Event", "type reason source message timestamp")
Cleaned = namedtuple("Cleaned", "task_id cleaned_from_k8s purged_from_db removed_from_fs")


async def talk(url, command, request):
    """Every reply up to END, or up to an error, which goes to standard error."""
    token = {"token": os.environ["TOKEN"]} if "TOKEN" in os.environ else {}
    async with websockets.connect(url) as socket:
        await socket.send(json.dumps({"command": command, "request": request, **token}))
        reply = json.loads(await socket.recv())
        while reply["status"] != "END":
            if reply["status"] == "ERROR":
                print(reply["response"], file=sys.stderr)
                return
            yield reply["response"]
            if command not in ("START", "LOGS"):
                return
            reply = json.loads(await socket.recv())


async def run(url, job):
    async for said in talk(url, "START", job):
        assert not said.startswith("PIPE_ID")
        print(said)


async def status(url, work):
    async for found in talk(url, "STATUS", work):
        for each in found:
            print(*Pipeline(**each["pipeline_status"]))
            for row in [Row(**task) for task in each["task_statuses"]]:
                print(*row, sep=" | ")


async def show(url, job):
    async for files in talk(url, "SHOW", job):
        for name, text in files.items():
            print(name, "=" * 8, text, sep="\n")


async def data(url, resource):
    async for found in talk(url, "DATA", {"resource": resource}):
        print(json.dumps(found))


async def events(url, resource):
    async for found in talk(url, "EVENTS", {"resource": resource, "namespace": "default"}):
        for each in found:
            print(*Event(**each), sep=" | ")


async def logs(url, resource, follow):
    asked = {"resource": resource, "namespace": "default", "follow": follow == "yes"}
    async for line in talk(url, "LOGS", asked):
        print(line)


async def cleanup(url, work, db, fs):
    asked = {"work": work, "purge_db": db == "yes", "purge_fs": fs == "yes"}
    async for cleaned in talk(url, "CLEANUP", asked):
        for each in cleaned:
            print(*Cleaned(**each), sep=" | ")


async def ping(url, words):
    async for said in talk(url, "PING", words):
        print(said)


COMMANDS = [run, status, show, data, events, logs, cleanup, ping]

if __name__ == "__main__":
    url, word, *rest = sys.argv[1:]
    asyncio.run(next(each for each in COMMANDS if each.__name__ == word)(url, *rest))
