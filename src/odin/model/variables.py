"""The nine names that Odin puts into a task's command, in one pass, and what looks like one of them.

A value is never expanded again, so nothing that a name or path contains can name another variable.
Source: job-files.md, "Variables"; limits: reliability.md, F-89 and A-25.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final

from odin.model.errors import TooLarge
from odin.model.job import Mount, TaskSpec
from odin.model.names import nearest, one_off, shown

NAMES: Final = (
    "ROOT_PATH",
    "WORK_PATH",
    "DATA_PATH",
    "RUN_PATH",
    "TASK_PATH",
    "PIPE_ID",
    "TASK_ID",
    "TASK_NAME",
    "TASK_IDS",
)
MAX_TASK_IDS: Final = 64 * 1024
# The kernel's limit for one argument, MAX_ARG_STRLEN, counts the NUL at its end.
MAX_STRING: Final = 128 * 1024 - 1
MAX_TOTAL: Final = 1024 * 1024
_REMEDY: Final = "Put it into a file of the job"

_VARIABLE: Final = re.compile(r"\$(?:\$|([A-Za-z_][A-Za-z0-9_]*)|\{([A-Za-z_][A-Za-z0-9_]*)\})")


@dataclass(frozen=True, slots=True)
class Stray:
    """A name that is none of ours; ``off`` is the one of ours that it is one letter off."""

    name: str
    off: str | None

    @property
    def near(self) -> str | None:
        return self.off or next(iter(nearest(self.name, NAMES, limit=1)), None)

    def __str__(self) -> str:
        if self.off:
            return f"${{{self.name}}} is no variable; did you mean ${{{self.off}}}? (a shell's own name: $${self.name})"
        hint = f"; did you mean ${{{self.near}}}?" if self.near else ""
        return f"${{{self.name}}} is not one of Odin's variables and stays as it is{hint}"


@dataclass(frozen=True, slots=True)
class Oversize:
    """Too much for one program: argument number ``argument``, the variable ``variable``, or all together."""

    message: str
    argument: int | None = None
    variable: str | None = None


def expand(text: str, values: Mapping[str, str]) -> str:
    """``text`` with every known name replaced and ``$$`` as ``$``; raises TooLarge."""
    if "$" not in text:
        return text
    parts: list[str] = []
    at = size = 0
    for found in _VARIABLE.finditer(text):
        value = _value(found, values)
        parts += (text[at : found.start()], value)
        at = found.end()
        size += len(value)
        if size > MAX_STRING:
            break
    expanded = "".join(parts) + text[at:]
    if len(expanded.encode()) > MAX_STRING:
        raise TooLarge(f"{shown(text)} is longer than 128 KiB once its variables are filled in")
    return expanded


def _value(found: re.Match[str], values: Mapping[str, str]) -> str:
    name = found[1] or found[2]
    if name is None:
        return "$"
    value = values.get(name) if name in NAMES else None
    if value is None:
        return found[0]
    if name == "TASK_IDS" and len(value.encode()) > MAX_TASK_IDS:
        raise TooLarge(
            f"${{TASK_IDS}} would be longer than {MAX_TASK_IDS // 1024} kB; "
            "read the file that $ODIN_TASK_IDS_FILE names, one id a line"
        )
    return value


def expand_task(task: TaskSpec, values: Mapping[str, str]) -> TaskSpec:
    """The task as it is run: every place where variables stand is expanded; raises TooLarge with the place."""
    expanded = _expanded(task, values) if any("$" in text for text in _texts(task)) else task
    fault = oversize(expanded.command + expanded.args, expanded.env)
    if fault:
        raise TooLarge(f"task {shown(task.name)}: {fault.message}")
    return expanded


def _expanded(task: TaskSpec, values: Mapping[str, str]) -> TaskSpec:
    def of(text: str) -> str:
        return expand(text, values)

    return replace(
        task,
        command=tuple(map(of, task.command)),
        args=tuple(map(of, task.args)),
        env={name: of(value) for name, value in task.env.items()},
        inputs=tuple(map(of, task.inputs)),
        outputs={name: of(path) for name, path in task.outputs.items()},
        mounts=tuple(Mount(mount.name, of(mount.path), mount.claim) for mount in task.mounts),
    )


def _texts(task: TaskSpec) -> Iterator[str]:
    yield from task.command
    yield from task.args
    yield from task.env.values()
    yield from task.inputs
    yield from task.outputs.values()
    yield from (mount.path for mount in task.mounts)


def oversize(argv: Sequence[str], env: Mapping[str, str]) -> Oversize | None:
    """What the kernel would refuse to start this for; None if nothing."""
    total = 0
    for number, text in enumerate(argv):
        size = len(text.encode())
        if size > MAX_STRING:
            return Oversize(
                f"{shown(text[:20])} has {size} bytes; an argument may have 128 KiB. {_REMEDY}", argument=number
            )
        total += size + 1
    for name, value in env.items():
        size = len(name) + 1 + len(value.encode())
        if size > MAX_STRING:
            return Oversize(f"the variable {name} has {size} bytes; it may have 128 KiB. {_REMEDY}", variable=name)
        total += size + 1
    if total > MAX_TOTAL:
        return Oversize(f"arguments and environment have {total} bytes; together they may have 1 MiB. {_REMEDY}")
    return None


def strays(text: str, env: Mapping[str, str]) -> Iterator[Stray]:
    """The names in ``text`` that are neither Odin's nor the task's own ``env``, in order, each once."""
    if "$" not in text:
        return
    names = (found[1] or found[2] for found in _VARIABLE.finditer(text))
    for name in dict.fromkeys(names):
        if name and name not in NAMES and name not in env and not name.startswith("ODIN_"):
            yield Stray(name, next((known for known in NAMES if one_off(name, known)), None))
