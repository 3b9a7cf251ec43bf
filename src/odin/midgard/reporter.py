"""Sends each reading to the server; keeps none: what could not be sent is replaced by the next."""

from __future__ import annotations

import json
import math
import random
import sys
import time

from odin.client.errors import ClientError
from odin.client.wire import Broken, Idle, exchange
from odin.midgard.child import Child, Gone
from odin.midgard.report import encoded, report

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from odin.client.address import Address
    from odin.client.wire import Answer
    from odin.midgard.cards import Cards

ANSWER_S = 10.0
PATIENCE_S = 25.0  # name, connection and answer together
LONGEST_PAUSE_S = 60.0
LONGEST_ANSWER = 4096


class Reporter:
    """A party that sends a report when there is a new reading; after failures it pauses, twice as long each time."""

    def __init__(self, cards: Cards, send: Callable[[bytes], bytes], interval_s: float) -> None:
        self._cards = cards
        self._interval_s = interval_s
        self._child = Child(send)
        self._is_sending = False
        self._sent = 0  # the newest reading that was sent
        self._failures = 0
        self._send_from = 0.0
        self._said: str | None = None

    def watched(self) -> Mapping[int, int]:
        return self._child.watched()

    def due(self) -> float:
        if self._is_sending:
            return self._child.deadline
        return self._send_from if self._cards.reading > self._sent else math.inf

    def turn(self, now: float) -> None:
        if self._is_sending:
            self._child.end()
            self._over(f"the server did not answer within {PATIENCE_S:g} s", now)
            return
        self._sent = self._cards.reading
        if self._child.ask(encoded(report(self._cards, self._interval_s)), patience_s=PATIENCE_S):
            self._is_sending = True
        else:
            self._over("the report could not be handed over", now)

    def ready(self, _descriptor: int) -> None:
        try:
            answer = self._child.hear()
        except Gone:
            answer = b"sending failed"
        if answer is not None:
            self._over(answer.decode(), time.monotonic())

    def close(self) -> None:
        self._child.end()

    def _over(self, trouble: str, now: float) -> None:
        """``trouble`` is empty when the server took the report. Told when it changes, not each time."""
        self._is_sending = False
        self._failures = self._failures + 1 if trouble else 0
        if trouble:
            pause_s = min(LONGEST_PAUSE_S, self._interval_s * 2.0 ** min(self._failures, 10))
            self._send_from = now + pause_s * random.uniform(0.5, 1.0)  # noqa: S311 - spreads the nodes
        if trouble != self._said:
            self._said = trouble
            print(f"odin-midgard: {trouble or 'the server takes the reports'}", file=sys.stderr, flush=True)


class Post:
    """What the child does: one request. ``token`` gives the token as it is now, or raises OSError."""

    def __init__(self, address: Address, node: str, token: Callable[[], str]) -> None:
        self._address = address
        self._target = f"/v1/nodes/{node}/report"
        self._token = token

    def __call__(self, body: bytes) -> bytes:
        """Empty if the server took the report, else a sentence."""
        try:
            fields = {"Authorization": f"Bearer {self._token()}", "Content-Type": "application/json"}
            with exchange(self._address, "POST", self._target, fields, body, timeout_s=ANSWER_S) as answer:
                return self._judged(answer).encode()
        except (ClientError, Broken, Idle) as error:
            return _line(str(error) or "the answer stopped in the middle")
        except OSError as error:
            return _line(f"the token cannot be read: {error}")

    def _judged(self, answer: Answer) -> str:
        url = self._address.url
        if 200 <= answer.status < 300:
            return ""
        if answer.status in (401, 403):
            return f"{url} refuses the token; it must be the server's ODIN_MIDGARD_TOKEN"
        return f"{url} answers {answer.status}: {_detail(answer)}".rstrip(": ")


def _detail(answer: Answer) -> str:
    """What the server says of it, a printable line at most."""
    body = b""
    for piece in answer.pieces():
        body += piece
        if len(body) > LONGEST_ANSWER:
            return ""
    try:
        said = json.loads(body)["detail"]
    except (ValueError, TypeError, KeyError):
        return ""
    return _line(str(said)).decode()


def _line(sentence: str) -> bytes:
    return "".join(letter if letter.isprintable() else " " for letter in sentence)[:300].encode(errors="replace")
