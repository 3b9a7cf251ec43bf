"""Renders templates in a child process, ``odin.jobs.sandbox``, and says in words what it refused.

The child is not trusted: what it sends is bounded, how long it may take too, and it is killed with all it started.
One child does all templates of a job; that takes some 80 ms, most of it Jinja's import, which the server is spared.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from threading import BoundedSemaphore, Timer
from typing import Any

import msgspec

from odin.jobs.child import end
from odin.jobs.values import MIB, TEMPLATE_SUFFIX
from odin.model.errors import NotSupported, Problem, Unavailable, ValidationFailed
from odin.model.names import nearest, shown

PROGRAM = Path(__file__).with_name("sandbox.py")
CHILDREN = 2
WALL_S = 30.0  # the child has 2 s of CPU time; on a busy machine that may take long
LONGEST_ANSWER = 8 * MIB  # 1 MiB of rendered files, each character in six at worst, and the names that they use
FEW = 5
STILL_ROOT = 77  # how the child ends where it cannot become nobody

CANNOT_DROP = (
    "this server renders no templates: it is root and may not become another user for that; "
    "start it as another user, or let it change users (the capabilities SETUID and SETGID)"
)
CPU = "rendering took more than 2 s of CPU time; let templates only fill in values, and the tasks compute"
LIMITS = {
    "memory": "rendering took more than 256 MiB of memory; let templates only fill in values, and the tasks compute",
    "output": "the rendered files have more than 1 MiB together; let the tasks make what is large",
    "depth": "this is nested too deeply, or includes itself",
}


@dataclass(frozen=True, slots=True)
class Rendering:
    """Rendered files by their path in the job, without ``.jinja2``, and the names that the templates refer to."""

    files: Mapping[str, str]
    used: frozenset[str]


class Fault(msgspec.Struct):
    """What the child says of a template; ``known`` are the names that an object has instead of ``name``."""

    file: str
    line: int | None
    kind: str
    text: str
    name: str = ""
    known: list[str] | None = None


class Answer(msgspec.Struct):
    files: dict[str, str]
    used: list[str]
    problems: list[Fault]


class Renderer:
    """Starts the children, at most ``CHILDREN`` at a time; whoever comes then waits. Safe to share between threads."""

    def __init__(self, program: Path = PROGRAM) -> None:
        self._program = program
        self._turns = BoundedSemaphore(CHILDREN)

    def check(self, job: str, templates: Mapping[str, str]) -> None:
        """Raises ValidationFailed with the first error of each template, by its path in the job."""
        self._ask(job, templates, None)

    def render(self, job: str, templates: Mapping[str, str], context: Mapping[str, Any]) -> Rendering:
        """The same, and every template filled in. A value of the context is never taken for a template itself."""
        answer = self._ask(job, templates, context)
        return Rendering(answer.files, frozenset(answer.used))

    def _ask(self, job: str, templates: Mapping[str, str], context: Mapping[str, Any] | None) -> Answer:
        request = json.dumps({"templates": templates, "context": context}).encode()  # integers of any size
        with self._turns:
            code, said = self._exchange(request)
        if code == STILL_ROOT:
            raise NotSupported(CANNOT_DROP)
        answer = _read(said) if code == 0 else None
        if answer is None:
            raise ValidationFailed(f"the templates of {job} cannot be rendered: {_died(code)}")
        problems = [_problem(job, found, templates, context or {}) for found in answer.problems]
        if problems:
            raise ValidationFailed(str(problems[0]), problems=problems)
        wanted = set() if context is None else {name.removesuffix(TEMPLATE_SUFFIX) for name in templates}
        if answer.files.keys() != wanted:
            raise ValidationFailed(f"the templates of {job} became other files than they should; look into them")
        return answer

    def _exchange(self, request: bytes) -> tuple[int, bytes]:
        """How the child ended and what it said. Raises Unavailable when its time was up."""
        begun = time.monotonic()
        with self._child() as child, _deadline(child):
            assert child.stdin is not None
            assert child.stdout is not None
            with suppress(BrokenPipeError):
                child.stdin.write(request)
            with suppress(BrokenPipeError):
                child.stdin.close()
            said = child.stdout.read(LONGEST_ANSWER)
            if len(said) == LONGEST_ANSWER:
                end(child)
            # Not reaped yet: until then its number, and its group's, is nobody else's.
            os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOWAIT)
        if child.returncode == -signal.SIGKILL and time.monotonic() - begun >= WALL_S:
            raise Unavailable(f"rendering was not done within {WALL_S:g} s; the machine is busy, try again")
        return child.returncode, said

    @contextmanager
    def _child(self) -> Iterator[subprocess.Popen[bytes]]:
        """One child, ended with all it started. No environment, no descriptors but its three."""
        try:
            child = subprocess.Popen(
                [sys.executable, "-I", str(self._program)],
                env={},
                cwd="/",
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                start_new_session=True,
            )
        except OSError as error:
            raise Unavailable(f"the program that renders templates did not start: {error.strerror}") from error
        with child:
            try:
                yield child
            finally:
                end(child)


@contextmanager
def _deadline(child: subprocess.Popen[bytes]) -> Iterator[None]:
    """Kill the child when its time is up; afterwards nobody will."""
    timer = Timer(WALL_S, end, (child,))
    timer.start()
    try:
        yield
    finally:
        timer.cancel()
        timer.join()


def _read(said: bytes) -> Answer | None:
    try:
        return msgspec.json.decode(said, type=Answer)
    except msgspec.DecodeError:
        return None


def _died(code: int) -> str:
    if code in (-signal.SIGXCPU, -signal.SIGKILL):
        return CPU
    how = f"by signal {-code}" if code < 0 else f"with {code}"
    return f"the program that does it ended {how}; leave out what is unusual in them"


def _problem(job: str, found: Fault, templates: Mapping[str, str], context: Mapping[str, Any]) -> Problem:
    return Problem(_sentence(found, templates, context), file=f"{job}/{found.file}", line=found.line)


def _sentence(found: Fault, templates: Mapping[str, str], context: Mapping[str, Any]) -> str:
    text = found.text.rstrip(".")
    match found.kind:
        case "unknown":
            return _unknown(found.name, found.known, context)
        case "absent":
            near = nearest(found.text, templates)
            known = f"did you mean {' or '.join(near)}?" if near else "write its path in the job, ending in .jinja2"
            return f"there is no template {shown(found.text)} to include; {known}"
        case "forbidden":
            return f"templates may not do this: {text}"
        case "syntax":
            return f"this is no template: {text}"
        case kind:
            return LIMITS.get(kind, f"this fails: {text}")


def _unknown(name: str, known: list[str] | None, context: Mapping[str, Any]) -> str:
    """A name that is not there, with the nearest ones and the remedy."""
    near = " or ".join(nearest(name, context if known is None else known))
    if known is None:
        meant = f", or did you mean {near}?" if near else ""
        return f"{name} is not in the context; add --x:{name} VALUE{meant}"
    there = ", ".join(known[:FEW]) or "nothing"
    return f"there is no {shown(name)} here; " + (f"did you mean {near}?" if near else f"there is {there}")
