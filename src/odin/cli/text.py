"""Text from elsewhere made safe for a terminal.

Names, messages and logs can hold escape sequences that retitle a window, write the clipboard or hide text (the class
of CVE-2021-25743). They are shown as ``\\x1b``; only SGR (colours) of a log passes, and only to a terminal.
Source: reliability.md, A-75.
"""

from __future__ import annotations

import codecs
import re

BLANKS = "\u00a0\u2000\u2001\u2002\u2003\u2004\u2005\u2006\u2007\u2008\u2009\u200a\u202f\u205f\u3000"
SGR = re.compile(r"\x1b\[[0-9;:]{0,64}m")
UNFINISHED = re.compile(r"(?:\x1b(?:\[[0-9;:]{0,64})?|\r)\Z")
RESET = "\x1b[0m"


def escape(sign: str) -> str:
    if sign.isprintable() or sign in BLANKS:
        return sign
    code = ord(sign)
    return f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"


def clean(text: str) -> str:
    """One line: everything that is not printable is shown escaped, line ends too."""
    return text if text.isprintable() else "".join(map(escape, text))


def clean_line(line: str, *, colour: bool) -> str:
    """A line of a log. SGR passes with ``colour``, else it is left out; tabs stay."""
    if line.isprintable():
        return line
    pieces = SGR.split(line)
    if len(pieces) == 1:
        return shown(line)
    if not colour:
        return "".join(map(shown, pieces))
    marks = SGR.findall(line)
    return "".join(shown(piece) + mark for piece, mark in zip(pieces, [*marks, ""], strict=True)) + RESET


def shown(text: str) -> str:
    return text if text.isprintable() else "".join(sign if sign == "\t" else escape(sign) for sign in text)


class LogText:
    """A log's bytes as safe text, piece by piece: a character, an escape or a line end may be split between two.

    A lone carriage return, as progress bars write it, begins a new line.
    """

    def __init__(self, *, colour: bool) -> None:
        self._decoder = codecs.getincrementaldecoder("utf-8")("backslashreplace")
        self._colour = colour
        self._rest = ""

    def feed(self, piece: bytes, *, final: bool = False) -> str:
        text = self._rest + self._decoder.decode(piece, final)
        self._rest = ""
        if not final and (unfinished := UNFINISHED.search(text)):
            text, self._rest = text[: unfinished.start()], unfinished.group()
        text = text.replace("\r\n", "\n").replace("\r", "\n")
        return "\n".join(clean_line(line, colour=self._colour) for line in text.split("\n"))


def clean_log(text: str, *, colour: bool) -> str:
    """A whole log."""
    return LogText(colour=colour).feed(text.encode("utf-8", "surrogatepass"), final=True)
