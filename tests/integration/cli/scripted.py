"""A scripted server that speaks the API's shapes over real HTTP, and the commands as processes."""

from __future__ import annotations

import base64
import http.server
import json
import os
import re
import subprocess
import sys
import threading
import time
import urllib.parse
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

BIN = Path(sys.executable).parent
Answer = Callable[["Handler"], None]


@contextmanager
def scripted() -> Iterator[Scripted]:
    """A server that is told what to answer, while this lasts."""
    server = Scripted()
    thread = threading.Thread(target=lambda: server.serve_forever(poll_interval=0.02), daemon=True)
    thread.start()
    try:
        yield server
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def token(username: str = "ana", *, lifetime_s: float = 3600.0) -> str:
    """A JWT by shape; the commands do not check signatures."""
    now = int(time.time())
    claims = {"sub": username, "iat": now, "exp": now + int(lifetime_s)}
    parts = [json.dumps({"alg": "HS256"}), json.dumps(claims), "signature"]
    return ".".join(base64.urlsafe_b64encode(part.encode()).decode().rstrip("=") for part in parts)


def pipeline(outcome: str | None = "succeeded", **changes: Any) -> dict[str, Any]:
    """A diamond's first two tasks, as ``GET /v1/pipelines/{id}`` shows them."""
    ended = "2026-11-22T18:20:12Z" if outcome else None
    return {
        "id": "hello-ab12cd34",
        "name": "hello",
        "job": "hello",
        "version": "3f2a9c1e" * 5,
        "user": "ana",
        "context": {},
        "status": "DONE" if outcome else "RUNNING",
        "outcome": outcome,
        "errorMessage": None,
        "warnings": [],
        "submitTime": "2026-11-22T18:20:00.5Z",
        "completionTime": ended,
        "tasks": [
            task("fetch", "executed", exitCode=0),
            task("train", {"succeeded": "executed", "failed": "failed", None: "executing"}.get(outcome, "terminated")),
        ],
        **changes,
    }


def task(name: str, status: str, **changes: Any) -> dict[str, Any]:
    return {
        "id": f"hello-ab12cd34--{name}",
        "task": f"hello-ab12cd34--{name}",
        "name": name,
        "command": f"python3 {name}.py",
        "image": None,
        "resourceType": "Pod",
        "resourceId": f"hello-ab12cd34--{name}",
        "status": status,
        "reason": "exit code 2" if status == "failed" else None,
        "attempt": 0 if status in ("waiting", "skipped") else 1,
        "exitCode": 2 if status == "failed" else None,
        "depends": [],
        "submitTime": "2026-11-22T18:20:00.5Z",
        "startTime": "2026-11-22T18:20:01Z",
        "completionTime": "2026-11-22T18:20:04.5Z" if status in ("executed", "failed") else None,
        **changes,
    }


@dataclass(frozen=True)
class Request:
    method: str
    path: str
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: Scripted

    def log_message(self, *args: object) -> None:
        pass

    def handle_any(self) -> None:
        body = self.rfile.read(int(self.headers.get("content-length") or 0))
        seen = Request(self.command, self.path, {key.lower(): value for key, value in self.headers.items()}, body)
        with self.server.lock:
            self.server.requests.append(seen)
            answer = self.server.answer(f"{self.command} {self.path}")
        self.close_connection = True
        answer(self)

    do_GET = do_POST = do_PUT = do_DELETE = handle_any  # noqa: N815 - http.server's names

    def chunk(self, data: bytes) -> None:
        self.wfile.write(f"{len(data):x}\r\n".encode() + data + b"\r\n")
        self.wfile.flush()

    def head(self, status: int, kind: str, **fields: str) -> None:
        self.send_response(status)
        self.send_header("Content-Type", kind)
        for name, value in fields.items():
            self.send_header(name.replace("_", "-"), value)
        self.end_headers()


class Scripted(http.server.ThreadingHTTPServer):
    """``scripts`` maps "GET /v1/x?y=z" to answers in turn; the last one stays."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.lock = threading.Lock()
        self.scripts: dict[str, list[Answer]] = {}
        self.requests: list[Request] = []

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"

    def on(self, what: str, *answers: Answer) -> None:
        self.scripts[what] = list(answers)

    def answer(self, what: str) -> Answer:
        """The next one. The data of a task, unless they have a script, are those that the pipeline's has."""
        script = self.scripts.get(what, [])
        data = re.fullmatch(r"GET /v1/resources/([^/]+)--([^/]+)/data", what)
        if script or data is None:
            return script.pop(0) if len(script) > 1 else script[0] if script else problem(404, "there is no such thing")
        found = self.answer(f"GET /v1/pipelines/{data[1]}")
        shown = getattr(found, "content", {}).get("pipeline")
        if not shown:
            return found
        facts = task_data(shown, urllib.parse.unquote(data[2]))
        return body({"success": True, "jobs": facts}) if facts else problem(404, "there is no such task")

    def asked(self, what: str) -> list[Request]:
        return [one for one in self.requests if f"{one.method} {one.path}" == what]

    def handle_error(self, request: object, client_address: object) -> None:
        pass  # a client that hangs up is part of the tests


def body(content: Any, status: int = 200, kind: str = "application/json", **fields: str) -> Answer:
    data = content if isinstance(content, bytes) else json.dumps(content).encode()

    def answer(handler: Handler) -> None:
        handler.head(status, kind, Content_Length=str(len(data)), **fields)
        handler.wfile.write(data)

    if status == 200 and isinstance(content, dict):
        vars(answer)["content"] = content
    return answer


def task_data(shown: dict[str, Any], name: str) -> dict[str, Any] | None:
    """What ``GET /v1/resources/{id}/data`` has of a task, where ``GET /v1/pipelines/{id}`` shows it so."""
    one = next((one for one in shown["tasks"] if one["id"].endswith(f"--{name}")), None)
    if one is None:
        return None
    return {"label": one["id"], "status": one["status"], "attempts": [{"number": n + 1} for n in range(one["attempt"])]}


def problem(status: int, detail: str, *, errors: list[dict[str, Any]] | None = None, **fields: str) -> Answer:
    content = {"type": "urn:x", "title": "No", "status": status, "detail": detail}
    if errors:
        content["errors"] = errors
    return body(content, status, "application/problem+json", **fields)


def dropped(handler: Handler) -> None:
    """No answer at all: the connection ends."""
    handler.connection.close()


def stream(*pieces: bytes, kind: str = "text/plain", cut: bool = False, hold: threading.Event | None = None) -> Answer:
    """A chunked answer; ``cut`` leaves its end out, as a server that was killed does."""

    def answer(handler: Handler) -> None:
        handler.head(200, kind, Transfer_Encoding="chunked")
        for piece in pieces:
            handler.chunk(piece)
        if hold is not None:
            hold.wait(60)
        if not cut:
            handler.wfile.write(b"0\r\n\r\n")

    return answer


def frame(event: str, data: Any, position: int) -> bytes:
    return f"id: {position}\nevent: {event}\ndata: {json.dumps(data)}\n\n".encode()


def events(*frames: bytes, cut: bool = False, hold: threading.Event | None = None) -> Answer:
    return stream(*frames, kind="text/event-stream", cut=cut, hold=hold)


@dataclass
class Shell:
    """Runs commands as a user would, with a home of their own and without a terminal."""

    home: Path
    env: dict[str, str] = field(default_factory=dict)

    def environ(self, **more: str) -> dict[str, str]:
        kept = {key: value for key, value in os.environ.items() if not key.startswith(("ODIN_", "NO_COLOR", "LC_"))}
        return {
            **kept,
            "HOME": str(self.home),
            "LOGNAME": "ana",
            "TERM": "xterm",
            "LANG": "C.UTF-8",
            **self.env,
            **more,
        }

    def argv(self, command: str, *arguments: str) -> list[str]:
        return [str(BIN / command), *arguments]

    def run(self, command: str, *arguments: str, **env: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            self.argv(command, *arguments),
            env=self.environ(**env),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=120,
        )

    @property
    def tokens(self) -> Path:
        return self.home / ".config" / "odin" / "tokens.json"

    def keep(self, url: str, text: str, username: str = "ana") -> None:
        """As if signed in before."""
        self.tokens.parent.mkdir(parents=True, mode=0o700, exist_ok=True)
        self.tokens.write_text(json.dumps({url: {"token": text, "username": username}}))
        self.tokens.chmod(0o600)
