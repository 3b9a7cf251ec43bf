"""Asking for a password on the terminal: an asterisk for each character, as the first Odin did."""

from __future__ import annotations

import codecs
import os
import sys
import termios

ENTER = ("\r", "\n")
BACKSPACE = ("\x7f", "\x08")
END = "\x04"
KILL_LINE = "\x15"


def ask_masked(prompt: str) -> str | None:
    """The password, or None when there is no terminal to ask on.

    Asks on the controlling terminal, so that ``odin-auth > file`` asks too. Raises KeyboardInterrupt on Ctrl-C.
    """
    if not (sys.stdin and sys.stdin.isatty()):
        return None
    try:
        descriptor = os.open("/dev/tty", os.O_RDWR | os.O_NOCTTY | os.O_CLOEXEC)
    except OSError:
        return None
    try:
        return read_masked(descriptor, prompt)
    finally:
        os.close(descriptor)


def read_masked(terminal: int, prompt: str) -> str | None:
    """Like ask_masked, on an open terminal. Echo is on again afterwards, whatever happens."""
    before = termios.tcgetattr(terminal)
    silent = termios.tcgetattr(terminal)
    silent[3] &= ~(termios.ECHO | termios.ICANON)
    os.write(terminal, prompt.encode())
    try:
        termios.tcsetattr(terminal, termios.TCSAFLUSH, silent)
        return typed(terminal)
    finally:
        termios.tcsetattr(terminal, termios.TCSAFLUSH, before)
        os.write(terminal, b"\n")


def typed(terminal: int) -> str | None:
    """What is typed up to Enter; None for an end of input with nothing typed."""
    decoder = codecs.getincrementaldecoder("utf-8")("ignore")
    password = ""
    while piece := os.read(terminal, 1024):
        for sign in decoder.decode(piece):
            if sign in ENTER or (sign == END and password):
                return password
            if sign == END:
                return None
            password = edited(terminal, password, sign)
    return None


def edited(terminal: int, password: str, sign: str) -> str:
    if sign in BACKSPACE:
        erase(terminal, min(1, len(password)))
        return password[:-1]
    if sign == KILL_LINE:
        erase(terminal, len(password))
        return ""
    if not sign.isprintable():
        return password
    os.write(terminal, b"*")
    return password + sign


def erase(terminal: int, count: int) -> None:
    os.write(terminal, b"\b \b" * count)
