"""What the end of a process means: code, reason and a sentence. Pure."""

from __future__ import annotations

import os
import signal
from dataclasses import dataclass

LOST = "it may have run, but its end was not seen"
OUT_OF_MEMORY = "killed by the kernel, which had run out of memory"


@dataclass(frozen=True, slots=True)
class Verdict:
    """Reasons are those of ``odin.executors.protocol.Reason``."""

    code: int | None
    reason: str
    message: str = ""


@dataclass(slots=True)
class Stop:
    """Why a body is being stopped, and whether it had to be killed."""

    reason: str
    message: str
    grace_s: float
    forced: bool = False


def verdict(status: int | None, stop: Stop | None, unseen: str = LOST, *, memory_ran_out: bool = False) -> Verdict:
    """``status`` is a wait status, None when nobody could see it; ``unseen`` says why.

    ``memory_ran_out``: the kernel has killed something for want of memory while it ran.
    """
    code = None if status is None else exit_code(status)
    if stop is not None:
        return Verdict(code, stop.reason, stopped(stop))
    if status is None:
        return Verdict(None, "lost", unseen)
    if memory_ran_out and os.WIFSIGNALED(status) and os.WTERMSIG(status) == signal.SIGKILL:
        return Verdict(code, "oom", OUT_OF_MEMORY)
    if os.WIFSIGNALED(status):
        return Verdict(code, "signal", f"killed by {signal_words(os.WTERMSIG(status))}")
    return Verdict(code, "exit")


def exit_code(status: int) -> int:
    """As shells tell it: 128 + n for signal n."""
    code = os.waitstatus_to_exitcode(status)
    return code if code >= 0 else 128 - code


def stopped(stop: Stop) -> str:
    if not stop.forced:
        return stop.message
    return f"{stop.message}; it did not end within {stop.grace_s:g} s of SIGTERM and was killed"


def signal_words(number: int) -> str:
    """``SIGSEGV (segmentation fault)``."""
    try:
        name = signal.Signals(number).name
    except ValueError:
        return f"signal {number}"
    words = signal.strsignal(number)
    return f"{name} ({words.lower()})" if words else name
