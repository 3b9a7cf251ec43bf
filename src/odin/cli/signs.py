"""The signs of a picture, and their stand-ins where the locale has only ASCII."""

from __future__ import annotations


class Signs:
    """``states``: one column for each status of a task. ``text`` makes foreign text fit for the locale."""

    def __init__(self, *, unicode: bool) -> None:
        self.unicode = unicode
        self.states = STATES if unicode else ASCII_STATES
        self.full, self.empty = ("━", "─") if unicode else ("#", "-")
        self.ellipsis = "…" if unicode else "..."
        self.between = " · " if unicode else ", "

    def text(self, text: str) -> str:
        return text if self.unicode or text.isascii() else text.encode("ascii", "backslashreplace").decode()


STATES = {
    "executing": "▸",
    "executed": "✓",
    "failed": "✗",
    "waiting": "◦",
    "queued": "◌",
    "terminated": "⊘",
    "skipped": "-",
}
ASCII_STATES = {
    "executing": ">",
    "executed": "+",
    "failed": "x",
    "waiting": ".",
    "queued": ":",
    "terminated": "/",
    "skipped": "-",
}
