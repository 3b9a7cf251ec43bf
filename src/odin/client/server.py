"""Requests to one server: a token where one is needed, safe repeats, problems as exceptions.

A GET, and a POST with its ``Idempotency-Key``, may be sent again when the answer was lost or the server is busy; PUT
and DELETE are not. A server that has answered before and cannot be reached now is taken to be restarting.
Source: api.md, "Errors"; reliability.md, F-70.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable, Mapping

from odin.client.address import Address
from odin.client.encoding import query, quote
from odin.client.errors import NotAllowed, Unreachable
from odin.client.problems import Reply, failure, why
from odin.client.wire import Answer, Broken, exchange

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from odin.client.signin import SignIn
    from odin.client.tokens import Token

Said = Callable[[str], None]

ANSWER_S = 60.0  # without a byte of the answer
PAUSES_S = (0.1, 0.5)  # before the second and the third try
LONGER_PAUSES_S = (0.1, 0.5, 1.0, 2.0, 4.0)  # when it is known that there is a server
RESTING = (502, 503, 504)  # a proxy's word for a server that restarts; Odin's own 503 says when to come back
LONGEST_RETRY_AFTER_S = 10.0
UPLOAD_S = 300.0
JSON = "application/json"
NONE: Mapping[str, str] = {}


class Server:
    """One server, for any number of threads. Answers are the API's JSON; every error is a ClientError.

    ``sign_in`` is set after the making, because signing in is itself a request. ``warn`` gets sentences for people,
    ``trace`` one line for each exchange. A request that is not ``signed`` carries no token; one that is not
    ``patient`` is sent once.
    """

    sign_in: SignIn

    def __init__(self, address: Address, *, warn: Said, trace: Said) -> None:
        self.address = address
        self.warn = warn
        self._trace = trace
        self._warned = False
        self.known = False  # it has answered once; so when it does not, it is taken to be restarting

    def get(self, path: str, *, signed: bool = True, patient: bool = True, **values: object) -> dict[str, Any]:
        return self._json(self._request("GET", path + query(values), signed=signed, patient=patient))

    def ask(self, path: str, *, signed: bool = True, **values: object) -> Reply:
        """A GET whose answer is no JSON object."""
        return self._request("GET", path + query(values), signed=signed)

    def post(self, path: str, body: object = None, **values: object) -> dict[str, Any]:
        raw = None if body is None else json.dumps(body).encode()
        return self._json(self._request("POST", path + query(values), raw, JSON))

    def upload(
        self, path: str, body: bytes, kind: str, fields: Mapping[str, str] = NONE, **values: object
    ) -> dict[str, Any]:
        target = path + query(values)
        return self._json(self._request("POST", target, body, kind, fields=fields, answer_s=UPLOAD_S))

    def put(self, path: str, body: object, fields: Mapping[str, str] = NONE) -> dict[str, Any]:
        return self._json(self._request("PUT", path, json.dumps(body).encode(), JSON, fields=fields))

    def delete(
        self, path: str, *, answer_s: float = ANSWER_S, fields: Mapping[str, str] = NONE, **values: object
    ) -> dict[str, Any]:
        return self._json(self._request("DELETE", path + query(values), fields=fields, answer_s=answer_s))

    def authenticate(self, username: str, password: str) -> str:
        """A new token. Raises NotAllowed for a wrong user or password."""
        body = json.dumps({"username": username, "password": password}).encode()
        self._warn_if_readable("password")
        reply = self._send("POST", "/v1/auth", {"Content-Type": JSON}, body, repeatable=False)
        if reply.status == 401:
            raise NotAllowed(f'wrong user name or password for "{username}" at {self.address.url}', status=401)
        token = self._json(checked(self.address, reply)).get("message")
        if not isinstance(token, str) or not token.isascii() or not token.isprintable():
            raise Unreachable(f"{self.address.url} does not answer like an Odin server: no token in its answer")
        return token

    def accepts(self, token: Token) -> bool:
        """Whether the server still takes this token."""
        fields = {"Accept": JSON, "Authorization": f"Bearer {token.text}"}
        reply = self._send("GET", f"/v1/users/{quote(token.username)}", fields, None, repeatable=True)
        if reply.status in (401, 404):
            return False
        checked(self.address, reply)
        return True

    def stream(self, path: str, *, accept: str, fields: Mapping[str, str] = NONE, **values: object) -> Answer:
        """An answer to read as it comes; the caller closes it. Not repeated: followers have patience of their own."""
        target = path + query(values)
        wanted = {"Accept": accept, **fields}
        token = self._token("GET", signed=True)
        answer = self._begin(target, wanted, token)
        if answer.status == 401:
            answer.close()
            answer = self._begin(target, wanted, self.sign_in.renew(refused=token))
        if answer.status != 200:
            raise failure(self.address, Reply(answer.status, answer.fields, answer.read()))
        return answer

    def _begin(self, target: str, fields: Mapping[str, str], token: Token | None) -> Answer:
        try:
            return self._open("GET", target, {**fields, **self._authorization(token)}, None, ANSWER_S)
        except Broken as error:
            raise Unreachable(f"no proper answer from {self.address.url}: {error}") from error

    def _request(
        self,
        method: str,
        target: str,
        body: bytes | None = None,
        kind: str = JSON,
        *,
        fields: Mapping[str, str] = NONE,
        answer_s: float = ANSWER_S,
        signed: bool = True,
        patient: bool = True,
    ) -> Reply:
        fields = {"Accept": JSON, **fields}
        if body is not None:
            fields["Content-Type"] = kind
        if method == "POST":
            fields["Idempotency-Key"] = os.urandom(16).hex()
        repeatable = patient and method in ("GET", "POST")
        token = self._token(method, signed)
        fields |= self._authorization(token)
        reply = self._send(method, target, fields, body, repeatable=repeatable, answer_s=answer_s)
        if reply.status == 401 and signed:
            fields |= self._authorization(self.sign_in.renew(refused=token))
            reply = self._send(method, target, fields, body, repeatable=repeatable, answer_s=answer_s)
        return checked(self.address, reply)

    def _token(self, method: str, signed: bool) -> Token | None:
        if not signed:
            return None
        return self.sign_in.kept() if method == "GET" else self.sign_in.obtain()

    def _authorization(self, token: Token | None) -> dict[str, str]:
        if token is None:
            return {}
        self._warn_if_readable("token")
        return {"Authorization": f"Bearer {token.text}"}

    def _warn_if_readable(self, secret: str) -> None:
        if self.address.scheme == "http" and not self.address.loopback and not self._warned:
            self._warned = True
            self.warn(f"{self.address.url} is not encrypted: others on the way can read your {secret}")

    def _send(
        self,
        method: str,
        target: str,
        fields: Mapping[str, str],
        body: bytes | None,
        *,
        repeatable: bool,
        answer_s: float = ANSWER_S,
    ) -> Reply:
        tries = 0
        while True:
            pauses_s = (LONGER_PAUSES_S if self.known else PAUSES_S) if repeatable else ()
            pause_s = pauses_s[tries] if tries < len(pauses_s) else None
            tries += 1
            try:
                reply = self._once(method, target, fields, body, answer_s)
            except (Broken, Unreachable) as error:
                if pause_s is None or not (self.known or isinstance(error, Broken)):
                    raise self._lost(error, repeatable) from error
                time.sleep(pause_s)
                continue
            if pause_s is None or not self._rested(reply, pause_s):
                return reply

    def _rested(self, reply: Reply, pause_s: float) -> bool:
        """Sleep when this answer says that the same request may do later; says whether it did."""
        wait_s = reply.retry_after_s
        if wait_s is None:
            if reply.status not in RESTING:
                return False
            time.sleep(pause_s)
            return True
        if wait_s > LONGEST_RETRY_AFTER_S:
            return False
        self.warn(f"{why(reply)}; trying again in {wait_s:.0f} s")
        time.sleep(wait_s)
        return True

    def _lost(self, error: Exception, repeatable: bool) -> Unreachable:
        if isinstance(error, Unreachable):
            return error
        unsure = "" if repeatable else "; it may or may not have done what was asked"
        return Unreachable(f"no proper answer from {self.address.url}: {error}{unsure}")

    def _once(self, method: str, target: str, fields: Mapping[str, str], body: bytes | None, answer_s: float) -> Reply:
        with self._open(method, target, fields, body, answer_s) as answer:
            return Reply(answer.status, answer.fields, answer.read())

    def _open(self, method: str, target: str, fields: Mapping[str, str], body: bytes | None, answer_s: float) -> Answer:
        began = time.perf_counter()
        answer = exchange(self.address, method, target, fields, body, timeout_s=answer_s)
        self.known = self.known or 200 <= answer.status < 300
        took_ms = (time.perf_counter() - began) * 1000
        self._trace(f"{method} {self.address.url}{target}: {answer.status} after {took_ms:.1f} ms")
        return answer

    def _json(self, reply: Reply) -> dict[str, Any]:
        try:
            answer = json.loads(reply.body)
        except ValueError:
            answer = None
        if not isinstance(answer, dict):
            kind = reply.fields.get("content-type", "no type")
            raise Unreachable(f"{self.address.url} does not answer like an Odin server ({reply.status}, {kind})")
        return answer


def checked(address: Address, reply: Reply) -> Reply:
    if not 200 <= reply.status < 300:
        raise failure(address, reply)
    return reply
