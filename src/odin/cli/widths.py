"""How many columns text takes in a terminal, and text cut to so many.

Source of the widths: Unicode Standard Annex 11 (East Asian Width); marks and format characters take none.
"""

from __future__ import annotations

import unicodedata

from odin.cli.text import SGR

NO_WIDTH = ("Mn", "Me", "Cf")


def sign_width(sign: str) -> int:
    """0, 1 or 2 columns. Characters of ambiguous width count as one, as terminals outside East Asia draw them."""
    if sign.isascii():
        return 1
    if unicodedata.category(sign) in NO_WIDTH:
        return 0
    return 2 if unicodedata.east_asian_width(sign) in ("W", "F") else 1


def width(text: str) -> int:
    """Of text without escapes."""
    return len(text) if text.isascii() else sum(map(sign_width, text))


def wraps(text: str, columns: int) -> int:
    """How often a terminal begins a new row for text without escapes; what is two columns wide is never split."""
    if text.isascii():
        return max(0, len(text) - 1) // columns
    rows = taken = 0
    for sign in text:
        wide = sign_width(sign)
        if taken + wide > columns:
            rows, taken = rows + 1, 0
        taken += wide
    return rows


def cut(text: str, columns: int, ellipsis: str = "…") -> str:
    """``text`` in at most so many columns, with an ellipsis where something is left out. Without escapes."""
    if columns <= 0:
        return ""
    if width(text) <= columns:
        return text
    room = columns - width(ellipsis)
    if room < 0:
        return ellipsis[:columns]
    kept = 0
    for index, sign in enumerate(text):
        kept += sign_width(sign)
        if kept > room:
            return text[:index].rstrip() + ellipsis
    return text


def cut_painted(line: str, columns: int, ellipsis: str = "…") -> str:
    """As ``cut`` for a line with colours, which it loses where something is left out."""
    plain = SGR.sub("", line)
    return line if width(plain) <= columns else cut(plain, columns, ellipsis)


def fit(text: str, columns: int, ellipsis: str = "…") -> str:
    """Exactly so many columns: cut, or filled with blanks."""
    shown = cut(text, columns, ellipsis)
    return shown + " " * (columns - width(shown))
