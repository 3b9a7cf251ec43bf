"""A real terminal: xterm on a display without a screen (Xvfb), what stands in it, and a picture of it as PNG.

Xvfb keeps its frame buffer in a file in the format of xwd, so nothing but xterm and Xvfb is needed to take a picture.
Source of that format: X11/XWDFile.h of the X Window System.
"""

from __future__ import annotations

import os
import shutil
import struct
import subprocess
import tempfile
import zlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pyte

from e2e.serving import until

THERE = bool(shutil.which("xterm") and shutil.which("Xvfb"))
INSTALL = "apt-get install -y xvfb xterm fonts-dejavu-core"
SCREEN = (2000, 1200)
DARK = ("#14171c", "#d4d7dd")  # background, text
LIGHT = ("#ffffff", "#1c1e21")
HEAD_FIELDS = 25  # of 4 bytes each, at the beginning of a frame buffer's file


@dataclass
class Terminal:
    """One xterm with one program in it. It stays when the program has ended."""

    process: subprocess.Popen[bytes]
    output: Path
    frame_buffer: Path
    columns: int
    rows: int
    background: str

    def lines(self) -> list[str]:
        """The text on the screen, by another reading of what the program wrote."""
        screen = pyte.Screen(self.columns, self.rows)
        pyte.ByteStream(screen).feed(self.output.read_bytes() if self.output.exists() else b"")
        return [line.rstrip() for line in screen.display]

    def shows(self, *words: str) -> list[str]:
        """Wait until all these words are on the screen."""
        until(lambda: all(word in "\n".join(self.lines()) for word in words), told=lambda: "\n".join(self.lines()))
        return self.lines()

    def picture(self, path: Path) -> None:
        """Once the window shows what the program wrote: when two looks at it are the same."""
        seen: list[bytes] = []

        def still() -> bool:
            seen.append(self.frame_buffer.read_bytes())
            return len(seen) > 1 and seen[-1] == seen[-2] and self._drawn(seen[-1])

        until(still, pause_s=0.15)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(png(*self._window(seen[-1])))

    def _drawn(self, raw: bytes) -> bool:
        width, rows = pixels(raw)
        return any(row[:width] != rows[0][:width] for row in rows[4:])

    def _window(self, raw: bytes) -> tuple[int, list[bytes]]:
        """The rows of the window as RGB: up to where the display's own black begins."""
        _, rows = pixels(raw)
        own = bytes.fromhex(self.background[5:7] + self.background[3:5] + self.background[1:3])
        width = next(
            (x for x in range(len(rows[1]) // 4) if rows[1][4 * x : 4 * x + 3] == b"\0\0\0"), len(rows[1]) // 4
        )
        height = next((y for y, row in enumerate(rows) if row[:3] == b"\0\0\0"), len(rows))
        assert rows[1][:3] == own, "the window is not where it was put"
        return width, [rgb(row[: 4 * width]) for row in rows[:height]]


@contextmanager
def terminal(
    command: Sequence[str], env: dict[str, str], *, size: tuple[int, int], colours: tuple[str, str] = DARK
) -> Iterator[Terminal]:
    """``command`` in an xterm of ``size`` columns and rows. ``env`` has what the program needs; DISPLAY is added."""
    folder = Path(tempfile.mkdtemp(prefix="odin-screen-"))
    ready, tell = os.pipe()
    server = subprocess.Popen(
        ["Xvfb", "-displayfd", str(tell), "-screen", "0", "{}x{}x24".format(*SCREEN), "-fbdir", folder, "-nocursor"],
        pass_fds=[tell],
        stderr=subprocess.DEVNULL,
    )
    os.close(tell)
    try:
        with os.fdopen(ready) as answer:
            display = f":{answer.readline().strip()}"
        with xterm(command, env | {"DISPLAY": display, "TERM": "xterm-256color"}, folder, size, colours) as made:
            yield made
    finally:
        server.terminate()
        server.wait()
        shutil.rmtree(folder, ignore_errors=True)


@contextmanager
def xterm(
    command: Sequence[str], env: dict[str, str], folder: Path, size: tuple[int, int], colours: tuple[str, str]
) -> Iterator[Terminal]:
    output = folder / "output"
    looks = ["-fa", "DejaVu Sans Mono", "-fs", "10", "-bg", colours[0], "-fg", colours[1], "-bw", "0", "-b", "8", "+sb"]
    place = [
        "-geometry",
        "{}x{}+0+0".format(*size),
        "-hold",
        "-u8",
        "-tn",
        "xterm-256color",
        "-xrm",
        "XTerm*allowBoldFonts: true",
    ]
    process = subprocess.Popen(["xterm", *looks, *place, "-l", "-lf", output, "-e", *command], env=env)
    try:
        yield Terminal(process, output, folder / "Xvfb_screen0", *size, colours[0])
    finally:
        process.terminate()
        process.wait()


def pixels(raw: bytes) -> tuple[int, list[bytes]]:
    """The width and the rows of a frame buffer, four bytes a pixel: blue, green, red, nothing."""
    head = struct.unpack(f">{HEAD_FIELDS}I", raw[: 4 * HEAD_FIELDS])
    size, width, height, stride, colours = head[0], head[4], head[5], head[12], head[19]
    start = size + 12 * colours
    return 4 * width, [raw[start + y * stride : start + y * stride + 4 * width] for y in range(height)]


def rgb(row: bytes) -> bytes:
    found = bytearray(3 * (len(row) // 4))
    found[0::3], found[1::3], found[2::3] = row[2::4], row[1::4], row[0::4]
    return bytes(found)


def png(width: int, rows: list[bytes]) -> bytes:
    """Source: https://www.w3.org/TR/png-3/, sections 5 and 11."""
    head = struct.pack(">2I5B", width, len(rows), 8, 2, 0, 0, 0)
    data = zlib.compress(b"".join(b"\0" + row for row in rows), 9)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", data) + chunk(b"IEND", b"")


def chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
