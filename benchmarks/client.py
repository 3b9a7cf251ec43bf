"""A client of the API that does as little as it can, so that what is measured is the server."""

from __future__ import annotations

import http.client
import json
from collections.abc import Iterator
from typing import Any
from urllib.parse import urlencode


class Client:
    """One kept connection; not for more than one thread."""

    def __init__(self, port: int, token: str = "") -> None:
        self._connection = http.client.HTTPConnection("127.0.0.1", port, timeout=120)
        self.token = token

    def close(self) -> None:
        self._connection.close()

    def request(self, method: str, path: str, body: bytes | None = None, /, **query: object) -> dict[str, Any]:
        """The answer's JSON. Raises RuntimeError with the problem for any other status than 200."""
        target = f"{path}?{urlencode(query)}" if query else path
        answer = self._send(method, target, body)
        text = answer.read()
        if answer.status != 200:
            raise RuntimeError(f"{method} {target} gave {answer.status}: {text.decode(errors='replace')}")
        found: dict[str, Any] = json.loads(text)
        return found

    def sign_in(self, username: str, password: str) -> str:
        given = json.dumps({"username": username, "password": password}).encode()
        self.token = str(self.request("POST", "/v1/auth", given)["message"])
        return self.token

    def push(self, job: str, files: dict[str, str]) -> None:
        """Make a job or replace its files, one commit each."""
        for name, content in files.items():
            self.request("POST", f"/v1/jobs/{job}/files/{name}", content.encode(), create="true")

    def launch(self, job: str) -> str:
        given = json.dumps({"pipeline": {"job": job}}).encode()
        return str(self.request("POST", "/v1/pipelines", given)["pipeline"]["id"])

    def follow(self, pipeline: str) -> None:
        """Read the stream of a pipeline up to its end."""
        answer = self._send("GET", f"/v1/pipelines/{pipeline}/stream", None)
        last = b""
        for line in answer:
            if line.startswith(b"data: "):
                last = line
        if b'"outcome":"succeeded"' not in last:
            raise RuntimeError(f"the stream of {pipeline} ended without success: {last[:300]!r}")

    def get(self, path: str) -> bytes:
        """An answer's body, whatever it says."""
        return self._send("GET", path, None).read()

    def pieces(self, path: str) -> Iterator[bytes]:
        """The body of an answer as it comes."""
        answer = self._send("GET", path, None)
        while piece := answer.read1(1 << 16):
            yield piece

    def _send(self, method: str, target: str, body: bytes | None) -> http.client.HTTPResponse:
        headers = {"Authorization": f"Bearer {self.token}"} if self.token else {}
        if body is not None:
            headers["Content-Type"] = "application/json" if body[:1] == b"{" else "application/octet-stream"
        self._connection.request(method, target, body, headers)
        return self._connection.getresponse()
