"""Server-sent events out of bytes. Source: the WHATWG HTML standard, 9.2.6."""

from __future__ import annotations

from collections.abc import Iterator

from odin.client.wire import Answer, Broken, Idle

LONGEST_EVENT = 256 << 20  # bytes; a snapshot of 10,000 tasks is about 5 MB
SILENT_S = 60.0  # the server writes a comment every 15 s; after this long the connection is dead


class Frame:
    """One event. ``id`` is where to go on from, empty when the server gave none."""

    __slots__ = ("data", "event", "id")

    def __init__(self, event: str, data: str, id: str) -> None:
        self.event = event
        self.data = data
        self.id = id


def frames(answer: Answer, tick_s: float) -> Iterator[Frame | None]:
    """The events as they come; None whenever nothing came for ``tick_s``. Raises Broken."""
    answer.wait_at_most(tick_s)
    fields: dict[str, str] = {}
    for line in lines(answer.pieces(), tick_s):
        if line is None:
            yield None
        elif not line:
            if "data" in fields:
                yield Frame(fields.get("event", "message"), fields["data"], fields.get("id", ""))
            fields = {}
        elif not line.startswith(":"):
            name, _, value = line.partition(":")
            value = value.removeprefix(" ")
            fields[name] = f"{fields['data']}\n{value}" if name == "data" and "data" in fields else value


def lines(pieces: Iterator[bytes], tick_s: float) -> Iterator[str | None]:
    """Whole lines without their ends; None at every tick without a byte."""
    rest: list[bytes] = []
    silent_s = 0.0
    while silent_s < SILENT_S:
        try:
            piece = next(pieces)
        except StopIteration:
            return
        except Idle:
            silent_s += tick_s
            yield None
            continue
        silent_s = 0.0
        *whole, last = piece.split(b"\n")
        for line in whole:
            yield b"".join([*rest, line]).removesuffix(b"\r").decode("utf-8", "replace")
            rest = []
        rest.append(last)
        if sum(map(len, rest)) > LONGEST_EVENT:
            raise Broken("an event is longer than any that Odin sends")
    raise Broken("the server fell silent")
