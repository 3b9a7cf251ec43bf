"""Server-sent events as they are shared: encoded once, kept in a ring of bounded size, sent to any number of clients.

Source: https://html.spec.whatwg.org/multipage/server-sent-events.html
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

from msgspec import Raw

from odin.api.answers import ENCODER
from odin.api.shapes import Shape

PIECE = 64 << 10


@dataclass(frozen=True, slots=True)
class Frame:
    """One event, and where in its ring it stands."""

    position: int
    event: str
    text: bytes

    @property
    def data(self) -> bytes:
        """What the event is about, as JSON."""
        return self.text[self.text.index(b"\ndata: ") + 7 : -2]


def encode(id_: int, event: str, data: Shape | Raw) -> bytes:
    """An event's text. JSON has no line breaks outside strings, and none unescaped in them."""
    return b"id: %d\nevent: %s\ndata: %s\n\n" % (id_, event.encode(), ENCODER.encode(data))


@dataclass(frozen=True)
class News:
    """Frames in the order of their positions; none in a beat, which only says that the stream is alive."""

    frames: tuple[Frame, ...]

    @cached_property
    def text(self) -> bytes:
        return b"".join([frame.text for frame in self.frames]) or b": still here\n\n"


BEAT = News(())


class Ring:
    """The newest frames: all with a position above ``floor`` and up to ``head``.

    ``room`` is how many bytes may be kept; the frames that were added last are kept whatever their size.
    """

    def __init__(self, position: int, room: int) -> None:
        self.floor = self.head = position
        self.room = room
        self._frames: list[Frame] = []
        self._bytes = 0
        self._newest = (position, BEAT)  # what was added last, and the head before: what nearly all ask for

    def after(self, position: int) -> News:
        """What follows a position that is below the head and not below the floor; about 64 KiB at once."""
        if position == self._newest[0]:
            return self._newest[1]
        first = last = bisect_right(self._frames, position, key=lambda frame: frame.position)
        size = 0
        while last < len(self._frames) and size < PIECE:
            size += len(self._frames[last].text)
            last += 1
        return News(tuple(self._frames[first:last]))

    def add(self, frames: Sequence[Frame], head: int) -> None:
        if frames:
            self._newest = (self.head, News(tuple(frames)))
            self._keep(len(self._frames), frames)
        self.head = head

    def reach_back(self, frames: Sequence[Frame], floor: int) -> None:
        """Put in front what lies between a lower floor and this one."""
        self.floor = floor
        self._keep(0, frames)

    def _keep(self, at: int, frames: Sequence[Frame]) -> None:
        self._frames[at:at] = frames
        self._bytes += sum(len(frame.text) for frame in frames)
        older = len(self._frames) - len(self._newest[1].frames)
        count = 0
        while self._bytes > self.room and count < older:
            self._bytes -= len(self._frames[count].text)
            self.floor = self._frames[count].position
            count += 1
        del self._frames[:count]
