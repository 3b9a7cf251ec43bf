"""Parts of logs: the last lines, the last bytes, what begins at a position. Never more than 10 MiB at once."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from odin.model.ids import AttemptId

if TYPE_CHECKING:
    from odin.executors.protocol import Logs

MOST = 10 * 1024 * 1024
FIRST_LOOK = 64 * 1024


@dataclass(frozen=True, slots=True)
class Part:
    """``data`` begins at byte ``offset`` of a log of ``size`` bytes."""

    data: bytes
    offset: int
    size: int

    @property
    def end(self) -> int:
        return self.offset + len(self.data)


async def read_from(logs: Logs, attempt: AttemptId, offset: int, most: int = MOST) -> Part:
    """What begins at ``offset``, at most so many bytes of it."""
    data, size = await logs.read(attempt, offset=offset, limit=most)
    return Part(data, min(offset, size), size)


async def read_last(logs: Logs, attempt: AttemptId, most: int = MOST) -> Part:
    """The last bytes."""
    data, size = await logs.read(attempt, offset=-most, limit=most)
    return Part(data, max(0, size - most), size)


async def read_lines(logs: Logs, attempt: AttemptId, lines: int, most: int = MOST) -> Part:
    """The last lines, within the last bytes; read backwards, so that few lines of a long log cost little."""
    look = FIRST_LOOK
    while True:
        data, size = await logs.read(attempt, offset=-look, limit=look)
        start = _start_of(data, lines)
        if start > 0 or look >= min(size, most):
            part = data[start:]
            return Part(part, max(0, size - look) + start, size)
        look = min(most, look * 4)


def _start_of(data: bytes, lines: int) -> int:
    """Where the last ``lines`` lines begin; 0 if there are not more."""
    if not lines:
        return len(data)
    at = len(data) - 1 if data.endswith(b"\n") else len(data)
    for _ in range(lines):
        at = data.rfind(b"\n", 0, at)
        if at < 0:
            return 0
    return at + 1


def shown(part: Part) -> str:
    """The part as text; says where something is left out. Bytes that are no UTF-8 become U+FFFD."""
    before = f"[odin: {part.offset} bytes before this are left out]\n" if part.offset else ""
    after = f"\n[odin: {part.size - part.end} bytes after this are left out]\n" if part.end < part.size else ""
    return before + _whole_characters(part.data).decode(errors="replace") + after


def _whole_characters(data: bytes) -> bytes:
    """Without the rest of a character that was cut at the front."""
    cut = 0
    while cut < min(3, len(data)) and data[cut] & 0xC0 == 0x80:
        cut += 1
    return data[cut:]
