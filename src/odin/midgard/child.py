"""A forked process that answers questions, one at a time, and is killed when an answer takes too long.

Forked, not started anew: it shares the agent's memory, and the agent has no threads that this could hurt. Whether the
kernel lets go of a killed one is another matter (a driver may hold it); until then there is no second.
"""

from __future__ import annotations

import math
import os
import select
import signal
import sys
import time

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    Answers = Callable[[bytes], bytes]

PIECE = 65_536
LONGEST = 1 << 20
MOST_DESCRIPTORS = 256  # of an agent: a listener, its connections, two pipes for each child
STOPS = (signal.SIGTERM, signal.SIGINT)


class Gone(Exception):
    """The child ended instead of answering."""


class Child:
    """Starts when it is first asked, and anew when it is asked after its end. Questions and answers hold no newline."""

    def __init__(self, answers: Answers) -> None:
        self._answers = answers
        self._pid = 0
        self._question = self._answer = -1
        self._heard = b""
        self.deadline = math.inf

    def watched(self) -> Mapping[int, int]:
        return {} if self._answer < 0 else {self._answer: select.POLLIN}

    @property
    def is_there(self) -> bool:
        return self._question >= 0

    def ask(self, question: bytes, *, patience_s: float) -> bool:
        """Hand a question over; False if that cannot be done now."""
        if not self.is_there and not self._start():
            return False
        self.deadline = time.monotonic() + patience_s
        try:
            if os.write(self._question, question + b"\n") == len(question) + 1:
                return True
        except (BlockingIOError, BrokenPipeError):
            pass  # it has ended, or does not read
        self.end()
        return False

    def hear(self) -> bytes | None:
        """The answer, None if there is more to come; raises Gone."""
        piece = os.read(self._answer, PIECE)
        self._heard += piece
        if not piece or len(self._heard) > LONGEST:
            self.end()
            raise Gone
        if not self._heard.endswith(b"\n"):
            return None
        answer, self._heard, self.deadline = self._heard[:-1], b"", math.inf
        return answer

    def end(self) -> None:
        """Kill it, without waiting for that."""
        if self.is_there:
            os.close(self._question)
            os.close(self._answer)
            os.kill(self._pid, signal.SIGKILL)
            self._question = self._answer = -1
        self._heard, self.deadline = b"", math.inf
        self.is_buried()

    def is_buried(self) -> bool:
        """Whether nothing is left of the one that was ended; asking buries it."""
        if self._pid and not self.is_there and os.waitpid(self._pid, os.WNOHANG)[0]:
            self._pid = 0
        return not self._pid

    def _start(self) -> bool:
        """False where there may be no other process now."""
        if not self.is_buried():
            return False
        asked, question = os.pipe()
        answer, answered = os.pipe()
        signal.pthread_sigmask(signal.SIG_BLOCK, STOPS)
        try:
            self._pid = os.fork()
            if not self._pid:
                _live(self._answers, asked, answered)
            self._question, self._answer = question, answer
        except OSError:
            os.close(question)
            os.close(answer)
            return False
        finally:
            signal.pthread_sigmask(signal.SIG_UNBLOCK, STOPS)
            os.close(asked)
            os.close(answered)
        os.set_blocking(question, False)
        return True


def _live(answers: Answers, asked: int, answered: int) -> None:
    """The child's life; never returns. It ends with the agent, whose end closes ``asked``."""
    try:
        for stop in STOPS:
            signal.signal(stop, signal.SIG_DFL)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, STOPS)
        lower, upper = sorted((asked, answered))
        for first, last in ((3, lower), (lower + 1, upper), (upper + 1, MOST_DESCRIPTORS)):
            os.closerange(first, last)
        with open(asked, "rb") as questions, open(answered, "wb") as out:
            for question in questions:
                out.write(answers(question[:-1]) + b"\n")
                out.flush()
        os._exit(0)
    except Exception as error:  # noqa: BLE001 - border: chore
        print(f"odin-midgard: {type(error).__name__}: {error}", file=sys.stderr, flush=True)
    finally:
        os._exit(1)
